"""The workers of one context, from hiring to the last one's leave; in a thread of its own."""

from __future__ import annotations

import os
import shutil
import threading
from typing import Callable, Optional

from fjd.batch.context import Plan
from fjd.batch.dbutil import Run
from fjd.batch.log import Log
from fjd.batch.options import ContextOptions
from fjd.batch.prefix import Prefix
from fjd.batch.retire import SLURM as RETIRE_BY_SLURM
from fjd.batch.retire import Retirement
from fjd.errors import FjdError, NoWorkers
from fjd.recruiter.contexts import ContextHiring
from fjd.spool import contexts, crew
from fjd.spool.contexts import SLURM, Context
from fjd.spool.project import Project

_LOOK = 0.5  # s between two looks at who is still there
_LOOKS = 2  # without an engine until it counts as left: a worker may be between two places

Say = Callable[[str], None]


def _kind(how: str) -> type[ContextHiring]:
    if how != SLURM:
        return ContextHiring
    from fjd.recruiter.steps import StepHiring  # needs psutil, 16 ms, also where there is no Slurm

    return StepHiring


class Crew(threading.Thread):
    """Hires what a plan says, sees who leaves, retires hosts, and fires the rest at the end.

    Args:
        talk: takes a line for the user.

    Attributes:
        context: what was announced; None before.
        trouble: why nobody came up; None if somebody did.
        hired: hiring is over; ``left``: and nobody of those who came up is there any more.
    """

    def __init__(
        self,
        project: Project,
        run: Run,
        plan: Plan,
        options: ContextOptions,
        talk: Say,
    ) -> None:
        super().__init__(name="crew", daemon=True)
        self.project, self.plan = project, plan
        self._run, self._options, self._talk = run, options, talk
        self._ready: Callable[[], object] = bool
        self.hired, self.left, self._end = threading.Event(), threading.Event(), threading.Event()
        self.context: Optional[Context] = None
        self.trouble: Optional[FjdError] = None
        self._prefix = Prefix(run.prefix)
        self._hiring: Optional[ContextHiring] = None
        self._log: Optional[Log] = None
        self._retirement: Optional[Retirement] = None
        self._logs: dict[str, tuple[int, str]] = {}  # of each worker: its engine, its log
        self._missing: dict[int, int] = {}  # looks without an engine
        self._gone: set[int] = set()

    def heed(self, ready: Callable[[], object]) -> None:
        """Let that be called once hiring is over, however it went."""
        self._ready = ready

    # -- the thread ---------------------------------------------------------------------------

    def run(self) -> None:
        """Hire, then look who is there until told to end or everybody has left."""
        try:
            self._hire()
        except FjdError as error:
            self.trouble = error
        except Exception as error:  # noqa: BLE001  whatever it is, nobody is to wait for us for ever
            self.trouble = NoWorkers(f"hiring failed: {type(error).__name__}: {error}")
        if self.trouble:
            self._say(str(self.trouble))
            self.left.set()
        self.hired.set()
        self._ready()
        while not self.left.is_set() and not self._end.wait(_LOOK):
            self.look()

    def _hire(self) -> None:
        hosts = [(node.host, node.number) for node in self.plan.nodes]
        context = contexts.begin(
            self.project,
            self.plan.label,
            hosts,
            self.plan.how,
            self._options.limit,
            self._run.key,
            f"{self.plan.cores:g}",
        )
        self.context = context
        self._log = Log(self._prefix.context_log(context.label))
        self._retirement = self._make_retirement(context)
        self._note(f"context {context.label}: {context.engines}")
        self._hiring = _kind(self.plan.how)(
            self.project,
            context,
            self._note,
            self._say,
            cwd=self._run.cwd,
            resources=self._options.resources,
        )
        for report in self._hiring.hire():
            self._note(f"engine {report.rank} on {report.host}: {report.up} of {report.slots} up")
        self.look()

    def _make_retirement(self, context: Context) -> Retirement:
        command, talk = self._options.retire, self._say
        if command is None:  # nobody asked for it, so that it fails is for the log
            command, talk = RETIRE_BY_SLURM if self.plan.how == SLURM else "", self._note
        hosts = [engine.host for engine in context.engines]
        return Retirement(command, hosts, self._run.driver, talk)

    def look(self) -> int:
        """See who is there; return how many workers there are."""
        if self.context is None:
            return 0
        there = dict.fromkeys(self.context.ranks, 0)
        for worker, (_, card) in crew.cards(self.project).items():
            if card is not None and card.engine in there:
                there[card.engine] += 1
                self._logs[worker] = (card.engine, card.log)
        for rank, number in there.items():
            self._missing[rank] = 0 if number else self._missing.get(rank, 0) + 1
            if self._missing[rank] == _LOOKS:
                self._has_left(rank)
        if len(self._gone) == len(there):
            self.left.set()
        return sum(there.values())

    def _has_left(self, rank: int) -> None:
        if self.context is None or rank in self._gone:
            return
        self._gone.add(rank)
        host = next(engine.host for engine in self.context.engines if engine.rank == rank)
        self._note(f"engine {rank} on {host} has left")
        if self._retirement:
            self._retirement.retire(host)

    # -- the end ------------------------------------------------------------------------------

    def finish(self, gently: bool = False) -> bool:
        """Fire who is still there and end the context; False if somebody was out of reach."""
        self._end.set()
        if self.is_alive():
            self.join()
        if self.context is None:
            return True
        well = True
        if self._hiring and self.look():
            well = self._hiring.fire(gently)
        if well and not gently:
            for rank in self.context.ranks:
                self._has_left(rank)
            contexts.end(self.project, self.context)
        self._gather()
        if self._log:
            self._log.close()
        return well

    def _gather(self) -> None:
        """Keep what the workers said, one file for each engine."""
        if self.context is None:
            return
        hosts = {engine.rank: engine.host for engine in self.context.engines}
        for _, (rank, log) in sorted(self._logs.items()):
            path = self._prefix.engine_log(self.context.label, hosts[rank], rank)
            try:
                with open(log, "rb") as source, open(path, "ab") as target:
                    os.fchmod(target.fileno(), 0o600)
                    shutil.copyfileobj(source, target)
            except OSError as error:
                self._note(f"the log of a worker is lost: {error}")

    def _note(self, text: str) -> None:
        if self._log:
            self._log.write(text)

    def _say(self, text: str) -> None:
        self._note(text)
        self._talk(text)
