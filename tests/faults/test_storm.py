"""The storm of bench/storm.py: nothing is lost and nothing counts twice, whoever is killed.

Each seed is a project of its own; the daemons are forks of a process that has loaded fjd, so that
a death costs milliseconds, and apart from that they are what the commands are, guardians and all.
FJD_STORM_TASKS (or ``python -m bench.soak``): another number of tasks.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TASKS = int(os.environ.get("FJD_STORM_TASKS", "0")) or 2000
SEEDS = range(1, 21)
AT_ONCE = 2  # most of a storm's time passes in waiting for leases
LIMIT = 400  # s; a quiet machine takes 15


@pytest.mark.xdist_group("storms")  # beside tests that wait; all at once they starve each other
@pytest.mark.timeout(LIMIT + 100)
@pytest.mark.parametrize("first", SEEDS[::AT_ONCE])
def test_storm(first: int) -> None:
    """Four workers and two dispatchers are killed and stopped ten times a second."""
    root = str(Path(__file__).parents[2])
    storms = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.soak", "--minutes", "0", "--limit", str(LIMIT),
             "--tasks", str(TASKS), "--seed", str(seed), "--no-hire"],
            cwd=root,
            env={**os.environ, "PYTHONPATH": root},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for seed in range(first, first + AT_ONCE)
    ]  # fmt: skip
    said = [storm.communicate()[0] for storm in storms]  # each ends by its own limit
    print("".join(said))
    for storm, text in zip(storms, said):
        assert storm.returncode == 0, text
        hit = re.search(
            r"(\d+) tasks, .*\((\d+) inside an attempt, (\d+) of them inside a piece.*\)(?:.*\n)+?"
            r"lost 0, counted twice 0, late records (\d+)",
            text,
        )
        assert hit, text
        tasks, inside, pieces, late = map(int, hit.groups())
        assert tasks >= TASKS
        assert (inside >= 50, pieces >= 10, late >= 1) == (True, True, True), text
