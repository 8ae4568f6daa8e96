"""What a job file says: which command, and how to run it.

A task list (NAME.tasks) is no job file; see ``lists/grammar.py``. A job file is one of

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

# No postponed annotations here: NamedTuple would compile each of them when a worker starts (2 ms).

import errno
import os
import re
import stat
from typing import NamedTuple, Optional, Union

from fjd.errors import JobFileError
from fjd.spool.duration import duration
from fjd.system import inifile

LARGEST = 1 << 20  # bytes
SECTIONS = ("control", "fjd")

# Patterns as text: compiling them would cost every worker's start, and few job files need them.
_VARIABLE = "[A-Za-z_][A-Za-z0-9_]*"
_MISPLACED = r"(?im)^[ \t]*\[[ \t]*(?:control|fjd)[ \t]*\].*"


class Job(NamedTuple):
    """What a worker needs to know to run one job file."""

    kind: str  # "ini" or "script"
    executable: str  # "" for a script
    logfile: Optional[str]
    timeout: Optional[float]  # seconds
    retries: int
    nice: Optional[int]
    cwd: Optional[str]
    env: dict[str, str]


def read_bytes(path: Union[str, os.PathLike[str]]) -> tuple[bytes, int]:
    """Return content and permissions of a job file of our own.

    FileNotFoundError: somebody else took or removed it, a lost race and no fault of the file.
    """
    name = os.fspath(path)
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        raise _unopened(problem, name) from None
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


def read(path: str, name: str) -> Job:
    """Return what a job file says; errors as ``read_bytes`` and ``parse`` have them."""
    return parse(*read_bytes(path), name)


def parse(data: bytes, mode: int, name: str) -> Job:
    """Return what the file called `name` says; JobFileError tells what is wrong with it."""
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


def _unopened(problem: OSError, name: str) -> Union[OSError, JobFileError]:
    """Return what a failed open says about the file, or the error itself."""
    if problem.errno in (errno.ELOOP, errno.EMLINK):
        return JobFileError(
            "it is a symbolic link", where=name, remedy="put a copy of the file itself there"
        )
    if problem.errno == errno.ENXIO:
        return JobFileError("it is a socket", where=name, remedy="put a plain file there")
    if problem.errno not in (errno.EACCES, errno.EPERM):
        return problem
    try:
        status = os.lstat(name)
    except OSError as worse:
        return worse
    if status.st_uid != os.geteuid():
        return _foreign(status, name)
    return JobFileError("you may not read it", where=name, remedy=_typed("chmod u+r", name))


def _check(status: os.stat_result, name: str) -> None:
    """Let only a plain file of our own pass that is not too large."""
    if not stat.S_ISREG(status.st_mode):
        if stat.S_ISDIR(status.st_mode):
            what = "it is a directory"
        elif stat.S_ISFIFO(status.st_mode):
            what = "it is a FIFO"
        else:
            what = "it is a device"
        raise JobFileError(what, where=name, remedy="put a plain file there")
    if status.st_uid != os.geteuid():
        raise _foreign(status, name)
    if status.st_size > LARGEST:
        raise _too_large(status.st_size, name)


def _foreign(status: os.stat_result, name: str) -> JobFileError:
    return JobFileError(
        f"it belongs to user {status.st_uid}, and you are {os.geteuid()}",
        where=name,
        remedy="put a copy of your own there",
    )


def _too_large(size: int, name: str) -> JobFileError:
    return JobFileError(
        f"it has {size} bytes, and a job file ends at {LARGEST}",
        where=name,
        remedy="keep the data in another file and name that in the job",
    )


def _typed(command: str, name: str) -> str:
    import shlex  # seldom needed, and a worker starts without it

    return f"type `{command} {shlex.quote(name)}`"


def _script(data: bytes, mode: int, name: str) -> Job:
    """Return the job that is a script, if the system could run it."""
    if not mode & stat.S_IXUSR:
        raise JobFileError(
            "it is a script without the permission to run it",
            where=name,
            remedy=_typed("chmod +x", name),
        )
    first = data[2:].split(b"\n", 1)[0]
    if not first.strip():
        raise JobFileError(
            "no program stands behind `#!`",
            where=f"{name}:1",
            remedy="begin with a line such as `#!/bin/sh`",
        )
    if first.endswith(b"\r"):
        raise JobFileError(
            "its lines end in CR LF, and no system finds the program behind `#!` then",
            where=f"{name}:1",
            remedy=_typed(r"sed -i 's/\r$//'", name),
        )
    return Job("script", "", None, None, 0, None, None, {})


def _section(text: str, name: str) -> inifile.Section:
    """Return the one section that is for fjd."""
    found = list(inifile.read(text, name, SECTIONS, JobFileError).values())
    if len(found) == 1:
        return found[0]
    if found:
        raise found[1].error(
            f"[{found[1].name}] and [{found[0].name}] (line {found[0].line}) mean the same section",
            "make one of the two",
        )
    near = re.search(_MISPLACED, text)
    if near:
        line = text.count("\n", 0, near.start()) + 1
        raise JobFileError(
            f"{inifile.shown(near[0].rstrip())} is not the section [control]",
            where=f"{name}:{line}",
            remedy="write `[control]` in lower case, not indented, and nothing behind it",
        )
    raise JobFileError(
        "it has no section [control]",
        where=name,
        remedy="add `[control]` and below it `executable: COMMAND`, or begin a script with `#!`",
    )


def _timeout(section: inifile.Section) -> Optional[float]:
    text = section.text("timeout")
    if text is None:
        return None
    try:
        return duration(text)
    except ValueError as problem:
        raise section.error(
            f"`timeout`: {problem}", "mend it or remove the line", "timeout"
        ) from None


def _cwd(section: inifile.Section) -> Optional[str]:
    path = section.text("cwd")
    if path is None or not path.startswith("~"):
        return path
    home = os.path.expanduser(path)
    if home.startswith("~"):
        raise section.error(
            f"`cwd`: nobody is called {inifile.shown(path.split('/', 1)[0])}",
            "write the whole path",
            "cwd",
        )
    return home


def _env(section: inifile.Section) -> dict[str, str]:
    """Return the variables of `env: A=1 B="two words"`."""
    text = section.text("env")
    if text is None:
        return {}
    import shlex  # seldom needed, and a worker starts without it

    try:
        words = shlex.split(text)
    except ValueError:
        raise section.error(
            "`env` has a quote or a backslash without its counterpart",
            'write it as `env: NAME=VALUE NAME="two words"`',
            "env",
        ) from None
    found: dict[str, str] = {}
    for word in words:
        variable, divider, value = word.partition("=")
        if not divider or not re.fullmatch(_VARIABLE, variable):
            raise section.error(
                f"`env` has {inifile.shown(word)}, which sets no variable",
                'write it as `env: NAME=VALUE NAME="two words"`',
                "env",
            )
        if variable in found:
            raise section.error(
                f"`env` sets {inifile.shown(variable)} twice", "remove one of the two", "env"
            )
        found[variable] = value
    return found
