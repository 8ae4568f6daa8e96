"""Pieces in pods: whose they are, and how they go back to their lists when a worker is buried.

What a taken piece comes to is the dispatcher's to judge; whoever buries only makes sure that from
here on the worker can end nothing.
"""

from __future__ import annotations

from fjd.spool import crew
from fjd.spool.lists.covered import Covered
from fjd.spool.lists.names import DEAD, GONE, Assigned
from fjd.spool.lists.shelf import Shelf
from fjd.spool.project import Project
from fjd.system import files


def held(project: Project, worker: str, nudge: bool = False) -> list[Assigned]:
    """Return the pieces in a pod, oldest first."""
    names = files.listing(project.pod(worker), nudge) or ()
    found = [piece for piece in map(Assigned.parse, names) if piece]
    return sorted(found, key=lambda item: (not item.accepted, item.key, item.piece.lo))


def in_pods(shelf: Shelf) -> list[tuple[str, Assigned]]:
    """Return what of a list lies in whose pods."""
    return [
        (worker, item)
        for worker in crew.with_pods(shelf.project, nudge=True)
        for item in held(shelf.project, worker, nudge=True)
        if item.key == shelf.key
    ]


def whereabouts(shelf: Shelf) -> Covered:
    """Return which tasks of a list lie in a token."""
    there, bearers = Covered(), set[str]()
    for _, item in in_pods(shelf):
        there.add(item.piece.lo, item.piece.hi)
        bearers.add(item.piece.bore)
    seen = shelf.look(nudge=True)  # last: this way they go by themselves
    for kept in seen.kept:
        if not kept.unborn or kept.piece.birth in bearers | seen.bearers:  # else it is void
            there.add(kept.piece.lo, kept.piece.hi)
    return there


def take_all(project: Project, worker: str, crashed: bool) -> int:
    """Take every piece away from a worker that was given up; return how many there were."""
    count = 0
    for item in held(project, worker, nudge=True):
        shelf = Shelf(project, item.key)
        try:
            if item.accepted:
                shelf.take(worker, item.piece, DEAD if crashed else GONE)
            else:
                shelf.withdraw(worker, item.piece)
        except FileNotFoundError:
            files.remove(shelf.in_pod(worker, item.piece, item.accepted))  # its list was removed
        count += 1
    return count
