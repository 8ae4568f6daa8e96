"""One run of ``fjd-batch``, from its options to its exit code."""

from __future__ import annotations

import os
import sys
from typing import Optional

from fjd.batch import board, context, dbutil, ending, listing, office, serving, verdict
from fjd.batch.bar import duration, on_stderr
from fjd.batch.context import Plan
from fjd.batch.crew import Crew
from fjd.batch.dbutil import Run
from fjd.batch.following import Follower
from fjd.batch.listing import Listing
from fjd.batch.log import Log
from fjd.batch.options import PROGRAM, Options
from fjd.batch.prefix import resolve, task_name
from fjd.batch.services import Services
from fjd.batch.sources import is_stream
from fjd.launchers.base import command
from fjd.spool import runs
from fjd.spool.project import Project
from fjd.system.identity import hostname
from fjd.system.workdir import directory


class Driver:
    """Runs one list; ``run`` is called once."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.name = task_name(options.source)
        self.prefix = resolve(options.prefix, self.name)
        self.display = on_stderr(PROGRAM)
        self.log = Log(options.logfile or self.prefix.log)
        self.display.log_to(self.log.write)

    def say(self, text: str) -> None:
        """Tell the user, and the log."""
        self.display.say(text)

    def run(self) -> int:
        """Work the list off and return the exit code."""
        self.log.write(f"fjd-batch: {self.options}")
        try:
            code = self._run()
            self.log.write(f"ended with exit code {code}")
            return code
        except BaseException as error:
            self.log.write(f"ended: {error or type(error).__name__}")
            raise
        finally:
            self.display.end()
            self.log.close()

    def _run(self) -> int:
        options = self.options
        plan = None if options.startup_only else context.make(options.context, self.say)
        stream = not options.source or is_stream(options.source)
        if not stream and not listing.check(options.source):
            return self._nothing()
        project = serving.served(options.project) if options.project else self._own_project()
        self._make_room()
        services = Services(options, self.prefix, self.say)
        try:
            work = listing.whole(project, self.name, options.source)
            return self._work_off(project, work, plan, services)
        finally:
            services.close()

    def _own_project(self) -> Project:
        """Return the run's own project, with nothing in it."""
        name, path = self.prefix.project, self.prefix.path
        office.clear(name, path, self.say)
        project = Project.open(name)
        runs.claim(project, path)
        self.log.write(f"project: {project.root}")
        return project

    def _make_room(self) -> None:
        kept = ending.set_aside(self.prefix.status)
        if kept:
            self.say(f"the status file of an earlier run is kept as {kept}")
            if os.path.lexists(self.prefix.status):
                os.unlink(self.prefix.status)

    def _nothing(self) -> int:
        self._make_room()
        with open(self.prefix.status, "wb") as file:
            os.fsync(file.fileno())
        self.say(verdict.EMPTY)
        return 0

    # -- at work ------------------------------------------------------------------------------

    def _work_off(
        self, project: Project, work: Listing, plan: Optional[Plan], services: Services
    ) -> int:
        card = self._card(project, work)
        dbutil.write(self.prefix, card, command(sys.executable, "fjd.scripts.fjd_batch", []))
        if plan is None:
            print(f"Run this script to add compute contexts:\n   {self.prefix.script}", flush=True)
        crew = Crew(project, card, plan, self.options.context, self.say) if plan else None
        follower = Follower(
            project, work.shelf.key, self.display, work.done, self.prefix.status, services.hear
        )
        services.show(lambda: board.raw(project, work.shelf.key))

        def start() -> None:
            follower.start()
            if crew:
                crew.start()

        try:
            if self.options.project:
                how = serving.joined(work.shelf, crew, start, self.say)
            else:
                how = serving.own(project, crew, start, self.say)
        finally:
            follower.stop()
            if crew:
                crew.finish()
            if not self.options.project:
                office.fire_everybody(project, self.say)
        return self._end(project, work, how, follower)

    def _card(self, project: Project, work: Listing) -> Run:
        words = self.options.context
        return Run(
            prefix=self.prefix.path,
            project=project.name,
            key=work.shelf.key,
            cwd=directory(),
            cpus=words.cpus,
            most=words.most,
            resources=words.resources,
            driver=hostname(),
            own=self.options.project is None,
        )

    def _end(self, project: Project, work: Listing, how: serving.How, seen: Follower) -> int:
        end = ending.of_list(project, work.shelf.key)
        counts = ending.count(self.prefix.status)
        code = verdict.judge(how, end, counts, self.prefix, self.options.exit_code, self.say)
        if counts.tasks:
            failed = f", {counts.failed} failed" if counts.failed else ""
            self.say(
                f"{counts.tasks} tasks{failed}, {duration(seen.seconds)}; {self.prefix.status}"
            )
        if not self.options.project and not counts.failed and not runs.printed(project):
            runs.remove(project)
        return code
