"""Following a list: what its board says goes to the display, in a light thread."""

from __future__ import annotations

import threading
import time
from typing import Callable, Optional

from fjd.batch import board
from fjd.batch.bar import Display, Standing
from fjd.batch.board import Board
from fjd.spool.project import Project


class Follower(threading.Thread):
    """Shows where a list stands until told to end.

    Args:
        before: how many of its tasks were done before this run.
        hear: is told of every board that was read.

    Attributes:
        last: the board as last seen; None before there was one.
    """

    def __init__(
        self,
        project: Project,
        key: str,
        display: Display,
        before: int = 0,
        hear: Optional[Callable[[Board], None]] = None,
    ) -> None:
        super().__init__(name="follower", daemon=True)
        self._project, self._key, self._display = project, key, display
        self._before, self._hear = before, hear
        self._begun = time.monotonic()
        self._end = threading.Event()
        self.last: Optional[Board] = None

    def run(self) -> None:
        """Look and show."""
        while not self._end.wait(self._display.pause):
            self.look()

    def look(self) -> None:
        """Look once."""
        seen = board.read(self._project, self._key)
        if seen is None:
            return
        self.last = seen
        seconds = time.monotonic() - self._begun
        self._display.show(
            Standing(seen.tasks, seen.finished, seen.failed, seen.running, seconds, self._before)
        )
        if self._hear:
            self._hear(seen)

    def stop(self) -> None:
        """End the thread, and leave the terminal as it was."""
        self._end.set()
        if self.is_alive():
            self.join()
        self._display.end()
