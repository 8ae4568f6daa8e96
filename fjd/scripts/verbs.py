"""What the verbs of ``fjd`` share: their options, and how they begin and end."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Mapping
from typing import Any, Callable

from fjd import talk as edge
from fjd.scripts.parsers import Parser

PROGRAM = "fjd"


def parser(verb: str, summary: str) -> Parser:
    """Return a parser with the options that every verb has."""
    made = Parser(prog=f"{PROGRAM} {verb}", description=summary, allow_abbrev=False)
    made.add_argument(
        "-p", "--project", metavar="NAME", help="the queue (else $FJD_PROJECT, else default)"
    )
    made.add_argument("--json", action="store_true", help="print one JSON object")
    return made


def run(made: Parser, action: Callable[[argparse.Namespace], int], argv: list[str]) -> int:
    """Parse, act, and return the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a locale must not end a command

    def command() -> int:
        return action(made.parse_args(argv))

    return edge.run(PROGRAM, command)


def talk(text: str) -> None:
    """Say one line on stderr."""
    edge.say(PROGRAM, text)


def print_json(schema: str, fields: Mapping[str, Any]) -> None:
    """Print one object with the name and version of what it holds."""
    print(json.dumps({"schema": schema, **fields}, indent=1))
