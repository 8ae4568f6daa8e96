"""The dispatcher of a run: it serves the run's own project in the main thread of ``fjd-batch``.

``settle`` is for what an earlier run, or a second Ctrl-C, has left in such a project: it ends the
workers and lets everything that they have recorded be folded and written into the status file.
"""

from __future__ import annotations

import contextlib
import io
import math
import time
from types import TracebackType
from typing import Callable, Optional

from fjd.dispatcher.dispatcher import Dispatcher, Manner
from fjd.dispatcher.progress import Progress
from fjd.dispatcher.service import Contest, Service, taken
from fjd.errors import NoWorkers
from fjd.recruiter.recruiter import Recruiter
from fjd.spool import contexts, crew, pods, runs, timings
from fjd.spool.lists import halt, shelf
from fjd.spool.lists.halt import Halt
from fjd.spool.lists.shelf import Shelf
from fjd.spool.project import Project

_ALONE = 2.0  # s without any worker until that counts
_LEAVE = 5.0  # s for whoever added a context to end it
_LOOK = 0.02

Say = Callable[[str], None]


def stop(place: Shelf, now: bool = False) -> None:
    """Let nothing more of a list be started (``now``: and what runs be ended)."""
    with contextlib.suppress(FileNotFoundError):  # RACE: it has ended
        halt.publish(place, Halt("interrupted", now=now))


class RunDispatcher(Dispatcher):
    """A dispatcher that ends with the lists of its project."""

    _patient = True
    _alone_since: Optional[float] = None

    def drain(self) -> None:
        """Let what runs end, and start nothing more; the workers leave then."""
        self.draining = True
        for key in shelf.keys(self.project):
            stop(Shelf(self.project, key))
        for worker in crew.sightings(self.project, nudge=True):
            pods.dismiss(self.project, worker)

    def finished(self) -> bool:
        """Tell whether nothing is left to do."""
        return not shelf.keys(self.project) and super().finished()

    def give_up_without_workers(self) -> None:
        """From now on end with NoWorkers when nobody is left who could run a task."""
        self._patient = False

    def _mind_workers(self, now: float) -> None:
        """Nobody there is no news while somebody is being hired, or may still be added."""
        if self._patient or self._muster.members or self.draining:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since >= _ALONE:
            raise NoWorkers("no engine is left, and there are tasks to run")


class Office:
    """A time in office; use it as a context."""

    def __init__(self, project: Project, talk: Say) -> None:
        self._service = Service(project, timings.for_home(project.root), talk)
        self._progress = Progress(io.StringIO(), math.inf, time.monotonic, live=False)
        self._project, self._talk = project, talk
        self._dispatcher: Optional[RunDispatcher] = None

    def __enter__(self) -> Office:
        try:
            self._service.take_office()
            self._dispatcher = RunDispatcher(
                self._project,
                self._service.lease,
                self._service.timings,
                self._progress,
                self._talk,
                Manner(),
                deaths=self._service.deaths,
            )
        except BaseException:
            self._service.leave()
            raise
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if self._dispatcher:
            self._dispatcher.close()
        self._service.leave()

    @property
    def dispatcher(self) -> RunDispatcher:
        """The dispatcher, once the office is taken."""
        assert self._dispatcher is not None, "the office is not taken"
        return self._dispatcher

    def serve(self) -> bool:
        """Serve until no list is left, or told to end at once; tell whether a signal came."""
        self._service.serve(self.dispatcher)
        return self._service.interrupted


def fire_everybody(project: Project, talk: Say) -> bool:
    """End all workers of a project, wherever they are; False if some could not be reached."""
    return Recruiter(project, lambda _: None, talk).fire() == 0


def wait_for_contexts(project: Project, patience: float = _LEAVE) -> None:
    """Let those who added contexts see that the run is over, and keep what their workers said."""
    until = time.monotonic() + patience
    while any(context.by.alive() is not False for context in contexts.everyone(project)):
        if time.monotonic() > until:
            return
        time.sleep(_LOOK)


def settle(project: Project, talk: Say) -> None:
    """Bring the lists of a project to their end as far as they were run; its workers end."""
    fire_everybody(project, talk)
    if not shelf.keys(project):
        return
    with Office(project, talk) as office:
        office.dispatcher.drain()
        office.serve()


def refuse_if_served(project: Project, prefix: str) -> None:
    """Raise ConfigError if a run with that prefix is going on."""
    who = Contest(project).look()
    if who:
        error = taken(project, who)
        error.what = f"a run with this prefix is going on: {error.what}"
        error.where, error.remedy = prefix, "wait for it, end it, or use another -p"
        raise error


def clear(name: str, prefix: str, talk: Say) -> None:
    """Settle and remove what an earlier run with that prefix has left; nothing is lost by it."""
    if runs.exists(name):
        project = Project.open(name)
        runs.claim(project, prefix)  # refuses what is somebody else's
        _settle_earlier(project, prefix, talk)
        runs.remove(project)


def complete(name: str, prefix: str, talk: Say) -> None:
    """Let the status file of an earlier run be whole, so that it can be resumed from."""
    if runs.exists(name):
        project = Project.open(name)
        if runs.owner(project) == prefix:
            _settle_earlier(project, prefix, talk)


def _settle_earlier(project: Project, prefix: str, talk: Say) -> None:
    refuse_if_served(project, prefix)
    if shelf.keys(project):
        talk(f"the run {prefix} was broken off; bringing what it did to its end first")
    settle(project, talk)
