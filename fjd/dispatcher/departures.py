"""Engines that are to leave: somebody asked for it, or their context has had its tasks, or the list
that it was hired for is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from fjd.dispatcher.muster import Member
from fjd.spool import contexts
from fjd.spool.contexts import Context
from fjd.spool.project import Project

_LOOK = 1.0  # s between two looks at contexts/, and between two dismissals
_LOOKS = 3  # without the list of a context until it counts as over


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
        self._over: dict[int, int] = {}  # looks without the list of a context
        self._due = 0.0
        self._told: dict[int, float] = {}

    def look(self, crew: Iterable[Member]) -> None:
        """Look for limits and requests, now and then."""
        now = self._clock()
        crewed = {m.card.engine for m in crew if m.card and m.card.engine >= 0}
        if now < self._due or not (crewed or self._over):
            return
        self._due = now + _LOOK
        found = contexts.everyone(self._project)
        self._limits = {
            rank: Limit(context.limit, context.ranks)
            for context in found
            if context.limit
            for rank in context.ranks
        }
        self._asked = contexts.look(self._project).stops
        self._release(found, crewed)

    def _release(self, found: Sequence[Context], crewed: set[int]) -> None:
        """Let those leave whose list is over; a context whose starter has died is ended then."""
        over = contexts.released(self._project, found)
        self._over = {context.first: self._over.get(context.first, 0) + 1 for context in over}
        for context in over:
            if self._over[context.first] < _LOOKS:
                continue
            self._asked.update(context.ranks)
            if not crewed & set(context.ranks) and context.by.alive() is False:
                contexts.end(self._project, context)

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
