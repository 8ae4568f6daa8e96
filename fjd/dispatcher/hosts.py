"""Hosts that eat tasks: a full disk or a missing library fails every task there, and at once.

A host is benched for a while after ``STREAK`` quick failures in a row of tasks that then succeeded
elsewhere: the fault was the host's, and those tasks get their try back. After the while it gets one
task to prove itself: if that ends well it is back, if not it stays away twice as long. One host
alone is never benched, and a task that failed is tried on another host first, where there is one.

A task is known here by its job's key, a task of a list by that and its number.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Callable, NamedTuple, Union

from fjd.spool.names import Token

STREAK = 5  # quick failures in a row
QUICK = 5.0  # s from the assignment to a failure that comes too soon to be the task's own work
WHILE = 300.0  # s on the bench, at first
PATIENCE = 30.0  # s that a task waits for another host than that where it has failed
EVER = float("-inf")
_LONGEST = 3600.0
_REMEMBERED = 1000  # failures in a row that are remembered of one host


Key = Union[str, tuple[str, int]]


class Bench(NamedTuple):
    """A host on the bench: until when (by the dispatcher's clock), and how long that is."""

    until: float
    seconds: float


class Hosts:
    """What the dispatcher knows of its hosts. ``say`` takes a line for the user."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.benched: dict[str, Bench] = {}
        self._streak: dict[str, dict[Key, bool]] = {}  # host: key: has it succeeded elsewhere?
        self._failed: dict[Key, dict[str, float]] = {}  # key: where it failed, and when
        self._pardoned: set[Key] = set()

    @property
    def suspicious(self) -> bool:
        """Tell whether anything has failed that may be a host's fault, or one is benched."""
        return bool(self._failed or self._streak or self.benched)

    def succeeded(self, host: str, key: Key) -> list[str]:
        """A task ended well; return the hosts that this makes suspicious."""
        self._streak.pop(host, None)
        if host in self.benched:
            del self.benched[host]
            self._say(f"{host} is off the bench: its probe task ended well")
        self._pardoned.discard(key)
        suspects = []
        for other in self._failed.pop(key, ()):
            streak = self._streak.get(other, {})
            if other != host and key in streak:
                streak[key] = True
                suspects.append(other)
        return suspects

    def failed(self, host: str, key: Key, quick: bool, now: float) -> None:
        """A task failed and will be tried again."""
        self._failed.setdefault(key, {})[host] = now
        bench = self.benched.get(host)
        if bench is not None and now >= bench.until:
            self._bench(host, min(2 * bench.seconds, _LONGEST), now, "its probe task failed")
        if not quick:
            self._streak.pop(host, None)
            return
        streak = self._streak.setdefault(host, {})
        streak[key] = False
        if len(streak) > _REMEMBERED:
            del streak[next(iter(streak))]

    def gave_up(self, key: Key) -> None:
        """A task failed for good."""
        self._failed.pop(key, None)
        self._pardoned.discard(key)

    def judge(self, host: str, present: Collection[str], now: float) -> None:
        """Bench a suspicious host if its last failures all succeeded elsewhere."""
        streak = self._streak.get(host, {})
        last = list(streak.values())
        proven = sum(last)
        if host in self.benched or proven < STREAK or len(set(present)) < 2:
            return
        self._pardoned |= {key for key, elsewhere in streak.items() if not elsewhere}
        self._bench(host, WHILE, now, f"{proven} tasks failed there at once and passed elsewhere")
        self._streak.pop(host, None)

    def _bench(self, host: str, seconds: float, now: float, why: str) -> None:
        self.benched[host] = Bench(now + seconds, seconds)
        self._say(f"{host} is benched for {seconds:g} s: {why}")

    def may_work(self, host: str, in_hand: int, present: Collection[str], now: float) -> bool:
        """Tell whether a host may get another task."""
        bench = self.benched.get(host)
        if bench is None or len(set(present)) < 2:
            return True
        return now >= bench.until and in_hand == 0

    def avoid(self, key: Key, since: float = EVER) -> set[str]:
        """Return the hosts where a task has failed, not longer ago than ``since``."""
        return {host for host, when in self._failed.get(key, {}).items() if when >= since}

    def pardons(self, key: Key) -> bool:
        """Tell whether a task lost a try on a host that eats tasks, and has not got it back."""
        return key in self._pardoned

    def give_back(self, key: Key) -> bool:
        """Let a task have back the try that it lost on a host that eats tasks; once."""
        owed = self.pardons(key)
        self._pardoned.discard(key)
        return owed

    def pardon(self, token: Token) -> Token:
        """Give a job back the try that it lost on a host that eats tasks."""
        if not self.give_back(token.key):
            return token
        return token._replace(failures=max(0, token.failures - 1))

    def until_clock(self, now: float) -> dict[str, float]:
        """Return who is benched until which wall clock time, for those who only look."""
        wall = time.time()
        return {host: round(wall + bench.until - now) for host, bench in self.benched.items()}
