"""Sweeping: what crashes leave behind and nobody will ever read. The dispatcher does it once, at
its start; nothing here is a token.

A file under ``tmp/`` belongs to whoever is writing it. Nobody takes a day for that, so what is
older than ``OLD`` has lost its writer; the age is told by the file server's clock alone, as the
difference to a file that was made just now.
"""

from __future__ import annotations

import os
import shutil
from typing import Optional

from fjd.spool import contexts, crew, pods
from fjd.spool.lists import writing
from fjd.spool.lists.submission import STAGED
from fjd.spool.names import WHY, is_pod
from fjd.spool.project import Project
from fjd.system import files

LONGEST_WRITE = 24 * 3600.0  # s that a writer may take for one file
OLD = 1.5 * LONGEST_WRITE  # s: more than that, or a file could be swept while it is written


def sweep(project: Project) -> None:
    """Remove old temporary files, reasons without a job, copies nobody runs, dead contexts."""
    _reasons(project)
    _copies(project)
    contexts.sweep(project)
    writing.sweep(project)
    now = project.server_now()
    base = os.path.dirname(project.tmp)
    for host in files.listing(base) or ():
        path = f"{base}/{host}"
        if os.path.isdir(path):
            for name in files.listing(path) or ():
                _old(f"{path}/{name}", now)
        else:
            _old(path, now)  # a marker of samehome.py


def _old(path: str, now: float) -> None:
    staged = path.endswith(STAGED)  # a list whose submitter has died
    if os.path.isdir(path) and not staged:
        return  # a job has put it there, and it is not ours to remove
    changed = _changed(path)
    if changed is None or now - changed <= OLD:
        return
    if staged:
        shutil.rmtree(path, ignore_errors=True)
    else:
        files.remove(path)


def _reasons(project: Project) -> None:
    names = set(files.listing(project.rejected) or ())
    for name in names:
        if name.endswith(WHY) and name[: -len(WHY)] not in names:
            files.remove(f"{project.rejected}/{name}")


def _copies(project: Project) -> None:
    there = set(crew.with_pods(project)) | crew.sightings(project).keys()
    for worker in files.listing(project.running) or ():
        if is_pod(worker) and worker not in there:
            pods.clear_running(project, worker)


def _changed(path: str) -> Optional[float]:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None  # RACE: published or removed meanwhile
    return found.st_mtime
