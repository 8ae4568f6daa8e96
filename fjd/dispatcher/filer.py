"""Filing what has ended: counts it, gives failed jobs another try, learns how long tasks take."""

from __future__ import annotations

from fjd.dispatcher.hosts import QUICK, Hosts
from fjd.dispatcher.muster import Muster
from fjd.errors import JobFileError
from fjd.spool import jobfile, outcomes
from fjd.spool.filing import Cabinet
from fjd.spool.names import Result


class Totals:
    """What became of the jobs since this dispatcher started."""

    def __init__(self) -> None:
        self.done = self.failed = self.rejected = self.cancelled = 0

    @property
    def bad(self) -> int:
        """How many jobs did not end well."""
        return self.failed + self.rejected

    def ended(self, outcome: str) -> None:
        """Count one job that was filed."""
        if outcome == outcomes.OK:
            self.done += 1
        else:
            self.failed += 1


class Filer:
    """Files results.

    Args:
        retries: further attempts after a failure, unless the job file allows more.
    """

    def __init__(
        self, cabinet: Cabinet, muster: Muster, hosts: Hosts, totals: Totals, retries: int
    ) -> None:
        self._cabinet, self._muster, self._totals = cabinet, muster, totals
        self._hosts = hosts
        self._allowed = retries

    def file_all(self, now: float, nudge: bool = False) -> bool:
        """File whatever has ended; False if nothing has."""
        counts: dict[str, int] = {}
        for result in self._cabinet.results(nudge):
            member = self._muster.members.get(result.worker)
            given = None
            if member is not None:
                given = member.take(result.token)
                counts[result.worker] = counts.get(result.worker, 0) + 1
            again = self._file(result)
            if member is not None:
                quick = given is not None and now - given < QUICK
                self._learn(member.host, result, again, quick, now)
        for worker, count in counts.items():
            self._muster.members[worker].finished(count, now)
        return bool(counts)

    def _file(self, result: Result) -> bool:
        """File one; True if it is tried again."""
        kind = outcomes.outcome(result.outcome)
        if kind in (outcomes.FAILED, outcomes.KILLED, outcomes.TIMEOUT) and self._retries(result):
            self._cabinet.again(result)
            return True
        if self._cabinet.file(result):
            self._totals.ended(kind)
        return False

    def _learn(self, host: str, result: Result, again: bool, quick: bool, now: float) -> None:
        """Let the hosts take the credit or the blame."""
        key = result.token.key
        if result.outcome == outcomes.OK:
            for suspect in self._hosts.succeeded(host, key):
                self._hosts.judge(suspect, self._muster.hosts(), now)
        elif again:
            self._hosts.failed(host, key, quick, now)
        else:
            self._hosts.gave_up(key)

    def _retries(self, result: Result) -> bool:
        """Tell whether the job may be tried again."""
        allowed = self._allowed
        try:
            job = jobfile.read(self._cabinet.path(result), result.token.job)
            allowed = max(allowed, job.retries)
        except (JobFileError, FileNotFoundError):
            return False  # what cannot be read will not do better next time
        return result.token.failures < allowed
