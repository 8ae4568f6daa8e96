"""The log of a run, ``<prefix>_driver.log``: what it was told, said and found, with the time."""

from __future__ import annotations

import os
import threading
import time

from fjd.errors import ConfigError
from fjd.system import files
from fjd.talk import one_line


class Log:
    """One log file; several threads may write to it. A full disk costs lines and stops nobody.

    Args:
        alone: nobody else may have made it (FileExistsError).
    """

    def __init__(self, path: str, alone: bool = False) -> None:
        self._path, self._new = path, not os.path.lexists(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        flags |= os.O_NONBLOCK  # nobody waits for whoever may read a FIFO some day
        flags |= os.O_EXCL if alone else 0
        try:
            self._file = os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0)
        except OSError as error:
            if alone and isinstance(error, FileExistsError):
                raise
            raise ConfigError(
                f"the log cannot be written: {error.strerror}",
                where=path,
                remedy="give --logfile a path that you may write to",
            ) from None
        self._lock = threading.Lock()
        self.lost = 0

    def write(self, text: str) -> None:
        """Add a line."""
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {one_line(text)}\n"
        with self._lock:
            try:
                self._file.write(line.encode("utf-8", "backslashreplace"))
            except (OSError, ValueError):
                self.lost += 1

    def discard(self) -> None:
        """Remove it, if we have made it: nothing was done that it could tell of."""
        if self._new:
            files.remove(self._path)

    def close(self) -> None:
        """Close it."""
        with self._lock:
            self._file.close()
