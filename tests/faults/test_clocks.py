"""Hosts whose clocks are hours apart: nothing that is decided depends on what a clock says.

Each process here has a time of day of its own (``wrong_clock/sitecustomize.py``). That whole hosts
have is tested in ``tests/hosts/test_nfs.py``.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.audit import Audit

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from harness import FAST, Daemon, FjdEnv, usual_person, wait_until

WRONG_CLOCK = Path(__file__).with_name("wrong_clock")
JOBS = [f"job{number:02d}" for number in range(20)]
HOURS = 2
DAYS = 240  # hours: more than any age that fjd looks at


class ClockEnv(FjdEnv):
    """A home with daemons of any clock."""

    def clock(self, hours: int) -> dict[str, str]:
        """Return the environment of a process whose time of day is wrong by so much."""
        place = self.root / "clock"
        if not place.exists():
            shutil.copytree(WRONG_CLOCK, place)
        path = os.pathsep.join((str(place), self.env["PYTHONPATH"]))
        return {**FAST, "PYTHONPATH": path, "FJD_TEST_CLOCK": str(3600 * hours)}


@pytest.fixture
def env() -> Iterator[ClockEnv]:
    """A home with daemons of any clock."""
    found = ClockEnv(usual_person())
    try:
        yield found
    finally:
        found.close()


def hours_off(seconds: object) -> int:
    """Tell by how many hours a time of day differs from ours."""
    assert isinstance(seconds, float)
    return round((seconds - time.time()) / 3600)


def test_the_fake_bites(env: ClockEnv) -> None:
    """A process sees the wrong time wherever it asks, but files have the right one."""
    code = (
        "import datetime, os, time\n"
        "then = [time.time(), time.time_ns() / 1e9, time.clock_gettime(time.CLOCK_REALTIME)]\n"
        "then += [time.mktime(time.localtime()), datetime.datetime.now().timestamp()]\n"
        "open('file', 'w').close()\n"
        "print(*then, os.stat('file').st_mtime, time.monotonic())"
    )
    env.env.update(env.clock(HOURS))
    with env.python(code) as process:
        out, _ = process.communicate(timeout=30)
    *then, modified, monotonic = map(float, out.split())
    assert list(map(hours_off, then)) == [HOURS] * 5
    assert hours_off(modified) == 0
    assert 0 <= time.monotonic() - monotonic < 60


@pytest.mark.parametrize("away", [HOURS, -HOURS, DAYS])
def test_hosts_of_other_times(env: ClockEnv, away: int) -> None:
    """Workers ahead and behind, a dispatcher and a user elsewhere: all run once, and in order."""
    being_written = Path(env.project.root, "tmp", "elsewhere", "1.00000000.1")
    being_written.parent.mkdir(parents=True)
    being_written.touch()
    for path in (being_written.parent.parent, being_written.parent, being_written):
        env.own(path)
    dispatcher = env.serve(**env.clock(away))
    first = env.worker(**env.clock(-away))
    for name in JOBS[:10]:
        env.job(name, "true")
    env.wait_for(*JOBS[:10])
    second = env.worker(**env.clock(0))
    env.job("long", f"sleep {1.5 * float(FAST['FJD_LEASE'])}; true")  # nobody is buried meanwhile
    script = env.cwd / JOBS[10]
    script.write_text("[control]\nexecutable: true\n")
    assert env.run("fjd", "submit", str(script), **env.clock(-away)).code == 0
    for name in JOBS[11:]:
        env.job(name, "true")
    in_place = Path(env.project.jobqueue, "edited")  # by an editor on a host of yet another time
    in_place.write_text("[control]\nexecutable: true\n")
    env.own(in_place)
    env.wait_for(*JOBS[10:], "long", "edited")

    ends = [record for record in env.all_records() if record["event"] == "end"]
    assert sorted(record["job"] for record in ends) == sorted([*JOBS, "long", "edited"])
    assert {(record["attempt"], record["outcome"]) for record in ends} == {(1, "ok")}
    began = {record["job"]: record["start"] for record in ends if record["job"] in JOBS[:10]}
    assert sorted(began, key=began.__getitem__) == JOBS[:10], "one worker took another order"
    assert {hours_off(start) for start in began.values()} == {-away}
    assert {hours_off(record["start"]) for record in ends} <= {-away, 0}
    for record in ends:
        assert record["seconds"] < 600  # no hours
        assert abs(record["end"] - record["start"] - record["seconds"]) < 1
    assert being_written.exists(), "a sweep took it for old"
    being_written.unlink()
    unhurt(dispatcher, first, second)
    for daemon in (first, second, dispatcher):
        daemon.stop()
    wait_until(lambda: not env.sightings(), "they are gone")
    assert Audit(env.project.root, [*JOBS, "long", "edited"]).run().problems == []


def unhurt(dispatcher: Daemon, *workers: Daemon) -> None:
    """Nobody was taken for dead."""
    said = dispatcher.err + dispatcher.out
    assert "sign of life" not in said
    assert "died" not in said
    assert [len(worker.ids) for worker in workers] == [1] * len(workers)


@pytest.mark.parametrize("away", [HOURS, -HOURS])
def test_a_dispatcher_is_replaced_by_one_of_another_time(env: ClockEnv, away: int) -> None:
    """Two hours are no lease: one lives on while another one looks, and is replaced when dead."""
    first = env.serve(**env.clock(away))
    worker = env.worker(**env.clock(0))
    env.job("a", "sleep 0.5; true")
    env.wait_running("a")
    refused = env.run("fjd-dispatcher", **env.clock(-away))
    assert refused.code == 6
    assert f"(pid {first.pid} on " in refused.err
    first.kill()
    first.ended()
    second = env.serve(**env.clock(-away))
    env.job("b", "true")
    env.wait_for("a", "b")
    assert [r["attempt"] for r in env.all_records() if r["event"] == "end"] == [1, 1]
    worker.stop()
    second.stop()
    env.known_litter = os.path.exists(env.tmp)
