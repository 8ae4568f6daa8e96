"""What becomes of a piece that its worker has not any more: judged, folded, tried again, gone on.

``Folder`` does it for one list and one dispatcher. What it decides is decided by a rename, and it
moves nothing on whose progress is not on the disk yet.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Callable, NamedTuple, Optional

from fjd.spool import outcomes
from fjd.spool.burial import loss_record
from fjd.spool.lists import content, ends
from fjd.spool.lists.covered import PROGRESS, Book, Covered, Folded, lines
from fjd.spool.lists.names import BACK, DEAD, END, GONE, LOST, NOBODY, OFF, TORN, Kept, Mark, Piece
from fjd.spool.lists.shelf import Look, Shelf
from fjd.spool.names import Result, Token
from fjd.spool.pods import CRASH_LIMIT
from fjd.spool.records import Record
from fjd.system import files

MayRetry = Callable[[Record, int], bool]
Reread = Callable[[int, int], bytes]

_FAILURES = frozenset((outcomes.FAILED, outcomes.KILLED, outcomes.TIMEOUT))
_CAUSES = {
    DEAD: "its worker died",
    LOST: f"it took down its worker {CRASH_LIMIT} times",
    GONE: "its worker gave no sign of life",
    OFF: "its list was stopped",
    END: "the record of its end was lost",
}


class Counted(NamedTuple):
    """How one task came out, for ever."""

    task: int
    record: Record


def judge(shelf: Shelf, kept: Kept, note: Callable[[Record], None]) -> Optional[Kept]:
    """Taken -> judged. ``note`` takes the record of the attempt that ended with the worker.

    None: somebody else has judged it, perhaps otherwise.
    """
    piece = kept.piece
    found = ends.read(shelf.project, shelf.key, piece, kept.worker, sync=True)
    k, why = found.first_missing(piece), kept.why
    if k == found.returned:
        why = BACK
    elif k < piece.hi:
        note(_loss(shelf.key, piece, k, kept.worker, _CAUSES[why]))
        before = piece.crashes if k == piece.lo else 0
        if why == DEAD and before + 1 >= CRASH_LIMIT:
            k, why = k + 1, LOST
    new = kept._replace(why=why, at=found.at, k=k)
    if not shelf.step(kept, new):
        return None
    return new._replace(piece=piece._replace(serial=piece.serial + 1, bore=""))


def _loss(key: str, piece: Piece, task: int, worker: str, cause: str) -> Record:
    token = Token(key, 0, piece.number(task))
    return {**loss_record(token, worker, cause), "task": task}


def rest(kept: Kept) -> Kept:
    """Return what waits of a judged piece after what counts; its first task is that at ``k``."""
    piece = kept.piece
    first = kept.k == piece.lo and kept.why != LOST
    extra, crashes = (piece.extra, piece.crashes) if first else (0, 0)
    if kept.why in (DEAD, GONE, BACK):
        extra += 1
        crashes += kept.why == DEAD
    return Kept(piece._replace(lo=kept.k, extra=extra, crashes=crashes))


class Folder:
    """Folds the pieces of one list.

    Args:
        writer: who writes, for the name of the progress file.
        may_retry: whether a task may be tried again, by its record and its earlier failures.
        reread: gives the content for a range of tasks from the list itself.

    Attributes:
        covered: the tasks that are folded.
        bad: how many of them did not end well.
    """

    def __init__(self, shelf: Shelf, writer: str, may_retry: MayRetry, reread: Reread) -> None:
        self.shelf, self.covered = shelf, Covered()
        self._may_retry, self._reread = may_retry, reread
        self.bad = 0
        self._book: Optional[Book] = None
        self._writer = writer

    def learn(self) -> None:
        """Read what was folded before."""
        for name in self.shelf.look(nudge=True).others:
            if name.startswith(PROGRESS):
                for line in lines(self.shelf.place(name)):
                    self._add(line)

    def skip(self, lo: int, hi: int) -> None:
        """Count numbers as done that are no tasks (a barrier's)."""
        line = Folded(lo, hi, NOBODY, 0, 1, 0, OFF, 0)
        self._write([line])
        self._add(line)

    def cancel(self, lo: int, hi: int) -> list[Counted]:
        """Count tasks as cancelled whose piece was removed by hand."""
        line = Folded(lo, hi, NOBODY, 0, 1, 0, OFF, hi - lo)
        self._write([line])
        kept = Kept(Piece("", lo, hi), False, OFF, NOBODY, 0, hi)
        nothing = ends.Ends(0, {})
        new = self._add(line)
        return [self._count(kept, task, nothing) for a, b in new for task in range(a, b)]

    def fold(self, judged: Sequence[Kept]) -> list[Counted]:
        """Fold judged pieces as far as they are final, and move them on."""
        counted: list[Counted] = []
        found = {kept: self._ends(kept) for kept in judged}
        final = {kept: self._final(kept, found[kept]) for kept in judged}
        folded = {kept: self._line(kept, final[kept], found[kept]) for kept in judged}
        self._write([line for line in folded.values() if line.lo < line.hi])
        for kept in judged:
            for lo, hi in self._add(folded[kept]):
                counted += [self._count(kept, task, found[kept]) for task in range(lo, hi)]
            if final[kept] < kept.k:
                self._failed(kept, final[kept], found[kept])
            elif kept.why == TORN:
                self._again(kept)
            elif kept.k < kept.piece.hi:
                self.shelf.step(kept, rest(kept))
            else:
                self.shelf.discard(kept)
        return counted

    def _line(self, kept: Kept, hi: int, found: ends.Ends) -> Folded:
        well = sum(
            record["outcome"] == outcomes.OK for n, record in found.records.items() if n < hi
        )
        return Folded.of(kept, hi, hi - kept.piece.lo - well)

    def _add(self, line: Folded) -> list[tuple[int, int]]:
        new = self.covered.add(line.lo, line.hi)
        self.bad += line.bad if new else 0
        return new

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

    def _final(self, kept: Kept, found: ends.Ends) -> int:
        """Return up to where a piece is final: all of it, or up to its first open failure."""
        for task in range(max(kept.piece.lo, kept.z), kept.k):
            if _has_failed(found.records.get(task)):
                return task
        return kept.k

    def _count(self, kept: Kept, task: int, found: ends.Ends) -> Counted:
        record = found.records.get(task)
        if record is None:
            cause = _CAUSES.get(kept.why, "the record of its end was lost")
            record = _loss(self.shelf.key, kept.piece, task, kept.worker, cause)
            if kept.why == OFF:
                record["outcome"] = outcomes.CANCELLED
        return Counted(task, record)

    def _failed(self, kept: Kept, at: int, found: ends.Ends) -> None:
        """The task ``at`` has failed, and nobody has said yet what follows from that."""
        piece, failures = kept.piece, kept.piece.failures

        def open_failure(task: int) -> bool:
            record = found.records.get(task)
            return record is not None and _has_failed(record) and self._may_retry(record, failures)

        tries = open_failure(at)
        stop = at + 1
        while stop < kept.k and (
            open_failure(stop) if tries else not open_failure(stop)
        ):  # tried again: one run of failures; final: as far as nothing is tried again
            stop += 1
        if not tries:
            self.shelf.step(kept, kept._replace(z=stop))
            return
        child = piece.child(at, stop, piece.number(at) + 1, failures + 1)
        left = kept._replace(piece=piece._replace(lo=stop, extra=0, crashes=0), z=0)
        self._bear(kept, left, child)

    def _again(self, kept: Kept) -> None:
        """What a power cut took is taken from the list once more."""
        piece = kept.piece
        child = piece.child(piece.lo, piece.hi, piece.attempt, piece.failures)
        child = child._replace(extra=piece.extra, crashes=piece.crashes)
        left = kept._replace(why=END, piece=piece._replace(lo=piece.hi), k=piece.hi)
        self._bear(kept, left, child)

    def _bear(self, old: Kept, new: Kept, child: Piece) -> None:
        try:
            try:
                if old.why == TORN:
                    raise content.Torn("as its worker said")
                written = content.decode(self.shelf.content(old))
                tasks = written.part(child.lo, child.hi)
                data = content.encode(child.lo, tasks, written.common)
            except content.Torn:
                data = self._reread(child.lo, child.hi)
        except FileNotFoundError:
            return  # RACE: another dispatcher has moved it on
        self.shelf.bear(old, new, child, data)

    def close(self) -> None:
        """Leave nothing open."""
        if self._book:
            self._book.close()
            self._book = None


def _has_failed(record: Optional[Record]) -> bool:
    return record is not None and record["outcome"] in _FAILURES


def close(shelf: Shelf, mark: Mark, code: str) -> Optional[Mark]:
    """Open or stopped -> closed; every task below the mark is folded, and there are no more."""
    new = mark._replace(end=code, bore="")
    return new if files.move(shelf.place(mark), shelf.place(new)) else None


def record(mark: Mark, who: str, bad: int) -> Record:
    """Return the record of the end of a whole list; ``task`` is null in it."""
    outcome = outcomes.outcome(mark.end)
    return {
        **loss_record(mark.token, who, f"{bad} of {mark.n} tasks did not end well" if bad else ""),
        "task": None,
        "tasks": mark.n,
        "outcome": outcome,
        "exit": {outcomes.OK: 0, outcomes.FAILED: 1}.get(outcome),
        "command": mark.token.job,
    }


def commit(shelf: Shelf, mark: Mark, look: Look, who: str) -> bool:
    """Closed -> ended: what nobody needs goes, then the token, then the directory.

    Args:
        who: in whose name; it has the form of a worker's.
    """
    _sweep(shelf, look)
    result = Result(mark.token, who, mark.end)
    won = files.move(shelf.place(mark), f"{shelf.project.results}/{result}")
    clear(shelf, look._replace(kept=[], others=[]))
    return won


def clear(shelf: Shelf, look: Look) -> bool:
    """Remove the directory of a list without a token; False if something else is left in it."""
    _sweep(shelf, look)
    try:
        os.rmdir(shelf.path)
    except FileNotFoundError:
        return True  # RACE: somebody else removed it
    except OSError:
        return False
    return True


def _sweep(shelf: Shelf, look: Look) -> None:
    """Remove what nobody needs once every task is folded: void pieces, and the progress."""
    for kept in look.kept:
        files.remove(shelf.place(kept))
    for name in look.others:
        if name.startswith(PROGRESS):
            files.remove(shelf.place(name))
