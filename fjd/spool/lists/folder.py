"""Folding: which ends of a piece's tasks count, and what becomes of those that failed.

What is decided here is decided by a rename, and nothing is moved on whose progress is not on the
disk yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Callable, NamedTuple, Optional, Protocol

from fjd.spool import outcomes
from fjd.spool.lists import afterwards, content, ends
from fjd.spool.lists.covered import PROGRESS, RESUMED, Book, Covered, Folded, lines
from fjd.spool.lists.grammar import ENGINE_BASE
from fjd.spool.lists.names import BROKEN_OFF, END, NOBODY, OFF, PASSED, TORN, Kept, Piece
from fjd.spool.lists.shelf import Shelf
from fjd.spool.lists.tally import Tally
from fjd.spool.records import Record
from fjd.system import files

Reread = Callable[[int, int], bytes]

_FAILURES = frozenset((outcomes.FAILED, outcomes.KILLED, outcomes.TIMEOUT))


class Advice(Protocol):
    """Who knows what follows from a failure."""

    def study(self, records: Mapping[int, Record], bad: Collection[int], failures: int) -> None:
        """Learn from the ends of a piece, before anything is asked about them.

        Args:
            bad: those of its tasks that did not end well.
            failures: how often all of them had failed before.
        """

    def again(self, task: int, failures: int) -> Optional[int]:
        """Return with how many failures a task that failed is tried again; None: it is not."""

    def retried(self, tasks: range, records: Mapping[int, Record]) -> None:
        """Note that tasks wait for another try; the records say how this one ended."""


class Counted(NamedTuple):
    """How one task came out, for ever."""

    task: int
    record: Record


class _Sheet:
    """One judged piece while it is folded."""

    def __init__(self, kept: Kept, found: ends.Ends) -> None:
        self.kept, self.records = kept, found.records
        self.bad = {n for n, r in found.records.items() if r["outcome"] != outcomes.OK}
        self.failed = {n for n in self.bad if self.records[n]["outcome"] in _FAILURES}
        self.written: Optional[content.Content] = None

    def final(self) -> int:
        """Return up to where it is final: all that was judged, or up to its first open failure."""
        kept = self.kept
        first = max(kept.piece.lo, kept.z)
        return min((task for task in self.failed if task >= first), default=kept.k)

    def line(self, done: Covered) -> Folded:
        """Return what the progress file says of what is final; ``done``: what was done before."""
        lo, hi = self.kept.piece.lo, self.final()
        if not self.bad and hi - lo == len(self.records):
            return Folded.of(self.kept, hi, 0)
        well = sum(task in self.records and task not in self.bad for task in range(lo, hi))
        return Folded.of(self.kept, hi, hi - lo - well - done.within(lo, hi))


class Folder:
    """Folds the pieces of one list.

    Args:
        writer: who writes, for the name of the progress file.
        advice: what follows from a failure.
        reread: gives the content for a range of tasks from the list itself; Torn if the list has
            them no more.

    Attributes:
        tally: what is counted.
        covered, done: those of the tally.
        spent: how many attempts of each worker did not count: tried again, or broken off.
    """

    def __init__(self, shelf: Shelf, writer: str, advice: Advice, reread: Reread) -> None:
        self.shelf, self.tally = shelf, Tally()
        self.covered, self.done = self.tally.covered, self.tally.done
        self._advice, self._reread = advice, reread
        self._book: Optional[Book] = None
        self._writer = writer
        self._counted: list[Counted] = []
        self.spent = Counter[str]()

    def learn(self) -> None:
        """Read what was folded before."""
        others = self.shelf.look(nudge=True).others
        # What an earlier run has done first: ranges of later pieces may span it.
        for name in sorted(others, key=lambda name: name != RESUMED):
            if name.startswith(PROGRESS):
                for line in lines(self.shelf.place(name)):
                    self.tally.learn(line)

    def skip(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Count numbers as done that are barriers."""
        self._write([Folded(lo, hi, NOBODY, 0, 1, 0, PASSED, 0) for lo, hi in ranges])
        for lo, hi in ranges:
            self.tally.pass_barriers(lo, hi)

    def cancel(self, lo: int, hi: int) -> list[Counted]:
        """Count tasks as cancelled whose piece was removed by hand."""
        sheet = _Sheet(Kept(Piece("", lo, hi), False, OFF, NOBODY, 0, hi), ends.Ends(0, {}))
        self._write([sheet.line(self.done)])
        self._count(sheet, hi)
        return self._take_counted()

    def fold(self, judged: Sequence[Kept]) -> list[Counted]:
        """Fold judged pieces as far as they are final, and move them on."""
        sheets = [_Sheet(kept, self._ends(kept)) for kept in judged]
        for sheet in sheets:
            self._advice.study(sheet.records, sheet.bad, sheet.kept.piece.failures)
        while sheets:
            said = [sheet.line(self.done) for sheet in sheets]
            self._write([line for line in said if line.lo < line.hi])
            for sheet, line in zip(sheets, said):
                self._count(sheet, line.hi)
            sheets = [
                sheet for sheet, line in zip(sheets, said) if self._move_on(sheet, line.hi)
            ]  # those that have failures are gone through from one to the next
        return self._take_counted()

    def _write(self, folded: list[Folded]) -> None:
        if folded and self._book is None:
            self._book = Book(self.shelf.path, self._writer)
        if folded and self._book:
            self._book.write(folded)

    def _ends(self, kept: Kept) -> ends.Ends:
        if kept.piece.lo == kept.k:
            return ends.Ends(kept.at, {})
        shelf = self.shelf
        counted = kept.piece._replace(hi=kept.k)  # what comes later is late
        return ends.read(shelf.project, shelf.key, counted, kept.worker, kept.at)

    def _count(self, sheet: _Sheet, upto: int) -> None:
        kept, records = sheet.kept, sheet.records
        for lo, hi in self.covered.add(kept.piece.lo, upto):
            for task in range(lo, hi):
                record = records.get(task) or afterwards.loss(
                    self.shelf.key, kept.piece, task, kept.worker, kept.why
                )
                if record["outcome"] != outcomes.OK:
                    self.tally.fail(task, record["outcome"] == outcomes.CANCELLED)
                self._counted.append(Counted(task, record))

    def _take_counted(self) -> list[Counted]:
        """Return what was counted, also before something went wrong the last time."""
        counted, self._counted = self._counted, []
        return counted

    def _move_on(self, sheet: _Sheet, final: int) -> bool:
        """Decide what comes next, by a rename; True if more of it is to be folded."""
        kept = sheet.kept
        if final < kept.k:
            left = self._failed(sheet, final)
        elif kept.why == TORN:
            left = self._renew(sheet)
        elif kept.k < kept.piece.hi:
            if self.shelf.step(kept, afterwards.rest(kept)) and kept.why in BROKEN_OFF:
                self._spend(kept, 1)
            return False
        else:
            self.shelf.discard(kept)
            return False
        if left is None:
            return False  # RACE: another dispatcher has moved it on
        sheet.kept = left
        return True

    def _failed(self, sheet: _Sheet, at: int) -> Optional[Kept]:
        """The task ``at`` has failed, and nobody has said yet what follows from that."""
        kept = sheet.kept
        piece = kept.piece
        failures = self._advice.again(at, piece.failures)
        stop = at + 1
        if failures is None:  # final, and so is what follows as far as nothing is tried again
            while stop < kept.k and (stop not in sheet.failed or self._hopeless(stop, piece)):
                stop += 1
            return self.shelf.step(kept, kept._replace(z=stop))
        attempt = piece.number(at)
        while (
            stop < kept.k
            and stop in sheet.failed
            and piece.number(stop) == attempt
            and self._advice.again(stop, piece.failures) == failures
        ):
            stop += 1
        child = piece.child(at, stop, attempt + 1, failures)
        left = kept._replace(piece=piece._replace(lo=stop, extra=0, crashes=0), z=0)
        return self._bear(sheet, left, child)

    def _hopeless(self, task: int, piece: Piece) -> bool:
        return self._advice.again(task, piece.failures) is None

    def _renew(self, sheet: _Sheet) -> Optional[Kept]:
        """What a power cut took is taken from the list once more."""
        kept = sheet.kept
        piece = kept.piece
        child = piece.child(piece.lo, piece.hi, piece.attempt, piece.failures)
        child = child._replace(extra=piece.extra, crashes=piece.crashes)
        left = kept._replace(why=END, piece=piece._replace(lo=piece.hi), k=piece.hi)
        return self._bear(sheet, left, child)

    def _bear(self, sheet: _Sheet, new: Kept, child: Piece) -> Optional[Kept]:
        old = sheet.kept
        try:
            data = self._data(sheet, child)
        except FileNotFoundError:
            return None  # RACE: another dispatcher has moved it on
        except content.Torn:  # and the list has them no more: nobody can ever run them
            gone = old._replace(z=child.hi)
            if old.why == TORN:
                gone = old._replace(why=OFF, k=old.piece.hi)
            return self.shelf.step(old, gone)
        left = self.shelf.bear(old, new, child, data)
        if left and old.why != TORN:
            self._spend(old, child.hi - child.lo)
            self._advice.retried(range(child.lo, child.hi), sheet.records)
        return left

    def _spend(self, kept: Kept, number: int) -> None:
        if kept.piece.lo < ENGINE_BASE:  # what an engine runs first and last is no task
            self.spent[kept.worker] += number

    def _data(self, sheet: _Sheet, child: Piece) -> bytes:
        """Return the content of a child; Torn if nobody knows it any more."""
        if sheet.kept.why != TORN:
            try:
                if sheet.written is None:
                    sheet.written = content.decode(self._content(sheet.kept))
                tasks = sheet.written.part(child.lo, child.hi)
                return content.encode(child.lo, child.hi, tasks, sheet.written.common)
            except content.Torn:
                sheet.written = None
        return self._reread(child.lo, child.hi)

    def _content(self, kept: Kept) -> bytes:
        try:
            return self.shelf.content(kept)
        except OSError as error:
            if isinstance(error, FileNotFoundError) or error.errno in files.TRANSIENT:
                raise
            raise content.Torn(str(error)) from None

    def close(self) -> None:
        """Leave nothing open."""
        if self._book:
            self._book.close()
            self._book = None
