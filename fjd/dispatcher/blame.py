"""Whose fault a failure is: the task's, or that of the host on which it ran (hosts.py).

Whoever folds a list asks here whether a task is tried again; whoever hands it out asks where.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Callable, Optional

from fjd.dispatcher.hosts import PATIENCE, QUICK, Hosts, Key
from fjd.spool import outcomes
from fjd.spool.lists.names import Piece
from fjd.spool.records import Record


class Blame:
    """What the ends of one list's tasks say of the hosts.

    Args:
        retries: further attempts of a task after a failure.
        clock: monotonic seconds.

    Attributes:
        stopped: nothing of the list is tried again.
        present: the hosts on which somebody is there.
    """

    def __init__(self, hosts: Hosts, key: str, retries: int, clock: Callable[[], float]) -> None:
        self._hosts, self._key, self._retries, self._clock = hosts, key, retries, clock
        self.stopped = False
        self.present: Collection[str] = ()

    def allow(self, retries: Optional[int]) -> None:
        """Take what the list's submitter says of retries; None: nothing."""
        if retries is not None:
            self._retries = retries

    def _name(self, task: int) -> Key:
        return self._key, task

    # -- ends ---------------------------------------------------------------------------------

    def study(self, records: Mapping[int, Record], bad: Collection[int], failures: int) -> None:
        """Learn from the ends of a piece: who fails, and who does well what failed elsewhere."""
        if not bad and not self._hosts.suspicious:
            return
        suspects: set[str] = set()
        for task in sorted(records):
            if records[task]["outcome"] == outcomes.OK:
                suspects.update(self._hosts.succeeded(_host(records[task]), self._name(task)))
            elif failures < self._retries:
                self._failed(task, records[task])
        for suspect in sorted(suspects):
            self._hosts.judge(suspect, self.present, self._clock())

    def _failed(self, task: int, record: Record) -> None:
        seconds = record.get("seconds")
        quick = isinstance(seconds, (int, float)) and seconds < QUICK
        self._hosts.failed(_host(record), self._name(task), quick, self._clock())

    def again(self, task: int, failures: int) -> Optional[int]:
        """Return with how many failures a task that failed is tried again; None: it is not."""
        counted = failures - self._hosts.pardons(self._name(task))
        return counted + 1 if counted < self._retries and not self.stopped else None

    def retried(self, tasks: range, records: Mapping[int, Record]) -> None:
        """Note that tasks wait for another try; what was owed to them they have got."""
        for task in tasks:
            if self._hosts.give_back(self._name(task)):
                self._failed(task, records[task])

    def final(self, task: int, record: Record) -> None:
        """Forget a task that was counted."""
        if self._hosts.suspicious and record["outcome"] != outcomes.OK:
            self._hosts.gave_up(self._name(task))

    # -- where to -----------------------------------------------------------------------------

    def suits(self, piece: Piece, host: str) -> bool:
        """Tell whether a piece may go to a host; what failed there is tried elsewhere first."""
        if not piece.failures:
            return True
        # Its tasks failed together: what holds for one holds for all.
        tried = self._hosts.avoid(self._name(piece.lo), self._clock() - PATIENCE)
        return host not in tried or tried.issuperset(set(self.present) - self._hosts.benched.keys())

    def forgiven(self, piece: Piece) -> int:
        """Return how many failures of a piece that is handed out are not its tasks' own."""
        if not piece.failures:
            return 0
        return max(int(self._hosts.give_back(self._name(task))) for task in piece.tasks())


def _host(record: Record) -> str:
    return str(record.get("host") or record["worker"].rsplit("-", 2)[0])
