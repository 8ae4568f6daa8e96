"""The roster: who works here, on what, since when, and when they last gave a sign of life.

Read only. No two clocks have to agree: an age is the difference of two times that the same file
server has noted, one of them for a file that was made just now.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple, Optional

from fjd.spool import crew, pods
from fjd.spool.crew import Card, Sighting
from fjd.spool.names import slot_of
from fjd.spool.project import Project

SCHEMA = "fjd.roster/1"


class Row(NamedTuple):
    """One worker.

    Attributes:
        state: ``idle``, ``busy``, or ``dead`` if that can be proved from here.
        runs: the names of the job files that it has accepted (one, or none).
        running: seconds since it accepted the first of them; None if that cannot be known.
        seen: seconds since its last sign of life; None where the file system does not note it.
        card: what it says of itself; None if that cannot be read.
    """

    worker: str
    host: str
    state: str
    runs: list[str]
    running: Optional[float]
    seen: Optional[float]
    card: Optional[Card]

    @property
    def context(self) -> str:
        """Where it stands: ``<label>/<rank>``, the engine's; "" without a context."""
        return f"{self.card.context}/{self.card.engine}" if self.card and self.card.context else ""

    def as_json(self) -> dict[str, Any]:
        """Return what ``fjd-recruiter roster --json`` shows of it."""
        card = self.card
        return {
            "worker": self.worker,
            "host": self.host,
            "state": self.state,
            "runs": self.runs,
            "running_seconds": _rounded(self.running),
            "seen_seconds": _rounded(self.seen),
            "pid": card.identity.pid if card else None,
            "since": card.since if card else None,
            "launcher": card.launcher if card else None,
            "session": card.session if card else None,
            "log": card.log if card else None,
            "cwd": card.cwd if card else None,
            "context": card.context or None if card else None,
            "engine": card.engine if card and card.engine >= 0 else None,
            "cylinder": card.cylinder if card and card.cylinder >= 0 else None,
        }


def _rounded(seconds: Optional[float]) -> Optional[float]:
    return None if seconds is None else round(seconds, 3)


def rows(project: Project) -> list[Row]:
    """Return everybody, ordered by host and slot; outdated on arrival, as any list of workers."""
    now = project.server_now()
    found = [_row(project, now, sighting, card) for sighting, card in crew.cards(project).values()]
    found.sort(key=lambda row: (row.host, slot_of(row.worker), row.worker))
    return found


def _row(project: Project, now: float, sighting: Sighting, card: Optional[Card]) -> Row:
    worker = sighting.worker
    held = [item for item in pods.contents(project, worker) or () if item.accepted]
    running = _age(now, f"{project.pod(worker)}/{held[0]}", renamed=True) if held else None
    if held and running is None:  # it has no time of its rename; the copy was made right after it
        running = _age(now, f"{project.running}/{worker}/{held[0].token.job}", renamed=False)
    dead = card is not None and card.identity.alive() is False
    return Row(
        worker=worker,
        host=card.identity.host if card else worker.rsplit("-", 2)[0],
        state="dead" if dead else "busy" if sighting.busy else "idle",
        runs=[item.token.job for item in held],
        running=running,
        seen=_age(now, sighting.path(project), renamed=sighting.beat > 0),
        card=card,
    )


def _age(now: float, path: str, renamed: bool) -> Optional[float]:
    """Return how long ago a file was made or, if ``renamed``, got its name; None if unknown."""
    try:
        found = os.stat(path)
    except OSError:
        return None  # RACE: it has moved on
    if renamed and found.st_ctime == found.st_mtime:
        return None  # SSHFS has one time for both, and it is the time of the last write
    return max(0.0, now - (found.st_ctime if renamed else found.st_mtime))
