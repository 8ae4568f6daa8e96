"""The three classes for Python programs: ``from fjd import Recruiter, Dispatcher, Worker``.

The same as the commands, which call these:

    Recruiter(project="study").hire(4)
    Dispatcher(project="study").run()      # until all is done; then the workers are fired
    Worker(project="study").run()          # a worker in this process, until it is fired
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Callable, Optional

from fjd.dispatcher.dispatcher import Dispatcher as Engine
from fjd.dispatcher.dispatcher import Manner
from fjd.dispatcher.filer import Totals
from fjd.dispatcher.progress import Progress
from fjd.dispatcher.service import Service
from fjd.recruiter import recruiter
from fjd.spool import timings
from fjd.spool.project import Project
from fjd.system.workdir import directory
from fjd.talk import INTERRUPTED, run, say
from fjd.worker.employment import Terms, employ


class Recruiter:
    """Hires and fires the workers of one project; see ``fjd-recruiter``.

    Args:
        num_workers: how many ``hire()`` hires here (default: one less than there are CPUs).
        local_only: leave remote.conf and other hosts alone.
        curdir: where tasks start (default: here).
    """

    def __init__(
        self,
        project: Optional[str] = None,
        num_workers: Optional[int] = None,
        local_only: bool = False,
        curdir: str = "",
    ) -> None:
        self._number = num_workers
        self._recruiter = recruiter.Recruiter(
            Project.open(project),
            lambda text: print(f"[fjd-recruiter] {text}", flush=True),
            lambda text: say("fjd-recruiter", text),
            local_only=local_only,
            cwd=directory(curdir),
        )

    def hire(self, number: Optional[int] = None) -> int:
        """Hire; 0, or 4 if some workers did not come up."""
        return self._recruiter.hire(self._number if number is None else number)

    def fire(self, gently: bool = False) -> int:
        """Fire everybody; 0, or 4 if some could not be reached."""
        return self._recruiter.fire(gently)


class Dispatcher:
    """Pairs the queued jobs of one project with its workers; see ``fjd-dispatcher``.

    Args:
        interval: at most one line of status in so many seconds.
        callback: a shell command, or a function without arguments, for when all is done.
        keep_running, no_wait, retries: see ``fjd.dispatcher.dispatcher.Manner``.
    """

    def __init__(
        self,
        project: Optional[str] = None,
        interval: float = 1.0,
        callback: str | Callable[[], object] | None = None,
        keep_running: bool = False,
        no_wait: bool = False,
        retries: int = 0,
    ) -> None:
        self.project = Project.open(project)
        self.totals = Totals()
        self._callback, self._interval = callback, interval
        self._manner = Manner(keep_running, no_wait, retries)

    def run(self) -> int:
        """Work until nothing is left and fire the workers.

        Returns 0, or 1 if jobs failed, or 130 if a signal ended it.

        Raises:
            ConfigError: another dispatcher serves the project.
            NoWorkers: there are jobs and no workers, and ``no_wait`` was given.
        """
        progress = Progress(sys.stdout, self._interval, time.monotonic, sys.stdout.isatty())

        def talk(text: str) -> None:
            progress.talk(lambda line: say("fjd-dispatcher", line), text)

        if self._serve(progress, talk):
            talk(f"stopped; go on with: fjd-dispatcher --project {self.project.name}")
            return INTERRUPTED
        progress.line("No (more) jobs.")
        Recruiter(self.project.name).fire()
        self._summarise(talk)
        self._call_back(talk)
        return 1 if self.totals.bad else 0

    def _serve(self, progress: Progress, talk: Callable[[str], None]) -> bool:
        """Return whether a signal ended it."""
        service = Service(self.project, timings.for_home(self.project.root), talk)
        try:
            service.take_office()
            progress.line(f'Started on project "{self.project.name}"')
            engine = Engine(
                self.project,
                service.lease,
                service.timings,
                progress,
                talk,
                self._manner,
                deaths=service.deaths,
            )
            self.totals = engine.totals
            try:
                service.serve(engine)
            finally:
                engine.close()
                progress.end()
        finally:
            service.leave()
        return service.interrupted

    def _summarise(self, talk: Callable[[str], None]) -> None:
        totals = self.totals
        if totals.bad or totals.cancelled:
            kinds = ("done", "failed", "rejected", "cancelled")
            parts = [f"{getattr(totals, kind)} {kind}" for kind in kinds if getattr(totals, kind)]
            talk(f"{', '.join(parts)}; type: fjd status --project {self.project.name}")

    def _call_back(self, talk: Callable[[str], None]) -> None:
        if callable(self._callback):
            self._callback()
        elif self._callback:
            code = subprocess.call(self._callback, shell=True)
            if code:
                talk(f"the callback ended with exit code {code}: {self._callback}")


class Worker:
    """A worker in this process; see ``fjd-worker``."""

    def __init__(self, project: Optional[str] = None, curdir: str = "") -> None:
        self._project, self._terms = Project.open(project), Terms(cwd=directory(curdir))

    def run(self) -> int:
        """Work until fired; return the exit code."""
        return employ(self._project, self._terms, lambda work: run("fjd-worker", work))
