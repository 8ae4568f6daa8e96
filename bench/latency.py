"""From the drop of one job file to its start, everything idle.

The job says itself when it started (`date`), so the shell and `date` are part of the figure; the
moment in which the worker took the job is told beside it. Files are renamed in (``mv``, of a file
that was written a moment earlier: file times are coarse, and without an event only they tell a
rename from a write) or written in place (``cp``, an editor). Between two drops everybody has been
quiet for a while.

A network home: ``--home DIR`` puts the project there; ``--via "ssh host2"`` drops the files from
another host, whose own clock is not used. Without either, a network is emulated by deaf.py.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from typing import Callable, NamedTuple, Optional

from bench.common import (
    Bed,
    Failed,
    ends,
    idle_workers,
    main,
    program,
    report,
    spread,
    verdict,
    wait_until,
)
from fjd.spool import records, timings
from fjd.spool.project import Project
from fjd.spool.timings import Timings

LOCAL_TARGET = 0.010  # s
_QUIET = 1.3  # s: longer than the dispatcher stays watchful after an event
_JOB = "[control]\nexecutable: date +%s.%N && true\n"  # true takes the job file's path
_WAYS = ("renamed in", "written in place")

# Runs here or, through --via, on another host: takes one drop per line, answers when it is done.
DROPPER = """
import json, os, sys, time
for line in sys.stdin:
    path, text, way = json.loads(line)
    if way == "renamed in":
        aside = os.path.join(os.path.dirname(os.path.dirname(path)), "tmp", "drop.part")
        with open(aside, "w") as file:
            file.write(text)
        time.sleep(0.05)
        print("ready", flush=True)
        sys.stdin.readline()
        os.rename(aside, path)
    else:
        print("ready", flush=True)
        sys.stdin.readline()
        with open(path, "w") as file:
            file.write(text)
    print("done", flush=True)
"""


class Delays(NamedTuple):
    """Milliseconds from the drop until the worker took the job, and until the job itself ran."""

    taken: list[float]
    ran: list[float]


class Dropper:
    """Drops job files, from here or from another host."""

    def __init__(self, bed: Bed, via: str) -> None:
        command = "exec python3 -u -c '" + DROPPER + "'"
        argv = [*via.split(), command] if via else [sys.executable, "-u", "-c", DROPPER]
        self._process = subprocess.Popen(
            argv,
            env=bed.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def _say(self, line: str, answer: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        if self._process.stdout.readline().strip() != answer:
            raise Failed("the process that drops job files has ended")

    def drop(self, path: str, text: str, way: str) -> float:
        """Drop a file; return the wall clock when that was ordered, a moment before it is done."""
        self._say(json.dumps([path, text, way]), "ready")
        when = time.time()
        self._say("go", "done")
        return when

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def drops(project: Project, dropper: Dropper, way: str, number: int, poll: float) -> Delays:
    """Drop jobs one by one into an idle project."""
    delays = Delays([], [])
    for i in range(number):
        before = {record["key"] for record in ends(project)}
        name = f"{way.split()[0]}{i}.conf"
        when = dropper.drop(f"{project.jobqueue}/{name}", _JOB, way)
        record = _wait_for_end(project, before, name)
        ran = float(records.output(project, record, "out"))
        delays.taken.append(1000 * (record["start"] - when))
        delays.ran.append(1000 * (ran - when))
        time.sleep(_QUIET + random.random() * poll)  # at every phase of somebody's polling
    return delays


def _wait_for_end(project: Project, before: set[str], name: str) -> records.Record:
    found: list[records.Record] = []

    def ended() -> bool:
        found[:] = [record for record in ends(project) if record["key"] not in before]
        return bool(found)

    wait_until(ended, f"the end of {name}", pause=0.02)
    if found[0]["outcome"] != "ok":
        raise Failed(f"{name} came out as {found[0]['outcome']}: {found[0]['cause']}")
    return found[0]


def _hear_nothing(bed: Bed, project: Project) -> None:
    words = ["--project", project.name]
    base = [sys.executable, "-m", "bench.deaf"]
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    bed.env["PYTHONPATH"] = root
    bed.start([*base, "fjd.scripts.fjd_worker", *words, "--cwd", bed.cwd])
    wait_until(lambda: bool(idle_workers(project)), "a worker")
    bed.start([*base, "fjd.scripts.fjd_dispatcher", *words, "--keep-running"])


def _plain(bed: Bed, project: Project) -> None:
    bed.hire(project, 1)
    bed.start([program("fjd-dispatcher"), "--project", project.name, "--keep-running"])


def series(
    bed: Bed,
    number: int,
    pace: Timings,
    set_up: Callable[[Bed, Project], None],
    via: str = "",
) -> dict[str, Delays]:
    """Measure both ways to drop a file, with one worker and one dispatcher."""
    project = bed.project(f"bench-{os.getpid()}")
    set_up(bed, project)
    dropper = Dropper(bed, via)
    try:
        wait_until(lambda: bool(os.listdir(project.dispatcher)), "a dispatcher")
        drops(project, dropper, "first", 1, 0.0)
        return {way: drops(project, dropper, way, number, pace.poll) for way in _WAYS}
    finally:
        dropper.close()


def _lines(found: dict[str, Delays], limits: dict[str, float]) -> list[str]:
    lines = []
    for way, delays in found.items():
        lines.append(f"  {way:<18} the worker took it  {spread(delays.taken, ' ms')}")
        lines.append(f"  {'':<18} the job ran         {spread(delays.ran, ' ms')}")
    for way, delays in found.items():
        middle = statistics.median(delays.ran)
        lines.append(verdict(f"{way}: median until the job ran", middle, "<", limits[way], " ms"))
    return lines


def _limits(pace: Timings) -> dict[str, float]:
    polls = 2000 * pace.poll
    return {_WAYS[0]: polls, _WAYS[1]: polls + 1000 * pace.settle}


def local(number: int) -> bool:
    """Measure on a local file system."""
    with Bed() as bed:
        found = series(bed, number, timings.LOCAL, _plain)
    limits = dict.fromkeys(_WAYS, 1000 * LOCAL_TARGET)
    return report(f"drop to start, local, {number} drops each way", _lines(found, limits))


def emulated(number: int) -> bool:
    """Measure with a network's timings and without bells and events."""
    pace = timings.NETWORK
    changes = {f"FJD_{field.upper()}": str(value) for field, value in pace._asdict().items()}
    with Bed(**changes) as bed:
        found = series(bed, number, pace, _hear_nothing)
    title = f"drop to start, a network home emulated (no bell, no event), {number} drops each way"
    return report(title, _lines(found, _limits(pace)))


def elsewhere(number: int, home: str, via: str) -> bool:
    """Measure in a given directory, dropping from a given host."""
    home = os.path.abspath(home)
    os.makedirs(home, 0o700, exist_ok=True)
    pace = timings.for_home(home)
    kind = timings.file_system(home)
    with Bed(home) as bed:
        found = series(bed, number, pace, _plain, via)
    limits = _limits(pace)
    if pace == timings.LOCAL and not via:
        limits = dict.fromkeys(_WAYS, 1000 * LOCAL_TARGET)
    where = f" from `{via}`" if via else ""
    title = f"drop to start, {home} ({kind}){where}, {number} drops each way"
    return report(title, _lines(found, limits))


def measure(number: int, home: Optional[str] = None, via: str = "", network: bool = True) -> bool:
    """Run what was asked for; True if the targets hold."""
    if home:
        return elsewhere(number, home, via)
    fine = local(number)
    return emulated(max(3, number // 3)) and fine if network else fine


if __name__ == "__main__":
    options = argparse.ArgumentParser("bench.latency", description=__doc__)
    options.add_argument("--drops", type=int, default=30, help="each way (default: 30)")
    options.add_argument("--home", metavar="DIR", help="put the project there")
    options.add_argument("--via", metavar="CMD", default="", help="e.g. `ssh host2`: drop there")
    options.add_argument("--local-only", action="store_true", help="emulate no network")
    given = options.parse_args()
    if given.via and not given.home:
        options.error("--via needs --home")
    sys.exit(
        main(lambda: measure(given.drops, given.home, given.via, network=not given.local_only))
    )
