"""Following a list, in a light thread: its board goes to the display, its rows to who hears."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Callable, Optional

from fjd.batch import board
from fjd.batch.bar import Display, Standing
from fjd.batch.tail import Tail
from fjd.spool.lists import statusfile
from fjd.spool.lists.covered import Covered
from fjd.spool.project import Project


class Follower(threading.Thread):
    """Shows where a list stands until told to end.

    Args:
        before: how many of its tasks were done before this run.
        status: its status file.
        hear: is told each row that is new from now on; None: the file is not read.
    """

    def __init__(
        self,
        project: Project,
        key: str,
        display: Display,
        before: int,
        status: str,
        hear: Optional[Callable[[bytes], None]] = None,
    ) -> None:
        super().__init__(name="follower", daemon=True)
        self._project, self._key, self._display = project, key, display
        self._before, self._hear, self._tail = before, hear, Tail(status)
        self._tail.pass_over()
        self._heard, self._engines = Covered(), set[bytes]()
        self._begun = time.monotonic()
        self._end = threading.Event()

    @property
    def seconds(self) -> float:
        """For how long it has been followed."""
        return time.monotonic() - self._begun

    def run(self) -> None:
        """Look and show."""
        while not self._end.wait(self._display.pause):
            with suppress(OSError):  # a file server in trouble; the next look may be better
                self._look()
                self._read()

    def _look(self) -> None:
        seen = board.read(self._project, self._key)
        if seen is not None:
            counts = (seen.tasks, seen.finished, seen.failed, seen.running)
            self._display.show(Standing(*counts, self.seconds, self._before))

    def _read(self) -> None:
        while self._hear:
            rows = self._tail.lines()
            if not rows:
                return
            for row in rows:
                if self._is_new(row):
                    self._hear(row)

    def _is_new(self, row: bytes) -> bool:
        """Tell whether it was not heard: who ends a list that others began writes the file anew."""
        found = statusfile.brief(row + b"\n")
        if found is None or found[0] == "S":
            return found is None  # of an earlier run
        if found[0] == "P":
            fresh = row not in self._engines
            self._engines.add(row)
            return fresh
        return bool(self._heard.add(found[1], found[1] + 1))

    def stop(self) -> float:
        """End the thread; the last rows are heard. Return for how long the list was followed."""
        seconds = self.seconds
        self._end.set()
        if self.is_alive():
            self.join()
        self._read()
        self._display.end()
        return seconds
