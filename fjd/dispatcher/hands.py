"""Which pieces of lists lie in whose pod, as far as this dispatcher knows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from fjd.spool.lists import taking
from fjd.spool.lists.grammar import ENGINE_BASE
from fjd.spool.lists.names import Assigned
from fjd.spool.project import Project


class Holding(NamedTuple):
    """A piece in a pod: of which list, and how many tasks it has at most."""

    key: str
    tasks: int

    @classmethod
    def of(cls, item: Assigned) -> Holding:
        """Return what is to be remembered of a piece; PERENGINE commands are no tasks."""
        own = item.piece.lo >= ENGINE_BASE
        return cls(item.key, 0 if own else item.piece.hi - item.piece.lo)


class Hands:
    """The hand of each worker: its pieces, by their births."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._hands: dict[str, dict[str, Holding]] = {}

    def of(self, worker: str) -> dict[str, Holding]:
        """Return a hand; whose is not known is looked at."""
        if worker not in self._hands:
            held = taking.held(self._project, worker)
            self._hands[worker] = {item.piece.birth: Holding.of(item) for item in held}
        return self._hands[worker]

    def add(self, worker: str, item: Assigned) -> None:
        """A worker was given a piece."""
        self.of(worker)[item.piece.birth] = Holding.of(item)

    def drop(self, worker: str, birth: str) -> None:
        """A worker has it no more."""
        self._hands.get(worker, {}).pop(birth, None)

    def forget(self, key: str) -> None:
        """A list has ended, and with it whatever anybody had of it."""
        for worker, hand in self._hands.items():
            self._hands[worker] = {birth: held for birth, held in hand.items() if held.key != key}

    def recount(self) -> None:
        """Look into all pods of which we know something."""
        known = [worker for worker, hand in self._hands.items() if hand]
        self._hands.clear()
        for worker in known:
            self.of(worker)

    @property
    def pieces(self) -> int:
        """How many there are in all."""
        return sum(map(len, self._hands.values()))

    def busy(self, key: str) -> int:
        """Return how many workers have something of a list; each runs one task at a time."""
        return sum(any(h.key == key for h in hand.values()) for hand in self._hands.values())

    def tasks(self, workers: Iterable[str]) -> int:
        """Return how many tasks some workers have, of all lists."""
        return sum(h.tasks for w in workers for h in self._hands.get(w, {}).values())
