"""The edge: where talk is printed, and where an error becomes one line and an exit code.

Exit codes: 0 all good; 1 some tasks failed; 2 usage; 3 no such job or nothing to do; 4 no workers
or hosts unreachable; 6 environment or configuration wrong; 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Callable

from fjd.errors import FjdError

INTERRUPTED = 130

_unwritten: list[OSError] = []  # why `out` could not print


def one_line(text: str) -> str:
    """Return text that is safe and single-lined on any terminal: no control characters."""
    return "".join(c if c.isprintable() else _visible(c) for c in text)


def _visible(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if char in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char]
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def say(program: str, text: str) -> None:
    """Print one line of talk on stderr; that nobody can read it stops nobody."""
    try:
        print(f"[{program}] {one_line(text)}", file=sys.stderr, flush=True)
    except OSError:
        return


def tell(text: str, otherwise: Callable[[str], object]) -> None:
    """Print something on stdout before the work begins; where nobody takes it, say it."""
    try:
        print(text, flush=True)
    except OSError:
        _abandon_what_nobody_takes()
        for line in text.splitlines():
            otherwise(line)


def out(program: str, text: str) -> None:
    """Print a line about what was done; where it cannot be written the rest is done all the same.

    The exit code tells at the end, if it is not because a reader has had enough.
    """
    try:
        print(f"[{program}] {one_line(text)}", flush=True)
    except BrokenPipeError:
        _abandon_what_nobody_takes()
    except OSError as error:
        _abandon_what_nobody_takes()
        say(program, text)
        _unwritten.append(error)


def run(program: str, command: Callable[[], int]) -> int:
    """Run a command and return its exit code; what a user can cause never ends in a traceback."""
    _open_streams()
    try:
        return _outcome(program, command)
    finally:
        _abandon_what_nobody_takes()


def _outcome(program: str, command: Callable[[], int]) -> int:
    try:
        code = _code_of(command)
        sys.stdout.flush()
        if _unwritten and not code:
            raise _unwritten.pop()
        return code
    except FjdError as error:
        say(program, str(error))
        return error.exit_code
    except KeyboardInterrupt:
        say(program, "interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        return 0  # whoever read our output has had enough, and nothing is wrong
    except OSError as error:
        say(program, _refusal(error))
        return 6
    except (MemoryError, RuntimeError) as error:
        if not _is_limit(error):
            raise
        say(program, "the system gives no more memory or threads; see what ulimit -a allows")
        return 6


def _refusal(error: OSError) -> str:
    why = error.strerror or str(error)
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM):
        return f"the system refused: {why}; see what ulimit -a allows"
    if error.filename:
        from shlex import quote  # a worker that starts does not wait for it

        path = os.fsdecode(error.filename)
        return f"the system refused {path!r}: {why}; look at it with: ls -ld {quote(path)}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):  # a file would have a name
        return f"stdout cannot be written: {why}; send it elsewhere"
    return f"the system refused: {why}"


def _is_limit(error: Exception) -> bool:
    """Tell whether a limit was reached; Python has no class for threads that cannot be started."""
    return isinstance(error, MemoryError) or "start new thread" in str(error)


def _abandon_what_nobody_takes() -> None:
    """What cannot be written now would fail again when Python ends, with another exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), stream.fileno())


def _code_of(command: Callable[[], int]) -> int:
    try:
        return command()
    except SystemExit as end:  # argparse has printed its help
        return end.code if isinstance(end.code, int) else 0


def _open_streams() -> None:
    """Let nothing of ours be opened in the place of a stream that the caller has closed."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def warn_root(program: str) -> None:
    """Say once that root's home is not everybody's home."""
    if os.geteuid() == 0:
        say(program, "warning: running as root; other hosts may see another home")
