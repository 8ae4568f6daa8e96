"""Nothing -> open: a list that a program hands in, as a whole or as it comes.

Everything that belongs to it (its token at 0, its terms, what an earlier run has done) is written
into a directory of its own under tmp/, and appears with one rename, durably.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Optional, Protocol

from fjd.errors import FjdError, JobFileError, UsageError
from fjd.spool.lists import grammar
from fjd.spool.lists import terms as side
from fjd.spool.lists.covered import RESUMED, Folded
from fjd.spool.lists.grammar import LONGEST
from fjd.spool.lists.names import NOBODY, SKIPPED, Mark
from fjd.spool.lists.shelf import Shelf
from fjd.spool.lists.terms import Terms
from fjd.spool.lists.writing import Sign
from fjd.spool.names import Token, new_key
from fjd.spool.project import Project
from fjd.system import files

STAGED = ".list"  # what the directories under tmp/ end in
_CHUNK = 1 << 20
_MANY = 10_000  # ranges that are written at once
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_APPEND | os.O_CLOEXEC


class Done(Protocol):
    """Consecutive tasks that an earlier run has done, ``bad`` of them not well."""

    @property
    def lo(self) -> int:
        """The first one."""

    @property
    def hi(self) -> int:
        """The number behind the last one."""

    @property
    def bad(self) -> int:
        """How many of them did not end well."""


def submit(
    project: Project,
    name: str,
    source: str | Iterable[bytes],
    terms: Optional[Terms] = None,
    done: Iterable[Done] = (),
) -> Shelf:
    """Let a list be worked off; it is never held as a whole.

    Args:
        source: the path of a list, or commands, which may hold anything but NUL.
        terms: what its submitter asks for.
        done: tasks that an earlier run has done, lowest first.

    Raises:
        UsageError: there is no such file, or a command is none; nothing was submitted.
        DiskFull: there is no room; nothing was submitted.
    """
    staged = _Staged(project, name)
    try:
        chunks = _copied(source) if isinstance(source, str) else _written(source)
        for chunk in chunks:
            files.write_all(staged.fd, chunk, staged.path)
        staged.describe(terms, done)
        return staged.publish()
    finally:
        staged.close()


def check(path: str, name: str, follow: bool = False) -> None:
    """Look through a file that is to be a list, before anything of it is run.

    Args:
        follow: it may be a link.

    Raises:
        FileNotFoundError: there is none.
        JobFileError: it cannot be read, or a line in it cannot be; it says which.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        with os.fdopen(os.open(path, flags), "rb", 1 << 18) as file:
            grammar.check(file, name)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in files.TRANSIENT:
            raise
        raise JobFileError(
            f"cannot be read: {error.strerror}", where=name, remedy="see its permissions"
        ) from None


class Growing:
    """A list that is worked off while it is being written; ``shelf`` is where.

    Its terms should name the writer: without one it is known only by its end that it has ended. For
    a dispatcher on another host the writer lets ``sign`` beat.
    """

    def __init__(self, project: Project, name: str, terms: Terms) -> None:
        staged = _Staged(project, name)
        try:
            staged.describe(terms, ())
            self.shelf = staged.publish()
            self._fd = os.dup(staged.fd)  # of whatever name the list is now
            self.sign = Sign(project, self.shelf.key)
        finally:
            staged.close()

    def write(self, data: bytes) -> None:
        """Add lines, as in a file of tasks; waits for nothing.

        Raises:
            DiskFull: there is no room; what is there of it is not a whole line.
        """
        files.write_all(self._fd, data, self.shelf.path)

    def finish(self) -> None:
        """Say that no more will come; said twice is said once."""
        if self._fd >= 0:
            files.write_all(self._fd, b"#FJD END\n", self.shelf.path)
            os.fsync(self._fd)
            self.abandon()

    def abandon(self) -> None:
        """Close it without an end: the dispatcher takes it for broken off once we are dead."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self.sign.end()


def command_lines(command: bytes) -> bytes:
    """Return how one command stands in a list, whatever is in it."""
    plain = command.strip() and command.lstrip()[:1] != b"#" and command[-1:] != b"\r"
    if plain and b"\n" not in command:
        return command + b"\n"
    return b"#FJD TASK %d\n%b\n" % (len(command), command)


def write_done(directory: str, done: Iterable[Done]) -> None:
    """Write what an earlier run has done into a list's directory; synced."""
    path = f"{directory}/{RESUMED}"
    ranges = (Folded(part.lo, part.hi, NOBODY, 0, 1, 0, SKIPPED, part.bad) for part in done)
    target: Optional[files.Appender] = None
    try:
        while chunk := b"".join(part.dump() for part in islice(ranges, _MANY)):
            target = target or files.Appender(path)
            target.append(chunk)
        if target:
            target.sync()
    finally:
        if target:
            target.close()


class _Staged:
    """A list that nobody sees yet."""

    def __init__(self, project: Project, name: str) -> None:
        self._shelf = Shelf(project, new_key(name))
        self._token = str(Mark(Token(self._shelf.key)))
        self.path = project.staging() + STAGED
        files.make_directory(self.path)
        self.fd = os.open(f"{self.path}/{self._token}", _NEW, 0o600)

    def describe(self, terms: Optional[Terms], done: Iterable[Done]) -> None:
        """Write what belongs to it."""
        if terms is not None:
            side.write(self.path, terms)
        write_done(self.path, done)

    def publish(self) -> Shelf:
        """Let it appear."""
        shelf = self._shelf
        os.fsync(self.fd)
        files.sync_directory(self.path)
        if not files.move(self.path, shelf.path):
            raise FjdError(
                f"{self._token} was removed while it was submitted", remedy="submit it again"
            )
        files.sync_directory(shelf.project.lists)
        return shelf

    def close(self) -> None:
        """Leave nothing behind that was not published."""
        os.close(self.fd)
        shutil.rmtree(self.path, ignore_errors=True)


def copy(path: str, target: str) -> None:
    """Copy a list to a new file; synced. Raises DiskFull and UsageError; then there is none."""
    files.create(target, b"")
    try:
        fd = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            for chunk in _copied(path):
                files.write_all(fd, chunk, target)
            os.fsync(fd)
        finally:
            os.close(fd)
    except BaseException:
        files.remove(target)
        raise


def _copied(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise UsageError(f"the list cannot be read: {error.strerror}", where=path) from None


def _written(commands: Iterable[bytes]) -> Iterator[bytes]:
    rows: list[bytes] = []
    size = 0
    for number, command in enumerate(commands, 1):
        if b"\0" in command or len(command) > LONGEST:
            raise UsageError(
                f"command {number} holds a NUL byte, or is longer than 1 MiB",
                remedy="put it into a script, and run that",
            )
        rows.append(command_lines(command))
        size += len(command)
        if size >= _CHUNK:
            yield b"".join(rows)
            rows, size = [], 0
    yield b"".join(rows)
