"""The storm of bench/soak.py, in short: nothing is lost and nothing counts twice."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TASKS, SEEDS = 300, (1, 2, 3)
LIMIT = 100  # s


@pytest.mark.timeout(LIMIT + 60)
def test_storm() -> None:
    """Four workers and two dispatchers are killed and stopped ten times a second; three seeds."""
    root = str(Path(__file__).parents[2])
    storms = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.soak", "--minutes", "0", "--limit", str(LIMIT),
             "--tasks", str(TASKS), "--seed", str(seed)],
            cwd=root,
            env={**os.environ, "PYTHONPATH": root},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for seed in SEEDS
    ]  # fmt: skip
    said = [storm.communicate()[0] for storm in storms]  # each ends by its own limit
    print("\n".join(said))
    for storm, text in zip(storms, said):
        assert storm.returncode == 0, text
        hit = re.search(r"(\d+) attempts were hit, (\d+) were late\nlost 0, counted twice 0", text)
        assert hit, text
        assert int(hit[1]) >= 50
        assert int(hit[2]) >= 1
