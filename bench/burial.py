"""From the death of a worker until it is buried and its job is back in the queue.

A worker of this host that runs a task is killed together with its guardian (``kill -9``), so that
nobody is left who could say so; nothing else happens in the project.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import time

from bench.common import (
    Bed,
    descendants,
    idle_workers,
    main,
    program,
    report,
    spread,
    verdict,
    wait_until,
)
from fjd.spool import crew
from fjd.spool.project import Project

TARGET = 20.0  # ms: far below any interval of polling
_QUIET = 1.3  # s: longer than the dispatcher stays watchful after an event


def _burial(project: Project, number: int) -> float:
    """Hire, kill, and return the milliseconds until the pod is gone."""
    staging = project.staging()
    with open(staging, "w", encoding="ascii") as file:
        file.write("[control]\nexecutable: exec sleep 1000 #\n")
    os.utime(staging, (1e9, 1e9))
    os.rename(staging, f"{project.jobqueue}/job{number}")
    wait_until(lambda: bool(os.listdir(project.workers)), "a busy worker")
    ((worker, (_, card)),) = crew.cards(project).items()
    assert card is not None
    time.sleep(_QUIET + random.random())  # at every phase of somebody's polling
    tasks = list(descendants(card.identity.pid))
    pod, began = project.pod(worker), time.monotonic()
    for pid in (card.guardian.pid, card.identity.pid):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not os.path.exists(pod), "the burial", pause=0.0002)
    elapsed = 1000 * (time.monotonic() - began)
    for pid in tasks:
        os.kill(pid, signal.SIGKILL)
    for name in os.listdir(project.requeue):
        os.unlink(f"{project.requeue}/{name}")
    return elapsed


def measure(number: int) -> bool:
    """Bury so many workers; True if the target holds."""
    with Bed() as bed:
        project = bed.project("burial")
        bed.start([program("fjd-dispatcher"), "--project", "burial", "--keep-running"])
        wait_until(lambda: bool(os.listdir(project.dispatcher)), "a dispatcher")
        times = []
        for at in range(number):
            bed.hire(project, 1)
            wait_until(lambda: bool(idle_workers(project)), "a worker")
            times.append(_burial(project, at))
    lines = [
        f"  kill -9 until the job is back in the queue  {spread(times, ' ms')}",
        verdict("median until it is buried", statistics.median(times), "<", TARGET, " ms"),
    ]
    return report(f"death to burial, same host, {number} workers", lines)


if __name__ == "__main__":
    options = argparse.ArgumentParser("bench.burial", description=__doc__)
    options.add_argument("--workers", type=int, default=15, help="how many die (default: 15)")
    given = options.parse_args()
    sys.exit(main(lambda: measure(given.workers)))
