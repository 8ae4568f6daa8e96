"""The words of ``fjd-batch``: its options, and which of them go together.

The options of a context (which hosts, how many tasks at once) are also those of the script
``<prefix>_dbUtil.sh``. Their grammar stands in fjd/scripts/batch_words.py.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import NamedTuple, Optional

from fjd.errors import UsageError
from fjd.system.shares import GPUS

PROGRAM = "fjd-batch"


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


def context_options(found: argparse.Namespace) -> ContextOptions:
    """Return the options of a context, checked."""
    given = [name.strip() for text in found.env_resource for name in text.split(",")]
    resources = [name for name in given if name] + (list(GPUS) if found.gpu else [])
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


def read(found: argparse.Namespace) -> Options:
    """Return the options of a run, checked against each other.

    Raises:
        UsageError: they make no sense; it says which.
    """
    _check_source(found)
    if found.mailFreq is not None and not found.mailTo:
        raise UsageError("--mailFreq needs --mailTo", remedy="say where the mail goes")
    for value, name, what in (
        (found.mailTo, "--mailTo", "an address"),
        (found.taskcommand, "--taskcommand", "a command"),
    ):
        if value is not None and not value.strip():  # an empty variable, more likely than a wish
            raise UsageError(f"{name}: there is nothing behind it", remedy=f"give it {what}")
    if found.startup_only:
        for given, name in (
            (found.ssh_node, "-s"),
            (found.env_resource, "-E"),
            (found.gpu, "-g"),
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
        raise UsageError(
            "cannot use different --kvsserver and --taskserver", remedy="leave one of them out"
        )


def listening_address(text: str) -> tuple[str, int]:
    """Return where a key-value server of our own listens: ``HOST[:PORT]``; "": on this machine.

    Raises:
        UsageError: it is no address.
    """
    host, colon, port = (text or "127.0.0.1").partition(":")
    if not host or (colon and not _is_port(port)):
        raise UsageError(f"FJD_KVS: {text!r} is no HOST or HOST:PORT")
    return host, int(port or 0)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65536


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
    if not (colon and host and _is_port(port)):
        raise UsageError(f"{text!r} is no HOST:PORT of a key-value server")
    return host, int(port)
