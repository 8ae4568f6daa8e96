"""Contexts: the workers of one hiring, and the ranks of their engines. All of it in ``contexts/``.

    context   what was hired at once, with a label: its *card* says what, by whom, with what limit
    engine    the workers of a context on one host; its *rank* is a number that no other engine of
              the project has, or had: ranks are never given back
    request   somebody (the monitor) wishes that an engine ends softly; the dispatcher obeys

What lies there (``<first>``: the rank of a context's first engine, which names it for ever)

    rank,<n>/                 an engine has, or had, this rank: an empty directory
    card,<first>,<label>      the context; written once
    stop,<n>                  the request to stop engine n; empty

Transitions: who, the one system call that decides, what a crash leaves, who repairs it

    claim     who starts    mkdir rank,<n>: one winner on every file system (O_EXCL can have two).
                            Crash: a number that nobody will have.
    begin     who starts    publish the card, before the first worker is hired. Crash after it: a
                            context that nobody is in; the next dispatcher ends it (``sweep``).
                            Killed later: its workers go on, until the list that they were hired
                            for is over.
    ask       monitor       publish stop,<n>. Asked twice is asked once.
    obey      dispatcher    dismiss the engine's workers, as often as it sees the request: one that
                            stalled may come back under a new name.
    release   dispatcher    (the list that a context was hired for is over, and there are workers of
                            it: who started it was killed, or is about to end them) dismiss them, as
                            if all its engines were asked to stop.
    abandon   worker        (of a context, in the project of a run) leave by itself, softly: nobody
                            leads the run any more (the worker's purpose.py), and the next run there
                            begins by ending all workers.
    end       who started,  (no worker of it is left) unlink stop,<n> of each engine, then the card.
              dispatcher    Crash between: a card, ended again; a request without a card: swept.

Two who begin with one label at the same moment may both have it: labels are for people. Ranks tell
contexts apart.

Whether who started a context still lives is nobody's business here, for it often cannot be seen
(another host, a laptop that sleeps). The list is there or not, for everybody. Workers that were
hired by hand (``fjd-recruiter hire``) have no card, and stay until they are fired.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Optional

from fjd.errors import UsageError
from fjd.spool import crew, pods
from fjd.spool.lists import shelf
from fjd.spool.names import check_label, is_number
from fjd.spool.project import Project
from fjd.system import bell, files
from fjd.system.identity import Identity

LOCAL, SSH, SLURM = "local", "ssh", "slurm"  # how the workers were started

_RANK, _CARD, _STOP = "rank", "card", "stop"


class Engine(NamedTuple):
    """The workers of a context on one host: ``slots`` of them, as planned."""

    rank: int
    host: str
    slots: int


class Context(NamedTuple):
    """The workers of one hiring.

    Attributes:
        limit: after so many assigned tasks it is dismissed; 0: never.
        how: ``LOCAL``, ``SSH`` or ``SLURM``.
        by: the process that started it, and ends it if it lives that long.
        since: wall clock of its start, seconds since the epoch (for display).
        key: the list that its workers were hired for; "": none.
        cores: per task, as its tasks are told; "": as the list says.
    """

    label: str
    engines: tuple[Engine, ...]
    limit: int
    how: str
    by: Identity
    since: float
    key: str = ""
    cores: str = ""

    @property
    def first(self) -> int:
        """The rank that names it."""
        return self.engines[0].rank

    @property
    def ranks(self) -> list[int]:
        """The ranks of its engines."""
        return [engine.rank for engine in self.engines]

    def dump(self) -> bytes:
        """Return the content of its card."""
        fields = {**self._asdict(), "by": list(self.by)}
        fields["engines"] = [engine._asdict() for engine in self.engines]
        return (json.dumps(fields) + "\n").encode()

    @classmethod
    def load(cls, data: bytes) -> Optional[Context]:
        """Read a card; None if it is none."""
        try:
            fields = json.loads(data)
            engines = [Engine(int(e["rank"]), str(e["host"]), int(e["slots"]))
                       for e in fields["engines"]]  # fmt: skip
            by = Identity.load(fields["by"])
            if by is None or not engines:
                return None
            label, how = str(fields["label"]), str(fields["how"])
            limit, since = int(fields["limit"]), float(fields["since"])
            key, cores = str(fields.get("key", "")), str(fields.get("cores", ""))  # newer fields
        except (ValueError, KeyError, TypeError):
            return None
        return cls(label, tuple(engines), limit, how, by, since, key, cores)


class Names(NamedTuple):
    """One look into ``contexts/``: outdated on arrival.

    Attributes:
        ranks: those that were claimed.
        cards: the labels, by the rank that names the context.
        stops: the engines that are asked to stop.
    """

    ranks: set[int]
    cards: dict[int, str]
    stops: set[int]


def look(project: Project, nudge: bool = False) -> Names:
    """Return what lies there."""
    found = Names(set(), {}, set())
    for name in files.listing(project.contexts, nudge) or ():
        kind, _, rest = name.partition(",")
        number, comma, label = rest.partition(",")
        if not is_number(number) or bool(comma) != (kind == _CARD):
            continue
        if kind == _RANK:
            found.ranks.add(int(number))
        elif kind == _STOP:
            found.stops.add(int(number))
        elif kind == _CARD:
            found.cards[int(number)] = label
    return found


def claim(project: Project, number: int) -> list[int]:
    """Return so many ranks that nobody else has or ever had, in rising order."""
    mine: list[int] = []
    rank = max(look(project, nudge=True).ranks, default=-1)
    while len(mine) < number:
        rank += 1
        if files.make_directory(f"{project.contexts}/{_RANK},{rank}"):
            mine.append(rank)
    return mine


def keep(project: Project, rank: int) -> None:
    """See that nobody claims a rank that a person has chosen by hand, now or later."""
    files.make_directory(f"{project.contexts}/{_RANK},{rank}")


def begin(
    project: Project,
    label: str,
    hosts: Sequence[tuple[str, int]],
    how: str,
    limit: int = 0,
    key: str = "",
    cores: str = "",
) -> Context:
    """Claim ranks for the hosts (each with its slots) and announce the context.

    Args:
        label: "" for ``local<rank>``, ``ssh<rank>``, ``slurm<rank>``.

    Raises:
        UsageError: the label is none, or another context bears it.
    """
    if label:
        check_label(label)
        if label in look(project, nudge=True).cards.values():
            raise UsageError(
                f'there is a context "{label}" already', remedy="choose another label (-l LABEL)"
            )
    ranks = claim(project, len(hosts))
    engines = tuple(Engine(rank, host, slots) for rank, (host, slots) in zip(ranks, hosts))
    label = label or f"{how}{ranks[0]}"
    by = Identity.of(os.getpid())
    context = Context(label, engines, limit, how, by, time.time(), key, cores)
    files.publish(project.staging(), _card(project, context.first, label), context.dump())
    return context


def everyone(project: Project) -> list[Context]:
    """Return all contexts that have not been ended, in the order of their ranks."""
    found = []
    for first, label in sorted(look(project, nudge=True).cards.items()):
        context = _read(_card(project, first, label))
        if context is not None:
            found.append(context)
    return found


def _read(path: str) -> Optional[Context]:
    try:
        return Context.load(files.read(path))
    except OSError:
        return None  # RACE: it was ended meanwhile


def cores(project: Project, label: str, rank: int) -> str:
    """Return what a context says of the cores per task to an engine of it; "": nothing."""
    if label and rank >= 0:
        for context in everyone(project):
            if context.label == label and rank in context.ranks:
                return context.cores
    return ""


def ask_to_stop(project: Project, ranks: Iterable[int]) -> None:
    """Request that engines end softly; the dispatcher looks for such requests."""
    for rank in ranks:
        files.publish(project.staging(), f"{project.contexts}/{_STOP},{rank}", b"", sync=False)


def end(project: Project, context: Context) -> None:
    """Forget a context of which no worker is left, and the requests for it."""
    for rank in context.ranks:
        files.remove(f"{project.contexts}/{_STOP},{rank}")
    files.remove(_card(project, context.first, context.label))


def workers(project: Project) -> dict[int, list[str]]:
    """Return the workers of each engine, by its rank."""
    found: dict[int, list[str]] = {}
    for worker, (_, card) in crew.cards(project).items():
        if card is not None and card.engine >= 0:
            found.setdefault(card.engine, []).append(worker)
    return found


def dismiss(project: Project, ranks: Iterable[int], now: bool = False) -> int:
    """Tell the workers of engines to leave, wherever they are; return how many are left of them."""
    chosen = set(ranks)
    told = 0
    for worker, (_, card) in crew.cards(project).items():
        if card is not None and card.engine in chosen and pods.dismiss(project, worker, now):
            bell.ring(card.bell)  # another host's is not there, and that one looks by itself
            told += 1
    return told


def released(project: Project, found: Iterable[Context]) -> list[Context]:
    """Return those whose list is over. One listing may have missed it; ask again."""
    hired = [context for context in found if context.key]
    there = shelf.keys(project, nudge=True) if hired else ()
    return [context for context in hired if context.key not in there]


def sweep(project: Project) -> None:
    """End the contexts that have no workers and whose starter is dead, or their list over.

    One for no list, whose starter cannot be looked at from here, is ended once its host was
    restarted or by whoever starts a dispatcher there; until then it is a line in a list.
    """
    stops = look(project).stops  # before the cards: whoever asks has seen one
    crewed = workers(project)
    found = everyone(project)
    over = released(project, found)
    for context in found:
        dead = context.by.alive() is False or context in over
        if dead and not crewed.keys() & set(context.ranks):
            end(project, context)
    for rank in stops - {rank for context in found for rank in context.ranks}:
        files.remove(f"{project.contexts}/{_STOP},{rank}")


def _card(project: Project, first: int, label: str) -> str:
    return f"{project.contexts}/{_CARD},{first},{label}"
