"""fjd status: what is queued, running, done and failed, and where."""

from __future__ import annotations

import argparse

from fjd.scripts import verbs
from fjd.spool.project import Project
from fjd.views import status, status_text, terminal


def main(argv: list[str]) -> int:
    """Run the verb."""
    parser = verbs.parser("status", "Show what is queued, running, done and failed, and where.")
    return verbs.run(parser, _status, argv)


def _status(options: argparse.Namespace) -> int:
    seen = status.collect(Project.existing(options.project))
    if options.json:
        verbs.print_json(status.SCHEMA, status.as_json(seen))
    elif terminal.is_terminal():
        print("\n".join(status_text.for_terminal(seen, terminal.columns())))
    else:
        print("\n".join(status_text.for_pipe(seen)))
    return 0
