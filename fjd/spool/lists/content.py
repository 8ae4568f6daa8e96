"""What is in a piece: enough to run its tasks without the list itself.

A line of JSON for what the tasks have in common (``Head``), then one line per task:

    <number> TAB <line> TAB <repeat> TAB <length> TAB <the command, that many bytes> LF

``line`` is where the task stands in the list, ``repeat`` its number in a repetition or -1. The
command may hold any byte but NUL. Numbers rise, and some may be missing: an earlier run has done
those. A piece that goes on with a shorter range keeps the content that it was written with: the
name says which of the tasks are meant.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from fjd.spool.lists.names import Piece
from fjd.spool.lists.task import Task

ENOUGH = 1 << 18  # bytes of commands in one piece, if it has more than one
_FIGURES = 96  # bytes that the figures of one row take at most


class Torn(Exception):
    """The content is not what was written: a power cut, or somebody's editor."""


class Content(NamedTuple):
    """A piece as it was written: its range, what its tasks have in common, and the tasks."""

    lo: int
    hi: int
    common: Mapping[str, Any]
    tasks: Sequence[Task]

    def part(self, lo: int, hi: int) -> Sequence[Task]:
        """Return the tasks of a range; Torn if it is not a part of this one."""
        if not self.lo <= lo <= hi <= self.hi:
            raise Torn(f"no tasks {lo} to {hi}")
        return [task for task in self.tasks if lo <= task.number < hi]

    def of(self, piece: Piece) -> Sequence[Task]:
        """Return the tasks of a piece."""
        return self.part(piece.lo, piece.hi)


def encode(
    lo: int, hi: int, tasks: Iterable[Task], common: Optional[Mapping[str, Any]] = None
) -> bytes:
    """Return the content of a new piece."""
    rows = [b"%d\t%d\t%d\t%d\t%b\n" % (*task[:3], len(task[3]), task[3]) for task in tasks]
    fields = {**(common or {}), "lo": lo, "hi": hi, "tasks": len(rows)}
    head = json.dumps(fields, separators=(",", ":"))
    return b"%b\n%b" % (head.encode("utf-8", "surrogateescape"), b"".join(rows))


def decode(data: bytes) -> Content:
    """Read what ``encode`` wrote.

    Raises:
        Torn: it is something else, or not all of it.
    """
    head, _, _ = data.partition(b"\n")
    try:
        common = json.loads(head.decode("utf-8", "surrogateescape"))
        lo, hi, count = common.pop("lo"), common.pop("hi"), common.pop("tasks")
        tasks = list(_rows(data, len(head) + 1))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise Torn(str(error)) from None
    if type(lo) is not int or type(hi) is not int or not 0 <= lo <= hi or count != len(tasks):
        raise Torn("it is not whole")
    if any(not lo <= task.number < hi for task in tasks):
        raise Torn("it has tasks of another piece")
    return Content(lo, hi, common, tasks)


def _rows(data: bytes, at: int) -> Iterator[Task]:
    while at < len(data):
        number, line, repeat, length, _ = data[at : at + _FIGURES].split(b"\t", 4)
        size = int(length)
        at += len(number) + len(line) + len(repeat) + len(length) + 4
        end = at + size
        if size < 0 or data[end : end + 1] != b"\n":
            raise ValueError("a row is cut")
        yield Task(int(number), int(line), int(repeat), data[at:end])
        at = end + 1
