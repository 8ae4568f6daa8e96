"""Do two hosts see one home? One leaves a marker in the project's ``tmp/``, the other looks for it.

The one who looks makes nothing: on another home it would leave a project behind that nobody wants.
"""

from __future__ import annotations

import os
import time

from fjd.errors import ConfigError
from fjd.spool.names import check_project
from fjd.spool.project import Project, home
from fjd.system import files
from fjd.system.identity import hostname

WAIT = 3.0  # s until what one host made is seen by another, at most (NFS caches names)

_LOOK = 0.05  # s between two looks


def leave(project: Project) -> str:
    """Leave a marker and return its name; ``remove`` it when everybody has looked."""
    name = f"marker-{os.urandom(8).hex()}"
    files.publish(project.staging(), f"{project.root}/tmp/{name}", b"", sync=False)
    return name


def remove(project: Project, name: str) -> None:
    """Remove a marker."""
    files.remove(f"{project.root}/tmp/{name}")


def check(project_name: str, name: str, wait: float = WAIT) -> None:
    """Return if this host sees the marker; ConfigError if it has another home."""
    path = f"{home()}/{check_project(project_name)}/tmp"
    until = time.monotonic() + wait
    while name not in (_look(path) or ()):
        if time.monotonic() >= until:
            raise ConfigError(
                f"this host has another home: {hostname()} does not see what you have in {path}",
                remedy="mount the same home there, or set FJD_HOME to a directory that both share",
            )
        time.sleep(_LOOK)


def _look(path: str) -> list[str]:
    try:
        return files.listing(path, nudge=True) or []
    except OSError:
        return []  # somebody else's directory is not ours either
