"""fjd-dispatcher: pair queued jobs with idle workers until there is nothing more to do."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Optional

from fjd import __version__
from fjd.api import Dispatcher
from fjd.dispatcher.muster import Muster
from fjd.dispatcher.service import Contest, taken
from fjd.launchers.detaching import detach
from fjd.scripts.parsers import Parser
from fjd.spool import timings
from fjd.spool.inbox import Inbox
from fjd.spool.project import Project
from fjd.system import patience
from fjd.talk import run, say, warn_root

PROGRAM = "fjd-dispatcher"
EPILOG = """\
exit codes: 0 all good; 1 some jobs failed; 2 usage; 4 no workers (with
--no-wait); 6 environment or configuration wrong, or another dispatcher serves
the project; 130 interrupted. Ctrl-C once: what runs is finished first. Twice:
stop now. Nothing is lost either way."""


def parser() -> argparse.ArgumentParser:
    """Return the command's grammar."""
    grammar = Parser(
        PROGRAM,
        description="Assign the jobs in a project's jobqueue/ to its workers; when all are\n"
        "done, fire the workers and end.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # `--det` would be passed on, and detach for ever
    )
    add = grammar.add_argument
    add("--project", metavar="P", help="the project (default: $FJD_PROJECT, or `default`)")
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
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no time in seconds")
    return value


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 1000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1000")
    return int(text)


def _status(project: Project) -> int:
    pace = timings.for_home(project.root)
    muster, inbox = Muster(project, pace), Inbox(project, pace)
    muster.look(0.0)
    inbox.look(0.0, set())
    hands = [len(member.hand) for member in muster.members.values()]
    waiting = len(inbox) + sum(hands) - sum(1 for hand in hands if hand)
    print(f"[{PROGRAM}] Found {waiting} job(s) and {hands.count(0)} worker(s)...")
    return 0


def _detach(project: Project, words: Sequence[str]) -> int:
    """Start the same command where it outlives this terminal, and say where that is."""
    who = Contest(project).look()
    if who:
        raise taken(project, who)
    where = detach(project, words, lambda text: say(PROGRAM, text))
    print(f'[{PROGRAM}] Detached on project "{project.name}", {where}')
    return 0


def _dispatch(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    warn_root(PROGRAM)
    if options.status_only:
        return _status(Project.open(options.project))
    if options.detach:
        words = [word for word in arguments if word != "--detach"]
        return _detach(Project.open(options.project), words)
    project = patience.insist(
        lambda: Project.open(options.project), lambda text: say(PROGRAM, text), time.sleep
    )
    return Dispatcher(
        project.name,
        options.interval,
        options.callback,
        options.keep_running,
        options.no_wait,
        options.retries,
    ).run()


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command and return its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    return run(PROGRAM, lambda: _dispatch(parser().parse_args(words), words))


if __name__ == "__main__":
    sys.exit(main())
