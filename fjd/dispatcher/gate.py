"""Barriers: what comes behind one waits until all before it has ended, for ever."""

from __future__ import annotations

import time
from typing import NamedTuple, Optional

from fjd.dispatcher.reader import Reader
from fjd.dispatcher.rows import Rows
from fjd.spool import outcomes
from fjd.spool.lists import halt
from fjd.spool.lists.folder import Folder
from fjd.spool.lists.grammar import Barrier
from fjd.spool.lists.halt import Halt
from fjd.spool.lists.names import Mark
from fjd.spool.lists.shelf import Shelf


class Passage(NamedTuple):
    """How far a list is now; ``mark`` is None if somebody else has moved it."""

    mark: Optional[Mark]
    stop: Optional[Halt] = None


class Gate:
    """Lets a list pass its barriers."""

    def __init__(self, shelf: Shelf, reader: Reader, folder: Folder, rows: Rows) -> None:
        self._shelf, self._reader, self._folder, self._rows = shelf, reader, folder, rows
        self._since = time.time()  # the last barrier

    def look(self, mark: Mark) -> Passage:
        """Pass the barriers that come next, if all that was cut has ended."""
        try:
            barriers = self._reader.barriers(mark)
        except FileNotFoundError:
            return Passage(None)  # RACE: another dispatcher has cut, or the user has removed it
        if not barriers or not self._folder.covered.full(barriers[0].number):
            return Passage(mark)
        return self._pass(mark, barriers)

    def _pass(self, mark: Mark, barriers: list[Barrier]) -> Passage:
        open_ones, stop = self._check(barriers)
        if not open_ones:
            return Passage(mark, stop)
        self._folder.skip(_ranges(open_ones))
        for barrier in open_ones:
            self._rows.barrier(barrier, self._since)
        self._rows.flush()
        self._since = time.time()
        behind = open_ones[-1].number + 1
        moved = self._shelf.skip(mark, behind)
        if moved is not None:
            self._reader.cut(behind)
        return Passage(moved, stop)

    def _check(self, barriers: list[Barrier]) -> tuple[list[Barrier], Optional[Halt]]:
        """Return which of them can be passed, and why the list ends at the next one."""
        before = self._folder.tally.passed
        for count, barrier in enumerate(barriers):
            failed = self._folder.tally.failures(before, barrier.number) if barrier.check else 0
            if failed:
                noun = "task" if failed == 1 else "tasks"
                what = f"barrier check: {failed} {noun} failed before line {barrier.line}"
                return barriers[:count], Halt(what, outcomes.FAILED, reason=halt.FAILURE)
            before = barrier.number + 1
        return barriers, None


def _ranges(barriers: list[Barrier]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for barrier in barriers:
        lo = barrier.number
        if found and found[-1][1] == lo:
            lo = found.pop()[0]
        found.append((lo, barrier.number + 1))
    return found
