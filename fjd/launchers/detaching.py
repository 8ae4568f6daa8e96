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
from fjd.spool import lease
from fjd.spool.project import Project
from fjd.system import files
from fjd.system.identity import hostname

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
    before = lease.holder(project)
    epoch = before.claim.epoch if before else 0
    why = screen.missing()
    if not why:
        session = session_name(f"{project.name}-dispatcher", hostname(), 0)
        rc = f"{project.screenrcs}/{name}.rc"
        child = screen.open_session(session, rc, log, inner)
        code = _await(project, epoch, child)
        files.remove(rc)  # screen has read it
        if not code:
            return f"in the screen session {session}; log: {log}"
        why = f"screen failed: {_tail(log)}"
    talk(f"{why}; using a process of its own")
    code = _await(project, epoch, process.spawn(inner, log))
    if code:
        raise ConfigError(f"the dispatcher ended: {_tail(log)}", where=log, remedy="see its log")
    return f"as a process; log: {log}"


def _await(project: Project, epoch: int, child: Child) -> int:
    """Wait until a newer dispatcher serves, or ours has ended; return its exit code (0: well)."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        code = child.poll()
        if code is not None:
            return code
        holder = lease.holder(project)
        if holder is not None and holder.claim.epoch > epoch:
            return 0
        time.sleep(_LOOK)
    return 1


def _tail(log: str) -> str:
    try:
        lines = files.read(log)[-_TAIL:].decode("utf-8", "replace").splitlines()
    except OSError:
        return "it left no log"
    return lines[-1].strip() if lines else "it said nothing"
