"""From the drop of a job file to its start on a real network home: hosts that share it by SSHFS.

Three hosts of the tests' bed: the home lies on node1, dispatcher and worker run on node2 and node3,
which both mount it with SSHFS's default caches. No event and no bell reaches anybody. Needs root.

SFTP does not tell when a file was renamed, so what a person renames in has to settle there like
what is written in place; what `fjd submit` renames in is known by its name. (NFS tells.)
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.common import Failed, main, report, spread, verdict, wait_until
from fjd.spool.names import Token, new_key
from fjd.spool.timings import NETWORK

_HOSTS = Path(__file__).resolve().parents[1] / "tests" / "hosts"
_SETTLED = 2 * NETWORK.poll + NETWORK.settle
LIMITS = {"submitted": 2 * NETWORK.poll, "renamed in": _SETTLED, "written in place": _SETTLED}  # s
_JOB = "[control]\nexecutable: true\n"


def _fjd(module: str, *words: str) -> list[str]:
    return [sys.executable, "-m", f"fjd.scripts.{module}", *words]


def _starts(spool: Path) -> dict[str, float]:
    """Return when each job started, by the wall clock that all hosts of the bed share."""
    found: dict[str, float] = {}
    for path in spool.glob("records/*.jsonl"):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            if record["event"] == "end":
                found[record["job"]] = record["start"]
    return found


def _drop(spool: Path, name: str, way: str, owner: int) -> float:
    """Drop one job on the server and return when."""
    target = spool / "jobqueue" / (str(Token(new_key(name))) if way == "submitted" else name)
    aside = spool / "tmp" / "drop.part"
    path = target if way == "written in place" else aside
    began = time.time()
    path.write_text(_JOB)
    os.chown(path, owner, owner)
    if path == aside:
        time.sleep(0.05)
        began = time.time()
        aside.rename(target)
    return began


def measure(bed: Any, drops: int) -> dict[str, list[float]]:  # noqa: ANN401  not typed here
    """Return the delays in seconds by the way of dropping."""
    bed.run("node3", _fjd("fjd_recruiter", "--local-only", "hire", "1"))
    bed.popen("node2", _fjd("fjd_dispatcher", "--keep-running"))
    spool = bed.home / ".fjd" / "default"
    wait_until(lambda: any((spool / "dispatcher").iterdir()), "a dispatcher", 30)
    delays: dict[str, list[float]] = {way: [] for way in LIMITS}
    chance = random.Random(1)
    for number in range(drops):
        for way, taken in delays.items():
            time.sleep(3 + chance.random())  # everybody is idle, at no particular point of a poll
            name = f"{way[0]}{number}.conf"
            began = _drop(spool, name, way, bed.uid)
            wait_until(lambda name=name: name in _starts(spool), f"{name} has run", 60)  # type: ignore[misc]
            taken.append(_starts(spool)[name] - began)
    bed.run("node3", _fjd("fjd_recruiter", "--local-only", "fire"))
    return delays


def measure_in_bed(drops: int) -> bool:
    """Measure and print; tell whether the targets hold."""
    sys.path.insert(0, str(_HOSTS))
    from bed import Bed, missing  # type: ignore[import-not-found]  # the tests' own hosts

    if missing():
        raise Failed(str(missing()))
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="fjd-bench-"))
        Path(place).chmod(0o755)
        bed = stack.enter_context(Bed(Path(place) / "bed", home="sshfs"))
        delays = measure(bed, drops)
    lines = [f"  {way}: {spread(taken, ' s')}" for way, taken in delays.items()]
    for way, taken in delays.items():
        lines.append(verdict(way, statistics.median(taken), "<", LIMITS[way], " s"))
    return report(f"drop to start, home on SSHFS between hosts, {drops} drops each way", lines)


if __name__ == "__main__":
    options = argparse.ArgumentParser("bench.network", description=__doc__)
    options.add_argument("--drops", type=int, default=10, help="each way (default: 10)")
    given = options.parse_args()
    sys.exit(main(lambda: measure_in_bed(given.drops)))
