"""Engines that are to leave: somebody asked for it, or their context has had its tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from fjd.dispatcher.muster import Member
from fjd.spool import contexts
from fjd.spool.project import Project

_LOOK = 1.0  # s between two looks at contexts/, and between two dismissals


class Limit(NamedTuple):
    """How many tasks a context may have, and its engines."""

    tasks: int
    ranks: Sequence[int]


class Departures:
    """Knows which engines are to leave.

    Args:
        had: how many tasks some engines have been given so far.
    """

    def __init__(
        self,
        project: Project,
        had: Callable[[Sequence[int]], int],
        clock: Callable[[], float],
    ) -> None:
        self._project, self._had, self._clock = project, had, clock
        self._limits: dict[int, Limit] = {}
        self._asked: set[int] = set()
        self._due = 0.0
        self._told: dict[int, float] = {}

    def look(self, crew: Iterable[Member]) -> None:
        """Look for limits and requests, now and then."""
        now = self._clock()
        if now < self._due or not any(m.card and m.card.engine >= 0 for m in crew):
            return
        self._due = now + _LOOK
        self._asked = contexts.look(self._project).stops
        self._limits = {
            rank: Limit(context.limit, context.ranks)
            for context in contexts.everyone(self._project)
            if context.limit
            for rank in context.ranks
        }

    def left(self, member: Member, most: int) -> int:
        """Return how many tasks a worker may still get, at most ``most``; 0: its engine leaves."""
        rank = member.card.engine if member.card else -1
        if rank in self._asked:
            return 0
        limit = self._limits.get(rank)
        if limit is None:
            return most
        return max(0, min(most, limit.tasks - self._had(limit.ranks)))

    def dismiss(self, rank: int) -> None:
        """Tell the workers of an engine to leave; it has nothing more to do."""
        now = self._clock()
        if now - self._told.get(rank, -_LOOK) >= _LOOK:
            self._told[rank] = now
            contexts.dismiss(self._project, [rank])
