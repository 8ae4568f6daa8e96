"""Many tiny jobs: fjd, xargs and HyperQueue in turns, in memory.

fjd runs N job files whose executable is `true` on two workers, from the first assignment to the
last record; hiring, the dispatcher's own start and firing are timed apart. ``xargs -P2`` runs
``sh -c true`` as often, HyperQueue one job of N programs ``true`` on two cores.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Callable, NamedTuple, Optional

from bench.common import (
    Bed,
    Clocked,
    Failed,
    ends,
    fill,
    idle_workers,
    main,
    program,
    report,
    verdict,
)
from bench.hyperqueue import rate_of
from fjd.spool import records
from fjd.spool.project import Project

WORKERS = 2
XARGS_SHARE = 0.6


class Run(NamedTuple):
    """One run of fjd: jobs per second, and the seconds of what lies around them."""

    rate: float
    hire: float
    begin: float
    fire: float


def _end_of(project: Project) -> float:
    """Return when the last record was written, by the wall clock."""
    files = [project.record_file(writer) for writer in records.writers(project)]
    return max(os.stat(path).st_mtime for path in files)


def fjd(bed: Bed, number: int, name: str) -> Run:
    """Run the jobs with fjd, in a fresh project."""
    project = bed.project(name)
    fill(project, number, "true")
    hire = bed.hire(project, WORKERS)
    started = time.time()
    argv = [program("fjd-dispatcher"), "--project", name]
    dispatcher = Clocked(bed.start(argv, subprocess.PIPE))
    code = dispatcher.read()
    ended = time.time()
    done = ends(project)
    good = {record["key"] for record in done if record["outcome"] == "ok"}
    if len(good) != number or len(done) != number:
        last = dispatcher.lines[-1][1] if dispatcher.lines else "(nothing)"
        raise Failed(f"fjd ran {len(good)} of {number} jobs, exit code {code}; it said: {last}")
    first = min(record["start"] for record in done)
    told = dispatcher.first("Found")  # said just before the first assignment
    first = min(first, told) if told else first
    last_record = max(_end_of(project), *(record["end"] for record in done))
    fire = ended - last_record
    if idle_workers(project):
        print(f"  (the dispatcher ended with exit code {code} and fired nobody)")
        fire = bed.fire(project)
    shutil.rmtree(project.root)
    return Run(number / (last_record - first), hire, first - started, fire)


def xargs(bed: Bed, number: int, name: str) -> float:
    """Run as many shells with xargs; return the rate."""
    path = f"{bed.path}/numbers"
    with open(path, "w", encoding="ascii") as file:
        file.writelines(f"{i}\n" for i in range(number))
    return number / bed.run("xargs", "-a", path, "-P", str(WORKERS), "-n", "1", "sh", "-c", "true")


def hyperqueue(bed: Bed, number: int, name: str) -> float:
    """Run as many programs with HyperQueue; return the rate."""
    return rate_of(bed, number)


def measure(number: int, rounds: int) -> bool:
    """Run all in turns and print the table; True if the targets hold."""
    others: dict[str, Callable[[Bed, int, str], float]] = {"xargs -P2": xargs}
    skipped: Optional[str] = None
    if importlib.util.find_spec("hyperqueue"):
        others["HyperQueue"] = hyperqueue
    else:
        skipped = "  HyperQueue is not here, and was left out; type: pip install hyperqueue"
    runs: list[Run] = []
    rates: dict[str, list[float]] = {name: [] for name in others}
    with Bed() as bed:
        where = os.path.dirname(bed.path)
        print(f"{number} jobs `true`, {WORKERS} at a time, {rounds} rounds, in {where}")
        print("  jobs per second" + "".join(f"{name:>14}" for name in ("fjd", *others)), flush=True)
        fjd(bed, min(50, number), "warm")
        for i in range(rounds):
            runs.append(fjd(bed, number, f"run{i}"))
            for name, run in others.items():
                rates[name].append(run(bed, number, f"{name[:2]}{i}"))
            latest = [runs[-1].rate, *(values[-1] for values in rates.values())]
            print(_row(f"round {i + 1}", latest), flush=True)
    middle = statistics.median(run.rate for run in runs)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    lines = [
        f"  {what:<44} {statistics.median(values):8.2f} s"
        for what, values in (
            ("hire 2 workers", [run.hire for run in runs]),
            ("dispatcher: start to first assignment", [run.begin for run in runs]),
            ("last record to all fired and ended", [run.fire for run in runs]),
        )
    ]
    share = middle / medians["xargs -P2"]
    lines.append(verdict("fjd / xargs", share, ">=", XARGS_SHARE))
    if skipped:
        lines.append(skipped)
    else:
        lines.append(verdict("fjd / HyperQueue", middle / medians["HyperQueue"], ">", 1))
    return report(_row("median", [middle, *medians.values()]), lines)


def _row(what: str, rates: Sequence[float]) -> str:
    return f"  {what:<15}" + "".join(f"{rate:14.0f}" for rate in rates)


if __name__ == "__main__":
    options = argparse.ArgumentParser("bench.throughput", description=__doc__)
    options.add_argument("--jobs", type=int, default=5000)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    sys.exit(main(lambda: measure(given.jobs, given.rounds)))
