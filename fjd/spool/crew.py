"""The workers as the spool shows them: announce, beat, show busy or idle, leave, bury.

An entry is one small file. Its place says idle (``workerqueue/``) or busy (``workers/``), its name
who and the heartbeat, its content (written once) the rest. Only the worker renames it.
"""

# No postponed annotations: NamedTuple would compile each of them, and a worker waits for it.

import _thread  # not threading, which a worker needs only later
import json
import os
from typing import NamedTuple, Optional

from fjd.spool.names import Entry, is_pod
from fjd.spool.project import Project
from fjd.system import files
from fjd.system.identity import Identity


class Sighting(NamedTuple):
    """One worker in one listing: outdated on arrival, and good enough to decide what to try."""

    worker: str
    beat: int
    busy: bool

    def path(self, project: Project) -> str:
        """Return where the entry lay."""
        place = project.workers if self.busy else project.workerqueue
        return f"{place}/{Entry(self.worker, self.beat)}"


class Card(NamedTuple):
    """What a worker says of itself, once.

    Attributes:
        identity, guardian: the two processes of a worker.
        launcher: what keeps it: ``screen``, ``process``, or "" if a person typed the command.
        session: the screen session's name ("" without).
        log: where what it says is written ("" if a person typed the command).
        bell: where it can be woken on its own host.
        cwd: where its tasks start.
        since: wall clock of its start, seconds since the epoch (for display).
        context, engine, cylinder: with whom it was hired (contexts.py): the label, the rank of the
            engine, and which of its workers it is, from 0; "" and -1 if it belongs to no context.
    """

    worker: str
    identity: Identity
    guardian: Identity
    launcher: str
    session: str
    log: str
    bell: str
    cwd: str
    since: float
    context: str = ""
    engine: int = -1
    cylinder: int = -1

    def dump(self) -> bytes:
        """Return the content of an entry."""
        fields = self._asdict()
        fields["identity"], fields["guardian"] = list(self.identity), list(self.guardian)
        return (json.dumps(fields) + "\n").encode()

    @classmethod
    def load(cls, data: bytes) -> "Optional[Card]":
        """Read the content of an entry; None if it is not whole."""
        try:
            fields = json.loads(data)
            identity = Identity.load(fields["identity"])
            guardian = Identity.load(fields["guardian"])
            if identity is None or guardian is None:
                return None
            texts = {
                k: str(fields[k]) for k in ("worker", "launcher", "session", "log", "bell", "cwd")
            }
            return cls(
                identity=identity,
                guardian=guardian,
                since=float(fields["since"]),
                context=str(fields.get("context", "")),  # an older worker's says nothing of these
                engine=int(fields.get("engine", -1)),
                cylinder=int(fields.get("cylinder", -1)),
                **texts,
            )
        except (ValueError, KeyError, TypeError):
            return None


class Choice(NamedTuple):
    """Some of the workers: those of a context, or of one engine of it; or all."""

    context: str = ""
    engine: int = -1

    def holds(self, card: Card) -> bool:
        """Tell whether a worker is one of them."""
        if self.context and card.context != self.context:
            return False
        return self.engine in (-1, card.engine)


EVERYBODY = Choice()


class Post:
    """A worker's own entry. Each verb answers whether the worker still has its place.

    The lock keeps the heartbeat's thread and the main thread from renaming it at once.
    """

    def __init__(self, project: Project, card: Card) -> None:
        self.project, self.card = project, card
        self._at = Sighting(card.worker, 0, busy=False)
        self._lock = _thread.allocate_lock()

    @property
    def worker(self) -> str:
        """The worker's id."""
        return self.card.worker

    def announce(self) -> None:
        """Announce an idle worker: make its pod, then publish the entry."""
        pod = self.project.pod(self.worker)
        files.make_directory(pod)
        target = self._at.path(self.project)
        try:
            files.publish(self.project.staging(), target, self.card.dump(), sync=False)
        except BaseException:
            os.rmdir(pod)  # without an entry nobody fills it
            raise

    def _move(self, to: Sighting) -> bool:
        if files.move(self._at.path(self.project), to.path(self.project)):
            self._at = to
            return True
        return False

    def beat(self) -> bool:
        """Give a sign of life; False means buried."""
        with self._lock:
            return self._move(self._at._replace(beat=self._at.beat + 1))

    def show(self, busy: bool) -> bool:
        """Say busy or idle; False means buried."""
        with self._lock:
            if self._at.busy == busy:
                return True
            return self._move(self._at._replace(beat=self._at.beat + 1, busy=busy))

    def leave(self) -> None:
        """Take the entry away; the pod is gone already."""
        with self._lock:
            files.remove(self._at.path(self.project))


def sightings(project: Project, nudge: bool = False) -> dict[str, Sighting]:
    """Return who is there now. A worker between two places may be missing for one look."""
    found: dict[str, Sighting] = {}
    for place, busy in ((project.workerqueue, False), (project.workers, True)):
        for name in files.listing(place, nudge) or ():
            entry = Entry.parse(name)
            if entry and (entry.worker not in found or found[entry.worker].beat < entry.beat):
                found[entry.worker] = Sighting(entry.worker, entry.beat, busy)
    return found


def with_pods(project: Project, nudge: bool = False) -> list[str]:
    """Return whose pods there are, the living's and the dead's."""
    return [name for name in files.listing(project.jobpods, nudge) or () if is_pod(name)]


def card(project: Project, sighting: Sighting) -> Optional[Card]:
    """Read what a worker says of itself; None if it has moved on (look again)."""
    try:
        return Card.load(files.read(sighting.path(project)))
    except OSError:
        return None  # RACE: it beat between the listing and now


def cards(project: Project) -> dict[str, tuple[Sighting, Optional[Card]]]:
    """Return everybody with what they say of themselves (None if it cannot be read at all).

    Each round looks twice, so that who moves between the two places during one look is in the
    other; who cannot be read and is gone from the next round's fresh listing has left.
    """
    found: dict[str, tuple[Sighting, Optional[Card]]] = {}
    for _ in range(4):
        known = {worker: said for worker, (_, said) in found.items() if said}
        seen = {**sightings(project, nudge=True), **sightings(project)}
        found = {w: (at, known.get(w) or card(project, at)) for w, at in seen.items()}
        if all(said for _, said in found.values()):
            break
    return found


def unlist(project: Project, sighting: Sighting) -> bool:
    """First step of a burial: from here on this worker cannot beat. False if it just did."""
    return files.remove(sighting.path(project))
