"""What a worker of a run is there for: once nobody leads the run any more, it may leave.

The project of a run is served by ``fjd-batch`` alone, and the next one there begins by ending all
workers. So those whom a run had hired are of no use to anybody when that was killed. On its own
host that is seen at once. From elsewhere it looks like a laptop that sleeps, and they wait long.
Who was hired by hand (in no context), or works in a project of people, stays.
"""

# No postponed annotations: NamedTuple would compile each of them, and a worker waits for it.

import time
from typing import Callable, Optional

from fjd.spool.lease import Claim, Holder
from fjd.spool.project import Project
from fjd.spool.timings import Timings

_LEASES = 10.0  # far leases without a sign of life from elsewhere
_STALL = 60.0  # s without a look: we were stalled ourselves, and know nothing


class Purpose:
    """Asked by a worker of a context whenever it has seen who holds the lease."""

    def __init__(self, project: Project, clock: Callable[[], float] = time.monotonic) -> None:
        self._project, self._clock = project, clock
        self._claim: Optional[Claim] = None
        self._moved = self._looked = clock()

    def over(self, holder: Optional[Holder], timings: Timings) -> bool:
        """Tell whether nobody leads the run any more."""
        now, claim = self._clock(), holder.claim if holder else None
        if claim != self._claim or now - self._looked > _STALL:
            self._claim, self._moved = claim, now
        self._looked = now
        alive = holder.identity.alive() if holder else None
        if alive or (alive is None and now - self._moved <= _LEASES * timings.far_lease):
            return False
        from fjd.spool import runs  # hardly ever

        return runs.owner(self._project) is not None
