"""The dispatcher: the only process that decides who runs what.

One pass of ``tick`` files what has ended, sees who is there and what is new, and pairs the two.
All that it knows is rebuilt from the spool by looking, so that one which dies is replaced by
starting another; between two passes it sleeps until a bell rings, a file is dropped, or some time
has passed.
"""

from __future__ import annotations

import time
from typing import Callable, NamedTuple, Optional

from fjd.dispatcher.assigner import Assigner
from fjd.dispatcher.filer import Filer, Totals
from fjd.dispatcher.hosts import Bench, Hosts
from fjd.dispatcher.lists import Lists
from fjd.dispatcher.muster import Death, Member, Muster
from fjd.dispatcher.progress import Count, Progress
from fjd.dispatcher.removals import Removals
from fjd.errors import NoWorkers
from fjd.spool import burial, notice, pods, records
from fjd.spool.filing import Cabinet
from fjd.spool.inbox import Inbox
from fjd.spool.lease import Lease
from fjd.spool.project import Project
from fjd.spool.timings import Timings
from fjd.system import bell
from fjd.system.deaths import Deaths

_HOT = 1.0  # s after the last event during which we look often
_CREW_LOOK = 1.0  # s between two looks at the workers without a reason
_RECOUNT = 5.0  # polls between two looks into all pods
_CROWD = 50  # jobs
_PATIENCE = 2.0  # s without any worker until we say so


class Manner(NamedTuple):
    """How to serve.

    Attributes:
        keep_running: serve on when there is nothing to do.
        no_wait: give up when there are jobs and no workers.
        retries: further attempts after a failure, unless the job file says more.
    """

    keep_running: bool = False
    no_wait: bool = False
    retries: int = 0


class Dispatcher:
    """Serves one project while it holds the lease.

    Args:
        say: takes one line of talk for the user (stderr).
        clock: monotonic seconds.
        deaths: hears of the end of workers of this host.
    """

    def __init__(
        self,
        project: Project,
        lease: Lease,
        timings: Timings,
        progress: Progress,
        say: Callable[[str], None],
        manner: Manner = Manner(),  # noqa: B008  immutable
        clock: Callable[[], float] = time.monotonic,
        deaths: Optional[Deaths] = None,
    ) -> None:
        self.project, self.timings, self.manner = project, timings, manner
        self.totals = Totals()
        self.draining = False
        self._lease, self._progress, self._say, self._clock = lease, progress, say, clock
        self._inbox, self._cabinet = Inbox(project, timings, clock), Cabinet(project)
        self._muster = Muster(project, timings, deaths)
        self._ledger: Optional[records.Ledger] = None
        self._hosts = Hosts(say)
        self._filer = Filer(self._cabinet, self._muster, self._hosts, self.totals, manner.retries)
        self._assigner = Assigner(
            project, lease, self._inbox, self._muster, self._hosts, self.totals, say
        )
        self._removals = Removals(
            lease, self._inbox, self._muster, self._cabinet, self.totals, self._note, say
        )
        me, office = f"dispatcher-0-{lease.nonce}", lambda: lease.held(nudge=True)
        self._lists = Lists(
            project, me, self._note, office, manner.retries, self._hosts, clock, timings.far_lease
        )
        self._crew_due = self._recount_due = self._nudge_due = 0.0
        self._told_benched: dict[str, Bench] = {}
        self._no_workers_since: Optional[float] = None
        self._told_no_workers = False
        self._hot_until = 0.0

    # -- one pass -----------------------------------------------------------------------------

    def tick(self, complete: set[str], woken: bool) -> bool:
        """Look at everything once; True while there is or may be something to do.

        Args:
            complete: job files that are known to be complete (watch.py).
            woken: somebody rang or something was dropped: look at the workers as well.
        """
        now = self._clock()
        recount = now >= self._recount_due
        nudge = recount or now >= self._nudge_due
        if nudge:
            self._nudge_due = now + self.timings.nudge
        active = self._filer.file_all(now, nudge) | bool(complete)
        if woken or recount or now >= self._crew_due or self._muster.mourning:
            self._crew_due = now + _CREW_LOOK
            active |= self._muster.look(now, nudge)
            self._bury(now)
            active |= self._muster.mourning
        self._inbox.look(now, complete, nudge)
        self._removals.from_queue()
        if recount:
            self._recount_due = now + _RECOUNT * self.timings.poll
            self._removals.from_pods()
        if not self.totals.done + self.totals.failed:
            self._progress.show(self.count())
        if self._hosts.benched or self._told_benched:
            self._mind_bench(now)
        if not self.draining:
            active |= self._assigner.pair(now)
        active |= self._serve_lists(nudge, recount)
        self._progress.show(self.count())
        self._mind_workers(now)
        if active or self._inbox.unsettled:
            self._hot_until = now + _HOT
        if self.manner.keep_running and not self.draining:
            return True
        return not self.finished()

    def _serve_lists(self, nudge: bool, recount: bool) -> bool:
        """Fold what has come back of lists, and hand out more of them."""
        active = self._lists.look(nudge, recount) > 0
        for worker in self._lists.woken & self._muster.members.keys():
            bell.ring(self._muster.members[worker].bell)
        self._lists.woken.clear()
        crew = list(self._muster.present())
        for member in () if self.draining else self._lists.feed(crew):
            active = True
            if member.bell:
                bell.ring(member.bell)
        self._lists.show(crew)
        return active

    @property
    def hot(self) -> bool:
        """Tell whether something happened a moment ago, so that more may follow."""
        return self._clock() < self._hot_until

    @property
    def crowded(self) -> bool:
        """Tell whether much is under way, so that single events are no news."""
        return len(self._inbox) + self._in_hand() > _CROWD

    def finished(self) -> bool:
        """Tell whether nothing is queued and nothing runs, by fresh, nudged listings."""
        if self._busy():
            return False
        now = self._clock()
        self._filer.file_all(now, nudge=True)
        self._muster.look(now, nudge=True)
        self._inbox.look(now, set(), nudge=True)
        self._lists.look(nudge=True)
        return not self._busy()

    def _busy(self) -> bool:
        queued = not self.draining and (len(self._inbox) or self._lists.works)
        return bool(queued or self._in_hand() or self._lists.in_hand or self._muster.strays())

    def _in_hand(self) -> int:
        return sum(len(member.hand) for member in self._muster.members.values())

    def count(self) -> Count:
        """Return where things stand."""
        members = list(self._muster.members.values())
        running = sum(1 for member in members if member.hand)
        return Count(
            waiting=len(self._inbox) + self._in_hand() - running,
            running=running,
            done=self.totals.done,
            failed=self.totals.bad,
            idle=len(members) - running,
            workers=len(members),
        )

    # -- who is there -------------------------------------------------------------------------

    def _note(self, record: records.Record) -> None:
        if self._ledger is None:
            self._ledger = records.Ledger(self.project, f"dispatcher-{self._lease.nonce}")
        self._ledger.write(record)

    def _bury(self, now: float) -> None:
        for death in self._muster.deaths(now):
            self._bury_one(death)

    def _bury_one(self, death: Death) -> None:
        back = burial.bury(
            self.project, death.worker, death.sighting, death.cause, self._note, death.crashed
        )
        if back is None:
            return
        self._muster.buried(death.worker)
        self._say(f"{death.cause}; {back} job(s) went back into the queue")

    def _mind_workers(self, now: float) -> None:
        """Say so when there are jobs and nobody who could run them."""
        jobs = len(self._inbox) + len(self._lists.works)
        if self._muster.members or not jobs or self.draining:
            self._no_workers_since, self._told_no_workers = None, False
            return
        if self._no_workers_since is None:
            self._no_workers_since = now
        if now - self._no_workers_since < _PATIENCE or self._told_no_workers:
            return
        self._told_no_workers = True
        remedy = f"type: fjd-recruiter --project {self.project.name} hire"
        what = f"{jobs} job(s) and no workers, so nobody can run them"
        if self.manner.no_wait:
            raise NoWorkers(what, remedy=remedy)
        self._say(f"{what}; {remedy}")

    # -- the end ------------------------------------------------------------------------------

    def drain(self) -> None:
        """Assign nothing more; take back what nobody has started."""
        self.draining = True
        for member in self._muster.members.values():
            self._withdraw(member)

    def _withdraw(self, member: Member) -> None:
        """Take back what a worker has not accepted."""
        self._lists.withdraw(member.worker)
        for token, accepted in list(member.hand.items()):
            if accepted:
                continue
            if pods.requeue(self.project, member.worker, pods.Held(token, False), token):
                member.take(token)
            else:
                member.hand[token] = True  # RACE: it has just been accepted, or it has ended

    def _mind_bench(self, now: float) -> None:
        """Take back what waits on a benched host, and tell who looks."""
        for member in self._muster.members.values():
            bench = self._hosts.benched.get(member.host)
            if bench is not None and now < bench.until:
                self._withdraw(member)
        if self._hosts.benched != self._told_benched:
            notice.put_up(self.project, self._hosts.until_clock(now))
            self._told_benched = dict(self._hosts.benched)

    def close(self) -> None:
        """Leave nothing open."""
        notice.put_up(self.project, {})
        self._lists.close()
        if self._ledger is not None:
            self._ledger.close()
