"""PERENGINE: what every engine runs before its first task of a list, and after its last one.

These commands are a piece of their own for each engine, with numbers behind all others. The mark
bears it, so that it is born once. Workers of no context are an engine together with the others of
their host.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from typing import NamedTuple, Optional

from fjd.dispatcher.muster import Member
from fjd.dispatcher.reader import Reader, engine_tasks
from fjd.spool.lists import content, taking
from fjd.spool.lists.folder import Folder
from fjd.spool.lists.grammar import ENGINE_BASE, PER_ENGINE
from fjd.spool.lists.names import Mark, Piece, new_birth
from fjd.spool.lists.shelf import Shelf

_EVER = 1 << 62  # behind every number
_OTHERS = 1 << 20  # the ranks from here on are those of hosts, for workers without a context
_PATIENCE = 5.0  # s that a piece waits for an engine of which nobody is there


def rank_on(host: str, engine: int = -1) -> int:
    """Return the rank of an engine; of one that belongs to no context: what its host has."""
    return engine if engine >= 0 else _OTHERS + zlib.crc32(host.encode("utf-8", "replace"))


def rank_of(member: Member) -> int:
    """Return the rank of a worker's engine."""
    return rank_on(member.host, member.card.engine if member.card else -1)


def engine_of(piece: Piece) -> Optional[int]:
    """Return whose a piece is; None if it is for everybody."""
    return (piece.lo - ENGINE_BASE) // (2 * PER_ENGINE) if piece.lo >= ENGINE_BASE else None


class Step(NamedTuple):
    """Where the commands of an engine are: ``born`` just now, or ``done`` altogether.

    ``mark`` is None if somebody else has moved it.
    """

    mark: Optional[Mark]
    done: bool = False
    born: Optional[Piece] = None


class Engines:
    """The engines of one list.

    Attributes:
        present: their ranks, as far as somebody is there.
    """

    def __init__(
        self, shelf: Shelf, reader: Reader, folder: Folder, common: Mapping[str, object]
    ) -> None:
        self._shelf, self._reader, self._folder, self._common = shelf, reader, folder, common
        self.present: Collection[int] = ()
        self._borne: Optional[set[int]] = None  # first numbers; None: to be looked for
        self._ready: set[int] = set()
        self._absent: dict[int, float] = {}

    def ready(self, rank: int) -> bool:
        """Tell whether it is known that an engine has begun."""
        return rank in self._ready

    def begin(self, mark: Mark, rank: int) -> Step:
        """Let an engine run its START commands."""
        step = self._step(mark, rank, 0)
        if step.done:
            self._ready.add(rank)
        return step

    def leave(self, mark: Mark, rank: int) -> Step:
        """Let an engine run its STOP commands, if it has ever begun."""
        first = ENGINE_BASE + 2 * PER_ENGINE * rank
        start, stop = self._reader.commands(mark) or ((), ())
        begun = first in self._folder.covered or not start
        return self._step(mark, rank, 1) if begun and stop else Step(mark, done=True)

    def _step(self, mark: Mark, rank: int, which: int) -> Step:
        commands = self._reader.commands(mark)
        if commands is None:
            return Step(mark)
        lo = ENGINE_BASE + PER_ENGINE * (2 * rank + which)
        hi = lo + len(commands[which])
        if self._folder.covered.within(lo, hi) == hi - lo:
            return Step(mark, done=True)
        if self._borne is None:
            self._borne = self._look_for_them()
            return self._step(mark, rank, which)
        if lo in self._borne:
            return Step(mark)
        tasks = engine_tasks(commands, lo, hi)
        piece = Piece(new_birth(), lo, hi)
        moved = self._shelf.call(mark, piece, content.encode(lo, hi, tasks, self._common))
        if moved is None:
            self._borne = None  # RACE: another dispatcher was faster, perhaps with this very one
            return Step(None)
        self._borne.add(lo)
        return Step(moved, born=piece)

    def forget(self) -> None:
        """Look anew for what was born: somebody may have removed it."""
        self._borne = None

    def _look_for_them(self) -> set[int]:
        """Return the first numbers of all commands that were born."""
        self._folder.learn()
        there = taking.whereabouts(self._shelf)
        for lo, hi in self._folder.covered.ranges():
            there.add(lo, hi)
        parts = (lo for lo, _ in there.ranges() if lo >= ENGINE_BASE)
        return {lo - (lo - ENGINE_BASE) % PER_ENGINE for lo in parts}

    def under_way(self) -> bool:
        """Tell whether commands of engines lie in a token."""
        return taking.whereabouts(self._shelf).within(ENGINE_BASE, _EVER) > 0

    def orphans(self, waiting: list[Piece], now: float) -> list[Piece]:
        """Return pieces that wait for engines of which nobody has been there for a while."""
        found: list[Piece] = []
        for piece in waiting:
            rank = engine_of(piece)
            if rank is None or rank in self.present:
                continue
            if now - self._absent.setdefault(rank, now) > _PATIENCE:
                found.append(piece)
        for rank in [rank for rank in self._absent if rank in self.present]:
            del self._absent[rank]
        return found
