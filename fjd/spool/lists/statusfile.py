r"""The status file: one line per task that has ended, 15 columns, as disBatch has it.

    flags id line repeat node pid code elapsed start finish outbytes out errbytes err command

Tabs are between them, and may be in the command, which is the last one. The flags are four
characters: ``R`` (the code is not 0), ``O``, ``E`` (something was printed), and one of ``P`` (a
per-engine command, with an id of its own), ``S`` (an earlier run has done it), ``Z`` (disBatch: it
was heard of too late). Of a barrier they are five: ``B`` or ``C`` (a CHECK), and four blanks.

The code is the exit code (126: it could not be started), or minus the signal that ended it; 124 if
it ran into its timeout, whatever it then answered, as timeout(1) says; -100 with pid -1 if it was
lost with its workers. A cancelled one has no row: it has not ended, and a resume runs it.

A command stands there as it is. One with a line break, or that looks like a quoted one, is written
as a Python string, ``'...'``, and of these one that is not UTF-8 as ``b'...'``, as is any other
that is not UTF-8. Old files have all commands quoted; all three are read. Snippets are quoted.
"""

from __future__ import annotations

import ast
import functools
import re
from typing import NamedTuple, Optional

from fjd.spool import outcomes
from fjd.spool.lists.grammar import ENGINE_BASE, PER_ENGINE, Barrier
from fjd.spool.records import Record

HEADER = (
    b"ROE[ PSZ]\tTaskID\tLineNum\tRepeatIndex\tNode\tPID\tReturnCode\tElapsed\tStart\tFinish"
    b"\tBytesOfLeakedOutput\tOutputSnippet\tBytesOfLeakedError\tErrorSnippet\tCommand\n"
)
LOST = -100
TIMEOUT = 124
_HUGE = 10**18
SHOWN = 40  # bytes of what was printed, from its beginning and from its end
_INT, _REAL = rb"-?\d{1,18}", rb"-?\d{1,18}(?:\.\d{1,18})?"
_PATTERN = (
    rb"([ROEPSZBC ]{0,5})\t(\d{1,18})\t(%b)\t(%b)\t([^\t\n]*)\t(%b)\t(%b)\t%b\t%b\t%b"
    rb"\t(\d{1,18})\t[^\t\n]*\t(\d{1,18})\t([^\t\n]*)\t([^\n\0]*)\n"
    % (_INT, _INT, _INT, _INT, _REAL, _REAL, _REAL)
)
_ROW = re.compile(_PATTERN)
# Only what repr() writes: anything else that begins and ends with a quote is a command.
_ESCAPE = rb"\\[\\'\"nrt]|\\x[0-9a-f]{2}"
_WIDE = rb"|\\u[0-9a-f]{4}|\\U000[0-9a-f]{5}|\\U0010[0-9a-f]{4}"
_QUOTED = re.compile(
    rb"""b'(?:[ -&(-\[\]-~]|%b)*'|b"(?:[ !#-\[\]-~]|%b)*"|'(?:[^'\\]|%b)*'|"(?:[^"\\]|%b)*\""""
    % (_ESCAPE, _ESCAPE, _ESCAPE + _WIDE, _ESCAPE + _WIDE)
)


class Row(NamedTuple):
    """One line, read; ``kind`` is its flag P, S, Z, B or C, and a blank for a task that was run."""

    kind: str
    number: int
    line: int
    repeat: int
    host: bytes
    pid: int
    code: int
    figures: bytes  # columns 5 to 14, from the host to the snippet of the errors, as they stand
    out: int
    err: int
    command: bytes
    text: bytes  # the command as it stands there

    @property
    def commands(self) -> tuple[bytes, bytes]:
        """Return what may have been meant: an old file quotes, and a new one may look like it."""
        return self.command, self.text


def parse(line: bytes) -> Optional[Row]:
    """Read a line with its end; None: it is torn, the header, or something else."""
    found = _ROW.fullmatch(line)
    if found is None:
        return None
    flags, number, at, repeat, host, pid, code = found.group(1, 2, 3, 4, 5, 6, 7)
    text = found[11].removesuffix(b"\r")
    return Row(
        kind_of(flags),
        *(int(number), int(at), int(repeat), host, int(pid), int(code)),
        line[found.start(5) : found.end(10)],
        *(int(found[8]), int(found[9]), unquote(text), text),
    )


def brief(line: bytes) -> Optional[tuple[str, int, int]]:
    """Return only kind, id and code of a line: for who reads millions."""
    found = _ROW.fullmatch(line)
    if found is None:
        return None
    flags, number, code = found.group(1, 2, 7)
    return kind_of(flags), int(number), int(code)


@functools.lru_cache(64)  # there are only so many, and asked for every row
def kind_of(flags: bytes) -> str:
    """Return what the flags say beside R, O and E."""
    return flags.strip(b"ROE ")[:1].decode() or " "


def unquote(text: bytes) -> bytes:
    """Return the command that stands in the last column, however it is quoted."""
    if text[-1:] not in (b"'", b'"') or not _QUOTED.fullmatch(text):
        return text
    try:
        value = ast.literal_eval(text.decode())
    except (ValueError, SyntaxError, MemoryError):
        return text
    if isinstance(value, bytes):
        return value
    return _bytes(value) if isinstance(value, str) else text


def quote(command: bytes) -> bytes:
    """Return how a command stands in the last column."""
    try:
        text = command.decode()
    except UnicodeDecodeError:
        return repr(command).encode()
    if b"\n" in command or b"\r" in command or _QUOTED.fullmatch(command):
        return repr(text).encode()
    return command


def row(record: Record) -> bytes:
    """Return the line for the record of a task that has ended; b"" for a cancelled one."""
    if record.get("outcome") == outcomes.CANCELLED:
        return b""
    code = code_of(record)
    lost = code == LOST
    number, kind = max(0, _int(record, "task", 0)), b" "
    if number >= ENGINE_BASE:
        number, kind = (number - ENGINE_BASE) % PER_ENGINE, b"P"
    out, out_text = _leaked(record, "out")
    err, err_text = _leaked(record, "err")
    seconds, start, end = (_real(record, key) for key in ("seconds", "start", "end"))
    figures = b"%b\t%d\t%d\t%.3f\t%.3f\t%.3f\t%d\t%b\t%d\t%b" % (
        *(_word(record), -1 if lost else _int(record, "pid", -1), code),
        *(seconds, start or max(0.0, end - seconds), end, out, out_text, err, err_text),
    )
    command = quote(_bytes(str(record.get("command") or "")))
    line, repeat = _int(record, "line", -1), _int(record, "repeat", -1)
    return compose(_flags(code, out, err, kind), number, line, repeat, figures, command)


def skipped(old: Row, number: int, line: int, repeat: int, command: bytes) -> bytes:
    """Return the line of a task that an earlier run has done: its figures, flag S."""
    flags = _flags(old.code, old.out, old.err, b"S")
    return compose(flags, number, line, repeat, old.figures, quote(command))


def barrier_row(barrier: Barrier, host: str, pid: int, start: float, end: float) -> bytes:
    """Return the line of a barrier that was passed (``pid``: the dispatcher's)."""
    times = (max(0.0, end - start), start, end)
    figures = b"%b\t%d\t0\t%.3f\t%.3f\t%.3f\t0\t''\t0\t''" % (_bytes(host), pid, *times)
    flags = b"C    " if barrier.check else b"B    "
    return compose(flags, barrier.number, barrier.line, -1, figures, quote(barrier.text))


def compose(
    flags: bytes, number: int, line: int, repeat: int, figures: bytes, command: bytes
) -> bytes:
    """Put a line together."""
    return b"%b\t%d\t%d\t%d\t%b\t%b\n" % (flags, number, line, repeat, figures, command)


def code_of(record: Record) -> int:
    """Return the code of a task that has ended; only one that ended well has 0."""
    outcome = record.get("outcome")
    if outcome == outcomes.OK:
        return 0
    if outcome == outcomes.LOST:
        return LOST
    if outcome == outcomes.TIMEOUT:
        return TIMEOUT
    signal = _int(record, "signal", 0)
    return -signal if signal else _int(record, "exit", 0) or 1


def leak(size: int, head: bytes, tail: bytes) -> list[object]:
    """Return what a record says of a stream: its size, first bytes, and last ones if it is long."""
    head = head[:SHOWN]
    rest = min(SHOWN, max(0, size - SHOWN))
    tail = tail[-rest:] if rest else b""
    texts = (part.decode("utf-8", "surrogateescape") for part in (head, tail))
    return [size, *texts]


def _leaked(record: Record, stream: str) -> tuple[int, bytes]:
    leaks = record.get("leak")
    said = leaks.get(stream) if isinstance(leaks, dict) else None
    if not isinstance(said, list) or len(said) != 3 or type(said[0]) is not int:
        return 0, b"''"
    if not 0 < said[0] < _HUGE:
        return 0, b"''"
    head, tail = _bytes(str(said[1])), _bytes(str(said[2]))
    whole = head if said[0] <= SHOWN else head + b"..." + tail
    return said[0], repr(whole.decode("utf-8", "replace")).encode()


def _flags(code: int, out: int, err: int, kind: bytes) -> bytes:
    marks = (b"R" if code else b" ", b"O" if out else b" ", b"E" if err else b" ", kind)
    return b"".join(marks)


def _word(record: Record) -> bytes:
    """Return where it ran: one word, whatever the record says."""
    host = record.get("host") or str(record.get("worker") or "").rsplit("-", 2)[0]
    return b"_".join(_bytes(str(host)).split()) or b"-"


def _int(record: Record, key: str, default: int) -> int:
    value = record.get(key)
    return value if type(value) is int and abs(value) < _HUGE else default


def _real(record: Record, key: str) -> float:
    value = record.get(key)
    return float(value) if isinstance(value, (int, float)) and 0 <= value < 1e15 else 0.0


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")
