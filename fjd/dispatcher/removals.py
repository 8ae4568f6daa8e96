"""Removals: what the user took away by hand is a cancelled job, and he is told so.

That a token is gone does not mean that it was removed: whoever took over from us may have it, and
so may somebody whose time in office is over and who was stopped in the middle of a move. So it is
looked for before anything is said or recorded.
"""

from __future__ import annotations

from typing import Callable, Optional

from fjd.dispatcher.filer import Totals
from fjd.dispatcher.muster import Member, Muster
from fjd.spool import burial, outcomes, pods, records, whereabouts
from fjd.spool.filing import Cabinet
from fjd.spool.inbox import Inbox
from fjd.spool.lease import Lease
from fjd.spool.names import Token, submission
from fjd.spool.whereabouts import Gone


class Removals:
    """Finds, records and tells what was removed.

    Args:
        note: takes the record of a cancelled job.
        say: takes one line of talk for the user.
    """

    def __init__(
        self,
        lease: Lease,
        inbox: Inbox,
        muster: Muster,
        cabinet: Cabinet,
        totals: Totals,
        note: Callable[[records.Record], None],
        say: Callable[[str], None],
    ) -> None:
        self._lease, self._inbox, self._muster, self._cabinet = lease, inbox, muster, cabinet
        self._totals, self._note, self._say = totals, note, say
        self._missing: dict[str, set[Token]] = {}
        self._running: dict[Token, Member] = {}  # removed, and their workers run them

    def from_queue(self) -> None:
        """Follow up what has vanished from the queue, and what ran on without its token."""
        for lost, member in list(self._running.items()):
            if member.worker not in self._muster.members:
                if self._lease.held(nudge=True):
                    self._removed(lost, member)
                del self._running[lost]
        gone = self._inbox.cancelled
        if not gone:
            return
        if not self._lease.held(nudge=True):
            gone.clear()  # whoever took over has them now
            return
        moved = whereabouts.elsewhere(self._inbox.project, gone)
        while gone:
            if gone[0] not in moved:
                job, token = submission(gone[0].name)
                self._cancelled(job, token, "", "before it ran")
            gone.pop(0)  # after it was recorded: the disk may be full
        if moved:  # somebody who was stopped in office has assigned them
            for member in self._muster.members.values():
                self._muster.recount(member, nudge=True)

    def from_pods(self) -> None:
        """Find assignments that somebody removed by hand: gone from the pod in two looks."""
        members = list(self._muster.members.values())
        missing = [set(self._muster.recount(member, nudge=True)) for member in members]
        # Once for all, and after the pods: what was committed meanwhile is there by now.
        results = self._cabinet.results(nudge=True) if any(missing) else []
        ended = {result.token for result in results}
        again: list[tuple[Member, Token]] = []
        for member, tokens in zip(members, missing):
            tokens -= ended
            again += [(member, t) for t in tokens & self._missing.get(member.worker, set())]
            self._missing[member.worker] = tokens
        if again:
            self._follow_up(again)

    def _follow_up(self, gone: list[tuple[Member, Token]]) -> None:
        """Drop from the hands what is gone, and tell what is gone altogether."""
        ours = self._lease.held(nudge=True)  # else whoever took over has them now
        tokens = [Gone(str(token)) for _, token in gone] if ours else []
        moved = whereabouts.elsewhere(self._inbox.project, tokens)
        for member, token in gone:
            if ours and Gone(str(token)) not in moved and not self._removed(token, member):
                continue
            self._running.pop(token, None)
            member.take(token)  # after it was recorded: the disk may be full

    def _removed(self, token: Token, member: Member) -> bool:
        """Record and tell it; False: it runs, and how it ends is to be told."""
        project, worker = self._inbox.project, member.worker
        ended = records.find(project, worker, token.key, token.attempt)
        if ended is not None:
            kind = ended["outcome"]
            self._say(f"{token.job} was removed while {worker} ran it; its end counts: {kind}")
            self._totals.ended(kind)
        elif worker not in self._muster.members:
            self._cancelled(token.job, token, worker, f"while {worker} ran it, which has ended")
        elif member.hand.get(token) or token.job in pods.running(project, worker):
            self._running[token] = member
            return False
        else:
            self._cancelled(token.job, token, worker, f"from the pod of {worker} before it ran")
        return True

    def _cancelled(self, job: str, token: Optional[Token], worker: str, when: str) -> None:
        record = burial.loss_record(token or Token(job), worker, "its file was removed")
        self._note({**record, "job": job, "outcome": outcomes.CANCELLED})
        self._totals.cancelled += 1
        self._say(f"{job} was removed {when}: cancelled")
