"""The status file of a list: one row per task that has ended, and the barriers.

A row is written after the progress of its task was synced. So whoever comes later finds out what
is missing, and writes that from the records; a torn line and what is behind it is written anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Optional

from fjd.dispatcher.reader import Reader
from fjd.errors import JobFileError
from fjd.spool import outcomes
from fjd.spool.lists import afterwards, covered, ends, statusfile
from fjd.spool.lists.afterwards import STATUS
from fjd.spool.lists.covered import PROGRESS, RESUMED, Covered, Folded
from fjd.spool.lists.grammar import ENGINE_BASE, Barrier
from fjd.spool.lists.names import PASSED, SKIPPED, Piece
from fjd.spool.lists.shelf import Look, Shelf
from fjd.spool.lists.task import Task
from fjd.spool.lists.terms import Terms
from fjd.spool.records import Record
from fjd.system import files
from fjd.system.identity import hostname

_HEAP = 1 << 16  # bytes that are written at once


class Rows:
    """Writes the status file of one list.

    Args:
        me: this dispatcher; its progress file is its own.
        reader: tells what a task was of which its worker left no record.
    """

    def __init__(self, shelf: Shelf, terms: Terms, me: str, reader: Reader) -> None:
        self.shelf, self.path = shelf, terms.status or shelf.place(STATUS)
        self._header, self._me, self._reader = terms.header, me, reader
        self._file: Optional[files.Appender] = None
        self._heap: list[bytes] = []

    # -- writing ------------------------------------------------------------------------------

    def add(self, record: Record, task: Optional[Task] = None) -> None:
        """Take the counted record of a task; ``task`` if the record does not say what it was."""
        if "line" not in record and record["outcome"] != outcomes.CANCELLED:
            task = task or self._task(record["task"])
            if task is not None:
                record = _described(record, task)
        self._heap.append(statusfile.row(record))

    def barrier(self, barrier: Barrier, since: float) -> None:
        """A barrier was passed."""
        row = statusfile.barrier_row(barrier, hostname(), os.getpid(), since, time.time())
        self._heap.append(row)

    def flush(self) -> None:
        """Write what was taken; on a full disk (DiskFull) nothing is forgotten."""
        while self._heap:
            size, count = 0, 0
            for row in self._heap:
                size, count = size + len(row), count + 1
                if size >= _HEAP:
                    break
            self._open().append(b"".join(self._heap[:count]))
            del self._heap[:count]

    def _open(self) -> files.Appender:
        if self._file is None:
            try:
                self._file = files.Appender(self.path)
            except files.DiskFull:
                raise
            except OSError as error:
                if error.errno in files.TRANSIENT:
                    raise
                raise JobFileError(
                    f"the status file cannot be written: {error.strerror}", where=self.path
                ) from None
            if self._header and not self._file.size:
                self._file.append(statusfile.HEADER)
        return self._file

    # -- what others have written, or not -----------------------------------------------------

    def begin(self, seen: Look) -> None:
        """Let the file be there, with a row of all that is folded already."""
        if self._is_over(seen):
            return
        self._open()
        if _others(seen.others, self._me):
            self._restore(seen)

    def finish(self, seen: Look) -> None:
        """All tasks are folded: let each have its row, once, and survive a power cut."""
        if self._is_over(seen):
            return
        self.flush()
        if _others(seen.others, self._me):
            with suppress(FileNotFoundError):  # RACE: it was removed, or the list has been ended
                self._restore(seen)
                self._write_anew()
        self._put_back()
        self._open().sync()
        self.close()

    def _is_over(self, seen: Look) -> bool:
        """Tell whether who closed the list has finished the file and moved it on."""
        closed = seen.mark is not None and seen.mark.closed
        return closed and STATUS not in seen.others and self.path == self.shelf.place(STATUS)

    def _restore(self, seen: Look) -> None:
        """Write the rows that are missing."""
        there, engines = self._scan()
        for name in sorted(seen.others, key=lambda name: name != RESUMED):
            if name.startswith(PROGRESS):
                for line in covered.lines(self.shelf.place(name)):
                    self._complete(line, there, engines)
        self.flush()

    def _scan(self) -> tuple[Covered, set[bytes]]:
        """Read the file, and cut it off where it is torn."""
        there, engines, good = Covered(), set[bytes](), 0
        with open(self.path, "rb") as file:
            for line in file:
                found = statusfile.brief(line)
                if found is None and (good or line != statusfile.HEADER):
                    break
                good += len(line)
                if found is not None and found[0] == "P":
                    engines.add(line)
                elif found is not None:
                    there.add(found[1], found[1] + 1)
        target = self._open()
        if good < target.size:
            os.ftruncate(target.fd, good)
            target.size = good
        return there, engines

    def _complete(self, line: Folded, there: Covered, engines: set[bytes]) -> None:
        """Write the rows of a range that are not there."""
        lo, hi = line.lo, line.hi
        missing = [range(lo, hi)] if lo >= ENGINE_BASE else list(_gaps(there, lo, hi))
        if line.why == SKIPPED or not missing:
            return  # who resumed has written those
        if line.why == PASSED:
            for barrier in self._reader.items(missing[0].start, hi):
                if isinstance(barrier, Barrier) and there.add(barrier.number, barrier.number + 1):
                    self.barrier(barrier, time.time())
            return
        piece = Piece("", lo, hi, attempt=line.attempt, extra=line.extra)
        records = ends.read(self.shelf.project, self.shelf.key, piece, line.worker, line.at).records
        lost = [n for part in missing for n in part if n not in records]
        tasks = self._tasks(lost[0], lost[-1] + 1) if lost else {}
        for number in (number for part in missing for number in part):
            if number not in records and number not in tasks:
                continue  # done by an earlier run
            record = records.get(number) or afterwards.loss(
                self.shelf.key, piece, number, line.worker, line.why
            )
            before = len(self._heap)
            self.add(record, tasks.get(number))
            if number < ENGINE_BASE:
                there.add(number, number + 1)
            elif self._heap[before] in engines:
                self._heap.pop()
        self.flush()

    def _task(self, number: int) -> Optional[Task]:
        return self._tasks(number, number + 1).get(number)

    def _tasks(self, lo: int, hi: int) -> dict[int, Task]:
        try:
            found = list(self._reader.items(lo, hi))
        except (JobFileError, FileNotFoundError):
            return {}
        return {item.number: item for item in found if isinstance(item, Task)}

    def _write_anew(self) -> None:
        """Two may have written at once: keep the first row of each, in another file.

        Who was stopped in the middle of it may wake up as late as he likes: his is the old file.
        """
        there, engines = Covered(), set[bytes]()

        def rows() -> Iterator[bytes]:
            with open(self.path, "rb") as file:
                for line in file:
                    found = statusfile.brief(line)
                    if found is None or found[0] == "P":
                        fresh = line not in engines
                        engines.add(line)
                    else:
                        fresh = bool(there.add(found[1], found[1] + 1))
                    if fresh:
                        yield line

        staging = f"{self.path}.{os.getpid()}.tmp"
        _write(staging, rows())
        with suppress(FileNotFoundError):  # the list has ended meanwhile, without us
            os.replace(staging, self.path)
        self.close()

    def _put_back(self) -> None:
        """Somebody has removed the file meanwhile: what was written is in our hands still."""
        if self._file is None or os.path.lexists(self.path):
            return
        staging = f"{self.path}.{os.getpid()}.tmp"
        with open(os.dup(self._file.fd), "rb") as rows, suppress(FileNotFoundError):
            rows.seek(0)
            _write(staging, rows)
            os.replace(staging, self.path)
            self.close()

    def close(self) -> None:
        """Leave nothing open."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _others(names: Iterable[str], me: str) -> bool:
    """Tell whether somebody else has folded tasks of this list."""
    own = (RESUMED, PROGRESS + me)
    return any(name.startswith(PROGRESS) and name not in own for name in names)


def _gaps(there: Covered, lo: int, hi: int) -> Iterator[range]:
    while lo < hi:
        lo = there.after(lo)
        if lo >= hi:
            return
        end = there.next(lo, hi)
        yield range(lo, end)
        lo = end


def _described(record: Record, task: Task) -> Record:
    command = task.command.decode("utf-8", "surrogateescape")
    return {**record, "line": task.line, "repeat": task.repeat, "command": command}


def _write(path: str, rows: Iterable[bytes]) -> None:
    files.remove(path)
    files.write_rows(path, rows)
