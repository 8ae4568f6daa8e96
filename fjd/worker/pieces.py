"""Running a piece of a list: its tasks in order, each recorded before the next one begins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple, Optional

from fjd.spool.lists import content, taking
from fjd.spool.lists.names import BACK, END, TORN, Assigned, Piece
from fjd.spool.lists.shelf import LARGEST, Shelf
from fjd.spool.lists.task import Task
from fjd.spool.names import Token
from fjd.spool.project import Project
from fjd.spool.records import Ledger, Record, attempt
from fjd.system import files


class Turn(NamedTuple):
    """One task that is to be run now; ``common`` is what the whole list has in common."""

    key: str
    attempt: int
    task: Task
    common: Mapping[str, Any]

    @property
    def number(self) -> int:
        """The number of the task."""
        return self.task.number


class Pieces:
    """What all pieces that one worker runs share.

    Args:
        execute: runs a task to its end and returns its record, the output kept; it calls its second
            argument once if that lasts. A record with ``returned`` was broken off from outside.
        insist: calls a verb again while the disk is full or the file server in trouble.
        should_stop: whether no further task may begin.
    """

    def __init__(
        self,
        project: Project,
        worker: str,
        ledger: Ledger,
        execute: Callable[[Turn, Callable[[], None]], Record],
        insist: Callable[[Callable[[], Any]], Any],
        should_stop: Callable[[], bool],
    ) -> None:
        self._project, self._worker, self._ledger = project, worker, ledger
        self._execute, self._insist, self._should_stop = execute, insist, should_stop
        self._ended: dict[Assigned, Callable[[], bool]] = {}
        self._run: Optional[_Run] = None

    def run(self, held: Assigned) -> bool:
        """Run an accepted piece; False if it ended too late to count."""
        if self.has_ended(held):  # a reply was lost, and it lies where it was
            return self._ended[held]()
        run = self._run = _Run(self._project, self._worker, held, self._insist)
        try:
            won = run.work(self._ledger, self._execute, self._should_stop)
        finally:
            self._run = None
        self._ended = {run.held: run.again}  # only the last one can be meant
        if not won:
            self._insist(lambda: self._ledger.write(run.late()))
        return won

    def has_ended(self, held: Assigned) -> bool:
        """Tell whether it was run already: its name is an old one, or a reply was lost."""
        return held in self._ended

    def taken(self, nudge: bool) -> bool:
        """Tell whether the piece that is being run was taken from us: its list was stopped.

        One listing may miss a name, two do not.
        """
        return self._run is not None and self._run.misses(False) and self._run.misses(nudge)

    def take(self, name: str) -> Optional[Assigned]:
        """Assigned -> running, by a name in the pod. None: it is no piece, or was taken back."""
        held = Assigned.parse(name)
        if held is None or held.accepted:
            return held
        shelf, piece = Shelf(self._project, held.key), held.piece
        won = self._insist(lambda: shelf.accept(self._worker, piece))
        return held._replace(accepted=True) if won else None


class _Run:
    """One piece under way."""

    def __init__(
        self,
        project: Project,
        worker: str,
        held: Assigned,
        insist: Callable[[Callable[[], Any]], Any],
    ) -> None:
        self._shelf, self._worker, self._insist = Shelf(project, held.key), worker, insist
        self._piece: Piece = held.piece
        self._now = held.piece.lo
        self._at = 0  # where its records begin
        self._gone = False  # taken from us while we ran it
        self.again: Callable[[], bool] = lambda: False
        self._content: Optional[content.Content] = None
        self._records = project.record_file(worker)

    def work(
        self,
        ledger: Ledger,
        execute: Callable[[Turn, Callable[[], None]], Record],
        should_stop: Callable[[], bool],
    ) -> bool:
        try:
            path = self._shelf.in_pod(self._worker, self._piece, True)
            self._content = content.decode(self._insist(lambda: _read(path)))
            tasks = self._content.of(self._piece)
        except content.Torn:
            return self._end(TORN, 0, self._piece.lo)
        except FileNotFoundError:
            return False  # RACE: it was taken as soon as we had it
        self._at, why = os.path.getsize(self._records), END
        for task in tasks:  # of a range whose other numbers are no tasks, or are done
            self._now = task.number
            if task.number >= self._piece.hi or self._gone or should_stop():
                break
            record = execute(self._turn(task), lambda: self._share(ledger))
            self._insist(lambda: ledger.write(record))  # noqa: B023  called at once
            if record.get("orphaned"):
                return True  # it may have killed our guardian on purpose: we bury ourselves
            if record.get("returned"):
                why = BACK
                break
        else:
            self._now = self._piece.hi
        self._insist(ledger.sync)
        return self._end(why, self._at, min(self._now, self._piece.hi))

    def _turn(self, task: Task) -> Turn:
        common = self._content.common if self._content else {}
        attempt = self._piece.number(task.number)
        return Turn(self._shelf.key, attempt, task, common)

    def _share(self, ledger: Ledger) -> None:
        """A task lasts: hand in what ended before it, and let somebody else have those behind."""
        if self._content is None:
            return
        tasks = self._content.part(self._piece.lo, self._now)
        if tasks:
            data = content.encode(self._piece.lo, self._now, tasks, self._content.common)
            self._part(lambda: self._hand_in(ledger, data))
            if self._piece.lo == self._now:
                self._at = os.path.getsize(self._records)
        behind = self._now + 1
        tasks = self._content.part(behind, self._piece.hi) if behind < self._piece.hi else ()
        if tasks and not self._gone:
            data = content.encode(behind, self._piece.hi, tasks, self._content.common)
            self._part(lambda: self._shelf.split(self._worker, self._piece, behind, data))

    def _hand_in(self, ledger: Ledger, data: bytes) -> Optional[Piece]:
        ledger.sync()
        return self._shelf.hand_in(self._worker, self._piece, self._now, self._at, data)

    def _part(self, verb: Callable[[], Optional[Piece]]) -> None:
        """Let a part of the piece be no longer ours."""
        try:
            left = verb()
        except (files.DiskFull, OSError):
            # It may have been decided before something went wrong: then they are not ours any more.
            held = self._insist(lambda: taking.held(self._shelf.project, self._worker, nudge=True))
            same = [item.piece for item in held if item.piece.birth == self._piece.birth]
            left = same[0] if same else None
        if left is None:
            self._gone = True  # somebody else has them now, and perhaps begins with them
        else:
            self._piece = left

    def misses(self, nudge: bool) -> bool:
        """Tell whether a look into the pod does not show the piece."""
        try:
            names = files.listing(self._shelf.project.pod(self._worker), nudge)
        except OSError:
            return False
        return names is not None and str(self.held) not in names

    @property
    def held(self) -> Assigned:
        """The piece as it is called now."""
        return Assigned(self._shelf.key, self._piece, accepted=True)

    def late(self) -> Record:
        """Return the note that what was done of it from some task on does not count."""
        token = Token(self._shelf.key, 0, self._piece.number(self._now))
        record = {**attempt(token, self._worker), "event": "late", "task": self._now}
        return {**record, "piece": str(self._piece)}

    def _end(self, why: str, at: int, k: int) -> bool:
        self.again = lambda: self._end(why, at, k)
        try:
            won: bool = self._insist(lambda: self._shelf.end(self._worker, self._piece, why, at, k))
        except FileNotFoundError:
            # The user removed the whole list: nobody can have it, and we need not see it again.
            files.remove(self._shelf.in_pod(self._worker, self._piece, True))
            return False
        return won


def _read(path: str) -> bytes:
    """Return a piece's content; whatever keeps us from reading it, the dispatcher can mend."""
    try:
        return files.read(path, LARGEST)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno in files.TRANSIENT:
            raise
        raise content.Torn(str(error)) from None
