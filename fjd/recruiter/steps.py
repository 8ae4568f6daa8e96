"""Hiring a context in a Slurm allocation: one step per node, in which its workers live.

The steps end with whoever started them, or with the allocation; so he stays until they are over.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping

from fjd.errors import ConfigError
from fjd.launchers import firing, slurm
from fjd.launchers.hiring import tail
from fjd.launchers.slurm import Step
from fjd.recruiter.contexts import ContextHiring
from fjd.spool import contexts
from fjd.spool.contexts import Engine
from fjd.system import shares

COME_UP = 60.0  # s until the workers of a step must have announced themselves
LEAVE = 10.0  # s for workers that were told to end now
KILLED = 10.0  # s for Slurm to kill a step

_LOOK = 0.1


class StepHiring(ContextHiring):
    """As ContextHiring, by srun; the hosts of the context are nodes of our allocation."""

    _steps: Mapping[int, subprocess.Popen[bytes]] = {}  # of each engine, by rank

    def _start(self) -> dict[int, str]:
        why = slurm.missing()
        if why:
            raise ConfigError(why, remedy="run it where Slurm is, or name hosts with -s")
        self._steps = started = dict[int, subprocess.Popen[bytes]]()
        for engine in self.context.engines:
            step = Step(engine.host, engine.slots, self._place(engine.rank), sys.executable,
                        self._cwd, self._nice)  # fmt: skip
            started[engine.rank] = slurm.start(self.project, step)
        return self._wait()

    def _wait(self) -> dict[int, str]:
        """Wait until all workers are there, or their steps are over; return who failed, and why."""
        until = time.monotonic() + COME_UP
        while True:
            ended = {rank for rank, step in self._steps.items() if step.poll() is not None}
            up = {r: len(workers) for r, workers in contexts.workers(self.project).items()}
            missing = [e for e in self.context.engines if up.get(e.rank, 0) < e.slots]
            waiting = [e for e in missing if up.get(e.rank, 0) + self._without_share(e) < e.slots]
            if all(engine.rank in ended for engine in waiting) or time.monotonic() > until:
                break
            time.sleep(_LOOK)
        why = {}
        for engine in missing:
            why[engine.rank] = self._why(engine, up.get(engine.rank, 0))
            self._talk(f"Host {engine.host}: {why[engine.rank]}")
        return why

    def _without_share(self, engine: Engine) -> int:
        """Return how many workers will not come: their logs say so, and srun says nothing."""
        if not self._resources:
            return 0
        logs = [slurm.log(self.project, self._place(engine.rank), k) for k in range(engine.slots)]
        return sum(any(shares.NOTHING_LEFT in line for line in tail(log)) for log in logs)

    def _why(self, engine: Engine, up: int) -> str:
        """Say why workers are missing, in one line."""
        place = self._place(engine.rank)
        logs = [slurm.said(self.project, place)]
        logs += [slurm.log(self.project, place, k) for k in range(engine.slots)]
        lines = [line for log in logs for line in tail(log, 1)]
        code = self._steps[engine.rank].poll()
        if lines and (code is not None or self._without_share(engine)):
            return f"{up} of {engine.slots} workers came up: {lines[-1]}"
        waited = f"within {COME_UP:.0f} s" if code is None else f"before srun ended with {code}"
        return f"{up} of {engine.slots} workers came up {waited}; look into {logs[0]}"

    def fire(self, gently: bool = False) -> bool:
        """Dismiss the workers through the spool; unless ``gently``, see that their steps end."""
        contexts.dismiss(self.project, self.context.ranks, now=not gently)
        if gently:
            return True
        self._ended(LEAVE)
        for step in self._steps.values():
            if step.poll() is None:
                step.terminate()  # srun lets Slurm kill what is left of it
        well = self._ended(KILLED)
        firing.bury(self.project, self._left())
        return well

    def _ended(self, patience: float) -> bool:
        """Wait for the end of all steps; False if some go on."""
        until = time.monotonic() + patience
        while any(step.poll() is None for step in self._steps.values()):
            if time.monotonic() > until:
                return False
            time.sleep(_LOOK)
        return True

    def _left(self) -> set[str]:
        """Return the workers whose steps are over and that did not say good-bye."""
        over = {rank for rank, step in self._steps.items() if step.poll() is not None}
        crewed = contexts.workers(self.project)
        return {worker for rank in over for worker in crewed.get(rank, ())}
