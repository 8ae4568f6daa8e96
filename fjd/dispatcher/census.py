"""Counting the tasks of a list beside its work, a moment at a time."""

from __future__ import annotations

import time
from typing import BinaryIO, Optional

from fjd.errors import JobFileError
from fjd.spool.lists.grammar import Reader
from fjd.spool.lists.names import Mark
from fjd.spool.lists.shelf import Shelf
from fjd.spool.lists.task import Task

_MOMENT = 0.005  # s at a time
_MANY = 500  # tasks between two looks at the clock


class Census:
    """Counts the tasks of one list.

    Attributes:
        tasks: how many there are; None while nobody knows.
    """

    def __init__(self, shelf: Shelf, growing: bool) -> None:
        self.tasks: Optional[int] = None
        self._shelf, self._growing = shelf, growing
        self._file: Optional[BinaryIO] = None
        self._source: Optional[Reader] = None
        self._counted = 0
        self._over = False  # it cannot be counted to its end

    def look(self, mark: Mark, broken_off: bool) -> None:
        """Go on counting for a moment.

        Args:
            broken_off: nobody will say where the list ends.
        """
        if self.tasks is not None or self._over:
            return
        try:
            self._go_on(mark, broken_off)
        except (JobFileError, OSError):
            self._over = True  # whoever reads it for its work says why
            self.close()

    def _go_on(self, mark: Mark, broken_off: bool) -> None:
        if self._source is None:
            self._file = open(self._shelf.place(mark), "rb")  # noqa: SIM115  closed by close()
            self._source = Reader(self._file, "", self._growing)
        until = time.monotonic() + _MOMENT
        while time.monotonic() < until:
            if not self._some(self._source):
                if self._source.exhausted or broken_off:
                    self.tasks = self._counted
                    self.close()
                return

    def _some(self, source: Reader) -> bool:
        for _ in range(_MANY):
            item = source.next()
            if item is None:
                return False
            if isinstance(item, Task):
                self._counted += 1 + source.pending
                source.skip_to(source.number + source.pending)
        return True

    def close(self) -> None:
        """Leave nothing open."""
        if self._file is not None:
            self._file.close()
            self._file = None
