"""A list of a million lines: what the dispatcher, its files and a resume cost, first and last.

Its tasks are run by workers that spawn nothing (noop.py); all else is ``fjd-batch -S`` as it is,
with every record and row. The CPU time of the dispatcher is that of ``fjd-batch``, in which it
runs, and is taken by the mark: how far the list was cut.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple, Optional

from bench.common import (
    LIMIT,
    Bed,
    Failed,
    Process,
    ends,
    idle_workers,
    main,
    program,
    report,
    verdict,
    wait_until,
)
from fjd.batch.prefix import Prefix
from fjd.spool import runs
from fjd.spool.lists import shelf, statusfile
from fjd.spool.lists.shelf import Shelf
from fjd.spool.project import Project

WORKERS = 2
_LOOK = 0.02  # s between two samples
_WARM = 0.02  # of the tasks until caches are warm and pieces have their size
_PART = 0.1  # of the tasks at the beginning, and at the end
_SLICES = 20  # of such a part
_MEMORY, _FILES, _RESUME, _FIRST = 100, 500, 15, 1
_LIMIT = 3600.0


class Sample(NamedTuple):
    """Up to which number the list was cut, and the CPU seconds that had been spent."""

    cut: int
    cpu: float


class Meter:
    """Watches one process and the spool that it works in.

    Attributes:
        samples: the progress of the list.
        files: the most files at any look; ``peak``: the most memory, in MiB.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.samples: list[Sample] = []
        self.files = 0
        self.peak = 0.0
        self._clock = (~process.pid) << 3 | 2  # as clock_getcpuclockid(3) has it

    def watch(self, project: Optional[Project] = None, limit: float = _LIMIT) -> float:
        """Look until the process has ended; return the seconds that took."""
        began = time.monotonic()
        while self.process.poll() is None:
            if time.monotonic() - began > limit:
                self.process.kill()
                raise Failed(f"it took longer than {limit:g} s")
            self.look(project)
            time.sleep(_LOOK)
        if self.process.returncode:
            said = self.process.stdout.read() if self.process.stdout else ""
            raise Failed(f"exit code {self.process.returncode}: {said[-500:]}")
        return time.monotonic() - began

    def look(self, project: Optional[Project] = None) -> None:
        """Take a sample."""
        self.peak = max(self.peak, peak(self.process.pid))
        if project is None:
            return
        self.files = max(self.files, sum(len(names) for *_, names in os.walk(project.root)))
        for key in shelf.keys(project):
            mark = Shelf(project, key).look().mark
            if mark is not None and not mark.closed:
                with suppress(OSError):  # it has just ended
                    self.samples.append(Sample(mark.n, time.clock_gettime(self._clock)))

    def cost(self, lo: float, hi: float) -> float:
        """Return the CPU seconds per task between two numbers: the median of some slices.

        What else the machine does makes the same work cost half as much again, for a while.
        """
        step = (hi - lo) / _SLICES
        edges = [self._at(lo + step * i) for i in range(_SLICES + 1)]
        return statistics.median(new - old for old, new in zip(edges, edges[1:])) / step

    def _at(self, number: float) -> float:
        for old, new in zip(self.samples, self.samples[1:]):
            if old.cut <= number <= new.cut and old.cut < new.cut:
                part = (number - old.cut) / (new.cut - old.cut)
                return old.cpu + part * (new.cpu - old.cpu)
        raise Failed(f"nobody saw the list at {number:.0f}")


def peak(pid: int) -> float:
    """Return the peak memory of a process in MiB; 0 if it has ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            found = [line.split()[1] for line in file if line.startswith("VmHWM")]
    except OSError:
        return 0.0
    return int(found[0]) / 1024 if found else 0.0


def _tasks(bed: Bed, number: int) -> str:
    path = f"{bed.path}/tasks"
    with open(path, "w", encoding="ascii") as file:
        file.writelines(f"true # {i}\n" for i in range(number))
    return path


def _batch(bed: Bed, prefix: Prefix, *words: str) -> Meter:
    argv = [program("fjd-batch"), "-p", prefix.path, *words]
    return Meter(bed.start(argv, subprocess.PIPE))


def _of_run(bed: Bed, prefix: Prefix) -> Project:
    """Return the project of a run once its list lies there."""
    os.environ["FJD_HOME"] = bed.home

    def ready() -> bool:
        return runs.exists(prefix.project) and bool(shelf.keys(Project.open(prefix.project)))

    wait_until(ready, "the list is there", pause=0.002)
    return Project.open(prefix.project)


def _rows(path: str) -> int:
    """Return for how many tasks there is a good row."""
    with open(path, "rb") as file:
        found = (statusfile.brief(line) for line in file)
        return len({row[1] for row in found if row and row[0] in " S" and not row[2]})


def long(bed: Bed, number: int) -> bool:
    """Run all lines, and resume when all are done."""
    path, prefix = _tasks(bed, number), Prefix(f"{os.path.realpath(bed.path)}/run")
    bed.env["PYTHONPATH"] = os.getcwd()
    run = _batch(bed, prefix, "-S", path)
    project = _of_run(bed, prefix)
    noop = [sys.executable, "-m", "bench.noop", "--project", project.name, "--cwd", bed.cwd]
    for _ in range(WORKERS):
        bed.start(noop)
    seconds = run.watch(project)
    if _rows(prefix.status) != number:
        raise Failed(f"{_rows(prefix.status)} of {number} lines have a good row")
    again = _batch(bed, prefix, "-S", "-r", prefix.status, path)
    resumed = again.watch()
    if _rows(prefix.status) != number:
        raise Failed("the resume has lost rows")
    first = run.cost(_WARM * number, (_WARM + _PART) * number)
    last = run.cost((1 - _PART) * number, run.samples[-1].cut)
    return report(
        f"{number} lines, no-op tasks, {WORKERS} workers: {number / seconds:.0f} a second,"
        f" {1e6 * first:.1f} us of the dispatcher's CPU for each of the first,"
        f" {1e6 * last:.1f} us of the last; load {os.getloadavg()[0]:.1f}",
        [
            verdict("CPU per task, last / first 10 %", last / first, "<=", 1.15),
            verdict("fjd-batch with its dispatcher", run.peak, "<", _MEMORY, " MiB"),
            verdict("files in the spool", run.files, "<=", _FILES),
            verdict("resume with all done", resumed, "<", _RESUME, " s"),
            verdict("resume: memory", again.peak, "<", _MEMORY, " MiB"),
        ],
    )


def soon(bed: Bed, number: int, what: str, lines: Iterable[str]) -> list[str]:
    """Let fjd-batch begin a list, and end it at once when some tasks have ended."""
    path, prefix = f"{bed.path}/list", Prefix(f"{os.path.realpath(bed.path)}/soon")
    with open(path, "w", encoding="ascii") as file:
        file.writelines(lines)
    began = time.time()
    run = _batch(bed, prefix, "-s", f"localhost:{WORKERS}", path)

    def enough() -> bool:
        run.look()
        return os.path.exists(prefix.status) and _rows(prefix.status) >= number

    wait_until(enough, f"{what}: {number} rows", LIMIT)
    with open(prefix.status, "rb") as status:
        rows = [row for row in map(statusfile.parse, status) if row and row.kind == " "]
    starts = sorted(float(row.figures.split(b"\t")[4]) for row in rows)
    for _ in range(2):
        run.process.send_signal(signal.SIGINT)
    run.process.wait(LIMIT)
    for name in os.listdir(bed.path):
        if name.startswith("soon"):
            os.remove(f"{bed.path}/{name}")
    later = f"{what}: task number {number} after that"
    return [
        verdict(f"{what}: first task after", starts[0] - began, "<", _FIRST, " s"),
        f"  {later:<44} {starts[number - 1] - starts[0]:8.3g} s",
        verdict(f"{what}: memory of fjd-batch", run.peak, "<", _MEMORY, " MiB"),
    ]


def dropped(bed: Bed, number: int) -> list[str]:
    """Drop the list into the queue of a project where a dispatcher and workers wait."""
    path, project = _tasks(bed, number), bed.project("drop")
    argv = [program("fjd-dispatcher"), "--project", project.name, "--keep-running"]
    run = Meter(bed.start(argv))
    bed.hire(project, WORKERS)
    wait_until(lambda: len(idle_workers(project)) == WORKERS, "the workers are there")
    began = time.time()
    os.rename(path, f"{project.jobqueue}/x.tasks")

    def enough() -> bool:
        run.look()
        return len(ends(project)) >= 1000

    wait_until(enough, "1000 records", LIMIT)
    first = min(record["start"] for record in ends(project)) - began
    run.process.terminate()
    run.process.wait(LIMIT)
    bed.fire(project)
    return [
        verdict("dropped into the queue: first task after", first, "<", _FIRST, " s"),
        verdict("dropped: memory of the dispatcher", run.peak, "<", _MEMORY, " MiB"),
    ]


def begins(bed: Bed, number: int) -> bool:
    """How soon lists of odd kinds begin."""
    plain = (f"true # {i}\n" for i in range(number))
    barriers = ["#DISBATCH BARRIER\n"] * 10_000
    many = 10 * number
    return report(
        f"lists that begin, {WORKERS} workers; load {os.getloadavg()[0]:.1f}",
        [
            *soon(bed, 1000, f"{number} lines", plain),
            *dropped(bed, number),
            *soon(bed, 2000, f"REPEAT {many}", [f"#DISBATCH REPEAT {many} true\n"]),
            *soon(bed, 2, "10000 barriers", ["true\n", *barriers, "true\n"]),
        ],
    )


def measure(number: int) -> bool:
    """All of it."""
    with Bed() as bed:
        well = begins(bed, number)
        return long(bed, number) and well


if __name__ == "__main__":
    options = argparse.ArgumentParser("bench.million", description=__doc__)
    options.add_argument("--lines", type=int, default=1_000_000)
    given = options.parse_args()
    sys.exit(main(lambda: measure(given.lines)))
