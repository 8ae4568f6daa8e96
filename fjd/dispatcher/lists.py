"""All lists of a project: who works on what, and how much of it lies in the pods."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Callable, Optional

from fjd.dispatcher.absence import Office
from fjd.dispatcher.blame import Blame
from fjd.dispatcher.hosts import Hosts
from fjd.dispatcher.muster import Member
from fjd.dispatcher.work import MOST, Work
from fjd.errors import JobFileError
from fjd.spool.lists import taking
from fjd.spool.lists.names import Assigned
from fjd.spool.lists.shelf import Shelf, keys
from fjd.spool.project import Project
from fjd.spool.records import Record

_DEPTH = 2  # pieces in one pod: one that runs, one that waits
_WORTH = 0.05  # s that a piece has waited before it is passed on


class Lists:
    """Looks after every list.

    Args:
        me: this dispatcher, in the form of a worker's name; for progress files and results.
        note: takes the record of an attempt that ended with its worker.
        in_office: whether this dispatcher still holds the lease.
        retries: further attempts of a task after a failure.
        hosts: what is known of the hosts, also from single jobs.
        clock: monotonic seconds.

    Attributes:
        woken: workers that are to look into their pods: what they run was called off.
    """

    def __init__(
        self,
        project: Project,
        me: str,
        note: Callable[[Record], None],
        in_office: Callable[[], bool],
        retries: int,
        hosts: Hosts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.project, self._retries = project, retries
        self._office = Office(me, note, in_office)
        self._hosts, self._clock = hosts, clock
        self.works: dict[str, Work] = {}
        self._hands: dict[str, set[str]] = {}  # births of the pieces in each pod
        self._present: set[str] = set()
        self._waits: dict[tuple[str, str], float] = {}  # since when a piece waits for its worker
        self.woken: set[str] = set()

    def look(self, nudge: bool = False, recount: bool = False) -> int:
        """Look after every list; return how many tasks have ended.

        ``recount``: look as well into all pods of which we know something.
        """
        ended = 0
        there = keys(self.project, nudge)
        if recount:
            known = [worker for worker, hand in self._hands.items() if hand]
            self._hands.clear()
            self._waits.clear()
            for worker in known:
                self._hand(worker)
        for key in there:
            work = self.works.get(key)
            if work is None:
                blame = Blame(self._hosts, key, self._retries, self._clock)
                work = self.works[key] = Work(Shelf(self.project, key), self._office, blame)
            work.blame.present = self._present
            try:
                ended += len(work.look(nudge, recount))
            except JobFileError as error:
                work.stop(error)
            self.woken |= work.woken
            work.woken.clear()
            for worker, birth in work.back:
                self._waits.pop((worker, birth), None)
                self._hands.get(worker, set()).discard(birth)
        for key in [key for key, work in self.works.items() if key not in there or work.ended]:
            work = self.works.pop(key)
            work.close()
            if not work.ended:
                work.vanished()
        return ended

    def feed(self, crew: Sequence[Member]) -> list[Member]:
        """Let everybody have enough; return who had nothing before."""
        self._present = {member.host for member in crew}
        if not self.works:
            return []
        hungry = []
        for depth in range(1, _DEPTH + 1):
            for member in crew:
                if len(self._hand(member.worker)) >= depth or not self._may_work(member, crew):
                    continue
                try:
                    given = self.give(member.worker, member.host, len(crew))
                except FileNotFoundError:
                    continue  # it is taking its pod down
                if given is not None and depth == 1:
                    hungry.append(member)
        return hungry + self._level(crew)

    def _level(self, crew: Sequence[Member]) -> list[Member]:
        """Let who is idle have what waits behind somebody's long task; return who got something."""
        idle = [m for m in crew if not self._hand(m.worker) and not m.hand]
        fed: list[Member] = []
        for member in idle if self.in_hand > len(crew) - len(idle) else ():
            rich = [other for other in crew if len(self._hand(other.worker)) > 1]
            if self._may_work(member, crew) and any(self._pass_on(r, member) for r in rich):
                fed.append(member)
        return fed

    def _pass_on(self, rich: Member, poor: Member) -> bool:
        """Pass on a piece that waits, if nobody has come to it for a while."""
        waiting = [h for h in taking.held(self.project, rich.worker) if not h.accepted]
        now = self._clock()
        for held in reversed(waiting):
            name = (rich.worker, held.piece.birth)
            if now - self._waits.setdefault(name, now) < _WORTH:
                continue
            if held.key not in self.works or not self.works[held.key].blame.suits(
                held.piece, poor.host
            ):
                continue
            try:
                moved = Shelf(self.project, held.key).reassign(rich.worker, held.piece, poor.worker)
            except FileNotFoundError:
                return False  # it is taking its pod down
            del self._waits[name]
            if moved is not None:
                self._hand(rich.worker).discard(held.piece.birth)
                self._hand(poor.worker).add(held.piece.birth)
                return True
        return False

    def _may_work(self, member: Member, crew: Sequence[Member]) -> bool:
        if not self._hosts.benched:
            return True
        in_hand = Counter[str]()
        for other in crew:
            in_hand[other.host] += len(other.hand) + len(self._hand(other.worker))
        host, now = member.host, self._clock()
        return self._hosts.may_work(host, in_hand[host], self._present, now)

    def withdraw(self, worker: str) -> None:
        """Take back what a worker has not accepted."""
        for item in taking.held(self.project, worker, nudge=True) if self._hand(worker) else ():
            if not item.accepted and Shelf(self.project, item.key).withdraw(worker, item.piece):
                self._hand(worker).discard(item.piece.birth)

    def _hand(self, worker: str) -> set[str]:
        if worker not in self._hands:
            held = taking.held(self.project, worker)
            self._hands[worker] = {item.piece.birth for item in held}
        return self._hands[worker]

    @property
    def in_hand(self) -> int:
        """How many pieces lie in pods, as far as we know."""
        return sum(map(len, self._hands.values()))

    def give(self, worker: str, host: str, crew: int) -> Optional[Assigned]:
        """Let a worker have a piece of some list; ``crew``: how many share it.

        A host that is to prove itself gets one task.

        Raises FileNotFoundError if the worker has taken its pod down.
        """
        most = 1 if host in self._hosts.benched else MOST
        for key, work in self.works.items():
            try:
                piece = work.give(worker, host, crew, most)
            except JobFileError as error:
                work.stop(error)
                continue
            if piece is not None:
                self._hand(worker).add(piece.birth)
                return Assigned(key, piece, False)
        return None

    def close(self) -> None:
        """Leave nothing open."""
        for work in self.works.values():
            work.close()
