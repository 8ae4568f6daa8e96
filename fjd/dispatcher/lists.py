"""All lists of a project: who works on what, and how much of it lies in the pods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable, Optional

from fjd.dispatcher.work import Work
from fjd.errors import JobFileError
from fjd.spool.lists import taking
from fjd.spool.lists.names import Assigned
from fjd.spool.lists.shelf import Shelf, keys
from fjd.spool.project import Project
from fjd.spool.records import Record

_DEPTH = 2  # pieces in one pod: one that runs, one that waits


class Lists:
    """Looks after every list.

    Args:
        me: this dispatcher, in the form of a worker's name; for progress files and results.
        note: takes the record of an attempt that ended with its worker.
        retries: further attempts of a task after a failure.
        in_office: whether this dispatcher still holds the lease.
    """

    def __init__(
        self,
        project: Project,
        me: str,
        note: Callable[[Record], None],
        retries: int,
        in_office: Callable[[], bool] = lambda: True,
    ) -> None:
        self._in_office = in_office
        self.project, self._me, self._note, self._retries = project, me, note, retries
        self.works: dict[str, Work] = {}
        self._hands: dict[str, set[str]] = {}  # births of the pieces in each pod

    def look(self, nudge: bool = False, recount: bool = False) -> int:
        """Look after every list; return how many tasks have ended.

        ``recount``: forget what we believe to lie in the pods.
        """
        ended = 0
        there = keys(self.project)
        if recount:
            self._hands.clear()
        for key in there:
            if key not in self.works:
                shelf = Shelf(self.project, key)
                self.works[key] = Work(shelf, self._me, self._note, self._retries, self._in_office)
            work = self.works[key]
            try:
                ended += len(work.look(nudge, recount))
            except JobFileError:
                self._stop(work)
            for worker, birth in work.back:
                self._hands.get(worker, set()).discard(birth)
        for key in [key for key, work in self.works.items() if key not in there or work.ended]:
            self.works.pop(key).close()
        return ended

    def feed(self, workers: Sequence[str]) -> list[str]:
        """Let everybody have enough; return who had nothing before."""
        if not self.works:
            return []
        hungry = []
        for depth in range(1, _DEPTH + 1):
            for worker in workers:
                if len(self._hand(worker)) >= depth:
                    continue
                try:
                    given = self.give(worker, len(workers))
                except FileNotFoundError:
                    continue  # it is taking its pod down
                if given is not None and depth == 1:
                    hungry.append(worker)
        return hungry

    def _hand(self, worker: str) -> set[str]:
        if worker not in self._hands:
            held = taking.held(self.project, worker)
            self._hands[worker] = {item.piece.birth for item in held}
        return self._hands[worker]

    @property
    def in_hand(self) -> int:
        """How many pieces lie in pods, as far as we know."""
        return sum(map(len, self._hands.values()))

    def give(self, worker: str, crew: int) -> Optional[Assigned]:
        """Let a worker have a piece of some list; ``crew``: how many share it.

        Raises FileNotFoundError if the worker has taken its pod down.
        """
        for key, work in self.works.items():
            try:
                piece = work.give(worker, crew)
            except JobFileError:
                self._stop(work)
                continue
            if piece is not None:
                self._hand(worker).add(piece.birth)
                return Assigned(key, piece, False)
        return None

    def _stop(self, work: Work) -> None:
        """A line of the list cannot be run: nothing behind it is."""
        if work.mark is not None and not work.mark.end:
            work.shelf.stop(work.mark)

    def close(self) -> None:
        """Leave nothing open."""
        for work in self.works.values():
            work.close()
