"""Where tasks come from: a file, which is there as a whole, or a stream."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fjd.errors import UsageError
from fjd.system import files


def is_stream(path: str) -> bool:
    """Tell whether the tasks come as they come: stdin, or something that is no plain file.

    Raises:
        UsageError: there is no such file, or it cannot be read.
    """
    if path == "-":
        if sys.stdin is None:
            raise UsageError("stdin is closed", remedy="give a task file")
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


@contextmanager
def collected(path: str, place: str) -> Iterator[str]:
    """Give a stream as a file in the directory ``place``, to be read several times."""
    staging = f"{place}/.{os.getpid()}.{os.urandom(4).hex()}.tasks"
    source = sys.stdin.fileno() if path == "-" else os.open(path, os.O_RDONLY)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        target = os.open(staging, flags, 0o600)
        with open(target, "wb") as file, open(source, "rb", closefd=path != "-") as stream:
            shutil.copyfileobj(stream, file)
        yield staging
    finally:
        files.remove(staging)
