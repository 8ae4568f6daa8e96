"""A storm over a wrong protocol: ``python wrong_storm.py MUTANT [SEED]``; prints what it found.

Processes and kills are real. A dispatcher also kills itself before or after a rename, now and then:
that is where it matters, and random kills seldom hit it.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).parent))
from mutants import MUTANTS

from bench.common import Bed, Failed
from bench.storm import TIMINGS, Storm
from fjd.system import files

TASKS, FEW, ROUND, LIMIT = 600, 200, 1.0, 150.0  # s; on a quiet machine some ten pass


def falls_down(chance: float) -> None:
    """Let this process be killed at a rename, before or after it."""
    dice, move = random.Random(os.getpid()), files.move

    def deadly(source: str, target: str) -> bool:
        if dice.random() < chance:
            os.kill(os.getpid(), signal.SIGKILL)
        won = move(source, target)
        if dice.random() < chance:
            os.kill(os.getpid(), signal.SIGKILL)
        return won

    files.move = deadly


def change(mutant: str) -> Callable[[str], None]:
    """Return what is done to each process."""

    def act(role: str) -> None:
        MUTANTS[mutant]()
        if role == "dispatcher":
            falls_down(0.01)

    return act


def blow(storm: Storm, wrong: bool) -> list[str]:
    """Let it blow until all is done, or until something counts twice; return what does."""
    until = time.monotonic() + LIMIT
    while time.monotonic() < until and not storm.twice():
        now = time.monotonic()
        try:
            storm.blow(until if wrong else now, now + ROUND)
        except Failed:
            continue  # it is not over
        storm.calm()
        found = storm.audit()
        return [*storm.twice(), *found.problems]
    return storm.twice() or ["it is not over"]


if __name__ == "__main__":
    with Bed("", **TIMINGS) as bed:
        found = Storm(bed, int([*sys.argv, 1][2]), change=change(sys.argv[1]))
        found.in_lists = 1.0
        found.start()
        wrong = sys.argv[1] != "none"
        if not wrong:  # whoever is killed, what dispatchers do to themselves is enough
            found.enough = lambda: True  # type: ignore[method-assign]
        found.submit(TASKS if wrong else FEW)
        problems = blow(found, wrong)
        print(*problems[:5], f"{found.kills} kills, {found.stops} stops", sep="\n")
        sys.exit(1 if problems else 0)
