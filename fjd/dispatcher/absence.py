"""What users remove: the token of a list, its directory, or a piece of it. Each is recorded."""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional

from fjd.spool import outcomes, whereabouts
from fjd.spool.lists import afterwards, taking
from fjd.spool.lists.covered import PROGRESS, RESUMED
from fjd.spool.lists.folder import Counted, Folder
from fjd.spool.lists.names import Mark
from fjd.spool.lists.shelf import Look, Shelf
from fjd.spool.names import Token
from fjd.spool.records import Record
from fjd.spool.timings import LOCAL
from fjd.system import files

_LOOKS = 2  # without the mark until it counts as removed


class Office(NamedTuple):
    """Who works a list off.

    Attributes:
        me: this dispatcher, in the form of a worker's name; for the progress file and the result.
        note: takes the record of an attempt that ended with its worker.
        held: whether this dispatcher still holds the lease.
        patience: seconds without a sign of life until somebody on another host counts as dead.
    """

    me: str
    note: Callable[[Record], None]
    held: Callable[[], bool]
    patience: float = LOCAL.far_lease


class Absence:
    """Watches what is missing of one list.

    Attributes:
        mark: its token as it was seen last.
    """

    def __init__(self, shelf: Shelf, office: Office, folder: Folder) -> None:
        self._shelf, self._office, self._folder = shelf, office, folder
        self.mark: Optional[Mark] = None
        self._looks = 0  # in which the mark was not there
        self._missing: set[tuple[int, int]] = set()

    def seen(self, mark: Mark) -> None:
        """Its token is there."""
        self._looks, self.mark = 0, mark

    def counts(self) -> bool:
        """Its token was not seen: tell whether that is no listing's fault, nor somebody's haste."""
        self._looks += 1
        return self._looks >= _LOOKS and self._office.held()

    def clear(self, seen: Look) -> Optional[bool]:
        """Its token is gone: ended between two calls, or removed by the user; then it is stopped.

        True if nothing is left of it, None if something of it is still to be folded.
        """
        held = taking.in_pods(self._shelf)
        for worker, item in held:
            if not item.accepted:
                self._shelf.withdraw(worker, item.piece)
        if held or any(not kept.unborn for kept in seen.kept):
            return None
        folded = {n for n in seen.others if n.startswith(PROGRESS)} - {RESUMED}
        if self.mark is not None or folded:
            self._note()
        return afterwards.clear(self._shelf, seen)

    def vanished(self) -> None:
        """Its directory is gone: what waits in pods is taken out, and that is recorded."""
        if files.listing(self._shelf.path, nudge=True) is not None or not self._office.held():
            return
        for worker, item in taking.in_pods(self._shelf):
            if not item.accepted:
                files.remove(self._shelf.in_pod(worker, item.piece, False))
        if self.mark is not None:
            self._note()

    def _note(self) -> None:
        """Record that the user removed the list, once."""
        key, mark = self._shelf.key, self.mark or Mark(Token(self._shelf.key))
        self.mark = None
        if not whereabouts.has_ended(self._shelf.project, key):
            n, code = self._folder.covered.count, outcomes.CANCELLED
            record = afterwards.record(
                mark._replace(n=n, end=code), "", self._folder.tally, "its file was removed"
            )
            self._office.note(record)

    def pieces(self, mark: Mark) -> list[Counted]:
        """Find tasks of which the piece was removed by hand: twice in no pod and not here."""
        folder = self._folder
        if folder.covered.full(mark.n):
            self._missing = set()
            return []
        there = taking.whereabouts(self._shelf)
        for fresh in (False, True):
            for lo, hi in folder.covered.ranges():
                there.add(lo, hi)
            missing = set(there.holes(mark.n))
            if missing and not fresh:
                folder.learn()  # another dispatcher may have folded them meanwhile
        again, self._missing = missing & self._missing, missing
        counted: list[Counted] = []
        for lo, hi in sorted(again) if again and self._office.held() else ():
            counted += folder.cancel(lo, hi)
        for _, record in counted:
            self._office.note(record)
        return counted
