"""What runs on this host, by psutil; the only module that imports it.

Used when workers are ended by force: who is below a process, and who was started by a task of a
worker (a task's processes carry ``FJD_WORKER`` and ``FJD_PROJECT`` in their environment, however
far they have wandered from it).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable

import psutil

from fjd.system.identity import Identity


def tree(pids: Iterable[int]) -> list[Identity]:
    """Return these processes and all that is below them now."""
    found: dict[int, Identity] = {}
    for pid in pids:
        try:
            below = psutil.Process(pid).children(recursive=True)
        except psutil.Error:
            continue  # RACE: it has ended
        for one in [pid, *(child.pid for child in below)]:
            found[one] = Identity.of(one)
    return list(found.values())


def started_by(project: str, workers: Collection[str]) -> list[Identity]:
    """Return the processes that tasks of these workers have started and that still run."""
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            environment = process.environ()
        except (psutil.Error, OSError):
            continue  # it is somebody else's, or it has ended
        worker = environment.get("FJD_WORKER")
        if worker in workers and environment.get("FJD_PROJECT") == project:
            found.append(Identity.of(process.pid))
    return found
