"""Stopping one list: what waits is taken back, and perhaps what runs as well (halt.py)."""

from __future__ import annotations

from typing import Optional

from fjd.spool.lists import halt, taking
from fjd.spool.lists.halt import Halt
from fjd.spool.lists.names import OFF, Mark
from fjd.spool.lists.shelf import Look, Shelf


class Brake:
    """Stops a list.

    Attributes:
        why: why it was stopped; None as long as it goes on.
        woken: workers that are to look into their pods: what they run was called off.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self.why: Optional[Halt] = None
        self.woken: set[str] = set()

    def pull(self, mark: Mark, why: Halt) -> Optional[Mark]:
        """Open -> stopped; the reason outlives us."""
        self.why = why
        halt.publish(self._shelf, why)
        stopped = self._shelf.stop(mark)
        self._call_off(why)
        return stopped

    def obey(self, mark: Mark, seen: Look, recount: bool) -> Optional[Mark]:
        """See whether somebody has stopped the list; return its token as it is now."""
        if not mark.end and halt.HALT not in seen.others:
            return mark
        before = self.why
        why = self.why = halt.read(self._shelf)
        stopped = mark if mark.end else self._shelf.stop(mark)
        if why != before or recount:  # the last word counts: what runs may have to end now
            self._call_off(why)
        return stopped

    def reason(self) -> Halt:
        """Return why a list that is stopped was."""
        return self.why or halt.read(self._shelf)

    def _call_off(self, why: Halt) -> None:
        """Take it back from the pods; it is folded at the next look."""
        held = taking.in_pods(self._shelf)
        for worker, item in held:  # first: nobody is to begin with it instead
            if not item.accepted:
                self._shelf.withdraw(worker, item.piece)
        for worker, item in held if why.now else ():
            if item.accepted and self._shelf.take(worker, item.piece, OFF):
                self.woken.add(worker)
