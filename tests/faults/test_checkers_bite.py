"""The checks of the crash points find what is wrong with a wrong protocol, and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CRASH = [sys.executable, str(Path(__file__).with_name("crash.py"))]
STEP = 60  # of some 400 points; a mutant needs no more


def wrong(memory: Path, mutant: str) -> tuple[int, int, str]:
    """Let a mutant be killed here and there; return kills, bad runs, and what was said."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("FJD_", "PYTHON"))}
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    words = [*CRASH, "kill", str(memory), str(STEP), "0", mutant]
    done = subprocess.run(
        words, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100
    )
    match = re.search(r"(\d+) kills, (\d+) runs with something wrong", done.stdout)
    assert match, done.stdout + done.stderr
    print(f"{mutant}: {match[0]}")
    return int(match[1]), int(match[2]), done.stdout


@pytest.mark.parametrize("mutant", ["none", "hostile"])
def test_the_right_one_passes(memory: Path, mutant: str) -> None:
    """fjd itself passes, also where listings are stale and every third reply is lost."""
    _, found, said = wrong(memory, mutant)
    assert found == 0, said


@pytest.mark.parametrize(
    ("mutant", "complaint"),
    [
        ("copies", "tokens:|no token|is empty"),
        ("ignores-the-token", "records that count|attempts, and the records"),
        ("counts-what-is-late", "tokens:"),
        ("does-not-accept", "was started 2"),
        ("believes-stale-listings", "it broke without being killed|going on failed"),
    ],
)
def test_mutants_are_found(memory: Path, mutant: str, complaint: str) -> None:
    """Each of the five wrong protocols is found out."""
    _, found, said = wrong(memory, mutant)
    assert found > 0
    assert re.search(complaint, said), said
