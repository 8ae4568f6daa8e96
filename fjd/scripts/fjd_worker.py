"""usage: fjd-worker [--project P] [options]

Announce a worker in the project (`default` if none is given), run what the
dispatcher assigns to it, and announce it again, until it is fired (SIGTERM,
SIGHUP or Ctrl-C; SIGUSR1: after the task that runs now). `fjd-recruiter hire`
starts workers with the options below.

  --project P     the project to work for
  --cwd DIR       where tasks start (default: here)
  --nice N        niceness of the worker and its tasks
  --id W          the worker's id (default: a new one)
  --launcher L, --session S, --log FILE
                  what keeps this worker, for the roster
  --version       print the version
  --help          print this text
"""

from __future__ import annotations

import os
import sys
from typing import Optional

from fjd import __version__
from fjd.errors import ConfigError, UsageError
from fjd.spool.project import Project
from fjd.talk import run, warn_root
from fjd.worker.employment import Terms, employ

PROGRAM = "fjd-worker"
_OPTIONS = ("project", "cwd", "nice", "id", "launcher", "session", "log")


def _parse(arguments: list[str]) -> dict[str, str]:
    """Read the options by hand: argparse would cost half of the time a worker needs to start."""
    found: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name[:2] != "--" or name[2:] not in _OPTIONS:
            raise UsageError(f"unknown argument {word!r}", remedy="see fjd-worker --help")
        if not equals:
            if not rest:
                raise UsageError(f"{name} needs a value", remedy="see fjd-worker --help")
            value = rest.pop(0)
        found[name[2:]] = value
    return found


def _nice(text: Optional[str]) -> None:
    if text is None:
        return
    if not (text.lstrip("-").isdecimal() and -20 <= int(text) <= 19):
        raise UsageError(f"{text!r} is no niceness", remedy="give a number from -20 to 19")
    try:
        os.setpriority(os.PRIO_PROCESS, 0, int(text))
    except OSError as error:
        raise ConfigError(f"cannot take the niceness {text}: {error.strerror}") from error


def _work(options: dict[str, str]) -> int:
    warn_root(PROGRAM)
    _nice(options.pop("nice", None))
    project = Project.open(options.pop("project", None))
    return employ(project, Terms(**options), lambda work: run(PROGRAM, work))


def main(arguments: Optional[list[str]] = None) -> int:
    """Run the command and return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    return run(PROGRAM, lambda: _command(words))


def _command(words: list[str]) -> int:
    if "--help" in words or "-h" in words:
        print(__doc__, end="")
        return 0
    if "--version" in words:
        print(f"{PROGRAM} {__version__}")
        return 0
    return _work(_parse(words))


if __name__ == "__main__":
    sys.exit(main())
