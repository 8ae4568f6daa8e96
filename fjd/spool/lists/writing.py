"""The sign of life of who still writes a growing list: ``contexts/writer,<key>,<n>``.

Only the writer touches it: ``n`` counts up at every heartbeat of the dispatcher. It is for
dispatchers of other hosts, for on its own host the writer's process tells at once. If it has not
moved for a far lease the list was broken off (the dispatcher's writer.py). It does not lie in the
list's directory: a name that changes would keep that from being removed.

Killed: the name is left, and swept when the list is no more (``sweep``).
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Callable, Optional

from fjd.spool import lease
from fjd.spool.lists import shelf
from fjd.spool.names import is_number
from fjd.spool.project import Project
from fjd.spool.timings import LOCAL
from fjd.system import files

_WRITER = "writer"


class Sign:
    """The writer's side. ``beat`` and ``end`` may be called in two threads."""

    def __init__(
        self, project: Project, key: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._project, self._key, self._clock = project, key, clock
        self._n, self._due, self._over = 0, 0.0, False
        self._lock = threading.Lock()

    def beat(self) -> None:
        """Give the sign, if it is time; what goes wrong is tried again at the next beat."""
        now = self._clock()
        if now < self._due:
            return
        with self._lock, suppress(files.DiskFull, OSError):
            holder = lease.holder(self._project)
            self._due = now + (holder.timings if holder else LOCAL).heartbeat
            if not self._over:
                self._move()

    def _move(self) -> None:
        old, new = (_path(self._project, self._key, n) for n in (self._n, self._n + 1))
        if not self._n or not files.move(old, new):  # the first one, or somebody has swept it
            files.publish(self._project.staging(), new, b"", sync=False)
        self._n += 1

    def end(self) -> None:
        """Nothing more will be written."""
        with self._lock, suppress(OSError):
            self._over = True
            files.remove(_path(self._project, self._key, self._n))


def _path(project: Project, key: str, n: int) -> str:
    return f"{project.contexts}/{_WRITER},{key},{n}"


def _signs(project: Project, nudge: bool = False) -> dict[str, tuple[str, int]]:
    """Return the signs that are there: each name with its key and its number."""
    found: dict[str, tuple[str, int]] = {}
    for name in files.listing(project.contexts, nudge) or ():
        parts = name.split(",")
        if len(parts) == 3 and parts[0] == _WRITER and is_number(parts[2]):
            found[name] = parts[1], int(parts[2])
    return found


def number(project: Project, key: str) -> Optional[int]:
    """Return how far the writer of a list has counted; None if a fresh listing does not say."""
    found = (n for whose, n in _signs(project, nudge=True).values() if whose == key)
    return max(found, default=None)


def sweep(project: Project) -> None:
    """Remove what is left of those who were killed."""
    found = _signs(project)
    there = shelf.keys(project, nudge=True) if found else ()
    for name, (key, _) in found.items():
        if key not in there:
            files.remove(f"{project.contexts}/{name}")
