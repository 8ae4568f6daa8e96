"""Nothing -> open: a list of commands that a program has at hand."""

from __future__ import annotations

import os
from collections.abc import Iterable

from fjd.errors import UsageError
from fjd.spool.lists.content import LONGEST
from fjd.spool.lists.shelf import Shelf, open_list
from fjd.spool.names import Token, new_key
from fjd.spool.project import Project
from fjd.system import files

_CHUNK = 1 << 20


def submit(project: Project, name: str, commands: Iterable[bytes]) -> Shelf:
    """Let a list of commands be worked off; it is written as it comes and never held as a whole.

    Raises:
        UsageError: a command that cannot be one line of a list; nothing was submitted.
        DiskFull: there is no room; nothing was submitted.
    """
    staging = project.staging()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(staging, flags, 0o600)
    try:
        try:
            _write(fd, staging, commands)
            os.fsync(fd)
        finally:
            os.close(fd)
        shelf = open_list(project, staging, Token(new_key(name)))
    except BaseException:
        files.remove(staging)
        raise
    if shelf is None:
        raise UsageError(f"{name} was removed while it was submitted", remedy="submit it again")
    files.sync_directory(shelf.path)
    files.sync_directory(project.lists)
    return shelf


def _write(fd: int, path: str, commands: Iterable[bytes]) -> None:
    rows: list[bytes] = []
    size = 0
    for number, command in enumerate(commands, 1):
        if b"\n" in command or b"\0" in command or len(command) > LONGEST:
            raise UsageError(
                f"command {number} holds a line break or a NUL byte, or is longer than 1 MiB",
                remedy="put it into a script, and run that",
            )
        rows.append(command)
        size += len(command)
        if size >= _CHUNK:
            files.write_all(fd, b"\n".join([*rows, b""]), path)
            rows, size = [], 0
    files.write_all(fd, b"\n".join([*rows, b""]) if rows else b"", path)
