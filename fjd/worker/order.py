"""What one attempt is to run: the words, where, and with what in its environment.

A task of a list finds what disBatch gives its tasks (``DISBATCH_*``); ``_ZP`` ones have six digits.
How many cores it has is said by the context of its worker (``-c``), and else by the list.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple, Optional, Union

from fjd.spool.crew import Card
from fjd.spool.jobfile import Job
from fjd.spool.lists.task import Task
from fjd.spool.project import Project
from fjd.system import files

_LONGEST = 128 * 1024 - 1  # bytes of one word that Linux hands to a program
_PER_ENGINE = 1 << 40  # the numbers from here on are those of PERENGINE commands
_COMMANDS = 1000  # of one kind of those at most

Word = Union[str, bytes]


class Order(NamedTuple):
    """What is to be run; ``cwd`` is relative to where the worker's tasks start."""

    argv: tuple[Word, ...]
    env: Mapping[str, str]
    cwd: str = ""
    timeout: Optional[float] = None


def of_job(job: Job, copy: str) -> Order:
    """Return what a job file says; ``copy`` is where the job can read it."""
    if job.kind == "script":
        argv = [copy]
    else:
        # The job file's path is the shell's own argument: no name is ever parsed as code.
        argv = ["/bin/sh", "-c", f'{job.executable} "$@"', "sh", copy]
    if job.nice is not None:
        argv = ["/usr/bin/env", "nice", "-n", str(job.nice), *argv]
    return Order(tuple(argv), job.env, job.cwd or "", job.timeout)


class Orders:
    """What the tasks of lists are, for one worker.

    Args:
        scratch: a private directory; what is too long for a command line is run from a file there.
    """

    def __init__(self, project: Project, card: Card, scratch: str) -> None:
        from fjd.spool import contexts  # a worker that starts has no use for it

        self._card, self._scratch = card, scratch
        self._cores = contexts.cores(project, card.context, card.engine)

    def of_task(self, task: Task, common: Mapping[str, object]) -> Order:
        """Return what a task is; ``common``: what all tasks of its list have in common."""
        env = common.get("env")
        found = dict(env) if isinstance(env, dict) else {}
        number, cylinder = task.number, self._card.cylinder
        if number >= _PER_ENGINE:
            number, cylinder = (number - _PER_ENGINE) % _COMMANDS, -1
        counts = {"TASKID": number, "STREAM_INDEX": task.line, "REPEAT_INDEX": task.repeat}
        for name, value in counts.items():
            found[f"DISBATCH_{name}"] = str(value)
            found[f"DISBATCH_{name}_ZP"] = f"{value:06d}"
        found["DISBATCH_ENGINE_RANK"] = str(self._card.engine)
        found["DISBATCH_CYLINDER_RANK"] = str(cylinder)
        if self._cores:
            found["DISBATCH_CORES_PER_TASK"] = self._cores
        argv: tuple[Word, ...] = ("/bin/bash", "-c", task.command)
        if len(task.command) >= _LONGEST:
            argv = ("/bin/bash", _written(f"{self._scratch}/command", task.command))
        return Order(argv, found, str(common.get("cwd") or ""))


def _written(path: str, command: bytes) -> str:
    files.remove(path)  # what escaped from a task may still read the old one
    files.create(path, command)
    return os.path.abspath(path)
