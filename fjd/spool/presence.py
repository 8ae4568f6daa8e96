"""Presence: who is there to take work up, as well as it can be seen from here at a glance.

For display and for hints only; nothing is decided by it.
"""

from __future__ import annotations

import os
from typing import NamedTuple, Optional

from fjd.spool import crew, lease
from fjd.spool.names import short_host
from fjd.spool.project import Project
from fjd.system import bell
from fjd.system.identity import hostname


class Dispatcher(NamedTuple):
    """Who holds the lease.

    Attributes:
        host, pid, since: which process, and its start by its own clock.
        alive: True or False if that can be seen from here; None: silent for longer than its lease.
        silent: seconds since its last sign of life, by the clock of the file server; None if the
            file system does not tell.
    """

    host: str
    pid: int
    since: float
    alive: Optional[bool]
    silent: Optional[float]


class Worker(NamedTuple):
    """One worker; ``dead`` is only ever known of this host's own."""

    name: str
    host: str
    busy: bool
    dead: bool


def host_of(worker: str) -> str:
    """Return the host that stands in a worker's id."""
    return worker.rsplit("-", 2)[0]


def dispatcher(project: Project) -> Optional[Dispatcher]:
    """Return who dispatches; None if nobody claims to."""
    holder = lease.holder(project)
    if holder is None:
        return None
    who, silent = holder.identity, _silence(project, str(holder.claim))
    alive = who.alive()
    if alive is None and silent is not None and silent <= holder.timings.lease:
        alive = True
    return Dispatcher(who.host, who.pid, holder.since, alive, silent)


def _silence(project: Project, claim: str) -> Optional[float]:
    """Return how long ago a claim was last renamed.

    Both times are the file server's; where a rename leaves no trace in them this is too long.
    """
    try:
        changed = os.stat(f"{project.dispatcher}/{claim}").st_ctime
        os.utime(project.dispatcher)
        now = os.stat(project.dispatcher).st_mtime
    except OSError:
        return 0.0  # RACE: it beat just now
    return max(0.0, now - changed)


def workers(project: Project) -> list[Worker]:
    """Return all workers, sorted; only those of this host are asked whether they still run."""
    here = short_host(hostname())
    found = []
    for name, sighting in sorted(crew.sightings(project).items()):
        host = host_of(name)
        found.append(Worker(name, host, sighting.busy, host == here and _dead(project, sighting)))
    return found


def _dead(project: Project, sighting: crew.Sighting) -> bool:
    card = crew.card(project, sighting)
    return card is not None and card.identity.alive() is False


def ring(project: Project) -> bool:
    """Wake the dispatcher if it is on this host; False if nobody hears it."""
    holder = lease.holder(project)
    return holder is not None and holder.identity.host == hostname() and bell.ring(holder.bell)
