"""fjd-worker: run what the dispatcher assigns, until it is fired."""

from __future__ import annotations

import os
import sys
import time
from typing import Optional

from fjd import __version__
from fjd.errors import ConfigError, UsageError
from fjd.spool.names import check_label
from fjd.spool.project import Project
from fjd.system.patience import insist
from fjd.talk import run, say, warn_root
from fjd.worker.employment import Terms, employ

PROGRAM = "fjd-worker"
HELP = """\
usage: fjd-worker [--project P] [options]

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
  --context L, --engine R, --cylinder K
                  with whom it was hired: the context's label, the rank of its
                  engine (the context's workers on this host), and which one of
                  them it is, from 0 (default under Slurm: $SLURM_LOCALID)
  --env-resource VAR[,VAR]
                  of what the variable lists, keep only what is for cylinder K
  --version       print the version
  --help          print this text
"""
_TEXTS = ("id", "launcher", "session", "log", "cwd", "context")
_NUMBERS = ("engine", "cylinder")
_OPTIONS = (*_TEXTS, *_NUMBERS, "project", "nice", "env-resource")


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


def _number(name: str, text: str) -> int:
    if not (text.isdecimal() and text.isascii() and len(text) < 10):
        raise UsageError(f"--{name}: {text!r} is not a number", remedy="see fjd-worker --help")
    return int(text)


def _by_slurm(options: dict[str, str]) -> None:
    """One command line is for all tasks of a step: what differs stands in the environment."""
    local = os.environ.get("SLURM_LOCALID", "0")
    options.setdefault("cylinder", local)
    step = [os.environ.get(name, "?") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID")]
    options.setdefault("session", ".".join(step))
    directory, name = os.path.split(options.get("log", ""))
    options["log"] = os.path.join(directory, name.replace("%t", local))


def _keep_share(variables: str, cylinder: int) -> None:
    from fjd.system import shares

    try:
        os.environ.update(shares.share(os.environ, shares.names([variables]), max(0, cylinder)))
    except KeyError as error:
        values = len(shares.values(os.environ, error.args[0]))
        raise ConfigError(
            f"{error.args[0]} has {values}, {shares.NOTHING_LEFT} {cylinder}",
            remedy="hire fewer workers here",
        ) from None


def _terms(options: dict[str, str]) -> Terms:
    if options.get("launcher") == "slurm":
        _by_slurm(options)
    if "context" in options:
        check_label(options["context"])
    engine, cylinder = (_number(k, options[k]) if k in options else -1 for k in _NUMBERS)
    if "env-resource" in options:
        _keep_share(options["env-resource"], cylinder)
    who, launcher, session, log, cwd, context = (options.get(name, "") for name in _TEXTS)
    return Terms(who, launcher, session, log, cwd, context, engine, cylinder)


def _work(options: dict[str, str]) -> int:
    warn_root(PROGRAM)
    _nice(options.pop("nice", None))
    name = options.pop("project", None)
    project = insist(lambda: Project.open(name), lambda text: say(PROGRAM, text), time.sleep)
    return employ(project, _terms(options), lambda work: run(PROGRAM, work))


def main(arguments: Optional[list[str]] = None) -> int:
    """Run the command and return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    return run(PROGRAM, lambda: _command(words))


def _command(words: list[str]) -> int:
    if "--help" in words or "-h" in words:
        print(HELP, end="")
        return 0
    if "--version" in words:
        print(f"{PROGRAM} {__version__}")
        return 0
    return _work(_parse(words))


if __name__ == "__main__":
    sys.exit(main())
