"""Submit: many job files become queued at once, durably, or none of them does; and put back.

Each file is checked and copied to ``tmp/``; then one sync makes all copies durable; then each is
renamed to a fresh name in ``jobqueue/``; then one sync of the directory. A crash at any moment
leaves whole jobs in the queue and at worst copies in ``tmp/`` that nobody reads. The fresh name is
a token's, and the job file's own name stands in its key: two jobs of one name never meet.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fjd.errors import ConfigError, FjdError, JobFileError
from fjd.spool import filing, jobfile, lookup, names
from fjd.spool.lists import again as lists
from fjd.spool.lists import submission as listing
from fjd.spool.lookup import Found
from fjd.spool.names import WHY, Result, Token
from fjd.spool.project import Project
from fjd.system import files, libc

_FEW = 8  # up to so many files are synced one by one; beyond, the whole file system is at once


class Refused(FjdError):
    """At least one file is no job; nothing was queued.

    Attributes:
        problems: one error per file that was refused.
    """

    exit_code = JobFileError.exit_code

    def __init__(self, problems: Sequence[FjdError], count: int) -> None:
        self.problems = list(problems)
        super().__init__(
            f"nothing was submitted: {len(self.problems)} of {count} files cannot be run",
            remedy="mend or leave out what is named above and submit again",
        )


class _Staged(NamedTuple):
    """A copy in tmp/ on its way to the queue."""

    path: str
    token: Token


def submit(project: Project, paths: Sequence[str]) -> list[Token]:
    """Nothing -> queued, for all files; returns what they are called in the queue, in order.

    Raises:
        Refused: some of them are no jobs; nothing was queued.
        DiskFull: there is no room; what was queued by then is said in the message.
    """
    staged: list[_Staged] = []
    try:
        _stage(project, paths, staged)
        _make_durable(project, len(staged))
    except BaseException:
        _clear(staged)
        raise
    _publish(project, staged)
    return [item.token for item in staged]


def again(project: Project, found: Found) -> bool:
    """Filed as failed, or rejected -> queued. False: somebody else moved it first."""
    token = found.token
    if token is None:
        return False
    if found.state != lookup.REJECTED:
        if names.is_list(found.job):
            return lists.again(project, found.path, found.job)
        return filing.retry(project, found.path, Result(token, found.worker, found.code))
    fresh = Token(names.new_key(found.job))
    if not files.move(found.path, f"{project.jobqueue}/{fresh}"):
        return False
    files.remove(f"{found.path}{WHY}")
    return True


def _stage(project: Project, paths: Sequence[str], staged: list[_Staged]) -> None:
    problems: list[FjdError] = []
    sync = len(paths) <= _FEW
    used: set[str] = set()
    for path in paths:
        try:
            data, mode = _read(path)
            if names.is_list(path):
                listing.check(path, path, follow=True)
            else:
                jobfile.parse(data, mode, path)
        except FjdError as error:
            problems.append(error)
        if problems:
            continue  # go on looking for others; nothing will be queued
        copy = _Staged(project.staging(), _token(path, used))
        staged.append(copy)
        if names.is_list(path):
            listing.copy(path, copy.path)
            continue
        files.create(copy.path, data, 0o700 if mode & stat.S_IXUSR else 0o600, sync)
    if problems:
        raise Refused(problems, len(paths))


def _token(path: str, used: set[str]) -> Token:
    while True:
        token = Token(names.new_key(os.path.basename(path)))
        if token.key not in used:
            used.add(token.key)
            return token


def _make_durable(project: Project, count: int) -> None:
    """Write what was staged to the disk, unless each file was synced as it was written."""
    if count <= _FEW:
        return
    fd = os.open(project.jobqueue, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        libc.syncfs(fd)
    finally:
        os.close(fd)


def _publish(project: Project, staged: Sequence[_Staged]) -> None:
    done = 0
    try:
        for item in staged:
            files.move(item.path, f"{project.jobqueue}/{item.token}")
            done += 1
        files.sync_directory(project.jobqueue)
    except (FjdError, OSError) as error:
        _clear(staged[done:])
        what = error.what if isinstance(error, FjdError) else error.strerror or str(error)
        raise ConfigError(
            f"only the first {done} of {len(staged)} jobs were queued: {what}",
            where=project.jobqueue,
            remedy="mend that and submit the others",
        ) from error
    except BaseException:
        _clear(staged[done:])
        raise


def _clear(staged: Sequence[_Staged]) -> None:
    for item in staged:
        try:
            files.remove(item.path)
        except OSError:
            continue  # a file in tmp/ that nobody reads


def _read(path: str) -> tuple[bytes, int]:
    """Return content and mode of a file that is to be copied; it may be a link to one."""
    name = os.path.basename(path)
    if name and not names.is_job(name):
        raise JobFileError(
            "has the name of a hidden, temporary or backup file",
            where=path,
            remedy="rename it if it is a job",
        )
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        found = os.fstat(fd)
        if stat.S_ISDIR(found.st_mode):
            raise JobFileError(
                "is a directory", where=path, remedy="name the files in it: fjd submit DIRECTORY/*"
            )
        if not stat.S_ISREG(found.st_mode):
            raise JobFileError("is not a regular file", where=path, remedy="submit a file")
        data = b"".join(_chunks(fd))  # one byte above the limit is enough to be refused
    except OSError as error:
        raise _unreadable(path, error) from None
    finally:
        os.close(fd)
    return data, stat.S_IMODE(found.st_mode)


def _chunks(fd: int) -> Iterator[bytes]:
    left = jobfile.LARGEST + 1
    while left > 0:
        data = os.read(fd, left)
        if not data:
            return
        left -= len(data)
        yield data


def _unreadable(path: str, error: OSError) -> JobFileError:
    return JobFileError(
        f"cannot be read: {error.strerror or error}",
        where=path,
        remedy="give the name of a job file that you can read",
    )
