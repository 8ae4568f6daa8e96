"""Hints: what to type next, as a line that can be pasted."""

from __future__ import annotations

import os
import shlex
from typing import Optional

from fjd.errors import NothingToDo
from fjd.spool import presence
from fjd.spool.project import Project


def typed(project: Project, command: str) -> str:
    """Return a command as it is to be typed for this project."""
    given = os.environ.get("FJD_PROJECT", "default")
    return command if project.name == given else f"{command} --project {project.name}"


def word(job: str, key: str) -> str:
    """Return how to name a job on a command line: by its file name if that can be typed."""
    if job.isprintable() and not job.startswith("-") and len(job) <= 40:
        return shlex.quote(job)
    return key or shlex.quote(job)


def log_of(project: Project, job: str, key: str) -> str:
    """Return the command that shows what a job printed."""
    return typed(project, f"fjd log {word(job, key)}")


def no_such_job(project: Project, text: str) -> NothingToDo:
    """Return what to say of a job that is nowhere."""
    return NothingToDo(
        f'project "{project.name}" has no job {text!r}',
        remedy=f"see what there is with: {typed(project, 'fjd status')}",
    )


def dispatcher_line(project: Project, seen: Optional[presence.Dispatcher]) -> str:
    """Return what to type if nobody dispatches ("" if somebody does)."""
    start = typed(project, "fjd-dispatcher")
    if seen is None or seen.alive is False:
        return f'no dispatcher runs for project "{project.name}"; start one with: {start}'
    if seen.alive is None:
        return (
            f"the dispatcher on {seen.host} has been silent for {seen.silent or 0:.0f} s;"
            f" if it is gone, start one with: {start}"
        )
    return ""


def workers_line(project: Project, workers: list[presence.Worker]) -> str:
    """Return what to type if there is nobody to work ("" if there is somebody)."""
    if any(not worker.dead for worker in workers):
        return ""
    return f"there are no workers; hire some with: {typed(project, 'fjd-recruiter hire')}"


def missing(project: Project) -> list[str]:
    """Return a line for each of dispatcher and workers that jobs in the queue would wait for."""
    lines = (
        workers_line(project, presence.workers(project)),
        dispatcher_line(project, presence.dispatcher(project)),
    )
    return [line for line in lines if line]
