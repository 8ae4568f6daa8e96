"""Launcher: a detached process, for machines without screen. Its log is the same file."""

from __future__ import annotations

import os
import subprocess

from fjd.launchers.base import Order, worker_argv
from fjd.spool.project import carried_home

NAME = "process"


def missing() -> str:
    """Say why this way is closed here: it never is."""
    return ""


def start(order: Order) -> subprocess.Popen[bytes]:
    """Start a worker in a session of its own, without a terminal."""
    return spawn(worker_argv(order, NAME), order.log)


def spawn(argv: list[str], log: str) -> subprocess.Popen[bytes]:
    """Start a process that outlives us, beside its log, which takes all that it prints."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(log, flags, 0o600)
    home = carried_home()  # absolute: the process starts in another directory
    try:
        return subprocess.Popen(
            argv,
            cwd=os.path.dirname(log),
            env={**os.environ, **({"FJD_HOME": home} if home else {})},
            stdin=subprocess.DEVNULL,
            stdout=fd,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    finally:
        os.close(fd)
