"""Working off one list: cuts pieces for who is hungry, folds what has ended, closes what is done.

Everything that is known of it is rebuilt from the list's directory. The list itself is read as it
is cut, never as a whole.
"""

from __future__ import annotations

from typing import Optional

from fjd.dispatcher.absence import Absence, Office
from fjd.dispatcher.blame import Blame
from fjd.dispatcher.gate import Gate
from fjd.dispatcher.reader import Reader, common
from fjd.dispatcher.rows import Rows
from fjd.errors import JobFileError
from fjd.spool import outcomes
from fjd.spool.lists import afterwards, content, halt, taking, terms
from fjd.spool.lists.folder import Counted, Folder
from fjd.spool.lists.halt import Halt
from fjd.spool.lists.names import OFF, STOP, Mark, Piece
from fjd.spool.lists.shelf import Look, Shelf
from fjd.spool.lists.terms import Terms
from fjd.spool.records import Ledger, Record

PIECE = 0.25  # s of work in one piece
MOST = 1000  # tasks in one piece
_FIRST = 4  # tasks in a piece before anything was measured


class Work:
    """One list.

    Attributes:
        mark: its token as last seen; None if it is gone.
        waiting: its pieces that can be assigned.
        mean: seconds per task, a moving average (None before the first one).
        ended: nothing is left to do.
        back: which pieces came back since the last look, as (worker, birth).
        woken: workers that are to look into their pods: what they run was called off.
    """

    def __init__(self, shelf: Shelf, office: Office, blame: Blame) -> None:
        self.shelf, self._office, self.blame = shelf, office, blame
        self.terms, self._trouble = _terms(shelf)
        blame.allow(self.terms.retries)
        self.folder = Folder(shelf, office.me, blame, lambda lo, hi: self._reader.again(lo, hi))
        self._reader = Reader(shelf, self.terms, self.folder.done)
        self._common = common(shelf.key, self.terms)
        self._rows = Rows(shelf, self.terms, office.me, self._reader)
        self.gate = Gate(shelf, self._reader, self.folder, self._rows)
        self._absence = Absence(shelf, office, self.folder)
        self.mark: Optional[Mark] = None
        self.waiting: list[Piece] = []
        self.mean: Optional[float] = None
        self.ended = False
        self.back: list[tuple[str, str]] = []
        self.woken: set[str] = set()
        self._halt: Optional[Halt] = None  # why it was stopped
        self._fresh = True

    # -- looking ------------------------------------------------------------------------------

    def look(self, nudge: bool = False, recount: bool = False) -> list[Counted]:
        """See what has come back, and do what follows; return the tasks that have ended.

        ``recount``: look as well for tasks that nobody has any more.
        """
        seen = self._see(nudge)
        self.waiting, self.back = [], []
        if seen.mark is None:
            if not self._absence.counts():
                return []  # once may be a listing that missed it, and so may all, if others cut
            cleared = self._absence.clear(seen)
            if cleared is not None:
                self._reader.close()
                self.ended = cleared
                return []
        elif seen.mark.closed:
            self._commit(seen.mark, seen)
            return []
        counted = self._fold(seen)
        if seen.mark is not None:
            if self._trouble:
                self.stop(self._trouble)
            self._obey(seen, recount)
            if recount:
                counted += self._absence.pieces(seen.mark)
        self._take_in(counted)
        if self.blame.stopped:
            for piece in self.waiting:
                self.shelf.call_off(piece)
            self.waiting = []
        elif self.mark is not None and not self.mark.end:
            self._go_on(self.mark)
        if self.mark is not None and self._done(self.mark, seen):
            self._close(self.mark)
        return counted

    def _see(self, nudge: bool) -> Look:
        if self._fresh:
            self.folder.learn()
        seen = self.shelf.look(nudge)
        if seen.mark is None:
            seen = self.shelf.look(nudge=True)
        self.mark = seen.mark
        if seen.mark is not None:
            self._absence.seen(seen.mark)
            if self._fresh and not self._trouble:
                self._begin(seen)
            self._fresh = False
        return seen

    def _begin(self, seen: Look) -> None:
        try:
            self._rows.begin(seen)
        except JobFileError as error:
            self._trouble = error

    def _fold(self, seen: Look) -> list[Counted]:
        """Deliver, judge and fold what lies here, and see what waits."""
        self._births(seen)
        self.blame.stopped = seen.mark is None or seen.mark.end == STOP
        self.back = [(kept.worker, kept.piece.birth) for kept in seen.kept if kept.why]
        for kept in seen.kept:
            if kept.taken:
                afterwards.judge(self.shelf, kept, self._office.note, self.folder.done)
        counted = self.folder.fold([kept for kept in seen.kept if kept.judged])
        self.waiting = [kept.piece for kept in seen.kept if kept.waiting]
        return counted

    def _births(self, seen: Look) -> None:
        """Deliver what somebody bore and could not deliver."""
        unborn = {kept.piece.birth for kept in seen.kept if kept.unborn}
        for bore in seen.bearers & unborn:
            self.shelf.deliver(bore)

    def _take_in(self, counted: list[Counted]) -> None:
        """Learn from what has ended, for ever, and give each its row."""
        for task, record in counted:
            if not self._trouble:
                self._rows.add(record)
            seconds = record.get("seconds")
            if isinstance(seconds, (int, float)):
                self.mean = seconds if self.mean is None else 0.9 * self.mean + 0.1 * seconds
            if record["outcome"] != outcomes.OK:
                self.blame.final(task, record)
                self._failed(task, record)
        self._rows.flush()

    def _failed(self, task: int, record: Record) -> None:
        if self.terms.fail_fast and record["outcome"] != outcomes.CANCELLED:
            cause = f"task {task} did not end well ({record['outcome']}), and --fail-fast was given"
            self.halt(Halt(cause, outcomes.FAILED, now=True))

    # -- stopping -----------------------------------------------------------------------------

    def halt(self, why: Halt) -> None:
        """Let nothing more of the list be begun; the reason outlives us."""
        if self.mark is not None and not self.mark.end and self._halt is None:
            self._halt = why
            halt.publish(self.shelf, why)
            self.mark = self.shelf.stop(self.mark)
            self._call_off(why)

    def stop(self, wrong: JobFileError) -> None:
        """A line of the list cannot be run: nothing behind it is."""
        self.halt(Halt(str(wrong), outcomes.FAILED))

    def _obey(self, seen: Look, recount: bool) -> None:
        """See whether somebody has stopped the list."""
        if seen.mark is None or (not seen.mark.end and halt.HALT not in seen.others):
            return
        first = self._halt is None
        why = self._halt = halt.read(self.shelf)
        if not seen.mark.end:
            self.mark = self.shelf.stop(seen.mark)
        if first or recount:
            self._call_off(why)

    def _call_off(self, why: Halt) -> None:
        """Take back what waits in pods, and perhaps what runs; it is folded at the next look."""
        held = taking.in_pods(self.shelf)
        for worker, item in held:  # first: nobody is to begin with it instead
            if not item.accepted:
                self.shelf.withdraw(worker, item.piece)
        for worker, item in held if why.now else ():
            if item.accepted and self.shelf.take(worker, item.piece, OFF):
                self.woken.add(worker)

    # -- barriers and the end -----------------------------------------------------------------

    def _go_on(self, mark: Mark) -> None:
        """Pass the barriers that come next, if that is due."""
        if self.folder.covered.full(mark.n):
            self.mark, stop = self.gate.look(mark)
            if stop:
                self.halt(stop)

    def _done(self, mark: Mark, seen: Look) -> bool:
        if any(not kept.unborn for kept in seen.kept) or not self.folder.covered.full(mark.n):
            return False
        if mark.end == STOP:
            return True
        try:
            end = self._reader.end(mark)
        except FileNotFoundError:
            return False  # RACE: another dispatcher has cut, or the user has removed it
        if end is None or not self.folder.covered.full(end):
            return False
        if self._reader.broken_off:
            self.halt(Halt("its writer died before its end", outcomes.FAILED))
            return False
        if end > mark.n:
            self.mark = self.shelf.skip(mark, end)  # what comes last was done by an earlier run
            self._reader.cut(end)
        return self.mark is not None

    def _close(self, mark: Mark) -> None:
        code = outcomes.OK if not self.folder.bad else outcomes.code(outcomes.FAILED, 1)
        if mark.end == STOP:
            code = (self._halt or halt.read(self.shelf)).code
        closed = afterwards.close(self.shelf, mark, code)
        if closed:
            self._commit(closed, self.shelf.look(nudge=True))

    def _commit(self, mark: Mark, seen: Look) -> None:
        why = self._halt or halt.read(self.shelf)
        if not self._trouble:
            self._rows.finish(seen)
        self.close()
        me = self._office.me
        ledger = Ledger(self.shelf.project, me)
        ledger.write(afterwards.record(mark, me, self.folder.bad, why.cause))
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
        mark = self.mark
        try:
            share = self._reader.share(mark, min(self._size(), most), crew)
        except FileNotFoundError:
            self.mark = None  # RACE: another dispatcher has cut; until the next look
            return None
        if share is None:
            return None
        self.mark = None  # if this goes wrong: until the next look
        data = content.encode(mark.n, share.hi, share.tasks, self._common)
        given = self.shelf.cut(mark, share.hi, data, worker)
        if given is None or not given.serial:
            return None
        self._reader.cut(share.hi)
        self.mark = mark._replace(n=share.hi, bore=given.birth)
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

    def vanished(self) -> None:
        """Its directory is gone."""
        self._absence.vanished()

    def close(self) -> None:
        """Leave nothing open."""
        self._reader.close()
        self.folder.close()
        self._rows.close()


def _terms(shelf: Shelf) -> tuple[Terms, Optional[JobFileError]]:
    try:
        return terms.read(shelf.path), None
    except JobFileError as error:
        return Terms(), error
