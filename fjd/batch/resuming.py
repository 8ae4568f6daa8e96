"""What earlier runs have done, put into the status file of the run that goes on.

The new file is written beside its place and moved there as a whole: there is never a moment at
which the file of that name knows less than the old one did.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Callable, NamedTuple

from fjd.batch import ending
from fjd.batch.resume import Parts, Resume
from fjd.spool.lists import statusfile
from fjd.spool.lists.grammar import Reader
from fjd.system import files

Say = Callable[[str], None]

_CHUNK = 1 << 20


class Done(NamedTuple):
    """What is done already: which tasks, how many, and how many are ``left``, and ``barriers``."""

    skipped: Parts
    number: int
    left: int
    barriers: int


def fresh(status: str, header: bool, say: Say) -> None:
    """Let the status file of a new run be there, with nothing in it but a header."""
    staging = _staging(status)
    files.create(staging, statusfile.HEADER if header else b"", sync=True)
    _put(staging, status, say)


def carry_over(
    source: str,
    name: str,
    earlier: Sequence[str],
    status: str,
    header: bool,
    retry: bool,
    force: bool,
    say: Say,
) -> Done:
    """Write a status file with the rows of all tasks that are done.

    Args:
        source: the task file; ``name``: what its tasks come from.
        earlier: status files of earlier runs, the oldest first.

    Raises:
        FjdError: one of them cannot be read, or a task is another one than it was.
    """
    resume = Resume.read(earlier, retry, force)
    staging = _staging(status)
    try:
        files.create(staging, statusfile.HEADER if header else b"")
        with open(source, "rb") as file, open(staging, "ab", buffering=_CHUNK) as rows:
            reader = Reader(file, name)
            skipped = Parts(resume.ranges(reader, rows.write))
            rows.flush()
            os.fsync(rows.fileno())
    except BaseException:
        files.remove(staging)
        raise
    finally:
        resume.close()
    if resume.unreadable:
        say(f"{resume.unreadable} lines of the status file(s) are torn or unknown: passed over")
    if resume.differing:
        say(resume.differing)
    _put(staging, status, say)
    number = sum(part.hi - part.lo for part in skipped)
    return Done(skipped, number, resume.tasks - number, resume.barriers)


def _staging(status: str) -> str:
    return f"{status}.{os.getpid()}.{os.urandom(4).hex()}.tmp"


def _put(staging: str, status: str, say: Say) -> None:
    kept = ending.set_aside(status)
    if kept:
        say(f"the status file of an earlier run is kept as {kept}")
    os.replace(staging, status)
    files.sync_directory(os.path.dirname(status))
