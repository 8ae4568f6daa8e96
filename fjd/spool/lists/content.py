"""What is in a piece: enough to run its tasks without the list itself.

A line of JSON for what the tasks have in common (``Head``), then one line per task:

    <line> TAB <repeat> TAB <length> TAB <the command, that many bytes> LF

``line`` is where the task stands in the list, ``repeat`` its number in a repetition or -1. The
command may hold any byte but NUL. A piece that goes on with a shorter range keeps the content that
it was written with: the name says which of the tasks are meant.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple, Optional

from fjd.errors import JobFileError
from fjd.spool.lists.names import Piece

LONGEST = 1 << 20  # bytes of one command
ENOUGH = 1 << 18  # bytes of commands in one piece, if it has more than one


class Task(NamedTuple):
    """One task: where it stands, and what is run."""

    line: int
    repeat: int
    command: bytes


class Torn(Exception):
    """The content is not what was written: a power cut, or somebody's editor."""


class Content(NamedTuple):
    """A piece as it was written: its first task's number, what is common, and the tasks."""

    lo: int
    common: Mapping[str, Any]
    tasks: Sequence[Task]

    def part(self, lo: int, hi: int) -> Sequence[Task]:
        """Return the tasks of a range; Torn if they are not all there."""
        first = lo - self.lo
        found = self.tasks[first : hi - self.lo] if first >= 0 else ()
        if len(found) != hi - lo:
            raise Torn(f"no tasks {lo} to {hi}")
        return found

    def of(self, piece: Piece) -> Sequence[Task]:
        """Return the tasks of a piece."""
        return self.part(piece.lo, piece.hi)


def encode(lo: int, tasks: Iterable[Task], common: Optional[Mapping[str, Any]] = None) -> bytes:
    """Return the content of a new piece."""
    head = json.dumps({**(common or {}), "lo": lo}, separators=(",", ":"))
    rows = [b"%d\t%d\t%d\t%b\n" % (t.line, t.repeat, len(t.command), t.command) for t in tasks]
    return b"%b\n%b" % (head.encode("utf-8", "surrogateescape"), b"".join(rows))


def decode(data: bytes) -> Content:
    """Read what ``encode`` wrote.

    Raises:
        Torn: it is something else, or not all of it.
    """
    head, _, _ = data.partition(b"\n")
    try:
        common = json.loads(head.decode("utf-8", "surrogateescape"))
        lo = common.pop("lo")
        tasks = list(_rows(data, len(head) + 1))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise Torn(str(error)) from None
    if not isinstance(lo, int) or lo < 0:
        raise Torn("no first number")
    return Content(lo, common, tasks)


def _rows(data: bytes, at: int) -> Iterator[Task]:
    while at < len(data):
        line, repeat, length, _ = data[at : at + 64].split(b"\t", 3)
        size = int(length)
        at += len(line) + len(repeat) + len(length) + 3
        end = at + size
        if size < 0 or data[end : end + 1] != b"\n":
            raise ValueError("a row is cut")
        yield Task(int(line), int(repeat), data[at:end])
        at = end + 1


def lines(file: BinaryIO, name: str) -> Iterator[Task]:
    """Yield the tasks of a plain list, one per line; the file is never loaded as a whole.

    Raises:
        JobFileError: a line is too long or holds a NUL byte; it says which.
    """
    number = 0
    while True:
        line = file.readline(LONGEST + 2)
        if not line:
            return
        number += 1
        command = line[:-1] if line.endswith(b"\n") else line
        if len(command) > LONGEST:
            what = f"line {number} is longer than {LONGEST} bytes"
            raise JobFileError(what, where=name, remedy="put it into a script, and run that")
        if b"\0" in command:
            what = f"line {number} holds a NUL byte, which no command can"
            raise JobFileError(what, where=name, remedy="look at it with: cat -A")
        yield Task(number, -1, command)
