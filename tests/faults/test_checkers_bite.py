"""The checks of crash points and storms find what is wrong with a wrong protocol, no more."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CRASH = [sys.executable, str(Path(__file__).with_name("crash.py"))]
STORM = Path(__file__).with_name("wrong_storm.py")
STEP = 40  # of some 150 points of a chapter; most mutants need no more


def run(words: list[str], limit: float) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("FJD_", "PYTHON"))}
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    return subprocess.run(
        words, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit
    )


def wrong(memory: Path, mutant: str, step: int, *chapters: str) -> tuple[int, int, str]:
    """Let a mutant be killed here and there; return kills, bad runs, and what was said."""
    done = run([*CRASH, "kill", str(memory), str(step), "0", mutant, *chapters], limit=100)
    match = re.search(r"(\d+) kills, (\d+) runs with something wrong", done.stdout)
    assert match, done.stdout + done.stderr
    print(f"{mutant}: {match[0]}")
    return int(match[1]), int(match[2]), done.stdout


def test_the_right_one_passes(memory: Path) -> None:
    """fjd itself passes, also where listings are stale and every third reply is lost."""
    kills, found, said = wrong(memory, "hostile", STEP // 2)
    assert kills > 20
    assert found == 0, said


@pytest.mark.parametrize(
    ("mutant", "step", "chapter", "complaint"),
    [
        ("copies", 17, "failures", "tokens:|no token|is empty"),
        ("ignores-the-token", STEP, "deaths", "records that count|attempts, and the records"),
        ("counts-what-is-late", STEP, "deaths", "tokens:"),
        ("does-not-accept", STEP, "deaths", "was started 2"),
        (
            "believes-stale-listings",
            STEP,
            "deaths",
            "it broke without being killed|going on failed",
        ),
        ("cuts-twice", STEP, "pieces", "was started 2"),
        ("counts-late-pieces", STEP, "pieces", r"task \d of many.tasks counts twice"),
    ],
)
def test_mutants_are_found(
    memory: Path, mutant: str, step: int, chapter: str, complaint: str
) -> None:
    """Each of the wrong protocols is found out."""
    _, found, said = wrong(memory, mutant, step, chapter)
    assert found > 0
    assert re.search(complaint, said), said


@pytest.mark.timeout(260)
@pytest.mark.parametrize(
    ("mutant", "complaint"),
    [("none", r"\A\d+ kills"), ("cuts-twice", r"task \d+ of list\d+ counts twice")],
)
def test_storms_find_wrong_lists(mutant: str, complaint: str) -> None:
    """A storm in which dispatchers fall at renames finds a range that was cut twice, no more."""
    done = run([sys.executable, str(STORM), mutant], limit=220)
    print(done.stdout)
    assert done.returncode == (mutant != "none"), done.stdout + done.stderr
    assert re.search(complaint, done.stdout), done.stdout + done.stderr
