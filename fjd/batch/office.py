"""The dispatcher of a run: it serves the run's own project in the main thread of ``fjd-batch``.

``settle`` is for what an earlier run, or a second Ctrl-C, has left in such a project: it ends the
workers and lets everything that they have recorded be folded and written into the status file.
"""

from __future__ import annotations

import contextlib
import io
import math
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Callable, Optional

from fjd.batch.prefix import Prefix
from fjd.dispatcher.dispatcher import Dispatcher, Manner
from fjd.dispatcher.progress import Progress
from fjd.dispatcher.service import Service
from fjd.errors import ConfigError, NoWorkers
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
    """A time in office in the project of a run; use it as a context.

    Who is in office is the only one who works with this prefix. At the end the project is removed,
    unless it is to be kept, or there is a list in it that has not ended.

    Attributes:
        keep: whether there is something in the project that somebody may want to see.
    """

    def __init__(self, project: Project, prefix: str, talk: Say) -> None:
        self.project, self.keep = project, False
        self._prefix, self._talk = prefix, talk
        self._service = Service(project, timings.for_home(project.root), talk)

    def __enter__(self) -> Office:
        try:
            self._service.take_office()
        except ConfigError as error:
            self._service.leave()
            error.what = f"a run with this prefix is going on: {error.what}"
            error.where, error.remedy = self._prefix, "wait for it, end it, or use another -p"
            raise
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
        try:
            if not self.keep and not shelf.keys(self.project):
                wait_for_contexts(self.project)
                runs.remove(self.project)  # in office still: who comes next finds nothing at all
        finally:
            self._service.leave()

    def settle(self) -> None:
        """Bring the lists to their end as far as they were run; the workers end."""
        fire_everybody(self.project, self._talk)
        if shelf.keys(self.project):
            self._service.forget_signals()
            with self._dispatcher() as dispatcher:
                dispatcher.drain()
                self._service.serve(dispatcher)

    def serve(self, ready: Callable[[RunDispatcher], None]) -> bool:
        """Serve until no list is left, or told to end at once; tell whether a signal came."""
        with self._dispatcher() as dispatcher:
            ready(dispatcher)
            self._service.serve(dispatcher)
        return self._service.interrupted

    @contextlib.contextmanager
    def _dispatcher(self) -> Iterator[RunDispatcher]:
        dispatcher = RunDispatcher(
            self.project,
            self._service.lease,
            self._service.timings,
            Progress(io.StringIO(), math.inf, time.monotonic, live=False),
            self._talk,
            Manner(),
            deaths=self._service.deaths,
        )
        try:
            yield dispatcher
        finally:
            dispatcher.close()


def own(prefix: Prefix, talk: Say) -> Office:
    """Return the office of the project of a run, which is made if need be.

    Raises:
        ConfigError: the project is somebody else's.
    """
    project = Project.open(prefix.project)
    runs.claim(project, prefix.path)
    return Office(project, prefix.path, talk)


def begin(office: Office, talk: Say) -> None:
    """Settle what an earlier run with the same prefix has left; nothing is lost by it."""
    if shelf.keys(office.project):
        talk("the run before was broken off; bringing what it did to its end first")
    office.settle()
    runs.wipe(office.project)


def complete(prefix: Prefix, talk: Say) -> None:
    """Let the status file of an earlier run be whole, so that it can be resumed from."""
    if not runs.exists(prefix.project):
        return
    project = Project.open(prefix.project)
    if runs.owner(project) != prefix.path:
        return
    with Office(project, prefix.path, talk) as office:
        office.keep = True
        if shelf.keys(project):
            talk(f"the run {prefix.name} was broken off; bringing what it did to its end first")
        office.settle()


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
