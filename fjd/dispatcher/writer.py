"""Whether somebody still writes a growing list, as far as it can be seen from here."""

from __future__ import annotations

from typing import Callable, Optional

from fjd.spool.lists import writing
from fjd.spool.lists.shelf import Shelf
from fjd.system.identity import Identity

_LOOK = 1.0  # s between two looks at the sign of life of a writer elsewhere
_STALL = 5.0  # s without a look: we were stalled ourselves, and know nothing


class Writer:
    """The writer of one list; ``who`` is None if there is none.

    Args:
        lease: seconds without a sign of life until one on another host counts as dead.
        clock: monotonic seconds.
    """

    def __init__(
        self, shelf: Shelf, who: Optional[Identity], lease: float, clock: Callable[[], float]
    ) -> None:
        self._shelf, self._who, self._lease, self._clock = shelf, who, lease, clock
        self._number: Optional[int] = None
        self._moved = self._looked = clock()

    def is_dead(self) -> bool:
        """Tell whether nobody adds to the list any more; ask before you read it."""
        alive = self._who.alive() if self._who else True
        if alive is not None:
            return not alive
        now = self._clock()
        if now - self._looked >= _LOOK:
            number = writing.number(self._shelf.project, self._shelf.key)
            stalled = now - self._looked > max(self._lease / 2, _STALL)
            if stalled or number not in (None, self._number):
                self._number, self._moved = number, now
            self._looked = now
        return self._looked - self._moved > self._lease
