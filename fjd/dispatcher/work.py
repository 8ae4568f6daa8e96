"""Working off one list: cuts pieces for who is hungry, folds what has ended, closes what is done.

Everything that is known of it is rebuilt from the list's directory. The list itself is read as it
is cut, never as a whole.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional

from fjd.dispatcher.blame import Blame
from fjd.dispatcher.reader import Reader
from fjd.errors import JobFileError
from fjd.spool import outcomes
from fjd.spool.filing import Cabinet
from fjd.spool.lists import afterwards, content, taking
from fjd.spool.lists.covered import PROGRESS
from fjd.spool.lists.folder import Counted, Folder
from fjd.spool.lists.names import STOP, Mark, Piece
from fjd.spool.lists.shelf import Look, Shelf
from fjd.spool.names import Token
from fjd.spool.records import Ledger, Record
from fjd.system import files

PIECE = 0.25  # s of work in one piece
MOST = 1000  # tasks in one piece
_LOOKS = 2  # without the mark until it counts as removed
_FIRST = 4  # tasks in a piece before anything was measured


class Office(NamedTuple):
    """Who works a list off.

    Attributes:
        me: this dispatcher, in the form of a worker's name; for the progress file and the result.
        note: takes the record of an attempt that ended with its worker.
        held: whether this dispatcher still holds the lease.
    """

    me: str
    note: Callable[[Record], None]
    held: Callable[[], bool]


class Work:
    """One list.

    Attributes:
        mark: its token as last seen; None if it is gone.
        waiting: its pieces that can be assigned.
        mean: seconds per task, a moving average (None before the first one).
        ended: nothing is left to do.
        wrong: why it was stopped, if that was not the user's wish.
        back: which pieces came back since the last look, as (worker, birth).
    """

    def __init__(self, shelf: Shelf, office: Office, blame: Blame) -> None:
        self.shelf, self._office, self.blame = shelf, office, blame
        self._missing: set[tuple[int, int]] = set()
        self._reader = Reader(shelf)
        self.folder = Folder(shelf, office.me, blame, self._reader.again)
        self.mark: Optional[Mark] = None
        self.waiting: list[Piece] = []
        self.mean: Optional[float] = None
        self.ended = False
        self.wrong = ""
        self.back: list[tuple[str, str]] = []
        self._open: Optional[Mark] = None  # its token as it was seen last
        self._gone = 0  # looks in which the mark was not there
        self._fresh = True

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
        self.waiting, self.back = [], []
        if seen.mark is None:
            self._gone += 1
            if self._gone < _LOOKS or not self._office.held():
                return []  # once may be a listing that missed it, and so may all, if others cut
            if self._removed(seen):
                return []
        else:
            self._gone, self._open = 0, seen.mark
            if seen.mark.closed:
                self._commit(seen.mark, seen)
                return []
        counted = self._fold(seen)
        if self.blame.stopped:
            for piece in self.waiting:
                self.shelf.call_off(piece)
            self.waiting = []
        if seen.mark is not None and recount:
            counted += self._find_removed(seen.mark)
        if seen.mark is not None and self._done(seen.mark, seen):
            self._close(seen.mark)
        return counted

    def _fold(self, seen: Look) -> list[Counted]:
        """Deliver, judge and fold what lies here, and see what waits."""
        self._births(seen)
        self.blame.stopped = seen.mark is None or seen.mark.end == STOP
        self.back = [(kept.worker, kept.piece.birth) for kept in seen.kept if kept.why]
        for kept in seen.kept:
            if kept.taken:
                afterwards.judge(self.shelf, kept, self._office.note)
        counted = self.folder.fold([kept for kept in seen.kept if kept.judged])
        for task, record in counted:
            self._learn(task, record)
        self.waiting = [kept.piece for kept in seen.kept if kept.waiting]
        return counted

    def _births(self, seen: Look) -> None:
        """Deliver what somebody bore and could not deliver."""
        unborn = {kept.piece.birth for kept in seen.kept if kept.unborn}
        for bore in seen.bearers & unborn:
            self.shelf.deliver(bore)

    def _learn(self, task: int, record: Record) -> None:
        seconds = record.get("seconds")
        if isinstance(seconds, (int, float)):
            self.mean = seconds if self.mean is None else 0.9 * self.mean + 0.1 * seconds
        if record["outcome"] != outcomes.OK:
            self.blame.final(task, record)

    # -- what users remove --------------------------------------------------------------------

    def _removed(self, seen: Look) -> bool:
        """Its token is gone: ended between two calls, or removed by the user; then it is stopped.

        True if nothing is left of it.
        """
        held = taking.in_pods(self.shelf)
        for worker, item in held:
            if not item.accepted:
                self.shelf.withdraw(worker, item.piece)
        if held or any(not kept.unborn for kept in seen.kept):
            return False
        self._reader.close()
        if self._open is not None or any(name.startswith(PROGRESS) for name in seen.others):
            self._note_removed()
        self.ended = afterwards.clear(self.shelf, seen)
        return self.ended

    def vanished(self) -> None:
        """Its directory is gone: what waits in pods is taken out, and that is recorded."""
        if files.listing(self.shelf.path, nudge=True) is not None or not self._office.held():
            return
        for worker, item in taking.in_pods(self.shelf):
            if not item.accepted:
                files.remove(self.shelf.in_pod(worker, item.piece, False))
        if self._open is not None:
            self._note_removed()

    def _note_removed(self) -> None:
        """Record that the user removed the list, once."""
        key, mark = self.shelf.key, self._open or Mark(Token(self.shelf.key))
        self._open = None
        if not any(result.token.key == key for result in Cabinet(self.shelf.project).results(True)):
            n, code = self.folder.covered.count, outcomes.CANCELLED
            record = afterwards.record(
                mark._replace(n=n, end=code), "", self.folder.bad, "its file was removed"
            )
            self._office.note(record)

    def _find_removed(self, mark: Mark) -> list[Counted]:
        """Find tasks of which the piece was removed by hand: twice in no pod and not here."""
        if self.folder.covered.full(mark.n):
            self._missing = set()
            return []
        there = taking.whereabouts(self.shelf)
        for fresh in (False, True):
            for lo, hi in self.folder.covered.ranges():
                there.add(lo, hi)
            missing = set(there.holes(mark.n))
            if missing and not fresh:
                self.folder.learn()  # another dispatcher may have folded them meanwhile
        again, self._missing = missing & self._missing, missing
        counted: list[Counted] = []
        for lo, hi in sorted(again) if again and self._office.held() else ():
            counted += self.folder.cancel(lo, hi)
        for task, record in counted:
            self.blame.final(task, record)
            self._office.note(record)
        return counted

    # -- the end ------------------------------------------------------------------------------

    def _done(self, mark: Mark, seen: Look) -> bool:
        if any(not kept.unborn for kept in seen.kept) or not self.folder.covered.full(mark.n):
            return False
        try:
            return mark.end == STOP or not self._reader.tasks(mark, 1)
        except FileNotFoundError:
            return False  # RACE: another dispatcher has cut, or the user has removed it

    def _close(self, mark: Mark) -> None:
        code = outcomes.OK if not self.folder.bad else outcomes.code(outcomes.FAILED, 1)
        if mark.end == STOP:
            code = outcomes.CANCELLED
        closed = afterwards.close(self.shelf, mark, code)
        if closed:
            self._commit(closed, self.shelf.look(nudge=True))

    def _commit(self, mark: Mark, seen: Look) -> None:
        self.close()
        me = self._office.me
        ledger = Ledger(self.shelf.project, me)
        ledger.write(afterwards.record(mark, me, self.folder.bad, self.wrong))
        ledger.close()
        self.ended = afterwards.commit(self.shelf, mark, seen, me) or self.ended

    # -- cutting ------------------------------------------------------------------------------

    def give(self, worker: str, host: str, crew: int, most: int = MOST) -> Optional[Piece]:
        """Let a worker have a piece; None if there is none now, or somebody else was faster.

        Args:
            crew: how many share the list: towards its end pieces become smaller.
            most: how many tasks it may get.

        Raises FileNotFoundError if the worker has taken its pod down.
        """
        at = next((n for n, p in enumerate(self.waiting) if self.blame.suits(p, host)), -1)
        if at >= 0:
            return self._assign(self.waiting.pop(at), worker, most)
        if self.mark is None or self.mark.end:
            return None
        try:
            size = self._reader.share(self.mark, min(self._size(), most), crew)
            tasks = self._reader.tasks(self.mark, size)
        except FileNotFoundError:
            self.mark = None  # RACE: another dispatcher has cut; until the next look
            return None
        if not tasks:
            return None
        mark, hi = self.mark, self.mark.n + len(tasks)
        self.mark = None  # if this goes wrong: until the next look
        data = content.encode(mark.n, tasks, {"key": self.shelf.key})
        given = self.shelf.cut(mark, hi, data, worker)
        if given is None or not given.serial:
            return None
        self._reader.cut(len(tasks))
        self.mark = mark._replace(n=hi, bore=given.birth)
        return given

    def _assign(self, piece: Piece, worker: str, most: int) -> Optional[Piece]:
        short: Optional[Piece] = piece
        if piece.hi - piece.lo > most:
            try:
                short = self.shelf.part(piece, piece.lo + most)
            except (content.Torn, FileNotFoundError):
                return None  # torn: for whoever may have all of it, and then sees that
        return self.shelf.assign(short, worker, self.blame.forgiven(short)) if short else None

    def _size(self) -> int:
        size = _FIRST if self.mean is None else int(PIECE / max(self.mean, 1e-6))
        return max(1, min(size, MOST))

    def stop(self, wrong: JobFileError) -> None:
        """A line of the list cannot be run: nothing behind it is."""
        self.wrong = str(wrong)
        if self.mark is not None and not self.mark.end:
            self.shelf.stop(self.mark)

    def close(self) -> None:
        """Leave nothing open."""
        self._reader.close()
        self.folder.close()
