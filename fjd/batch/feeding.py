"""Feeding a list that grows: from a stream, or from a program, in a thread of its own."""

from __future__ import annotations

import os
import sys
import threading
from typing import NoReturn, Optional, Protocol

from fjd.batch.tasksource import TaskSource
from fjd.errors import FjdError, JobFileError

_CHUNK = 1 << 16


class Target(Protocol):
    """The end of a list."""

    def write(self, data: bytes) -> None:
        """Add some bytes."""

    def finish(self) -> None:
        """Say that no more will come."""


class Feeder(threading.Thread):
    """Adds to a list until its source ends.

    Args:
        path: where the tasks come from (``-``: stdin), if not from a program.

    Attributes:
        trouble: why the source ended early; None if it did not.
    """

    def __init__(self, path: str, target: Target, source: Optional[TaskSource] = None) -> None:
        super().__init__(name="feeder", daemon=True)
        self._path, self._target, self._source = path, target, source
        self.trouble: Optional[FjdError] = None

    def run(self) -> None:
        """Feed, and say that it is over, however it went."""
        try:
            if self._source is not None:
                self._source.feed(self._target.write)
            else:
                self._copy()
        except FjdError as error:
            self.trouble = error
        except Exception as error:  # noqa: BLE001  whatever it is, nobody is to wait for more tasks
            what = f"the tasks cannot be read any further: {error}"
            self.trouble = JobFileError(what, where=self._path)
        try:
            self._target.finish()
        except (FjdError, OSError) as error:
            self.trouble = self.trouble or JobFileError(f"the list cannot be ended: {error}")

    def _copy(self) -> None:
        """Copy a stream as it comes; what is behind its last line break is a line as well."""
        last, lines = b"\n", 0
        fd = sys.stdin.fileno() if self._path == "-" else os.open(self._path, os.O_RDONLY)
        while True:
            data = os.read(fd, _CHUNK)
            if not data:
                break
            if 0 in data:
                self._refuse(data, lines)
            self._target.write(data)
            last, lines = data[-1:], lines + data.count(b"\n")
        if last != b"\n":
            self._target.write(b"\n")

    def _refuse(self, data: bytes, lines: int) -> NoReturn:
        """Feed what is before the line with a NUL byte, and end there.

        Whoever reads the list cannot tell such a byte from one that a file server has not got yet.
        """
        before = data[: data.rfind(b"\n", 0, data.index(0)) + 1]
        self._target.write(before)
        raise JobFileError(
            f"line {lines + before.count(10) + 1} holds a NUL byte, which no command can",
            where="stdin" if self._path == "-" else self._path,
            remedy="look at it with: cat -A",
        )
