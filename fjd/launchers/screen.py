"""Launcher: a detached GNU screen session per worker, so that a person can look in.

``screen -D -m`` and not ``-d -m``: it does not fork, so whoever hires is told by the child's end
that a session failed (exit code not 0, screen's reason in the log) or that the worker ended (0).
The session starts in the directory of its log. Its configuration needs only a plain file name
there: any other path may hold what screen's syntax or its ``%`` escapes would change.
"""

from __future__ import annotations

import os
import subprocess

from fjd.launchers.base import Order, worker_argv
from fjd.launchers.process import spawn
from fjd.system import files

NAME = "screen"


def missing() -> str:
    """Say why this way is closed here; "" if it is open."""
    for directory in os.get_exec_path():
        if os.access(os.path.join(directory, "screen"), os.X_OK):
            return ""
    return "GNU screen is not installed"


def rc_text(log_name: str) -> str:
    """Return the session's configuration; others see the log a second late at most."""
    return (
        "startup_message off\n"
        "deflogin off\n"
        f"logfile {log_name}\n"
        "logfile flush 1\n"
        "deflog on\n"
    )  # fmt: skip


def argv(session: str, rc: str, inner: list[str]) -> list[str]:
    """Return the command line of a session."""
    return ["screen", "-D", "-m", "-S", session, "-c", rc, *inner]


def open_session(session: str, rc: str, log: str, inner: list[str]) -> subprocess.Popen[bytes]:
    """Start a session with one command in it."""
    files.create(rc, rc_text(os.path.basename(log)).encode("ascii"))
    return spawn(argv(session, rc, inner), log)


def start(order: Order) -> subprocess.Popen[bytes]:
    """Start a session with one worker in it."""
    return open_session(order.session, order.rc, order.log, worker_argv(order, NAME))
