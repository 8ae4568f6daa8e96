"""Firing on this machine: end this project's workers, and put what they held back into the queue.

Also buries workers of this machine that are found dead, as after a power cut.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Callable, NamedTuple, Optional

from fjd.launchers import ending
from fjd.spool import burial, crew, lease, names, records
from fjd.spool.crew import EVERYBODY, Card, Choice
from fjd.spool.project import Project
from fjd.system import bell, files
from fjd.system.identity import hostname

_ROUNDS = 3  # looks for workers that came while others were being ended
_GENTLE = 1.0  # s in which idle workers end
_OLD_RC = 120.0  # s after which a configuration without a worker is nobody's

Say = Callable[[str], None]


class Fired(NamedTuple):
    """What came of it.

    Attributes:
        ended: workers that ran and were told to end.
        finishing: those of them that finish their task first (gently).
        dead: workers that were found dead and have been buried.
        stuck: workers that could not be ended.
    """

    ended: int
    finishing: int
    dead: int
    stuck: int


class Notes:
    """The recruiter's own records, opened only if there is something to note."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._ledger: Optional[records.Ledger] = None

    def write(self, record: records.Record) -> None:
        """Note the end of an attempt in the name of a worker that could not."""
        if self._ledger is None:
            self._ledger = records.Ledger(self._project, f"recruiter-{os.urandom(4).hex()}")
        self._ledger.write(record)

    def close(self) -> None:
        """Make the notes survive a power cut."""
        if self._ledger is not None:
            self._ledger.close()


def is_here(card: Optional[Card]) -> bool:
    """Tell whether a worker lives, or lived, on this machine, in any boot of it."""
    if card is None:
        return False
    return card.identity.is_here() or card.identity.alive() is False


def fire(project: Project, gently: bool, talk: Say, choice: Choice = EVERYBODY) -> Fired:
    """End this project's workers on this machine, within five seconds unless ``gently``."""
    notes = Notes(project)
    ended: dict[str, Card] = {}
    dead: set[str] = set()
    stuck: set[str] = set()
    finishing = 0
    for _ in range(1 if gently else _ROUNDS):
        found = {w: pair for w, pair in crew.cards(project).items() if is_here(pair[1])}
        cards = [card for w, (_, card) in found.items() if card and w not in stuck]
        cards = [card for card in cards if choice.holds(card)]
        living = [card for card in cards if ending.is_running(card)]
        dead |= {card.worker for card in cards} - {card.worker for card in living} - ended.keys()
        ended.update((card.worker, card) for card in living)
        if gently:
            ending.ask(living, gently=True)
            left = ending.wait(living, time.monotonic() + _GENTLE)
            finishing = len(left)
        else:
            left = ending.end(project.name, living)
            stuck |= {card.worker for card in left}
            ending.sweep(project.name, sorted(dead), time.monotonic() + _GENTLE)
        gone = {card.worker for card in cards} - {card.worker for card in left}
        _bury(project, gone, notes)
        if not living:
            break
    notes.close()
    for worker in sorted(stuck):
        pid = ended[worker].identity.pid
        talk(f"worker {worker} (process {pid}) cannot be ended; it may wait for a file system")
    if dead:
        talk(f"Cleaned up after {len(dead)} dead worker{'s' if len(dead) > 1 else ''}.")
    return Fired(len(ended), finishing, len(dead), len(stuck))


def bury(project: Project, workers: Iterable[str]) -> None:
    """Bury workers that are known to be dead, for they were ended."""
    notes = Notes(project)
    try:
        _bury(project, workers, notes)
    finally:
        notes.close()


def _bury(project: Project, workers: Iterable[str], notes: Notes) -> None:
    """Bury those who left anything behind; the dispatcher hears of it at once."""
    workers = set(workers)
    back = 0
    for _ in range(_ROUNDS):
        entries = crew.sightings(project, nudge=True)
        open_pods = workers & set(crew.with_pods(project))
        todo = open_pods | (workers & entries.keys())
        if not todo:
            break
        for worker in todo:
            cause = "its worker was fired"
            sighting = entries.get(worker)
            back += burial.bury(project, worker, sighting, cause, notes.write, crashed=False) or 0
    _clear_rcs(project, workers)
    holder = lease.holder(project) if back else None
    if holder is not None:
        bell.ring(holder.bell)


def _clear_rcs(project: Project, workers: set[str]) -> None:
    """Remove the screen configurations of these workers and old ones of this machine's dead."""
    rcs = {name[:-3] for name in files.listing(project.screenrcs) or () if name.endswith(".rc")}
    for worker in rcs & workers:
        files.remove(project.rc_file(worker))
    here = names.short_host(hostname())
    rest = {w for w in rcs - workers if w.rsplit("-", 2)[0] == here} - crew.sightings(
        project
    ).keys()
    now = project.server_now() if rest else 0.0
    for worker in rest:
        try:
            age = now - os.stat(project.rc_file(worker)).st_mtime
        except FileNotFoundError:
            continue  # RACE: another recruiter removed it
        if age > _OLD_RC:  # else another recruiter may be starting it right now
            files.remove(project.rc_file(worker))
