"""Assigning: looks into a queued job, rejects what cannot be run, and hands out the rest."""

from __future__ import annotations

from typing import Callable, Optional

from fjd.dispatcher import pairing
from fjd.dispatcher.filer import Totals
from fjd.dispatcher.hosts import PATIENCE, Hosts
from fjd.dispatcher.muster import Member, Muster
from fjd.errors import JobFileError
from fjd.spool import jobfile, pods
from fjd.spool.inbox import Inbox, Waiting
from fjd.spool.lease import Lease
from fjd.spool.lists import submission
from fjd.spool.lists.shelf import open_list
from fjd.spool.names import Token, is_list, new_key
from fjd.spool.project import Project
from fjd.spool.rejection import reject
from fjd.system import bell
from fjd.system.files import DiskFull


class Assigner:
    """Pairs what the inbox holds with the workers of the muster."""

    def __init__(
        self,
        project: Project,
        lease: Lease,
        inbox: Inbox,
        muster: Muster,
        hosts: Hosts,
        totals: Totals,
        say: Callable[[str], None],
    ) -> None:
        self._project, self._lease, self._inbox, self._muster = project, lease, inbox, muster
        self._hosts, self._totals, self._say = hosts, totals, say
        self._serial = 0

    def pair(self, now: float) -> bool:
        """Hand out what is queued to who is hungry; True if anything changed hands."""
        gave = False
        idle = {member.worker for member in self._muster.members.values() if not member.hand}
        while True:
            members = self._able(now)
            queued = len(self._inbox)
            member = pairing.hungriest(members, queued)
            waiting = self._inbox.pop() if member else None
            if member is None or waiting is None:
                break
            member = self._elsewhere(waiting, member, members)
            try:
                gave = self._assign(waiting, member, now) or gave
            except (DiskFull, OSError):
                self._inbox.put_back(waiting)  # it keeps its place until there is room again
                raise
        if not queued:
            gave = self._level(members, now) or gave
        for member in self._muster.present():
            if member.hand and member.worker in idle and member.bell:
                bell.ring(member.bell)
        return gave

    def _able(self, now: float) -> list[Member]:
        """Return who may get something: all who are there, but those on a benched host."""
        members = [member for member in self._muster.present() if not member.stopping]
        if not self._hosts.benched:
            return members
        hands: dict[str, int] = {}
        for member in members:
            hands[member.host] = hands.get(member.host, 0) + len(member.hand)
        return [
            member
            for member in members
            if self._hosts.may_work(member.host, hands[member.host], hands, now)
        ]

    def _elsewhere(self, waiting: Waiting, member: Member, members: list[Member]) -> Member:
        """What failed on this host is tried on another one first, even if that one is busier."""
        tried = self._hosts.avoid(waiting.token.key) if waiting.token else set()
        if member.host not in tried:
            return member
        others = [other for other in members if other.host not in tried]
        return min(others, key=lambda m: len(m.hand), default=member)

    def _level(self, members: list[Member], now: float) -> bool:
        """The queue is empty: let an idle worker have what waits behind somebody's long task.

        What failed on its host is left to the others for a while: a host that eats tasks is always
        idle, and would have them back before anybody else could try.
        """
        moved = False
        for idle in [member for member in members if not member.hand]:
            if pairing.spare(members) is None:
                break
            spare = self._spare_for(idle.host, members, now)
            if spare is None:
                continue
            rich, old = spare
            new = self._next_token(old)
            try:
                won = pods.reassign(self._project, old, rich.worker, new, idle.worker)
            except FileNotFoundError:
                idle.leaving = True
                continue
            if won:
                rich.take(old)
                idle.give(new, now)
            else:
                rich.hand[old] = True  # RACE: it has just been accepted, or it has ended
            moved = moved or won
        return moved

    def _spare_for(
        self, host: str, members: list[Member], now: float
    ) -> Optional[tuple[Member, Token]]:
        """Return what waits behind others and may go to a host, and who has it."""

        def suits(token: Token) -> bool:
            return host not in self._hosts.avoid(token.key, now - PATIENCE)

        return pairing.spare(members, suits)

    def _next_token(self, token: Token) -> Token:
        """Return the name for the next assignment; serials rise, so no job has one name twice."""
        self._serial = max(self._serial, token.serial, self._lease.epoch * 10**9) + 1
        return token._replace(serial=self._serial)

    def _open(self, waiting: Waiting, now: float) -> bool:
        """Queued -> open, for a list of tasks; it is looked through before anything is run."""
        if not self._acceptable(waiting, now, "a list", submission.check):
            return False
        token = waiting.fresh_token()
        if token.attempt > 1:  # its records would be taken for those of its tasks now
            token = Token(new_key(waiting.name))
        won = open_list(self._project, waiting.path, token._replace(serial=0)) is not None
        if won:
            self._inbox.taken(waiting)
        return won

    def _assign(self, waiting: Waiting, member: Member, now: float) -> bool:
        if is_list(waiting.name):
            return self._open(waiting, now)
        fresh = waiting.token is None
        if fresh and not self._acceptable(waiting, now, "a regular job file", jobfile.read):
            return False
        token = self._next_token(self._hosts.pardon(waiting.fresh_token()))
        try:
            won = pods.assign(self._project, waiting.path, token, member.worker)
        except FileNotFoundError:
            member.leaving = True  # it is taking its pod down
            self._inbox.put_back(waiting)
            return False
        if won:
            self._inbox.taken(waiting)
            member.give(token, now)
        return won  # RACE: not ours any more; the next look at the queue tells why

    def _acceptable(
        self, waiting: Waiting, now: float, wanted: str, check: Callable[[str, str], object]
    ) -> bool:
        """Look into a new file before it is handed out; reject what cannot be run."""
        try:
            if waiting.wrong:
                remedy = f"put {wanted} there"
                raise JobFileError(waiting.wrong, where=waiting.name, remedy=remedy)
            check(waiting.path, waiting.name)
        except FileNotFoundError:
            return False  # RACE: removed; the next look at the queue tells
        except JobFileError as error:
            if not self._inbox.not_yet(waiting, now):
                self._reject(waiting, error)
            return False
        return True

    def _reject(self, waiting: Waiting, error: JobFileError) -> None:
        error.where = error.where.replace(waiting.path, waiting.name)
        error.remedy = error.remedy.replace(waiting.path, waiting.name)  # it moves away from there
        if reject(self._project, waiting.path, waiting.fresh_token(), str(error)):
            self._inbox.taken(waiting)
            self._totals.rejected += 1
            self._say(f"rejected {error} (it lies in {self._project.rejected} now)")
