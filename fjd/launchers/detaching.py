"""Starting a dispatcher that stays when the terminal goes: in a screen session, or as a process."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Callable

from fjd.errors import ConfigError
from fjd.launchers import process, screen
from fjd.launchers.base import Child, command, session_name
from fjd.spool.project import Project
from fjd.system import files
from fjd.system.identity import hostname
from fjd.system.workdir import directory

_PATIENCE = 20.0  # s until the dispatcher must hold the lease
_LOOK = 0.02
_TAIL = 400  # bytes of a log that are shown


def detach(project: Project, words: Sequence[str], talk: Callable[[str], None]) -> str:
    """Start ``fjd-dispatcher WORDS`` and return where it is, once it holds the lease.

    Raises:
        ConfigError: it ended without ever serving; the end of its log says why.
    """
    name = f"dispatcher-{os.urandom(4).hex()}"
    log = f"{project.screenlogs}/{name}.log"
    inner = command(sys.executable, "fjd.scripts.fjd_dispatcher", words)
    inner = ["/bin/sh", "-c", 'cd -- "$0" && exec "$@"', directory(), *inner]
    why = screen.missing()
    if not why:
        session = session_name(f"{project.name}-dispatcher", hostname(), 0)
        rc = f"{project.screenrcs}/{name}.rc"
        child = screen.open_session(session, rc, log, inner)
        failed = _await(log, child)
        files.remove(rc)  # screen has read it
        if not failed:
            return f"in the screen session {session}; log: {log}"
        if not child.poll():
            raise _ended(log)  # screen works; what ran in it did not
        why = f"screen failed: {_tail(log)}"
    talk(f"{why}; using a process of its own")
    if _await(log, process.spawn(inner, log)):
        raise _ended(log)
    return f"as a process; log: {log}"


def _await(log: str, child: Child) -> bool:
    """Wait until the dispatcher serves; True if it ended, or took too long, without that."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        over = child.poll() is not None
        if _serves(log):
            return False
        if over:
            return True
        time.sleep(_LOOK)
    return True


def _serves(log: str) -> bool:
    """It says so once it holds the lease. (Screen's log may be a second late.)"""
    try:
        return b"Started on project" in files.read(log)
    except OSError:
        return False


def _ended(log: str) -> ConfigError:
    return ConfigError(
        f"the dispatcher does not serve: {_tail(log)}", where=log, remedy="look into its log"
    )


def _tail(log: str) -> str:
    try:
        lines = files.read(log)[-_TAIL:].decode("utf-8", "replace").splitlines()
    except OSError:
        return "it left no log"
    return lines[-1].strip() if lines else "it said nothing"
