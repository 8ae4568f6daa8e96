"""Working off one list: cuts pieces for who is hungry, folds what has ended, closes what is done.

Everything that is known of it is rebuilt from the list's directory. The list itself is read as it
is cut, never as a whole.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO, Callable, Optional

from fjd.spool import outcomes, pods
from fjd.spool.lists import afterwards, content, taking
from fjd.spool.lists.afterwards import Counted, Folder
from fjd.spool.lists.content import Task
from fjd.spool.lists.covered import Covered
from fjd.spool.lists.names import STOP, Mark, Piece
from fjd.spool.lists.shelf import Look, Shelf
from fjd.spool.records import Ledger, Record

PIECE = 0.25  # s of work in one piece
_MOST = 1000  # tasks in one piece
_AHEAD = 10_000  # tasks that are read and not cut, at most: enough to see the end come
_LOOKS = 2  # without the mark until it counts as removed
_FIRST = 4  # tasks in a piece before anything was measured

Note = Callable[[Record], None]


class Work:
    """One list.

    Args:
        me: this dispatcher, in the form of a worker's name; for the progress file and the result.
        note: takes the record of an attempt that ended with its worker.
        retries: further attempts of a task after a failure.
        in_office: whether this dispatcher still holds the lease.

    Attributes:
        mark: its token as last seen; None if it is gone.
        waiting: its pieces that can be assigned.
        mean: seconds per task, a moving average (None before the first one).
        ended: nothing is left to do.
        back: which pieces came back since the last look, as (worker, birth).
    """

    def __init__(
        self, shelf: Shelf, me: str, note: Note, retries: int, in_office: Callable[[], bool]
    ) -> None:
        self.shelf, self._me, self._note, self._retries = shelf, me, note, retries
        self._in_office = in_office
        self._missing: set[tuple[int, int]] = set()
        self.folder = Folder(shelf, me, self._may_retry, self._reread)
        self.mark: Optional[Mark] = None
        self.waiting: list[Piece] = []
        self.mean: Optional[float] = None
        self.ended = False
        self.back: list[tuple[str, str]] = []
        self._file: Optional[BinaryIO] = None
        self._source: Iterator[Task] = iter(())
        self._ahead: deque[Task] = deque()  # read, not yet cut; the first one has the mark's number
        self._exhausted = False
        self._position = 0
        self._gone = 0  # looks in which the mark was not there
        self._fresh = True

    def _may_retry(self, record: Record, failures: int) -> bool:
        stopped = self.mark is None or self.mark.end != ""
        return failures < self._retries and not stopped

    # -- looking ------------------------------------------------------------------------------

    def look(self, nudge: bool = False, recount: bool = False) -> list[Counted]:
        """See what has come back, and do what follows; return the tasks that have ended.

        ``recount``: look as well for tasks that nobody has any more.
        """
        if self._fresh:
            self.folder.learn()
            self._fresh = False
        seen = self.shelf.look(nudge)
        if seen.mark is None:
            seen = self.shelf.look(nudge=True)
        self.mark = seen.mark
        if seen.mark is not None and seen.mark.closed:
            self._commit(seen.mark, seen)
            return []
        self._gone = 0 if seen.mark is not None else self._gone + 1
        if self._gone >= _LOOKS and self._removed(seen):
            return []
        self._births(seen)
        self.back = [(kept.worker, kept.piece.birth) for kept in seen.kept if kept.why]
        for kept in seen.kept:
            if kept.taken:
                afterwards.judge(self.shelf, kept, self._note)
        counted = self.folder.fold([kept for kept in seen.kept if kept.judged])
        for ended in counted:
            self._learn(ended.record)
        self.waiting = [kept.piece for kept in seen.kept if kept.waiting]
        if self._gone >= _LOOKS or (seen.mark is not None and seen.mark.end == STOP):
            for piece in self.waiting:
                self.shelf.call_off(piece)
            self.waiting = []
        if seen.mark is not None and recount and not seen.mark.closed:
            counted += self._find_removed(seen.mark)
        if seen.mark is not None and self._done(seen):
            self._close(seen.mark)
        return counted

    def _removed(self, seen: Look) -> bool:
        """Its token is gone: ended between two calls, or removed by the user; then it is stopped.

        True if nothing is left of it.
        """
        for worker in pods.everyone(self.shelf.project):
            for item in taking.held(self.shelf.project, worker, nudge=True):
                if item.key == self.shelf.key:
                    self.shelf.withdraw(worker, item.piece)
                    return False
        if any(not kept.unborn for kept in seen.kept):
            return False
        self._shut()
        self.ended = afterwards.clear(self.shelf, seen)
        return self.ended

    def _find_removed(self, mark: Mark) -> list[Counted]:
        """Find tasks of which the piece was removed by hand: twice in no pod and not here."""
        found = self.folder.covered.holes(mark.n)
        if next(found, None) is None:
            return []
        there = Covered()
        for worker in pods.everyone(self.shelf.project):
            for item in taking.held(self.shelf.project, worker, nudge=True):
                if item.key == self.shelf.key:
                    there.add(item.piece.lo, item.piece.hi)
        for kept in self.shelf.look(nudge=True).kept:  # last: this way they go by themselves
            there.add(kept.piece.lo, kept.piece.hi)
        for fresh in (False, True):
            for lo, hi in self.folder.covered.ranges():
                there.add(lo, hi)
            missing = set(there.holes(mark.n))
            if missing and not fresh:
                self.folder.learn()  # another dispatcher may have folded them meanwhile
        again, self._missing = missing & self._missing, missing
        counted: list[Counted] = []
        for lo, hi in sorted(again) if again and self._in_office() else ():
            counted += self.folder.cancel(lo, hi)
        for ended in counted:
            self._note(ended.record)
        return counted

    def _births(self, seen: Look) -> None:
        """Deliver what somebody bore and could not deliver."""
        unborn = {kept.piece.birth for kept in seen.kept if kept.unborn}
        bearers = [seen.mark.bore] if seen.mark else []
        bearers += [kept.piece.bore for kept in seen.kept if not kept.unborn]
        for bore in bearers:
            if bore in unborn:
                self.shelf.deliver(bore)

    def _learn(self, record: Record) -> None:
        seconds = record.get("seconds")
        if isinstance(seconds, (int, float)):
            self.mean = seconds if self.mean is None else 0.9 * self.mean + 0.1 * seconds

    def _done(self, seen: Look) -> bool:
        mark = seen.mark
        if mark is None or any(not kept.unborn for kept in seen.kept):
            return False
        if not self.folder.covered.full(mark.n):
            return False
        return mark.end == STOP or not self._tasks(mark, 1)

    def _close(self, mark: Mark) -> None:
        code = outcomes.OK if not self.folder.bad else outcomes.code(outcomes.FAILED, 1)
        if mark.end == STOP:
            code = outcomes.CANCELLED
        closed = afterwards.close(self.shelf, mark, code)
        if closed:
            self._commit(closed, self.shelf.look(nudge=True))

    def _commit(self, mark: Mark, seen: Look) -> None:
        self.close()
        ledger = Ledger(self.shelf.project, self._me)
        ledger.write(afterwards.record(mark, self._me, self.folder.bad))
        ledger.close()
        self.ended = afterwards.commit(self.shelf, mark, seen, self._me) or self.ended

    # -- cutting ------------------------------------------------------------------------------

    def give(self, worker: str, crew: int) -> Optional[Piece]:
        """Let a worker have a piece; None if there is none now, or somebody else was faster.

        Args:
            crew: how many share the list: towards its end pieces become smaller.

        Raises FileNotFoundError if the worker has taken its pod down.
        """
        if self.waiting:
            return self.shelf.assign(self.waiting.pop(0), worker)
        if self.mark is None or self.mark.end:
            return None
        self._at(self.mark)
        size = self._size(crew)
        tasks = self._tasks(self.mark, size)
        if not tasks:
            return None
        mark, hi = self.mark, self.mark.n + len(tasks)
        data = content.encode(mark.n, tasks, {"key": self.shelf.key})
        given = self.shelf.cut(mark, hi, data, worker)
        if given is None or not given.serial:
            self.mark = None  # until the next look
            return None
        for _ in tasks:
            self._ahead.popleft()
        self.mark = mark._replace(n=hi, bore=given.birth)
        return given

    def _size(self, crew: int) -> int:
        size = _FIRST if self.mean is None else int(PIECE / max(self.mean, 1e-6))
        size = max(1, min(size, _MOST))
        self._read(min(2 * size * max(crew, 1), _AHEAD))
        if self._exhausted:
            size = min(size, -(-len(self._ahead) // (2 * max(crew, 1))))
        return max(1, size)

    def _tasks(self, mark: Mark, count: int) -> list[Task]:
        """Return the next tasks behind the mark, as many as fit into a piece."""
        self._at(mark)
        self._read(count)
        tasks: list[Task] = []
        size = 0
        for task in itertools.islice(self._ahead, count):
            size += len(task.command)
            if tasks and size > content.ENOUGH:
                break
            tasks.append(task)
        return tasks

    def _at(self, mark: Mark) -> None:
        """Have the list open at the mark; only a restart or a lost race reads it anew."""
        if self._file is not None and self._position - len(self._ahead) == mark.n:
            return
        self._shut()
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.fdopen(os.open(self.shelf.place(mark), flags), "rb")
        source = content.lines(self._file, self.shelf.key)
        self._source, self._exhausted = itertools.islice(source, mark.n, None), False
        self._position = mark.n

    def _read(self, count: int) -> None:
        while len(self._ahead) < count and not self._exhausted:
            task = next(self._source, None)
            if task is None:
                self._exhausted = True
            else:
                self._ahead.append(task)
                self._position += 1

    def _reread(self, lo: int, hi: int) -> bytes:
        """Take a range from the list once more (a power cut took the piece)."""
        mark = self.shelf.look(nudge=True).mark
        if mark is None:
            raise FileNotFoundError(self.shelf.path)
        with open(self.shelf.place(mark), "rb") as file:
            tasks = list(itertools.islice(content.lines(file, self.shelf.key), lo, hi))
        return content.encode(lo, tasks, {"key": self.shelf.key})

    def _shut(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._ahead.clear()
        self._exhausted = False

    def close(self) -> None:
        """Leave nothing open."""
        self._shut()
        self.folder.close()
