"""Where tasks come from: a file, which is read as a whole, or a stream, as it comes."""

from __future__ import annotations

import os
import stat
import sys
import threading
from typing import Callable, Optional

from fjd.errors import JobFileError, UsageError

CHUNK = 1 << 16

Write = Callable[[bytes], None]


def is_stream(path: str) -> bool:
    """Tell whether the tasks come as they come: stdin, or something that is no plain file.

    Raises:
        UsageError: there is no such file, or it cannot be read.
    """
    if path == "-":
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise UsageError(
            f"the task file cannot be read: {error.strerror}", where=path, remedy="give another one"
        ) from None
    if stat.S_ISDIR(mode):
        raise UsageError("is a directory", where=path, remedy="give a file with one task per line")
    if not os.access(path, os.R_OK):
        raise UsageError("you may not read it", where=path, remedy=f"type: chmod u+r '{path}'")
    return not stat.S_ISREG(mode)


class Feeder(threading.Thread):
    """Copies a stream into a growing list, in a thread of its own.

    Args:
        write: takes bytes; ``finish`` is called at the end of the stream.

    Attributes:
        trouble: why the stream ended early; None if it did not.
    """

    def __init__(self, path: str, write: Write, finish: Callable[[], None]) -> None:
        super().__init__(name="feeder", daemon=True)
        self._path, self._write, self._finish = path, write, finish
        self.trouble: Optional[OSError] = None

    def run(self) -> None:
        """Copy until the end."""
        last = b"\n"
        try:
            fd = sys.stdin.fileno() if self._path == "-" else os.open(self._path, os.O_RDONLY)
            while True:
                data = os.read(fd, CHUNK)
                if not data:
                    break
                self._write(data)
                last = data[-1:]
        except OSError as error:
            self.trouble = error
        if last != b"\n":
            self._write(b"\n")
        self._finish()


def not_read(path: str, error: OSError) -> JobFileError:
    """Say that a stream broke off."""
    return JobFileError(f"the tasks cannot be read any further: {error.strerror}", where=path)
