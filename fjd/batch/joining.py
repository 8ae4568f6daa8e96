"""``<prefix>_dbUtil.sh``: adds a context to a run until it is over, or watches the run."""

from __future__ import annotations

import argparse

from fjd.batch import context, options
from fjd.batch.bar import on_stderr
from fjd.batch.crew import Crew
from fjd.batch.dbutil import Run
from fjd.batch.interrupts import Interrupts
from fjd.batch.options import ContextOptions
from fjd.errors import NothingToDo
from fjd.spool import runs
from fjd.spool.contexts import ask_to_stop
from fjd.spool.lists import shelf
from fjd.spool.project import Project

_LOOK = 0.2  # s between two looks whether the run is over
_LOOKS = 3  # without the list until it counts as over


def join(run: Run, found: argparse.Namespace) -> int:
    """Do what the script of a run was called for; return the exit code."""
    project = project_of(run)
    if found.mon:
        from fjd.batch.monitor import watch

        return watch(project, run)
    return add(project, run, run.inherit(options.context_options(found)))


def project_of(run: Run) -> Project:
    """Return the project of a run that goes on.

    Raises:
        NothingToDo: it has ended.
    """
    if not runs.exists(run.project) or run.key not in shelf.keys(Project.open(run.project)):
        raise NothingToDo(
            "the run has ended", where=run.prefix, remedy="see its status file, or start it again"
        )
    return Project.open(run.project)


def add(project: Project, run: Run, words: ContextOptions) -> int:
    """Add a context and stay until it or the run is over; return the exit code."""
    display = on_stderr(options.PROGRAM)
    crew = Crew(project, run, context.make(words, display.say), words, display.say)
    interrupts = Interrupts()
    crew.start()
    told, missing = False, 0
    try:
        while not crew.left.is_set() and interrupts.count < 2 and missing < _LOOKS:
            if interrupts.count and not told and crew.context:
                told = True
                display.say("its workers end after what they run; Ctrl-C again to end them now")
                ask_to_stop(project, crew.context.ranks)
            interrupts.wait(_LOOK)
            missing = 0 if run.key in shelf.keys(project) else missing + 1
    finally:
        interrupts.close()
        crew.finish()
    if crew.trouble:
        return crew.trouble.exit_code
    return 0
