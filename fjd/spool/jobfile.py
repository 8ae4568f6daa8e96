"""What a job file says: which command, and how to run it.

A file is one of

    NAME.tasks           a task list
    #!...                a script, run as it is; it needs the execute permission
    [control] or [fjd]   an INI job; whatever else stands in it is for the job itself

and the section of an INI job knows these options:

    executable: COMMAND         what the shell is given, character for character (required)
    logfile: PATH               created before the job starts
    timeout: DURATION           see ``duration``
    retries: 0..1000            further attempts after a failure
    nice: -20..19
    cwd: PATH                   `~` is expanded
    env: NAME=VALUE NAME="..."  by the word rules of the shell

A file that was read while somebody was still writing it may raise JobFileError for no other
reason: whoever rejects job files looks at them twice.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import NamedTuple

from fjd import inifile
from fjd.errors import FjdError, JobFileError

LARGEST = 1 << 20  # bytes
SECTIONS = ("control", "fjd")

_LONGEST = 100 * 365 * 86400.0  # seconds: still fits the clock calls of every system
_NUMBER = "([0-9]{1,12}(?:[.][0-9]{1,12})?)"
_UNITS = re.compile(f"(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s?)?")
_CLOCK = re.compile("(?:(?:([0-9]{1,9})-(?=[0-9]+:[0-9]+:))?([0-9]{1,9}):)?([0-9]{1,9}):([0-9]{2})")
_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_MISPLACED = re.compile(r"^[ \t]*\[[ \t]*(?:control|fjd)\b.*", re.IGNORECASE | re.MULTILINE)


class Job(NamedTuple):
    """What a worker needs to know to run one job file."""

    kind: str  # "ini" or "script"
    executable: str  # "" for a script
    logfile: str | None
    timeout: float | None  # seconds
    retries: int
    nice: int | None
    cwd: str | None
    env: dict[str, str]


def read_bytes(path: str | os.PathLike[str]) -> tuple[bytes, int]:
    """Return content and permissions of a job file of our own.

    FileNotFoundError: somebody else took or removed it, a lost race and no fault of the file.
    """
    name = os.fspath(path)
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        raise _unopened(problem, name) or problem from None
    try:
        status = os.fstat(fd)
        _check(status, name)
        data = os.read(fd, status.st_size + 1)
        while 0 < len(data) < status.st_size:
            more = os.read(fd, status.st_size - len(data))
            if not more:
                break
            data += more
    finally:
        os.close(fd)
    if len(data) != status.st_size:
        raise JobFileError(
            "its size changed while it was read",
            where=name,
            remedy="write it under another name and `mv` it here when it is complete",
        )
    return data, stat.S_IMODE(status.st_mode)


def parse(data: bytes, mode: int, name: str) -> Job:
    """Return what the file called `name` says; JobFileError tells what is wrong with it."""
    if name.endswith(".tasks"):
        raise _task_list(name)
    if len(data) > LARGEST:
        raise _too_large(len(data), name)
    if data.startswith(b"#!"):
        return _script(data, mode, name)
    if not data.strip():
        raise JobFileError(
            "it is empty", where=name, remedy="write `[control]` and `executable: COMMAND` into it"
        )
    section = _section(inifile.decode(data, name, JobFileError), name)
    executable = section.text("executable")
    if executable is None:
        raise section.error(
            f"the section [{section.name}] has no `executable`", "add a line `executable: COMMAND`"
        )
    return Job(
        kind="ini",
        executable=executable,
        logfile=section.text("logfile"),
        timeout=_timeout(section),
        retries=section.integer("retries", 0, 1000) or 0,
        nice=section.integer("nice", -20, 19),
        cwd=_cwd(section),
        env=_env(section),
    )


def duration(text: str) -> float:
    """Return the seconds that a user's word for a length of time means; ValueError if it is none.

    `90`, `1.5`, `90s`, `10m`, `2h30m`, `1d12h`: units from large to small, the last may be left out
    if it is seconds. `MM:SS`, `HH:MM:SS`, `D-HH:MM:SS`: as Slurm and PBS write them; only the
    first number may be as large as it likes.
    """
    clock = _CLOCK.fullmatch(text)
    found = clock or _UNITS.fullmatch(text.replace(" ", ""))
    if not found or not text:
        raise ValueError(
            f"{inifile.shown(text)} is no length of time (90, 1.5, 90s, 2h30m, "
            "MM:SS, HH:MM:SS, D-HH:MM:SS)"
        )
    days, hours, minutes, seconds = (float(number or 0) for number in found.groups())
    if clock and (
        seconds >= 60 or (clock[2] and minutes >= 60) or (clock[1] is not None and hours >= 24)
    ):
        raise ValueError(f"{inifile.shown(text)} has a part that is too large (23:59:59)")
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if total <= 0:
        raise ValueError(f"{inifile.shown(text)} is no time at all")
    if total > _LONGEST:
        raise ValueError(f"{inifile.shown(text)} is more than a hundred years")
    return total
