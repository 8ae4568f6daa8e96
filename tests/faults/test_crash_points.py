"""Killed at each single system call of every verb, fjd goes on as if nothing had happened.

The list of points is the tap's; a system call trace of the same days says that it is complete.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import story
from tap import CALLS, traced

CRASH = [sys.executable, str(Path(__file__).with_name("crash.py"))]
SHARES = 4
CALLED = {"deaths": 150, "failures": 150, "departures": 100, "pieces": 200, "stops": 170}
POINTS = 560  # of those calls: all but nudges and syncs, which change nothing

# Some hundred forks for each share, and a busy machine has other things to do as well.
pytestmark = pytest.mark.timeout(550)


def run(words: list[str], limit: float = 500.0) -> str:
    """Run a command to its end, which must be a good one; return what it printed."""
    root = str(Path(__file__).parents[2])
    unwanted = ("FJD_", "PYTHON")
    env = {k: v for k, v in os.environ.items() if not k.startswith(unwanted)}
    done = subprocess.run(
        words,
        env={**env, "PYTHONPATH": root},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=limit,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_tap_sees_every_call(memory: Path) -> None:
    """What the tap saw is what the kernel saw, call by call."""
    strace = shutil.which("strace")
    if strace is None and os.environ.get("CI"):
        pytest.fail("there is no strace; in CI this must not be skipped")
    if strace is None:
        pytest.skip("there is no strace")
    trace = memory / "trace"
    run([strace, "-f", "-y", "-s", "400", "-o", str(trace), "-e", f"trace={CALLS}",
         *CRASH, "trace", str(memory)])  # fmt: skip
    lines = trace.read_text(errors="replace").splitlines()
    for chapter in story.CHAPTERS:
        calls = [str(call) for call in traced(lines, f"{memory}/{chapter}/home/p")]
        seen = (memory / chapter / "listing").read_text().splitlines()
        print(f"{chapter}: calls that change the spool: {len(calls)} traced, {len(seen)} seen")
        print(dict(Counter(call.split()[0] for call in calls)))
        assert calls == seen
        assert len(calls) > CALLED[chapter]


@pytest.mark.parametrize("share", range(SHARES))
def test_killed_at_every_call(memory: Path, share: int) -> None:
    """Before and after each call: restart, finish, and every job and task counts exactly once.

    After a call is before the next one that changes anything, unless something else was done in
    between.
    """
    out = run([*CRASH, "kill", str(memory), str(SHARES), str(share)])
    match = re.search(r"(\d+) points, (\d+) kills, 0 runs with something wrong", out)
    assert match
    assert int(match[1]) > POINTS // SHARES
    assert int(match[2]) > int(match[1])
