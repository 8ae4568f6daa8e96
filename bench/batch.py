"""Task lists: fjd-batch, xargs, HyperQueue, GNU parallel and a bare loop over the same lines.

All run two at a time, in turns, in memory. fjd-batch keeps its full status file; its time goes
from the start of the first task to the last row. ``xargs -P2`` runs the same lines with bash and
keeps no record, HyperQueue runs programs ``bash -c LINE`` by its own counters, GNU parallel keeps
its ``--joblog``. The bare loop is a process that keeps two shells running and does nothing else:
what this machine can do at all.
"""

from __future__ import annotations

import argparse
import heapq
import importlib.util
import math
import os
import random
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Callable, NamedTuple

from bench.common import LIMIT, Bed, Failed, main, program, report, verdict
from bench.hyperqueue import rate_of
from fjd.spool.lists import statusfile

WORKERS = 2
_AROUND = 1.5  # s that hiring and firing may take

Rival = Callable[[Bed, str, int], float]


class Run(NamedTuple):
    """One run of fjd-batch: each task's start and finish by the wall clock, and the whole time.

    ``last`` is when the last row was written.
    """

    spans: Sequence[tuple[float, float]]
    last: float
    whole: float

    @property
    def seconds(self) -> float:
        """From the start of the first task to the last row."""
        return self.last - min(start for start, _ in self.spans)


def fjd(bed: Bed, path: str, number: int) -> Run:
    """Run the lines of a file with fjd-batch."""
    prefix = f"{bed.path}/run"
    argv = [program("fjd-batch"), "-s", f"localhost:{WORKERS}", "-p", prefix, path]
    whole = bed.run(*argv, limit=LIMIT)
    status = f"{prefix}_status.txt"
    last = os.stat(status).st_mtime
    with open(status, "rb") as file:
        rows = [row for row in map(statusfile.parse, file) if row]
    done = {row.number for row in rows if not row.code}
    if len(done) != number or len(rows) != number:
        raise Failed(f"fjd-batch has {len(rows)} rows of {number} lines, {len(done)} good")
    spans = []
    for row in rows:
        start, finish = row.figures.split(b"\t")[4:6]
        spans.append((float(start), float(finish)))
    for name in os.listdir(bed.path):
        if name.startswith("run"):
            os.remove(f"{bed.path}/{name}")
    return Run(spans, last, whole)


def xargs(bed: Bed, path: str, number: int) -> float:
    """Run the lines with xargs and bash; return the seconds."""
    return bed.run("xargs", "-a", path, "-d", "\n", "-P", str(WORKERS), "-n", "1", "bash", "-c")


def parallel(bed: Bed, path: str, number: int) -> float:
    """Run the lines with GNU parallel and its job log; return the seconds."""
    log = f"{bed.path}/joblog"
    try:
        words = ("--will-cite", "-a", path, "--joblog", log, "-j", str(WORKERS))
        return bed.run("env", "SHELL=/bin/bash", "parallel", *words)
    finally:
        if os.path.exists(log):
            os.remove(log)


def hyperqueue(bed: Bed, path: str, number: int) -> float:
    """Run the lines with HyperQueue; return the seconds by its own counters."""
    return number / rate_of(bed, number, path)


def bare(bed: Bed, path: str, number: int) -> float:
    """Keep two shells running until all lines are through; return the seconds."""
    with open(path, "rb") as file:
        lines = file.read().splitlines()
    began = time.monotonic()
    running: set[int] = set()
    for line in lines:
        while len(running) == WORKERS:
            running.discard(os.wait()[0])  # what another run has left is not of ours
        running.add(os.posix_spawn("/bin/bash", [b"bash", b"-c", line], bed.env))
    while running:
        running.discard(os.wait()[0])
    return time.monotonic() - began


def rivals() -> dict[str, Rival]:
    """Return whom there is to compare with here."""
    found: dict[str, Rival] = {"bare loop": bare, "xargs -P2": xargs}
    if importlib.util.find_spec("hyperqueue"):
        found["HyperQueue"] = hyperqueue
    if shutil.which("parallel"):
        found["parallel"] = parallel
    return found


def _file(bed: Bed, name: str, lines: Sequence[str]) -> str:
    path = f"{bed.path}/{name}"
    with open(path, "w", encoding="ascii") as file:
        file.writelines(f"{line}\n" for line in lines)
    return path


def _row(what: str, values: Sequence[float]) -> str:
    return f"  {what:<9}" + "".join(f"{value:12.0f}" for value in values)


def short(number: int, rounds: int) -> bool:
    """Compare lines ``true # N``; medians of interleaved rounds, in lines per second."""
    others = rivals()
    runs: list[Run] = []
    rates: dict[str, list[float]] = {name: [] for name in ("fjd", *others)}
    with Bed() as bed:
        path = _file(bed, "tasks", [f"true # {i}" for i in range(number)])
        fjd(bed, _file(bed, "warm", ["true"] * 50), 50)
        print(f"{number} lines `true # N`, {WORKERS} at a time, {rounds} rounds, lines per second")
        print("  " + " " * 9 + "".join(f"{name:>12}" for name in rates), flush=True)
        for i in range(rounds):
            runs.append(fjd(bed, path, number))
            rates["fjd"].append(number / runs[-1].seconds)
            for name, run in others.items():
                rates[name].append(number / run(bed, path, number))
            print(_row(f"round {i + 1}", [values[-1] for values in rates.values()]), flush=True)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    around = statistics.median(run.whole - run.seconds for run in runs)
    targets = {"xargs -P2": 0.75, "HyperQueue": 2.0, "parallel": 2.5}
    lines = [
        verdict(f"fjd / {name}", medians["fjd"] / medians[name], ">=", share)
        if name in medians
        else f"  {name} is not here, and was left out"
        for name, share in targets.items()
    ]
    lines.append(verdict("whole command: more than that", around, "<=", _AROUND, " s"))
    return report(_row("median", list(medians.values())), lines)


def sleeps(number: int, rounds: int) -> bool:
    """Compare lines ``sleep 0.01`` with the bare loop."""
    shares: list[float] = []
    with Bed() as bed:
        path = _file(bed, "tasks", ["sleep 0.01"] * number)
        for _ in range(rounds):
            ours = fjd(bed, path, number).seconds
            shares.append(bare(bed, path, number) / ours)
    share = statistics.median(shares)
    return report(
        f"{number} lines `sleep 0.01`, {rounds} rounds",
        [verdict("fjd / bare loop", share, ">=", 0.95)],
    )


def greedy(seconds: Sequence[float]) -> float:
    """Return when the last of these tasks ends if each goes to who is free first."""
    free = [0.0] * WORKERS
    for task in seconds:
        heapq.heappush(free, heapq.heappop(free) + task)
    return max(free)


def mixed(number: int, rounds: int) -> bool:
    """Compare the makespan of tasks of many lengths with that of greedy list scheduling."""
    dice = random.Random(7)
    lengths = [min(0.1, max(0.001, math.exp(dice.gauss(-4.6, 1.0)))) for _ in range(number)]
    shares: list[float] = []
    with Bed() as bed:
        path = _file(bed, "tasks", [f"sleep {length:.4f}" for length in lengths])
        for _ in range(rounds):
            spans = fjd(bed, path, number).spans
            makespan = max(end for _, end in spans) - min(start for start, _ in spans)
            shares.append(makespan / greedy([end - start for start, end in sorted(spans)]))
    share = statistics.median(shares)
    return report(
        f"{number} lines `sleep`, 1 to 100 ms, log-normal, {rounds} rounds",
        [verdict("makespan / greedy list scheduling", share, "<=", 1.05)],
    )


def measure(number: int, rounds: int) -> bool:
    """All of it."""
    well = short(number, rounds)
    well = sleeps(max(20, number // 5), 3) and well
    return mixed(200, 3) and well


if __name__ == "__main__":
    options = argparse.ArgumentParser("bench.batch", description=__doc__)
    options.add_argument("--lines", type=int, default=10_000)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    sys.exit(main(lambda: measure(given.lines, given.rounds)))
