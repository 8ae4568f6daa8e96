"""All lists of a project: who works on what, and how much of it lies in the pods."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Callable, Optional

from fjd.dispatcher.absence import Office
from fjd.dispatcher.blame import Blame
from fjd.dispatcher.departures import Departures
from fjd.dispatcher.engines import rank_of
from fjd.dispatcher.handout import MOST
from fjd.dispatcher.hands import Hands
from fjd.dispatcher.hosts import Hosts
from fjd.dispatcher.muster import Member
from fjd.dispatcher.work import Work
from fjd.errors import JobFileError
from fjd.spool.lists import taking
from fjd.spool.lists.names import Assigned
from fjd.spool.lists.shelf import Shelf, keys
from fjd.spool.project import Project
from fjd.spool.records import Record
from fjd.spool.timings import LOCAL

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
        patience: seconds without a sign of life until somebody on another host counts as dead.

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
        patience: float = LOCAL.far_lease,
    ) -> None:
        self.project, self._retries = project, retries
        self._office = Office(me, note, in_office, patience)
        self._hosts, self._clock = hosts, clock
        self.works: dict[str, Work] = {}
        self.hands = Hands(project)
        self._departures = Departures(project, self._had, clock)
        self._ranks: dict[str, int] = {}  # the engine of each worker that belongs to a context
        self._past = Counter[int]()  # tasks that engines have had of lists that are over
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
            self.hands.recount()
            self._waits.clear()
        for key in there:
            ended += self._look_at(key, nudge, recount)
        for key in [key for key, work in self.works.items() if key not in there or work.ended]:
            work = self.works.pop(key)
            for rank in set(self._ranks.values()):
                self._past[rank] += work.board.had([rank])
            work.close()
            if work.ended:
                self.hands.forget(key)  # what workers gave back as it was called off, too
            else:
                work.vanished()
        return ended

    def _look_at(self, key: str, nudge: bool, recount: bool) -> int:
        work = self.works.get(key)
        if work is None:
            blame = Blame(self._hosts, key, self._retries, self._clock)
            place = Shelf(self.project, key)
            work = self.works[key] = Work(place, self._office, blame, self._clock)
        work.blame.present = self._present
        ended = 0
        try:
            counted = work.look(nudge, recount)
            work.board.ended(counted, work.folder.spent, self._ranks)
            work.folder.spent.clear()
            ended = len(counted)
        except JobFileError as error:
            work.stop(error)
        self.woken |= work.brake.woken
        work.brake.woken.clear()
        for worker, birth in work.back:
            self._waits.pop((worker, birth), None)
            self.hands.drop(worker, birth)
        return ended

    def show(self, crew: Sequence[Member]) -> None:
        """Tell where every list stands."""
        for work in self.works.values():
            work.show(crew, self.hands)

    def feed(self, crew: Sequence[Member]) -> list[Member]:
        """Let everybody have enough; return who had nothing before."""
        self._meet(crew)
        if not self.works:
            self._let_go(crew)
            return []
        hungry = []
        for depth in range(1, _DEPTH + 1):
            for member in crew:
                if len(self.hands.of(member.worker)) >= depth or not self._may_work(member, crew):
                    continue
                try:
                    given = self._serve(member, len(crew))
                except FileNotFoundError:
                    continue  # it is taking its pod down
                if given is not None and depth == 1:
                    hungry.append(member)
        self._let_go(crew)
        return hungry + self._level(crew)

    def _meet(self, crew: Sequence[Member]) -> None:
        self._present = {member.host for member in crew}
        ranks = {rank_of(member) for member in crew}
        for work in self.works.values():
            work.engines.present = ranks
        for member in crew:
            if member.card is not None and member.card.engine >= 0:
                self._ranks[member.worker] = member.card.engine
        self._departures.look(crew)
        for member in crew:
            member.stopping = self._departures.left(member, 1) == 0

    # -- who leaves ---------------------------------------------------------------------------

    def _had(self, ranks: Sequence[int]) -> int:
        """Return how many tasks some engines have been given: what ended, and what they have."""
        ended = sum(work.board.had(ranks) for work in self.works.values())
        workers = [worker for worker, rank in self._ranks.items() if rank in ranks]
        return ended + sum(self._past[rank] for rank in ranks) + self.hands.tasks(workers)

    def _let_go(self, crew: Sequence[Member]) -> None:
        """Dismiss the engines that are to leave and have done everything."""
        engines: dict[int, list[Member]] = {}
        for member in crew:
            if member.stopping:
                engines.setdefault(self._ranks[member.worker], []).append(member)
        for rank, members in engines.items():
            for member in members:
                if len(self.hands.of(member.worker)) > 1:
                    self.withdraw(member.worker)
            if any(self.hands.of(member.worker) or member.hand for member in members):
                continue
            gone = [work.leave(rank) for work in self.works.values()]
            if all(gone):
                self._departures.dismiss(rank)

    # -- what waits behind a long task --------------------------------------------------------

    def _level(self, crew: Sequence[Member]) -> list[Member]:
        """Let who is idle have what waits behind somebody's long task; return who got something."""
        idle = [m for m in crew if not self.hands.of(m.worker) and not m.hand]
        fed: list[Member] = []
        for member in idle if self.in_hand > len(crew) - len(idle) else ():
            if member.stopping:
                continue
            rich = [other for other in crew if len(self.hands.of(other.worker)) > 1]
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
            work = self.works.get(held.key)
            if work is None or not work.may_pass_on(held.piece, poor.host, rank_of(poor)):
                continue
            try:
                moved = work.shelf.reassign(rich.worker, held.piece, poor.worker)
            except FileNotFoundError:
                return False  # it is taking its pod down
            del self._waits[name]
            if moved is not None:
                self.hands.drop(rich.worker, moved.birth)
                self.hands.add(poor.worker, held._replace(piece=moved))
                return True
        return False

    def _may_work(self, member: Member, crew: Sequence[Member]) -> bool:
        if not self._hosts.benched:
            return True
        in_hand = Counter[str]()
        for other in crew:
            in_hand[other.host] += len(other.hand) + len(self.hands.of(other.worker))
        host, now = member.host, self._clock()
        return self._hosts.may_work(host, in_hand[host], self._present, now)

    def withdraw(self, worker: str) -> None:
        """Take back what a worker has not accepted."""
        held = taking.held(self.project, worker, nudge=True) if self.hands.of(worker) else ()
        for item in held:
            if not item.accepted and Shelf(self.project, item.key).withdraw(worker, item.piece):
                self.hands.drop(worker, item.piece.birth)

    @property
    def in_hand(self) -> int:
        """How many pieces lie in pods, as far as we know."""
        return self.hands.pieces

    def _serve(self, member: Member, crew: int) -> Optional[Assigned]:
        engine = member.card.engine if member.card else -1
        most = self._departures.left(member, MOST)
        return self.give(member.worker, member.host, crew, most, engine)

    def give(
        self, worker: str, host: str, crew: int, most: int = MOST, engine: int = -1
    ) -> Optional[Assigned]:
        """Let a worker have a piece of some list.

        A host that is to prove itself gets one task.

        Args:
            crew: how many share it.
            most: how many tasks it may get; 0: only what its engine is to run at its end.
            engine: the rank of its engine; -1: it belongs to no context.

        Raises FileNotFoundError if the worker has taken its pod down.
        """
        if host in self._hosts.benched:
            most = min(most, 1)
        for key, work in self.works.items():
            try:
                piece = work.give(worker, host, crew, most, engine)
            except JobFileError as error:
                work.stop(error)
                continue
            if piece is not None:
                item = Assigned(key, piece, False)
                self.hands.add(worker, item)
                return item
        return None

    def close(self) -> None:
        """Leave nothing open."""
        for work in self.works.values():
            work.close()
