"""One run of ``fjd-batch``, from its options to its exit code."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import Optional

from fjd.batch import board, context, dbutil, ending, listing, office, resuming, serving, verdict
from fjd.batch.bar import duration, on_stderr
from fjd.batch.context import Plan
from fjd.batch.crew import Crew
from fjd.batch.dbutil import Run
from fjd.batch.ending import Counts, End
from fjd.batch.following import Follower
from fjd.batch.listing import Listing
from fjd.batch.log import Log
from fjd.batch.office import Office
from fjd.batch.options import PROGRAM, Options
from fjd.batch.prefix import Prefix, resolve, task_name
from fjd.batch.resume import Parts
from fjd.batch.resuming import Done
from fjd.batch.services import Services
from fjd.batch.serving import How
from fjd.batch.sources import collected, is_stream
from fjd.errors import ConfigError, FjdError
from fjd.launchers.base import command
from fjd.spool import outcomes, runs
from fjd.spool.lists.terms import Terms
from fjd.spool.project import Project
from fjd.system.identity import hostname
from fjd.system.workdir import directory
from fjd.talk import tell


class Driver:
    """Runs one list; ``run`` is called once."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.name = task_name(options.source)
        self.prefix, self.log = self._found_log()
        self.display = on_stderr(PROGRAM)
        self._begun = False
        self.display.log_to(self.log.write)

    def _found_log(self) -> tuple[Prefix, Log]:
        """Take a prefix with its log; of many runs that begin in one second each has its own."""
        given, logfile = self.options.prefix, self.options.logfile
        ours = os.path.isdir(given) and not logfile  # the name is ours to choose
        while True:
            prefix = resolve(given, self.name)
            try:
                return prefix, Log(logfile or prefix.log, ours)
            except FileExistsError:
                continue  # RACE: another run has that name

    def say(self, text: str) -> None:
        """Tell the user, and the log."""
        self.display.say(text)

    def run(self) -> int:
        """Work the list off and return the exit code."""
        self.log.write(f"fjd-batch: {self.options}")
        try:
            with ExitStack() as stack:
                code = self._run(stack)
            self.log.write(f"ended with exit code {code}")
            return code
        except BaseException as error:
            self.log.write(f"ended: {error or type(error).__name__}")
            if not self._begun:
                self.log.discard()
            raise
        finally:
            self.display.end()
            self.log.close()

    def _run(self, stack: ExitStack) -> int:
        options, path = self.options, self.options.source
        plan = None if options.startup_only else context.make(options.context, self.say)
        stream = not path or is_stream(path)
        if stream and options.resume:
            path = stack.enter_context(collected(path, os.path.dirname(self.prefix.path)))
            stream = False
        if not stream and not listing.check(path, self._source()):
            self._begun = True
            resuming.fresh(self.prefix.status, options.header, self.say)
            self.say(verdict.EMPTY)
            return 0
        project, home = self._place(stack)
        services = Services(options, self.prefix, self.say)  # its errors leave the rows alone
        stack.callback(services.close)
        done = self._status_file(path)
        self._begun = True
        if not done.left:
            self.say(f"nothing is left to do: all {done.number} tasks are done")
            if not done.barriers:  # else the dispatcher passes them, and writes their rows
                return self._verdict(How.OVER, End(outcomes.OK), ending.count(self.prefix.status))
        wanted = self._terms(services)
        if stream:
            work = listing.growing(project, path, wanted, services.source)
        else:
            work = listing.whole(project, path, wanted, done)
        return self._work_off(project, home, work, plan, services)

    def _source(self) -> str:
        """Return what the tasks come from, in words."""
        return "stdin" if self.options.source == "-" else self.options.source

    # -- before ---------------------------------------------------------------------------------

    def _place(self, stack: ExitStack) -> tuple[Project, Optional[Office]]:
        """See that nobody works any more on what we go on with; take the project, or join one.

        Before the status file is touched: whoever has the prefix is in office.
        """
        options, prefix = self.options, self.prefix
        for path in options.resume:
            earlier = Prefix.of_status(path)
            if earlier is not None and earlier != prefix:
                office.complete(earlier, self.say)
        if options.project is not None:
            joined = serving.served(options.project)
            listing.refuse_if_worked_off(joined, [*options.resume, prefix.status])
            return joined, None
        home = stack.enter_context(office.own(prefix, self.say))
        self.log.write(f"project: {home.project.root}")
        office.begin(home, self.say)
        return home.project, home

    def _status_file(self, path: str) -> Done:
        """Make the status file, and say what is done already."""
        options = self.options
        if not options.resume:
            if options.retry or options.force_resume:
                self.say("-R and --force-resume say nothing without -r: all tasks are run")
            resuming.fresh(self.prefix.status, options.header, self.say)
            return Done(Parts(()), 0, 1, 0)
        done = resuming.carry_over(
            path,
            self._source(),
            options.resume,
            self.prefix.status,
            options.header,
            options.retry,
            options.force_resume,
            self.say,
        )
        self.say(f"tasks that are done already: {done.number}; to be run: {done.left}")
        return done

    def _terms(self, services: Services) -> Terms:
        cpus = self.options.context.cpus
        return Terms(
            name=self.name,
            run=self.prefix.name,
            cwd=directory(),
            status=self.prefix.status,
            header=self.options.header,
            fail_fast=self.options.fail_fast,
            cores=f"{1.0 if cpus is None else cpus:g}",
            kvs="{}:{}".format(*services.store) if services.store else "",
        )

    # -- at work ------------------------------------------------------------------------------

    def _work_off(
        self,
        project: Project,
        home: Optional[Office],
        work: Listing,
        plan: Optional[Plan],
        services: Services,
    ) -> int:
        options, card = self.options, self._card(project, work)
        dbutil.write(self.prefix, card, command(sys.executable, "fjd.scripts.fjd_batch", []))
        crew = None
        if not work.left:
            self.log.write("nobody is hired: there are only barriers to pass")
        elif plan:
            crew = Crew(project, card, plan, options.context, self.say)
        else:
            tell(f"Run this script to add compute contexts:\n   {self.prefix.script}", self.say)
        hear = services.hear if services.listening else None
        key, status = work.shelf.key, self.prefix.status
        follower = Follower(project, key, self.display, work.done, status, hear)
        services.show(lambda: board.raw(project, key))

        def start() -> None:
            follower.start()
            if work.feeder:
                work.feeder.start()
            if crew:
                crew.start()

        try:
            if home:
                how = serving.own(home, crew, start)
            else:
                how = serving.joined(work, crew, start, self.say)
        finally:
            seconds = follower.stop()
            if crew:
                crew.finish()
            if home:
                office.fire_everybody(project, self.say)
        trouble = work.feeder.trouble if work.feeder else None
        if how is How.OVER and trouble is None:
            trouble = services.finish()
        if home:
            home.keep = True  # until we know better
        if not os.path.lexists(status):
            raise ConfigError(
                "the status file is gone, and its directory as well",
                where=status,
                remedy=f"what the tasks did is recorded in {project.records}",
            )
        end = ending.of_list(project, key)
        counts = ending.count(self.prefix.status)
        code = self._verdict(how, end, counts, trouble, seconds)
        if home:
            home.keep = counts.failed > 0 or runs.printed(project)
        return code

    def _verdict(
        self,
        how: How,
        end: Optional[End],
        counts: Counts,
        trouble: Optional[FjdError] = None,
        seconds: float = 0.0,
    ) -> int:
        """Say how it went and return the exit code."""
        if counts.tasks > counts.skipped:
            failed = f", {counts.failed} failed" if counts.failed else ""
            noun = "task" if counts.tasks == 1 else "tasks"
            self.say(f"{counts.tasks} {noun}{failed}, {duration(seconds)}; {self.prefix.status}")
        source, strict = self.options.source, self.options.exit_code
        return verdict.judge(how, end, counts, trouble, self.prefix, source, strict, self.say)

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
