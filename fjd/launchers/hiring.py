"""Hiring on this machine: start workers by a launcher and wait until each has announced itself."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Callable, NamedTuple, Optional

from fjd.launchers import process, screen
from fjd.launchers.base import Child, Launcher, Order, Place, free_slots, session_name
from fjd.spool import crew, names
from fjd.spool.project import Project
from fjd.system import files
from fjd.system.identity import hostname

LAUNCHERS: dict[str, Launcher] = {"screen": screen, "process": process}  # in order of preference

PATIENCE = 20.0  # s until a worker that was started must have announced itself

_TAIL = 3  # lines of a log that are shown
_SOON = 0.004  # s between two looks at first, and later:
_LATER = 0.05

Say = Callable[[str], None]


class Batch(NamedTuple):
    """Some workers that are started alike.

    ``place`` is that of the first of them, if they are an engine of a context.
    """

    number: int
    python: str = sys.executable
    nice: Optional[int] = None
    place: Optional[Place] = None


def default_number() -> int:
    """Return how many workers to hire if nobody says: one less than there are CPUs for us."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


class Hiring:
    """One call of ``hire`` on this machine.

    Attributes:
        up: the workers that have announced themselves so far, also after Ctrl-C.
        failed: those that came to nothing.
    """

    def __init__(
        self,
        project: Project,
        cwd: str,
        talk: Say,
        launchers: Mapping[str, Launcher] = LAUNCHERS,
    ) -> None:
        self._project, self._cwd, self._talk = project, cwd, talk
        self._launchers = dict(launchers)
        self._children: dict[str, tuple[Order, str, Child]] = {}
        self._told = False
        self.up: set[str] = set()
        self.failed: list[str] = []

    def start(self, batches: Sequence[Batch]) -> None:
        """Start all workers; none has announced itself when this returns."""
        for order in self._orders(batches):
            self._start(order)

    def wait(self, patience: float = PATIENCE) -> None:
        """Wait until every worker has announced itself or has come to nothing."""
        until = time.monotonic() + patience
        pause = _SOON
        while True:
            waiting = self._children.keys() - self.up - set(self.failed)
            if not waiting:
                return
            ended = {worker for worker in waiting if self._children[worker][2].poll() is not None}
            # In this order: what ended before the look and is not in it has come to nothing.
            self.up |= crew.sightings(self._project).keys() & waiting
            for worker in sorted(ended - self.up, key=names.slot_of):
                self._ended(worker)
            if time.monotonic() > until:
                self._give_up(sorted(waiting - self.up - ended, key=names.slot_of), patience)
                return
            time.sleep(pause)
            pause = min(pause * 1.2, _LATER)

    def _orders(self, batches: Sequence[Batch]) -> list[Order]:
        host, project = hostname(), self._project
        here = names.short_host(host)
        present = [*crew.sightings(project), *crew.with_pods(project)]
        taken = {names.slot_of(worker) for worker in present if worker.rsplit("-", 2)[0] == here}
        slots = iter(free_slots(taken, sum(batch.number for batch in batches)))
        orders = []
        for batch in batches:
            for k in range(batch.number):
                slot, place = next(slots), batch.place
                worker = names.new_worker(host, slot)
                orders.append(
                    Order(
                        project=project.name,
                        worker=worker,
                        python=batch.python,
                        cwd=self._cwd,
                        nice=batch.nice,
                        session=session_name(project.name, host, slot),
                        log=project.log_file(worker),
                        rc=project.rc_file(worker),
                        place=place._replace(cylinder=place.cylinder + k) if place else None,
                    )
                )
        return orders

    def _start(self, order: Order) -> None:
        for name, launcher in list(self._launchers.items()):
            why = launcher.missing()
            if not why:
                self._children[order.worker] = (order, name, launcher.start(order))
                return
            del self._launchers[name]
            self._without(name, why)
        raise AssertionError("the last launcher is never missing")

    def _without(self, name: str, why: str) -> None:
        following = next(iter(self._launchers), "")
        if following and not self._told:
            self._told = True
            self._talk(
                f"{why}: the workers run without {name}, as detached processes with the same logs"
            )

    def _ended(self, worker: str) -> None:
        """A child has ended before its worker was announced."""
        order, name, child = self._children[worker]
        code, said = child.poll(), tail(order.log)
        if name == "screen" and code != 0 and len(self._launchers) > 1:
            del self._launchers[name]  # the session itself failed, not the worker
        if name not in self._launchers and code != 0:
            self._without(name, f"screen failed ({' / '.join(said) or f'exit code {code}'})")
            files.remove(order.rc)
            self._start(order)
            return
        if not self.failed:
            self._talk(f"worker {worker} ended at once; its log {order.log} says:")
            for line in said or ["(nothing)"]:
                self._talk(f"    {line}")
        self.failed.append(worker)
        files.remove(order.rc)

    def _give_up(self, workers: Sequence[str], patience: float) -> None:
        for worker in workers:
            log = self._children[worker][0].log
            self._talk(f"worker {worker} has not come up within {patience:.0f} s; look into {log}")
        self.failed += workers


def tail(path: str, number: int = _TAIL) -> list[str]:
    """Return the last lines of a log that are not empty."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 4096))
            data = file.read()
    except OSError:
        return []
    lines = data.decode("utf-8", "replace").splitlines()
    return [line.rstrip() for line in lines if line.strip()][-number:]
