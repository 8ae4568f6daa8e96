"""Resume: which tasks the status files of earlier runs say are done.

A task is the same if its number and its text are. Rows of tasks that were run count, and those that
were skipped because an earlier run did them (S): so the file of a resumed run can be resumed from.
Success wins over failure, whatever the codes; of several of a kind the last one counts.

Of each row only its place in its file is kept. When a task comes, its row is read from there: the
text is compared as it is, and its figures go into the new status file.
"""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import BinaryIO, Callable, NamedTuple, Optional

from fjd.errors import FjdError
from fjd.spool.lists import statusfile
from fjd.spool.lists.grammar import Barrier, Reader, Task
from fjd.spool.lists.statusfile import Row

_LONGEST = 16 << 20  # bytes of a row: its command may be quoted
_PAGE = 1024  # numbers whose places lie together
_BITS = 14  # of the size of a block
_BLOCK = 1 << _BITS
_BLOCKS = 256  # kept: tasks that are neighbours have ended nearly at the same time
_SHIFT = 44  # bits of an offset; above them is which file, below them one: whether it ended well
_COUNTED = " S"


class Mismatch(FjdError):
    """A task is another one than in the status file."""


class Skipped(NamedTuple):
    """A run of consecutive tasks, ``lo <= number < hi``, of which ``bad`` failed back then."""

    lo: int
    hi: int
    bad: int


class Parts:
    """Many of those, in little memory."""

    def __init__(self, parts: Iterable[Skipped]) -> None:
        self._figures = array("q")
        for part in parts:
            self._figures.extend(part)

    def __len__(self) -> int:
        return len(self._figures) // len(Skipped._fields)

    def __iter__(self) -> Iterator[Skipped]:
        figures = iter(self._figures)
        return map(Skipped, figures, figures, figures)


class Resume:
    """What earlier runs have done.

    Args:
        retry: a task that failed is to be run again.
        force: the number alone says which task it is.

    Attributes:
        rows: how many rows counted.
        unreadable: how many lines were none.
        tasks, barriers: how many there are in the list, once ``ranges`` is through.
        differing: what is said of the first task that is another one; "" if none was (force).
    """

    def __init__(self, retry: bool = False, force: bool = False) -> None:
        self.rows = self.unreadable = self.tasks = self.barriers = 0
        self.differing = ""
        self._retry, self._force = retry, force
        self._files: list[tuple[str, BinaryIO]] = []
        self._pages: dict[int, array[int]] = {}
        self._blocks: dict[int, bytes] = {}  # of the files, by place

    @classmethod
    def read(cls, paths: Sequence[str], retry: bool = False, force: bool = False) -> Resume:
        """Read status files, the oldest first.

        Raises:
            FjdError: one cannot be read, or is no status file.
        """
        resume = cls(retry, force)
        try:
            for path in paths:
                resume._learn(path)
        except BaseException:
            resume.close()
            raise
        return resume

    def close(self) -> None:
        """Close the files."""
        for _, file in self._files:
            file.close()
        self._files.clear()

    # -- reading ------------------------------------------------------------------------------

    def _learn(self, path: str) -> None:
        file = _open(path)
        which = len(self._files) << _SHIFT
        self._files.append((path, file))
        offset, known, odd, whole = 0, 0, 0, True
        try:
            for line in iter(partial(file.readline, _LONGEST), b""):
                said = statusfile.brief(line) if whole else None
                if said is not None:
                    known += 1
                    if said[0] in _COUNTED:
                        self._note(said[1], which + offset, said[2] == 0)
                elif whole and line.endswith(b"\n") and line.rstrip() != statusfile.HEADER[:-1]:
                    odd += 1
                offset += len(line)
                whole = line.endswith(b"\n")
        except OSError as error:
            raise FjdError(f"cannot be read: {error.strerror}", where=path) from None
        if odd and not known:
            raise FjdError(
                "is no status file", where=path, remedy="give -r the status file of a run"
            )
        self.unreadable += odd

    def _note(self, number: int, place: int, good: bool) -> None:
        page = self._pages.get(number // _PAGE)
        if page is None:
            page = self._pages[number // _PAGE] = array("Q", bytes(8 * _PAGE))
        at = number % _PAGE
        if good or not page[at] & 1:
            self.rows += not page[at]
            page[at] = (place + 1) << 1 | good  # never 0

    # -- deciding -----------------------------------------------------------------------------

    def decide(self, task: Task) -> Optional[bytes]:
        """Return the row of a task that is done, for the new status file; None: it is to be run.

        Raises:
            Mismatch: an earlier run had another task of that number.
            FjdError: the row is not there any more.
        """
        found = self._find(task.number)
        return self._row(task, found) if found else None

    def ranges(self, reader: Reader, write: Callable[[bytes], object]) -> Iterator[Skipped]:
        """Go through a whole list: ``write`` takes the rows of what is done, in order.

        Yields which tasks these are, as few ranges as there can be; no barrier lies in one. A
        Mismatch may come after rows were written: what was written and yielded is then void.
        """
        lo = hi = bad = self.barriers = 0
        while (item := reader.next()) is not None:
            if isinstance(item, Barrier):
                self.barriers += 1
                continue
            found = self._find(item.number)
            if not found:
                continue
            write(self._row(item, found))
            if item.number != hi:
                if lo < hi:
                    yield Skipped(lo, hi, bad)
                lo, bad = item.number, 0
            hi = item.number + 1
            bad += not found & 1
        self.tasks = reader.number - self.barriers
        if lo < hi:
            yield Skipped(lo, hi, bad)

    def _find(self, number: int) -> int:
        """Return what is known of a task that is done (0: it is to be run)."""
        page = self._pages.get(number // _PAGE)
        found = page[number % _PAGE] if page is not None else 0
        return 0 if self._retry and not found & 1 else found

    def _row(self, task: Task, found: int) -> bytes:
        place = (found >> 1) - 1
        line, command = self._line(place), task.command
        head, tail = b"\t%d\t%d\t%d\t" % task[:3], b"\t%b\n" % command
        same = line.startswith(head, 4) and line.endswith(tail)
        if same and line.count(b"\t") == 14 + command.count(b"\t"):
            return b"%bS%b" % (line[:3], line[4:])  # nearly always: as it stands there
        row, path = statusfile.parse(line), self._files[place >> _SHIFT][0]
        if row is None or row.number != task.number or (row.code == 0) != found & 1:
            raise FjdError("has changed while it was read", where=path, remedy="try again")
        if task.command not in row.commands:
            self._differs(task, row, path)
        return statusfile.skipped(row, task.number, task.line, task.repeat, task.command)

    def _differs(self, task: Task, row: Row, path: str) -> None:
        what = (
            f"task {task.number} (line {task.line}) is {_shown(task.command)}, "
            f"and was {_shown(row.command)} (line {row.line}) in the run of this status file"
        )
        if not self._force:
            remedy = "add --force-resume to go by the numbers alone"
            raise Mismatch(what, where=path, remedy=remedy)
        self.differing = self.differing or f"{path}: {what}"

    def _line(self, place: int) -> bytes:
        number, at = place >> _BITS, place & (_BLOCK - 1)
        block = self._blocks.get(number) or self._block(number)
        end = block.find(b"\n", at)
        if end >= 0:
            return block[at : end + 1]
        parts = [block[at:]]
        while end < 0 and len(block) == _BLOCK and len(parts) << _BITS <= _LONGEST:
            number += 1
            block = self._blocks.get(number) or self._block(number)
            end = block.find(b"\n")
            parts.append(block[: end + 1] if end >= 0 else block)
        return b"".join(parts)

    def _block(self, number: int) -> bytes:
        place = number << _BITS
        path, file = self._files[place >> _SHIFT]
        try:
            block = os.pread(file.fileno(), _BLOCK, place & ((1 << _SHIFT) - 1))
        except OSError as error:
            raise FjdError(f"cannot be read: {error.strerror}", where=path) from None
        if len(self._blocks) == _BLOCKS:
            del self._blocks[next(iter(self._blocks))]
        self._blocks[number] = block
        return block


def _open(path: str) -> BinaryIO:
    try:
        file = open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK))  # noqa: SIM115
    except OSError as error:
        raise FjdError(
            f"cannot be read: {error.strerror}",
            where=path,
            remedy="give -r the status file of a run",
        ) from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise FjdError("is not a regular file", where=path, remedy="give -r the file itself")
    return file


def _shown(command: bytes) -> str:
    text = command.decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= 120 else f"{text[:117]}...")
