"""Does anything get lost when everything is killed? ``python -m bench.soak --tasks N``.

A storm (storm.py) over so many tasks and for at least so many minutes; afterwards the spool is
audited, by its files alone.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from bench.common import Bed, Failed, main
from bench.storm import INSIDE, INSIDE_PIECES, LATE, TIMINGS, Storm


def soak(tasks: int, minutes: float, seed: int, limit: float, hires: bool) -> bool:
    """One storm; print what became of it."""
    with Bed("", **TIMINGS) as bed:
        began = time.monotonic()
        storm = Storm(bed, seed, hires)
        try:
            found = storm.run(tasks, 60 * minutes, limit or 60 * minutes + 600)
        except Failed:
            for path in sorted(Path(bed.path).glob("*.log")):
                print(f"--- {path.name}\n{path.read_text(errors='replace')[-1500:]}")
            raise
        for log in Path(bed.path).glob("*.log"):
            text = log.read_text(errors="replace")
            if "Traceback" in text:
                found.problems.append(f"{log.name} tells of a mistake:\n{text[-3000:]}")
        seconds = time.monotonic() - began
    inside, pieces = storm.inside(found.broken)
    if inside < INSIDE or pieces < INSIDE_PIECES or found.late < LATE:
        found.problems.append("too little happened: it does not count")
    for problem in found.problems[:20]:
        print(f"  {problem}")
    kills = storm.kills + (storm.hiring.kills if storm.hiring else 0)
    recruiters = f", {storm.hiring.recruiters} recruiters" if storm.hiring else ""
    times = os.times()
    cpu = times.user + times.system + times.children_user + times.children_system
    print(
        f"seed {seed}: {found.tasks} tasks, {kills} kills ({inside} inside an attempt,"
        f" {pieces} of them inside a piece{recruiters}) and {storm.stops} stops in {seconds:.0f} s"
        f" ({cpu:.0f} s of CPU)\n"
        f"lost {found.lost}, counted twice {found.twice}, late records {found.late},"
        f" attempts spent {found.attempts}, {found.losses} of them with their worker,"
        f" other problems {len(found.problems)}",
        flush=True,
    )
    return not found.problems


if __name__ == "__main__":
    options = argparse.ArgumentParser("bench.soak", description=__doc__)
    options.add_argument("--tasks", type=int, default=10_000)
    options.add_argument("--minutes", type=float, default=10.0, help="go on at least so long")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--limit", type=float, default=0.0, help="give up after so many seconds")
    options.add_argument("--no-hire", action="store_true", help="no recruiters: they cost time")
    given = options.parse_args()
    size = (given.tasks, given.minutes, given.seed, given.limit)
    sys.exit(main(lambda: soak(*size, not given.no_hire)))
