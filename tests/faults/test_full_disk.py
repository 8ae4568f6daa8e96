"""A home that is full, again and again: whoever needs room says so once and waits for it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.audit import Audit

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from hardship import fill, small_disk
from harness import FAST, Daemon, FjdEnv, usual_person

JOBS, WORKERS = [f"job{number:02d}" for number in range(40)], 2
FILLED = 3  # times


@pytest.fixture
def env() -> Iterator[FjdEnv]:
    """A home of a megabyte."""
    person = usual_person()
    with small_disk(person, "1m") as home:
        found = FjdEnv(person, home)
        try:
            yield found
        finally:
            found.close()


def times(daemon: Daemon) -> int:
    """Return how often it has said that the disk is full."""
    return (daemon.out + daemon.err).count("the disk is full")


def test_filled_and_freed(env: FjdEnv) -> None:
    """Forty jobs, and the disk is full three times meanwhile: all end once, nothing is torn."""
    ballast = env.home / "ballast"
    for name in JOBS:
        env.job(name, f"echo {name} $(seq 300); sleep 0.1; true")
    dispatcher = env.serve(**FAST)
    workers = env.workers(WORKERS, **FAST)
    told = []
    for _ in range(FILLED):
        before = [times(daemon) for daemon in workers]
        done = len(env.filed())
        fill(ballast)
        until = time.monotonic() + 20.0
        while sum(times(d) for d in workers) == sum(before) and time.monotonic() < until:
            time.sleep(0.02)
            fill(ballast)  # what was free for a moment is taken, too
        waited = time.monotonic() + 1.5
        while time.monotonic() < waited:  # long enough to say it twice
            time.sleep(0.05)
            env.check_daemons()
        told.append([times(d) - n for d, n in zip(workers, before)])
        ballast.unlink()
        env.wait_for(*JOBS[: min(len(JOBS), done + 6)])
    env.wait_for(*JOBS)
    print(
        f"each worker said so, the times it was full: {told}; the dispatcher: {times(dispatcher)}"
    )
    assert any(map(any, told)), "it was never full"
    assert all(count <= 1 for counts in told for count in counts)
    assert times(dispatcher) <= FILLED
    assert set(env.outcomes().values()) == {"ok"}
    for name in JOBS:
        assert env.output(name).split()[0] == name.encode()
        assert env.output(name).split()[-1] == b"300"
    for daemon in (*workers, dispatcher):
        assert daemon.stop() in (0, 130)
    found = Audit(env.project.root, JOBS).run()
    assert found.problems == []
    print(f"{found.attempts} attempts for {found.jobs} jobs")
