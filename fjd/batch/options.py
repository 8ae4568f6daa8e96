"""The words of ``fjd-batch``: its options, and which of them go together.

The options of a context (which hosts, how many tasks at once) are also those of the script
``<prefix>_dbUtil.sh``, and so are read by the same grammar.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, Optional

from fjd.errors import UsageError

PROGRAM = "fjd-batch"
EPILOG = """\
exit codes: 0 the list was worked off (tasks may have failed: -e); 1 some tasks
failed, with -e, or a BARRIER CHECK or --fail-fast stopped the list; 2 usage;
4 no workers are left, or none came up; 6 environment, list or status file
wrong; 130 interrupted. Ctrl-C once: what runs is finished first. Twice: stop
now. Go on later with -r."""
GPU = ("CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")


class ContextOptions(NamedTuple):
    """What a context is made of.

    Attributes:
        limit: tasks after which it ends (0: none).
        cpus: cores per task (None: not said); ``most``: tasks at once per host.
        fill: use all cores of the hosts of an allocation.
        resources: variables whose comma lists are split over the slots.
        nodes: the texts of ``-s``.
        retire: the command for a host that is not needed any more (None: as the batch system
            has it; "": none).
    """

    limit: int = 0
    cpus: Optional[float] = None
    most: Optional[int] = None
    fill: bool = False
    resources: tuple[str, ...] = ()
    label: str = ""
    nodes: tuple[str, ...] = ()
    retire: Optional[str] = None


class Options(NamedTuple):
    """What a run is told; ``source`` is a path, ``-``, or "" with a command or a server."""

    source: str
    task_command: str
    task_server: Optional[str]
    kvs_server: Optional[str]
    prefix: str
    project: Optional[str]
    resume: tuple[str, ...]
    retry: bool
    force_resume: bool
    exit_code: bool
    fail_fast: bool
    header: bool
    startup_only: bool
    web: bool
    logfile: str
    mail_to: str
    mail_every: int
    context: ContextOptions


class Grammar(argparse.ArgumentParser):
    """A parser whose complaint is one line like every other."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise UsageError(message, remedy=f"type: {self.prog} --help")


def parser(version: str) -> argparse.ArgumentParser:
    """Return the grammar of the command."""
    grammar = Grammar(
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
    grammar = Grammar(
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
    add("-g", "--gpu", action="store_true", help=f"the same as -E {','.join(GPU)}")
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


def context_options(found: argparse.Namespace) -> ContextOptions:
    """Return the options of a context, checked."""
    given = [name.strip() for text in found.env_resource for name in text.split(",")]
    resources = [name for name in given if name] + (list(GPU) if found.gpu else [])
    for name in resources:
        if not (name.isidentifier() and name.isascii()):
            raise UsageError(f"-E: {name!r} is no name of a variable", remedy="write: -E VAR")
    if found.retire_cmd and found.ssh_node:
        raise UsageError("--retire-cmd does not go with -s: a host reached by SSH is not retired")
    return ContextOptions(
        limit=found.context_task_limit,
        cpus=found.cpusPerTask,
        most=found.tasksPerNode,
        fill=found.fill,
        resources=tuple(dict.fromkeys(resources)),
        label=found.label,
        nodes=tuple(found.ssh_node),
        retire="" if found.no_retire else found.retire_cmd,
    )


def read(words: Sequence[str], version: str) -> Options:
    """Return the options of a run, checked against each other.

    Raises:
        UsageError: they make no sense; it says which.
    """
    found = parser(version).parse_args(list(words))
    _check_source(found)
    if found.mailFreq is not None and not found.mailTo:
        raise UsageError("--mailFreq needs --mailTo", remedy="say where the mail goes")
    if found.startup_only:
        for given, name in (
            (found.ssh_node, "-s"),
            (found.env_resource or found.gpu, "-E and -g"),
            (found.retire_cmd, "--retire-cmd"),
            (found.context_task_limit, "-C"),
        ):
            if given:
                raise UsageError(
                    f"{name} does not go with -S, which starts without workers",
                    remedy="give it to <prefix>_dbUtil.sh",
                )
    return Options(
        source=found.taskfile or "",
        task_command=found.taskcommand or "",
        task_server=found.taskserver,
        kvs_server=found.kvsserver,
        prefix=found.prefix,
        project=found.project,
        resume=tuple(found.resume_from),
        retry=found.retry,
        force_resume=found.force_resume,
        exit_code=found.exit_code,
        fail_fast=found.fail_fast,
        header=found.status_header,
        startup_only=found.startup_only,
        web=found.web,
        logfile=found.logfile or "",
        mail_to=found.mailTo or "",
        mail_every=found.mailFreq or 1,
        context=context_options(found),
    )


def _check_source(found: argparse.Namespace) -> None:
    given = [
        word
        for word, value in (
            ("a task file", found.taskfile is not None),
            ("--taskcommand", found.taskcommand is not None),
            ("--taskserver", found.taskserver is not None),
        )
        if value
    ]
    if len(given) != 1:
        what = f"{' and '.join(given)} together" if given else "neither a task file nor a program"
        raise UsageError(
            f"{what}: tasks come from one place",
            remedy=f"give one of: TASKFILE, -, --taskcommand CMD, --taskserver; see {PROGRAM} -h",
        )
    if found.taskfile == "":
        raise UsageError("the task file has no name", remedy="give a path, or - for stdin")
    if found.resume_from and not found.taskfile:
        raise UsageError("-r needs a task file: the tasks of a program have no numbers to go by")
    servers = (found.taskserver, found.kvsserver)
    if found.taskserver and servers[0] != (found.kvsserver or found.taskserver):
        raise UsageError("cannot use different --kvsserver and --taskserver")


def server_address(text: str, env: Mapping[str, str] = os.environ) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``, or of the environment's if there is nothing.

    Raises:
        UsageError: it is no address, or there is none in the environment.
    """
    if not text:
        text = f"{env.get('KVSSTCP_HOST', '')}:{env.get('KVSSTCP_PORT', '')}"
        if text.startswith(":") or text.endswith(":"):
            raise UsageError(
                "there is no key-value server in the environment",
                remedy="give HOST:PORT, or set KVSSTCP_HOST and KVSSTCP_PORT",
            )
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(f"{text!r} is no HOST:PORT of a key-value server")
    return host, int(port)
