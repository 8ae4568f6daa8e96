"""Who is there, who is dead, and what each one has in hand: the dispatcher's view of the crew.

A worker of this host is dead the moment its process is; its guardian gets the moment that it needs
to kill what the task has left behind, so that nothing of it still runs when the job does elsewhere.
Of a worker elsewhere only the heartbeat is seen: it is dead when that did not move for a whole
lease while we looked, by our own clock. If we were stalled ourselves (suspended, or a file system
that hung), everybody gets a new lease.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Optional

from fjd.spool import crew, pods
from fjd.spool.names import Token
from fjd.spool.project import Project
from fjd.spool.timings import Timings
from fjd.system.deaths import Deaths

_LOOKS = 5  # a beat must have stood still for so many looks as well
_STALL = 5.0  # s between two looks are no stall, however short the lease
_LAST_WORDS = 0.5  # s that a guardian may outlive its worker; it needs milliseconds


class Member:
    """One worker.

    Attributes:
        hand: what it was assigned and has not finished, oldest first; True once accepted.
        given: when it was assigned what is in its hand, by our clock.
        mean: seconds per task, a moving average (None before the first one).
        bell: "" if it cannot be heard from here.
        leaving: its pod is gone; it gets nothing more.
        stopping: its engine is to leave; it gets nothing more.
    """

    def __init__(self, sighting: crew.Sighting, card: Optional[crew.Card], now: float) -> None:
        self.sighting = sighting
        self.hand: dict[Token, bool] = {}
        self.given: dict[Token, float] = {}
        self.mean: Optional[float] = None
        self.leaving = self.stopping = False
        self.learn(card)
        self._mark = self.moved = now
        self.looks = 0

    def learn(self, card: Optional[crew.Card]) -> None:
        """Take what it says of itself; None as long as that could not be read."""
        self.card = card
        self.bell = card.bell if card and card.identity.is_here() else ""

    @property
    def worker(self) -> str:
        """The worker's id."""
        return self.sighting.worker

    @property
    def host(self) -> str:
        """The host it runs on."""
        return self.card.identity.host if self.card else self.worker.rsplit("-", 2)[0]

    def give(self, token: Token, now: float) -> None:
        """It was assigned a job."""
        if not self.hand:
            self._mark = now
        self.hand[token] = False
        self.given[token] = now

    def take(self, token: Token) -> Optional[float]:
        """It has finished a job, or lost it; return when it was assigned (None: not by us)."""
        self.hand.pop(token, None)
        return self.given.pop(token, None)

    def finished(self, count: int, now: float) -> None:
        """It finished so many tasks since the last time: learn how long they take."""
        if count:
            sample = (now - self._mark) / count
            self.mean = sample if self.mean is None else 0.6 * self.mean + 0.4 * sample
            self._mark = now


class Death(NamedTuple):
    """A worker to bury. ``crashed``: it died in good health, so its task may be the reason."""

    worker: str
    sighting: Optional[crew.Sighting]
    host: str
    cause: str
    crashed: bool


class Muster:
    """All workers of a project, as one dispatcher sees them.

    Args:
        deaths: is told whose end matters (None: nobody listens).
    """

    def __init__(self, project: Project, timings: Timings, deaths: Optional[Deaths] = None) -> None:
        self.project, self.timings = project, timings
        self._deaths = deaths
        self._ended: dict[str, float] = {}  # dead ones whose guardian still lives, since when
        self.members: dict[str, Member] = {}
        self._strays: dict[str, float] = {}  # pods without an entry, and since when
        self._last: Optional[float] = None

    def hosts(self) -> set[str]:
        """Return the hosts on which somebody is there."""
        return {member.host for member in self.present()}

    def present(self) -> Iterator[Member]:
        """Yield who can be given something."""
        return (member for member in self.members.values() if not member.leaving)

    def look(self, now: float, nudge: bool = False) -> bool:
        """List the crew; True if somebody came or went."""
        pause = max(self.timings.lease / 2, _STALL)
        stalled = self._last is not None and now - self._last > pause
        self._last = now
        seen = crew.sightings(self.project, nudge)
        changed = False
        for worker, sighting in seen.items():
            member = self.members.get(worker)
            if member is None:
                self._join(sighting, now)
                changed = True
                continue
            if member.card is None:
                self._meet(member, crew.card(self.project, sighting))
            if sighting.beat != member.sighting.beat or stalled:
                member.sighting, member.moved, member.looks = sighting, now, 0
            else:
                member.looks += 1
        return self._missing(seen, now, stalled) or changed

    def _join(self, sighting: crew.Sighting, now: float) -> None:
        """Count a worker in, also if its entry cannot be read (it beat; a power cut emptied it)."""
        member = Member(sighting, crew.card(self.project, sighting), now)
        for held in pods.contents(self.project, sighting.worker) or ():
            member.hand[held.token] = held.accepted
        self.members[sighting.worker] = member
        self._strays.pop(sighting.worker, None)
        self._meet(member, member.card)

    def _meet(self, member: Member, card: Optional[crew.Card]) -> None:
        member.learn(card)
        if card and self._deaths:
            self._deaths.watch(card.identity)

    def _missing(self, seen: dict[str, crew.Sighting], now: float, stalled: bool) -> bool:
        """Follow up who is not in the listing; once is not a death (it may be between places)."""
        gone = [worker for worker in self.members if worker not in seen]
        there = set(crew.with_pods(self.project))
        for worker in gone:
            if worker not in there:
                self._forget(worker)  # it has withdrawn; what it had is in requeue/
        for worker in there - seen.keys():
            if worker not in self._strays or stalled:
                self._strays[worker] = now
        for worker in self._strays.keys() - (there - seen.keys()):
            del self._strays[worker]
        return bool(gone)

    def deaths(self, now: float) -> Iterator[Death]:
        """Yield who is to be buried now."""
        for member in list(self.members.values()):
            alive = member.card.identity.alive() if member.card else None
            where = f"worker {member.worker} on {member.host}"
            stray = self._strays.get(member.worker)
            sighting = None if stray is not None else member.sighting
            silence, lease = now - member.moved, self._lease(member)
            if alive is False and not self._guarded(member, now):
                # Silent for so long before its death: it was stalled, and its guardian ended it.
                crashed = silence < lease / 2
                yield Death(member.worker, sighting, member.host, f"{where} died", crashed)
            elif alive is not False and silence > lease and member.looks >= _LOOKS:
                cause = f"{where} gave no sign of life for {lease:g} s"
                yield Death(member.worker, sighting, member.host, cause, False)
        for worker, since in list(self._strays.items()):
            if now - since > self.timings.lease:
                cause = f"worker {worker} has been gone for {self.timings.lease:g} s"
                yield Death(worker, None, worker.rsplit("-", 2)[0], cause, False)

    @property
    def mourning(self) -> bool:
        """Tell whether somebody is dead and will be buried in a moment."""
        return bool(self._ended)

    def _guarded(self, member: Member, now: float) -> bool:
        """Tell whether a dead worker's guardian may still be killing what the task left behind.

        If it lives on, it has a new worker already, or was stopped.
        """
        guardian = member.card.guardian if member.card else None
        since = self._ended.setdefault(member.worker, now)
        if guardian is None or now - since >= _LAST_WORDS or not guardian.alive():
            return False
        if self._deaths:
            self._deaths.watch(guardian)
        return True

    def _lease(self, member: Member) -> float:
        """Return how long it may be silent."""
        here = member.card is not None and member.card.identity.is_here()
        return self.timings.lease if here else self.timings.far_lease

    def buried(self, worker: str) -> None:
        """Forget a worker that was buried."""
        self._forget(worker)
        self._strays.pop(worker, None)

    def _forget(self, worker: str) -> None:
        member = self.members.pop(worker, None)
        self._ended.pop(worker, None)
        if member and member.card and self._deaths:
            self._deaths.forget(member.card.identity)
            self._deaths.forget(member.card.guardian)

    def strays(self) -> bool:
        """Tell whether there are pods whose owner is gone and that may hold something."""
        return any(pods.contents(self.project, worker) for worker in self._strays)

    def recount(self, member: Member, nudge: bool) -> list[Token]:
        """Compare a hand with the pod; return what is in the hand and not in the pod."""
        held = pods.contents(self.project, member.worker, nudge)
        if held is None:
            return list(member.hand) if member.worker not in self._strays else []
        there = {item.token: item.accepted for item in held}
        missing = [token for token in member.hand if token not in there]
        for token, accepted in there.items():
            member.hand[token] = accepted
        return missing
