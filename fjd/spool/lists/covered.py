"""What is folded: the ranges of a list that are done with, and the files that say so.

``lists/<key>/progress.<writer>`` has one line per range, a JSON array:

    [lo, hi, worker, at, attempt, extra, why, bad]   whose records count for lo..hi-1, where
                                                  in the worker's records they begin, which
                                                  attempts they are (names.py), and how many of
                                                  them did not end well

One writer per file. A range that stands there twice says the same twice. ``progress.resume`` is
written by who submits the list, and says what an earlier run has done.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Optional

from fjd.spool.lists.names import EVER, PASSED, SKIPPED, WHY, Kept
from fjd.system import files

PROGRESS = "progress."
RESUMED = f"{PROGRESS}resume"


class Folded(NamedTuple):
    """One line of a progress file."""

    lo: int
    hi: int
    worker: str
    at: int
    attempt: int
    extra: int
    why: str
    bad: int

    @classmethod
    def of(cls, kept: Kept, hi: int, bad: int) -> Folded:
        """Return the line for the beginning of a judged piece."""
        piece = kept.piece
        extra = piece.extra
        return cls(piece.lo, hi, kept.worker, kept.at, piece.attempt, extra, kept.why, bad)

    def dump(self) -> bytes:
        """Return the line."""
        return json.dumps(self, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def load(cls, line: bytes) -> Optional[Folded]:
        """Read a line; None if it is none."""
        try:
            lo, hi, worker, at, attempt, extra, why, bad = json.loads(line)
        except (ValueError, TypeError):
            return None
        numbers = (lo, hi, at, attempt, extra, bad)
        if not all(type(n) is int and 0 <= n < EVER for n in numbers) or lo > hi:
            return None
        if not isinstance(worker, str) or why not in (*WHY, SKIPPED, PASSED):
            return None
        return cls(lo, hi, worker, at, attempt, extra, why, bad)


class Covered:
    """A set of numbers, kept as the disjoint ranges that it consists of.

    In arrays, which take a quarter of the memory of lists: a resume may have many ranges.
    """

    def __init__(self) -> None:
        self._los, self._his = array("q"), array("q")
        self.count = 0

    def add(self, lo: int, hi: int) -> list[tuple[int, int]]:
        """Add a range; return the parts of it that are new."""
        if lo >= hi:
            return []
        first = bisect_left(self._his, lo)  # the ranges that it meets or touches
        last = bisect_right(self._los, hi)
        old = list(zip(self._los[first:last], self._his[first:last]))
        new, at = [], lo
        for begin, end in old:
            if at < begin:
                new.append((at, begin))
            at = max(at, end)
        if at < hi:
            new.append((at, hi))
        self._los[first:last] = array("q", [min([lo, *(begin for begin, _ in old)])])
        self._his[first:last] = array("q", [max([hi, *(end for _, end in old)])])
        self.count += sum(end - begin for begin, end in new)
        return new

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._los, number) - 1
        return at >= 0 and number < self._his[at]

    def after(self, number: int) -> int:
        """Return the next number that is not in it."""
        at = bisect_right(self._los, number) - 1
        return max(number, self._his[at]) if at >= 0 else number

    def next(self, number: int, limit: int) -> int:
        """Return the next number from there on that is in it; ``limit`` if none is below that."""
        if number in self:
            return min(number, limit)
        at = bisect_left(self._los, number)
        return min(self._los[at], limit) if at < len(self._los) else limit

    def within(self, lo: int, hi: int) -> int:
        """Return how many numbers of a range are in it."""
        first, last = bisect_right(self._his, lo), bisect_left(self._los, hi)
        pairs = zip(self._los[first:last], self._his[first:last])
        return sum(min(hi, end) - max(lo, begin) for begin, end in pairs)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yield the ranges, lowest first."""
        return zip(self._los, self._his)

    def holes(self, upto: int) -> Iterator[tuple[int, int]]:
        """Yield what is missing below a number."""
        at = 0
        for lo, hi in self.ranges():
            if lo >= upto:
                break
            if at < lo:
                yield at, lo
            at = hi
        if at < upto:
            yield at, upto

    def full(self, upto: int) -> bool:
        """Tell whether nothing is missing below a number."""
        return next(self.holes(upto), None) is None


NOTHING = Covered()  # nobody adds to it


def lines(path: str) -> Iterator[Folded]:
    """Yield what one progress file says; a torn last line is passed over."""
    try:
        file = open(path, "rb")  # noqa: SIM115  closed by the with below
    except FileNotFoundError:
        return
    with file:
        for line in file:
            folded = Folded.load(line) if line.endswith(b"\n") else None
            if folded:
                yield folded


class Book:
    """The progress file of one dispatcher."""

    def __init__(self, directory: str, writer: str) -> None:
        self._file = files.Appender(f"{directory}/{PROGRESS}{writer}")
        files.sync_directory(directory)

    def write(self, folded: Iterable[Folded]) -> None:
        """Add ranges with one write, and make them survive a power cut."""
        text = b"".join(line.dump() for line in folded)
        if text:
            self._file.append(text)
            self._file.sync()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
