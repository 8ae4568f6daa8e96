"""What every launcher on this machine shares: an order, and the command line that it becomes.

A launcher is a module with two functions (``Launcher``). It knows the words of ``fjd-worker``,
never the class. How to add one: write the module, put it into the dictionary in ``hiring.py``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple, Optional, Protocol

from fjd.spool.names import short_host

SESSION_LIMIT = 64  # screen takes 80, and a socket's whole path has to fit into 107 bytes

_INSTALLED = ("site-packages", "dist-packages")
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Place(NamedTuple):
    """Where a worker stands: in which context, on which engine of it, as which cylinder.

    ``resources`` are the variables of which it keeps only its share (shares.py).
    """

    context: str
    engine: int
    cylinder: int = 0
    resources: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """Return it as fjd-worker's command line says it."""
        words = ["--context", self.context, "--engine", str(self.engine)] if self.context else []
        words += ["--cylinder", str(self.cylinder)]
        return words + (["--env-resource", ",".join(self.resources)] if self.resources else [])


class Order(NamedTuple):
    """One worker that is to be started.

    Attributes:
        session: the screen session's name, should it get one.
        log: where what it says is written; ``rc``: where screen's configuration is written.
        cwd: where its tasks start; the worker itself starts beside its log.
        place: where it stands in its context; None if it belongs to none.
    """

    project: str
    worker: str
    python: str
    cwd: str
    nice: Optional[int]
    session: str
    log: str
    rc: str
    place: Optional[Place] = None


class Child(Protocol):
    """A started process, as ``subprocess.Popen`` has it."""

    def poll(self) -> Optional[int]:
        """Return the exit code, or None while it runs."""


class Launcher(Protocol):
    """One way of starting workers on this machine."""

    def missing(self) -> str:
        """Say why this way is closed here; "" if it is open."""

    def start(self, order: Order) -> Child:
        """Start a worker that outlives us; the child ends when the worker has ended."""


def command(python: str, module: str, arguments: Sequence[str], place: str = _PACKAGE) -> list[str]:
    """Return the argv that calls ``main()`` of a module of this very fjd.

    Not ``-m``: it would let a ``json.py`` in the working directory be taken for Python's own. fjd
    itself is found where it is installed, or else (a checkout) in the directory ``place``.
    """
    ahead = [] if os.path.basename(place) in _INSTALLED else [place]
    code = (
        f"import sys; sys.path[:] = {ahead!r} + [p for p in sys.path if p];"
        f" from {module} import main; sys.exit(main())"
    )
    return [python, "-c", code, *arguments]


def worker_argv(order: Order, launcher: str) -> list[str]:
    """Return the argv of a worker that is kept by ``launcher``."""
    words = ["--project", order.project, "--id", order.worker, "--launcher", launcher]
    if launcher == "screen":
        words += ["--session", order.session]
    words += ["--log", order.log, "--cwd", order.cwd]
    if order.nice is not None:
        words += ["--nice", str(order.nice)]
    if order.place is not None:
        words += order.place.words()
    return command(order.python, "fjd.scripts.fjd_worker", words)


def session_name(project: str, hostname: str, slot: int) -> str:
    """Return ``<project>-<host>-<n>``, cut in the project (``~``) to what screen takes."""
    tail = f"-{short_host(hostname)}-{slot}"
    room = SESSION_LIMIT - len(tail)
    head = project if len(project) <= room else project[: room - 1] + "~"
    number, dot, rest = head.partition(".")
    if dot and number.isdigit():
        head = f"{number}_{rest}"  # screen takes the digits before a dot for a process id
    return head + tail


def free_slots(taken: set[int], number: int) -> list[int]:
    """Return the ``number`` smallest slots from 1 that are not taken."""
    found: list[int] = []
    slot = 0
    while len(found) < number:
        slot += 1
        if slot not in taken:
            found.append(slot)
    return found
