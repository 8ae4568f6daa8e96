"""fjd-dispatcher: pair queued jobs with idle workers until there is nothing more to do."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Optional

from fjd import __version__
from fjd.dispatcher import Dispatcher, Manner, Totals
from fjd.muster import Muster
from fjd.progress import Progress
from fjd.recruiter import Recruiter
from fjd.scripts.common import INTERRUPTED, run, say, warn_root
from fjd.service import Service
from fjd.spool import timings
from fjd.spool.inbox import Inbox
from fjd.spool.project import Project

PROGRAM = "fjd-dispatcher"
EPILOG = """\
exit codes: 0 all good; 1 some jobs failed; 2 usage; 4 no workers (with --no-wait); 6 environment
or configuration wrong, or another dispatcher serves the project; 130 interrupted.
Ctrl-C once: what runs is finished first. Twice: stop now. Nothing is lost either way."""


def parser() -> argparse.ArgumentParser:
    """Return the command's grammar."""
    grammar = argparse.ArgumentParser(
        PROGRAM,
        description="Assign the jobs in a project's jobqueue/ to its workers; when all are done,"
        " fire the workers and end.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = grammar.add_argument
    add("--project", metavar="P", help="the project (default: default)")
    add("--keep-running", action="store_true", help="serve on when there are no more jobs")
    add("--status-only", action="store_true", help="print one line about jobs and workers, and end")
    add("--callback", metavar="CMD", help="a shell command to run when all is done")
    add(
        "--interval",
        metavar="S",
        type=_seconds,
        default=1.0,
        help="at most one line of status in so many seconds (default: 1)",
    )
    add("--no-wait", action="store_true", help="end with exit code 4 if there are no workers")
    add("--retries", metavar="N", type=_count, default=0, help="try a failed job N times more")
    add("--detach", action="store_true", help="run in a screen session of its own")
    add("--version", action="version", version=f"{PROGRAM} {__version__}")
    return grammar


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no time in seconds")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1000")
    return value


def _status(project: Project) -> int:
    pace = timings.for_home(project.root)
    muster, inbox = Muster(project, pace), Inbox(project, pace)
    muster.look(0.0)
    inbox.look(0.0, set())
    hands = [len(member.hand) for member in muster.members.values()]
    waiting = len(inbox) + sum(hands) - sum(1 for hand in hands if hand)
    print(f"[{PROGRAM}] Found {waiting} job(s) and {hands.count(0)} worker(s)...")
    return 0


def _serve(project: Project, options: argparse.Namespace) -> int:
    manner = Manner(options.keep_running, options.no_wait, options.retries)
    progress = Progress(sys.stdout, options.interval, time.monotonic, sys.stdout.isatty())

    def talk(text: str) -> None:
        progress.talk(lambda line: say(PROGRAM, line), text)

    service = Service(project, timings.for_home(project.root), talk)
    try:
        service.take_office()
        progress.line(f'Started on project "{project.name}"')
        dispatcher = Dispatcher(project, service.lease, service.timings, progress, talk, manner)
        try:
            service.serve(dispatcher)
        finally:
            dispatcher.close()
            progress.end()
    finally:
        service.leave()
    if service.interrupted:
        say(PROGRAM, f"stopped; go on with: fjd-dispatcher --project {project.name}")
        return INTERRUPTED
    progress.line("No (more) jobs.")
    Recruiter(project).fire()
    _summary(project, dispatcher.totals)
    if options.callback:
        _call_back(options.callback)
    return 1 if dispatcher.totals.bad else 0


def _summary(project: Project, totals: Totals) -> None:
    if totals.bad or totals.cancelled:
        say(
            PROGRAM,
            f"{totals.done} job(s) done, {totals.failed} failed, {totals.rejected} rejected,"
            f" {totals.cancelled} cancelled; type: fjd status --project {project.name}",
        )


def _call_back(command: str) -> None:
    code = subprocess.call(command, shell=True)
    if code:
        say(PROGRAM, f"the callback ended with exit code {code}: {command}")


def _detach(project: Project, arguments: Sequence[str]) -> int:
    raise NotImplementedError


def _dispatch(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    warn_root(PROGRAM)
    project = Project.open(options.project)
    if options.status_only:
        return _status(project)
    if options.detach:
        return _detach(project, [word for word in arguments if word != "--detach"])
    return _serve(project, options)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command and return its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = parser().parse_args(words)
    return run(PROGRAM, lambda: _dispatch(options, words))


if __name__ == "__main__":
    sys.exit(main())
