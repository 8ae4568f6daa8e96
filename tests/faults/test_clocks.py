"""Hosts whose clocks are hours apart: nothing that is decided depends on what a clock says."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.soak import Audit

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from harness import FAST, FjdEnv, usual_person, wait_until

JOBS = [f"job{number:02d}" for number in range(20)]
HOURS = 2


def library() -> str:
    """Return where libfaketime lies ("" if it is not there)."""
    program = shutil.which("faketime")
    base = Path(program).resolve().parents[1] if program else Path("/usr")
    found = sorted(base.glob("lib/**/libfaketimeMT.so.1"))
    return str(found[0]) if program and found else ""


def clock(hours: int) -> dict[str, str]:
    """Return the environment of a process whose wall clock is wrong."""
    return {
        "LD_PRELOAD": library(),
        "FAKETIME": f"{hours:+d}h",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",  # the times of files are the file server's
        "FAKE_UTIME": "0",
    }


@pytest.fixture
def env() -> Iterator[FjdEnv]:
    """A home with daemons of any clock."""
    if not library():
        pytest.skip("needs faketime")
    found = FjdEnv(usual_person())
    try:
        yield found
    finally:
        found.close()


def test_two_hours_apart(env: FjdEnv) -> None:
    """A worker ahead, a worker behind and a dispatcher behind: all jobs run once, in order."""
    staging = Path(env.project.root, "tmp", "elsewhere")
    dispatcher = env.serve(**FAST, **clock(-HOURS))
    staging.mkdir(parents=True)
    env.own(staging)
    being_written = staging / "1.00000000.1"
    being_written.touch()
    ahead = env.worker(**FAST, **clock(HOURS))
    for name in JOBS[:10]:
        env.job(name, "sleep 0.1; true")
    env.wait_for(*JOBS[:10])
    behind = env.worker(**FAST, **clock(-HOURS))
    env.job("long", f"sleep {2 * float(FAST['FJD_LEASE'])}; true")  # nobody is buried meanwhile
    for name in JOBS[10:]:
        env.job(name, "sleep 0.1; true")
    env.wait_for(*JOBS[10:], "long")
    assert set(env.outcomes().values()) == {"ok"}
    records = env.all_records()
    ends = {r["job"]: r for r in records if r["event"] == "end"}
    assert {r["attempt"] for r in ends.values()} == {1}
    assert len([r for r in records if r["event"] == "end"]) == len(JOBS) + 1
    first = [ends[name]["start"] for name in JOBS[:10]]
    assert first == sorted(first), "one worker took them in another order"
    apart = max(r["start"] for r in ends.values()) - min(r["start"] for r in ends.values())
    assert ends.keys() == {*JOBS, "long"}
    assert apart > 3600 * HOURS, "the clocks were not apart at all"
    for record in ends.values():
        assert 0.05 < record["seconds"] < 20
        assert abs(record["end"] - record["start"] - record["seconds"]) < 1
    assert being_written.exists(), "a sweep took it for old"
    being_written.unlink()
    said = dispatcher.err + dispatcher.out
    assert "sign of life" not in said
    assert "died" not in said
    for daemon in (ahead, behind):
        assert daemon.stop() == 0
        assert len(daemon.ids) == 1
    dispatcher.stop()
    wait_until(lambda: not env.sightings(), "they are gone")
    found = Audit(env.project.root, [*JOBS, "long"]).run()
    assert found.problems == []


def test_a_dispatcher_is_replaced_by_one_of_another_time(env: FjdEnv) -> None:
    """Two hours are no lease: one that is killed is replaced by one whose clock is behind."""
    first = env.serve(**FAST, **clock(HOURS))
    worker = env.worker(**FAST)
    env.job("a", "sleep 0.5; true")
    env.wait_running("a")
    first.kill()
    first.ended()
    second = env.serve(**FAST, **clock(-HOURS))
    env.job("b", "true")
    env.wait_for("a", "b")
    assert [r["attempt"] for r in env.all_records() if r["event"] == "end"] == [1, 1]
    worker.stop()
    second.stop()
    env.known_litter = os.path.exists(env.tmp)
