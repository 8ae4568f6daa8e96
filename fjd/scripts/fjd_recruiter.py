"""``fjd-recruiter``: hire workers, fire them, and see who is there."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Optional

from fjd import __version__, talk
from fjd.errors import NothingToDo, UsageError
from fjd.launchers.base import Place
from fjd.recruiter import roster
from fjd.recruiter.recruiter import Recruiter
from fjd.scripts.parsers import Parser
from fjd.spool import samehome
from fjd.spool.crew import Choice
from fjd.spool.names import check_label
from fjd.spool.project import Project
from fjd.system import shares, workdir

PROGRAM = "fjd-recruiter"

_MOST = 10_000  # workers on one host
_WIDTH = 80
_HEADER = ("worker", "host", "state", "runs", "since", "seen", "context")
_SUMMARY = "Hire workers, fire them, and see who is there."
_HIRE = """\
Without N: one worker less than there are CPUs, at least one. Where the project has a remote.conf,
that file decides, unless --local-only is given. Hiring again adds workers.
"""


def _parser() -> argparse.ArgumentParser:
    shared = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    add = shared.add_argument
    add("--project", metavar="P", help="the project (default: $FJD_PROJECT, or `default`)")
    add("--local-only", action="store_true", help="this machine alone, whatever remote.conf says")
    add("--marker", help=argparse.SUPPRESS)  # given by another recruiter: see samehome.py
    hiring = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    add = hiring.add_argument
    add("--curdir", metavar="DIR", help="where tasks start, on every host (default: here)")
    add("--nice", type=int, metavar="N", help="niceness of the hired workers and their tasks")
    parser = Parser(PROGRAM, description=_SUMMARY, parents=[shared, hiring])
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="hire | fire | roster", required=True)
    hire = verbs.add_parser(
        "hire", parents=[shared, hiring], help="hire workers", description=_HIRE
    )
    hire.add_argument("number", nargs="?", type=_number, metavar="N", help="how many")
    _add_context(hire, "hire them as part of this context, here alone")
    hire.add_argument(
        *("--env-resource", "-E"),
        action="append",
        default=[],
        metavar="VAR[,VAR]",
        help="give each of them one of what the variable lists (CUDA_VISIBLE_DEVICES)",
    )
    fire = verbs.add_parser("fire", parents=[shared], help="fire this project's workers")
    _add_context(fire, "only those of this context")
    fire.add_argument("--gently", action="store_true", help="let each finish its task")
    show = verbs.add_parser("roster", parents=[shared], help="show this project's workers")
    show.add_argument("--json", action="store_true", help="as JSON, with a `schema`")
    return parser


def _add_context(parser: argparse.ArgumentParser, purpose: str) -> None:
    parser.add_argument("--context", metavar="LABEL", default="", help=purpose)
    parser.add_argument("--engine", type=_rank, metavar="RANK", default=-1, help="its engine here")


def _rank(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"{text!r} is no engine's rank")
    return int(text)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_MOST}")
    return int(text)


def _say(text: str) -> None:
    talk.say(PROGRAM, text)


def _out(text: str) -> None:
    talk.out(PROGRAM, text)


def _ask(host: str) -> Optional[str]:
    import getpass  # imports termios; almost nobody logs in by password

    try:
        return getpass.getpass(f"[{PROGRAM}] Password for {host} (empty: leave it out): ")
    except EOFError:
        return None


def _run(options: argparse.Namespace) -> int:
    name = getattr(options, "project", None)
    marker = getattr(options, "marker", None)
    if marker:
        samehome.check(str(name), marker)
    if options.verb == "hire":
        return _recruiter(Project.open(name), options).hire(options.number)
    try:
        recruiter = _recruiter(Project.existing(name), options)
    except NothingToDo:
        return _nobody(options, name or os.environ.get("FJD_PROJECT") or "default")
    if options.verb == "fire":
        return recruiter.fire(options.gently, _choice(options))
    return _show(recruiter.roster(), options.json)


def _recruiter(project: Project, options: argparse.Namespace) -> Recruiter:
    if options.verb == "hire":
        talk.warn_root(PROGRAM)
    return Recruiter(
        project,
        _out,
        _say,
        local_only=getattr(options, "local_only", False),
        cwd=workdir.directory(getattr(options, "curdir", "")) if options.verb == "hire" else "",
        nice=_nice(getattr(options, "nice", None)),
        place=_place(options) if options.verb == "hire" else None,
        ask_password=_ask if sys.stdin is not None and sys.stdin.isatty() else None,
    )


def _choice(options: argparse.Namespace) -> Choice:
    if options.context:
        check_label(options.context)
    elif options.engine >= 0:
        raise UsageError("--engine without --context", remedy="give both")
    return Choice(options.context, options.engine)


def _place(options: argparse.Namespace) -> Optional[Place]:
    choice = _choice(options)
    if not choice.context and not options.env_resource:
        return None
    if choice.context and choice.engine < 0:
        raise UsageError("--context without --engine", remedy="give both")
    return Place(*choice, resources=tuple(shares.names(options.env_resource)))


def _nice(number: Optional[int]) -> Optional[int]:
    if number is not None and not -20 <= number <= 19:
        raise UsageError(f"no niceness is {number}", remedy="give a number from -20 to 19")
    return number


def _nobody(options: argparse.Namespace, name: str) -> int:
    """There is no such project, and so there is nobody in it."""
    if options.verb == "roster":
        return _show([], options.json)
    _out(f'No workers to fire in project "{name}".')
    return 0


# -- the roster -----------------------------------------------------------------------------------


def _show(rows: list[roster.Row], as_json: bool) -> int:
    if as_json:
        workers = [row.as_json() for row in rows]
        print(json.dumps({"schema": roster.SCHEMA, "workers": workers}, indent=1))
    elif sys.stdout.isatty():
        width = os.get_terminal_size(sys.stdout.fileno()).columns or _WIDTH
        print("\n".join(table([cells(row, time.time()) for row in rows], width)))
    else:
        for fields in (_HEADER, *(plain(row, time.time()) for row in rows)):
            print("\t".join(map(talk.one_line, fields)))
    return 0


def plain(row: roster.Row, now: float) -> tuple[str, ...]:
    """Return a row for a pipe: times in ISO 8601, the last sign of life in seconds ago."""
    since = (
        "" if row.running is None else time.strftime("%FT%T%z", time.localtime(now - row.running))
    )
    seen = "" if row.seen is None else f"{row.seen:.1f}"
    return (row.worker, row.host, row.state, " ".join(row.runs), since, seen, row.context)


def cells(row: roster.Row, now: float) -> tuple[str, ...]:
    """Return a row for a terminal."""
    since = "-"
    if row.running is not None:
        started = time.localtime(now - row.running)
        since = time.strftime("%T" if row.running < 12 * 3600 else "%b %d", started)
    seen = "?" if row.seen is None else f"{row.seen:.0f} s ago"
    return (row.worker, row.host, row.state, " ".join(row.runs) or "-", since, seen, row.context)


def table(rows: list[tuple[str, ...]], width: int = _WIDTH) -> list[str]:
    """Return aligned lines with a header; what is too long for the width is cut (``~``)."""
    header = _HEADER if any(row[-1] for row in rows) else _HEADER[:-1]
    lines = [header, *(tuple(map(talk.one_line, row))[: len(header)] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for column, least in ((3, 12), (1, 8), (0, 20)):  # what is cut first, and how far
        excess = sum(widths) + 2 * (len(widths) - 1) - width
        if excess > 0:
            widths[column] = max(min(least, widths[column]), widths[column] - excess)
    shown = ("  ".join(_fit(text, wide) for text, wide in zip(line, widths)) for line in lines)
    return [line.rstrip()[:width] for line in shown]


def _fit(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else text[: width - 1] + "~"


def main(arguments: Optional[list[str]] = None) -> int:
    """Run the command and return its exit code."""
    return talk.run(PROGRAM, lambda: _run(_parser().parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
