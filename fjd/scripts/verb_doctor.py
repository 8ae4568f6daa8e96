"""fjd doctor: does all that fjd relies on hold, here and on every host of remote.conf?"""

from __future__ import annotations

import argparse

from fjd.doctor import examine, page
from fjd.doctor.check import FAIL, Findings, count
from fjd.doctor.rounds import Doctor
from fjd.doctor.verdict import SCHEMA
from fjd.scripts import verbs
from fjd.spool.names import check_project
from fjd.views import terminal

_WRONG = 6
_SUMMARY = (
    "Examine this machine and every host of remote.conf, measure how late the shared home is"
    " there, and say what to type where something is wrong. Exit code 0, or 6 if a check failed."
)


def main(argv: list[str]) -> int:
    """Run the verb."""
    parser = verbs.parser("doctor", _SUMMARY)
    add = parser.add_argument
    add("--local-only", action="store_true", help="this machine alone, whatever remote.conf says")
    add("--box", help=argparse.SUPPRESS)  # given by another host's doctor: see doctor/echo.py
    return verbs.run(parser, _doctor, argv)


def _doctor(options: argparse.Namespace) -> int:
    if options.project is not None:
        check_project(options.project)
    if options.box:
        found = [examine.visited(check_project(options.project or ""), options.box)]
    else:
        tell = _silent if options.json else _tell
        found = Doctor(options.project, tell, verbs.talk, local_only=options.local_only).run()
    if options.json:
        verbs.print_json(SCHEMA, page.as_json(found))
    elif terminal.is_terminal():
        print(page.summary(found))
    return _WRONG if count(found, FAIL) else 0


def _silent(found: Findings) -> None:
    """Everything is printed at the end."""


def _tell(found: Findings) -> None:
    if terminal.is_terminal():
        lines = page.for_terminal(found, terminal.columns())
    else:
        lines = page.for_pipe(found)
    print("\n".join(lines), flush=True)
