"""How late the home is on another host, measured by our own clock alone.

We publish a marker; the other host, which looks by nudged listings as workers do, answers with a
marker of its own as soon as it sees ours; we look for that one in the same way. What is measured is
this way there and back, writing and looking included. Half of it is told as the latency: an
estimate of how much later one host sees what another one did. If the two directions differ (we are
the file server, say), their mean is what a hand-over and its answer cost.

The name of an answer holds the time by the clock over there: in the fastest round that clock is
ahead of ours by the difference to the middle of the round, give or take half of the round.

All of it happens in a directory of its own, ``tmp/doctor-<random>/``, which is also the sign by
which the other host knows that its home is ours.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple, Optional

from fjd.doctor.check import Clock, Latency
from fjd.errors import FjdError
from fjd.spool.project import Project
from fjd.system import files

MARKERS = 20
PATIENCE = 12.0  # s that the other side answers for, and that we wait for one answer

_ENOUGH = 4.0  # s after which no further marker is sent
_LOOK = 0.005  # s between two looks
_PREFIX = "doctor-"
_HELLO, _BYE, _PING, _PONG = "hello", "bye", "ping-", "pong-"
_OLD = 24 * 3600.0  # s


class Round(NamedTuple):
    """One marker and its answer: how long that took, and their clock's lead in its middle."""

    took: float
    ahead: float


def box(project: Project, name: str) -> str:
    """Return the path of a directory for markers."""
    return f"{os.path.dirname(project.tmp)}/{name}"


def open_box(project: Project) -> str:
    """Make a directory for markers and return its name; remove those of who was killed."""
    now, base = project.server_now(), os.path.dirname(project.tmp)
    for name in files.listing(base) or ():
        if name.startswith(_PREFIX):
            _remove_old(f"{base}/{name}", now)
    name = f"{_PREFIX}{os.urandom(8).hex()}"
    files.make_directory(f"{base}/{name}")
    return name


def _remove_old(path: str, now: float) -> None:
    try:
        if now - os.lstat(path).st_mtime > _OLD:
            close_box(path)
    except OSError:
        return  # RACE: somebody else removes it


def close_box(path: str) -> None:
    """Remove a directory for markers; who still writes there notices and ends."""
    try:
        for name in files.listing(path, nudge=True) or ():
            files.remove(f"{path}/{name}")
        os.rmdir(path)
    except OSError:
        return  # a marker came meanwhile, or the home is in trouble; the next doctor clears up


def answer(path: str, patience: float = PATIENCE) -> None:
    """Answer markers, on the other host, until we are told that it is enough."""
    until = time.monotonic() + patience
    answered: set[str] = set()
    try:
        files.create(f"{path}/{_HELLO}", b"")
        while time.monotonic() < until:
            names = files.listing(path, nudge=True)
            if names is None or _BYE in names:
                return
            for name in names:
                if name.startswith(_PING) and name not in answered:
                    answered.add(name)
                    number = name[len(_PING) :]
                    files.create(f"{path}/{_PONG}{number}-{time.time_ns()}", b"")
            time.sleep(_LOOK)
    except (OSError, FjdError):
        return  # whoever asked sees that no answer comes


def ask(path: str, stop: threading.Event) -> list[Round]:
    """Send markers and return how each came back; ends early when ``stop`` is set."""
    rounds: list[Round] = []
    try:
        if _wait(path, _HELLO, stop, float("inf")) is None:
            return rounds
        enough = time.monotonic() + _ENOUGH
        for number in range(MARKERS):
            began, wall = time.monotonic(), time.time()
            files.create(f"{path}/{_PING}{number}", b"")
            name = _wait(path, f"{_PONG}{number}-", stop, began + PATIENCE)
            if name is None:
                break
            took = time.monotonic() - began
            told = name.rpartition("-")[2]
            if told.isdecimal():
                rounds.append(Round(took, int(told) / 1e9 - (wall + took / 2)))
            if time.monotonic() > enough:
                break
        files.create(f"{path}/{_BYE}", b"")
    except (OSError, FjdError):
        return rounds  # that it is full or away is told by other checks
    return rounds


def _wait(path: str, beginning: str, stop: threading.Event, until: float) -> Optional[str]:
    """Return the name that begins so when it is seen; None if it is not."""
    while True:
        for name in files.listing(path, nudge=True) or ():
            if name.startswith(beginning):
                return name
        if stop.is_set() or time.monotonic() > until:
            return None
        time.sleep(_LOOK)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the smallest value that so many percent of the values do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, -(-percent * len(ranked) // 100) - 1)]


def latency(rounds: Sequence[Round]) -> Optional[Latency]:
    """Return half of the rounds' times; None if no marker came back."""
    if not rounds:
        return None
    halves = [one.took / 2 for one in rounds]
    return Latency(percentile(halves, 50), percentile(halves, 95), len(halves))


def clock(rounds: Sequence[Round]) -> Optional[Clock]:
    """Return what the fastest round says about their clock."""
    if not rounds:
        return None
    best = min(rounds)
    return Clock(best.ahead, best.took / 2)
