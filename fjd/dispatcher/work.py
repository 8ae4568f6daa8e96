"""Working off one list: cuts pieces for who is hungry, folds what has ended, closes what is done.

Everything that is known of it is rebuilt from the list's directory. The list itself is read as it
is cut, never as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Callable

from fjd.dispatcher.absence import Absence, Office
from fjd.dispatcher.blame import Blame
from fjd.dispatcher.board import Board
from fjd.dispatcher.gate import Gate
from fjd.dispatcher.handout import Handout
from fjd.dispatcher.hands import Hands
from fjd.dispatcher.muster import Member
from fjd.dispatcher.rows import Rows
from fjd.errors import JobFileError
from fjd.spool import outcomes
from fjd.spool.lists import afterwards, halt
from fjd.spool.lists.folder import Counted
from fjd.spool.lists.grammar import ENGINE_BASE
from fjd.spool.lists.halt import Halt
from fjd.spool.lists.names import STOP, Mark
from fjd.spool.lists.shelf import Look, Shelf
from fjd.spool.records import Ledger, Record


class Work(Handout):
    """One list.

    Attributes:
        ended: nothing is left to do.
        back: which pieces came back since the last look, as (worker, birth).
        board, gate: what is told of it, and its barriers.
    """

    def __init__(
        self, shelf: Shelf, office: Office, blame: Blame, clock: Callable[[], float]
    ) -> None:
        super().__init__(shelf, office, blame, clock)
        self._office, self._clock = office, clock
        self._rows = Rows(shelf, self.terms, office.me, self.reader)
        self.gate = Gate(shelf, self.reader, self.folder, self._rows)
        self.board = Board(shelf, self.terms.writer is not None, clock)
        self._absence = Absence(shelf, office, self.folder)
        self.ended = False
        self.back: list[tuple[str, str]] = []
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
                self.reader.close()
                self.ended = cleared
                return []
        elif seen.mark.closed:
            self._commit(seen.mark, seen)
            return []
        counted = self._fold(seen)
        if seen.mark is not None:
            if self.trouble:
                self.stop(self.trouble)
            if self.mark is not None:
                self.mark = self.brake.obey(self.mark, seen, recount)
            if recount:
                self.engines.forget()
                counted += self._absence.pieces(seen.mark)
        self._take_in(counted)
        if self.blame.stopped:
            for piece in self.waiting:
                self.shelf.call_off(piece)
            self.waiting = []
        else:
            for piece in self.engines.orphans(self.waiting, self._clock()):
                self.waiting.remove(piece)
                self.shelf.call_off(piece)
            if self.mark is not None and not self.mark.end:
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
            if self._fresh and not self.trouble:
                self._begin(seen)
            self._fresh = False
        return seen

    def _begin(self, seen: Look) -> None:
        try:
            self._rows.begin(seen)
        except JobFileError as error:
            self.trouble = error

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
            if not self.trouble:
                self._rows.add(record)
            seconds = record.get("seconds")
            if isinstance(seconds, (int, float)) and task < ENGINE_BASE:
                self.mean = seconds if self.mean is None else 0.9 * self.mean + 0.1 * seconds
            if record["outcome"] != outcomes.OK:
                self.blame.final(task, record)
                self._failed(task, record)
        self._rows.flush()

    def _failed(self, task: int, record: Record) -> None:
        if self.terms.fail_fast and record["outcome"] != outcomes.CANCELLED:
            what = f"task {task}" if task < ENGINE_BASE else "a command of PERENGINE"
            cause = f"{what} did not end well ({record['outcome']}), and --fail-fast was given"
            self.halt(Halt(cause, outcomes.FAILED, True, halt.FAILURE))

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
            return not self.engines.under_way()
        try:
            end = self.reader.end(mark)
        except FileNotFoundError:
            return False  # RACE: another dispatcher has cut, or the user has removed it
        if end is None or not self.folder.covered.full(end):
            return False
        if self.reader.broken_off:
            died = "its writer died before its end"
            self.halt(Halt(died, outcomes.FAILED, reason=halt.WRONG))
            return False
        if end > mark.n:
            self.mark = self.shelf.skip(mark, end)  # what comes last was done by an earlier run
            self.reader.cut(end)
        return self._engines_left() and self.mark is not None

    def _engines_left(self) -> bool:
        """Let each engine run its last commands; tell whether all have."""
        if self.mark is None or not any(self.reader.commands(self.mark) or ()):
            return True
        left = [self.leave(rank) for rank in self.engines.present]
        return all(left) and not self.engines.under_way()

    def _close(self, mark: Mark) -> None:
        code = outcomes.OK if not self.folder.tally.bad else outcomes.code(outcomes.FAILED, 1)
        if mark.end == STOP:
            code = self.brake.reason().code
        closed = afterwards.close(self.shelf, mark, code)
        if closed:
            self._commit(closed, self.shelf.look(nudge=True))

    def _commit(self, mark: Mark, seen: Look) -> None:
        why = self.brake.reason()
        if not self.trouble:
            self._rows.finish(seen)
        self.close()
        me = self._office.me
        ledger = Ledger(self.shelf.project, me)
        ledger.write(afterwards.record(mark, me, self.folder.tally, why.cause, why.reason))
        ledger.close()
        self.ended = afterwards.commit(self.shelf, mark, seen, me) or self.ended

    def show(self, crew: Iterable[Member], hands: Hands) -> None:
        """Tell where the list stands."""
        more, barrier = self.reader.more, self.reader.barrier
        broken = self.reader.broken_off
        self.board.show(self.mark, self.folder, crew, hands, more, barrier, broken)

    def vanished(self) -> None:
        """Its directory is gone."""
        self._absence.vanished()

    def close(self) -> None:
        """Leave nothing open."""
        self.reader.close()
        self.folder.close()
        self._rows.close()
        self.board.close()
