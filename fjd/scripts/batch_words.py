"""The grammar of ``fjd-batch`` and of the script that each run of it writes."""

from __future__ import annotations

import argparse
from typing import Any

from fjd.batch.options import PROGRAM
from fjd.scripts.parsers import Parser
from fjd.system.shares import GPUS

EPILOG = """\
exit codes: 0 the list was worked off (tasks may have failed: -e); 1 some tasks
failed, with -e, or a BARRIER CHECK or --fail-fast stopped the list; 2 usage;
4 no workers are left, or none came up; 6 environment, list or status file
wrong; 130 interrupted. Ctrl-C once: what runs is finished first. Twice: stop
now. Go on later with -r."""


def parser(version: str) -> argparse.ArgumentParser:
    """Return the grammar of the command."""
    grammar = Parser(
        PROGRAM,
        description="Work off a file of tasks, one shell command per line.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = grammar.add_argument
    add("taskfile", nargs="?", help='file with tasks, one per line ("-": from stdin)')
    add("-e", "--exit-code", action="store_true", help="exit with 1 if any task failed")
    add("-f", "--fail-fast", action="store_true", help="stop at the first task that fails")
    add("--force-resume", action="store_true", help="with -r: go by the task's number alone")
    add(
        "--kvsserver",
        metavar="HOST:PORT",
        nargs="?",
        const="",
        help="use a running key-value server (without a value: $KVSSTCP_HOST, $KVSSTCP_PORT)",
    )
    add("--logfile", metavar="FILE", help="the run's log (default: <prefix>_driver.log)")
    add(
        "--mailFreq",
        metavar="N",
        type=_count(1),
        help="send mail every N task completions (default: 1); needs --mailTo",
    )
    add("--mailTo", metavar="ADDR", help="where mail about completed tasks goes")
    add(
        "-p",
        "--prefix",
        metavar="PATH",
        default=".",
        help="the run's files are called PATH_status.txt and so on; in a directory:"
        " PATH/TASKFILE_disBatch_TIME_RANDOM... (default: .)",
    )
    add("--project", metavar="P", help="join the dispatcher of a project that is served already")
    add(
        "-r",
        "--resume-from",
        metavar="STATUSFILE",
        action="append",
        default=[],
        help="skip what a status file of an earlier run says is done (several times)",
    )
    add("-R", "--retry", action="store_true", help="with -r: run again what failed then")
    add(
        "-S",
        "--startup-only",
        action="store_true",
        help="start without workers; <prefix>_dbUtil.sh adds them",
    )
    add("--status-header", action="store_true", help="begin the status file with a header line")
    add("-w", "--web", action="store_true", help="show the run on a web page of this machine")
    add("--taskcommand", metavar="CMD", help="tasks come from CMD by the key-value server")
    add(
        "--taskserver",
        metavar="HOST:PORT",
        nargs="?",
        const="",
        help="tasks come from the key-value server",
    )
    add("--version", action="version", version=f"{PROGRAM} {version}")
    _context_words(grammar)
    return grammar


def context_parser(program: str) -> argparse.ArgumentParser:
    """Return the grammar of ``<prefix>_dbUtil.sh``."""
    grammar = Parser(
        program,
        description="Add a context, hosts that take part in the run, and stay until it is over;\n"
        "or watch the run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    grammar.add_argument("--mon", action="store_true", help="watch the run, stop parts of it")
    _context_words(grammar)
    return grammar


def _context_words(grammar: argparse.ArgumentParser) -> None:
    add = grammar.add_argument_group("options of a context").add_argument
    add(
        "-C",
        "--context-task-limit",
        metavar="N",
        type=_count(0),
        default=0,
        help="end the context after N tasks (0: no limit)",
    )
    add("-c", "--cpusPerTask", metavar="N", type=_cpus, help="cores per task (default: 1)")
    add(
        "-E",
        "--env-resource",
        metavar="VAR",
        action="append",
        default=[],
        help="split the comma list in $VAR over the slots of each host",
    )
    add("--fill", action="store_true", help="use all cores of the hosts of an allocation")
    add("-g", "--gpu", action="store_true", help=f"the same as -E {','.join(GPUS)}")
    retire = grammar.add_mutually_exclusive_group()
    retire.add_argument("--no-retire", action="store_true", help="the same as --retire-cmd ''")
    retire.add_argument(
        "--retire-cmd",
        metavar="CMD",
        help="shell command for a host that is not needed any more; it finds $NODE, $ACTIVE,"
        " $RETIRED and $DRIVER_NODE",
    )
    add("-l", "--label", metavar="L", default="", help="the context's name")
    add(
        "-s",
        "--ssh-node",
        metavar="HOST:N",
        action="append",
        default=[],
        help="use N cores of HOST, by SSH (comma list, or several times; default:"
        " $DISBATCH_SSH_NODELIST, or the allocation, or this machine)",
    )
    add(
        "-t",
        "--tasksPerNode",
        metavar="N",
        type=_count(1),
        help="tasks at once on a host, at most",
    )


def _count(least: int) -> Any:  # noqa: ANN401  what argparse calls a type
    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) < 10**9):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} on")
        return int(text)

    return number


def _cpus(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.001 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of cores")
    return value
