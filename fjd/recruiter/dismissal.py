"""Dismissing workers in Slurm's steps on other hosts: by the spool, for often nobody may log in."""

from __future__ import annotations

import time

from fjd.launchers import slurm
from fjd.spool import crew, pods
from fjd.spool.crew import Choice
from fjd.spool.project import Project
from fjd.system.identity import hostname

PATIENCE = 10.0  # s for them to leave: to see the word, and to end a task (2 s)

_LOOK = 0.1


def steps(project: Project, choice: Choice, gently: bool) -> tuple[set[str], set[str]]:
    """Tell them to leave, and wait for that unless ``gently``.

    Returns who was told, and who of those is still there.
    """
    told = {
        worker
        for worker, (_, card) in crew.cards(project).items()
        if card is not None and card.launcher == slurm.NAME and choice.holds(card)
        if card.identity.host != hostname() and pods.dismiss(project, worker, now=not gently)
    }
    left, until = set(told), time.monotonic() + PATIENCE
    while left and not gently:
        # Twice: who moves between two places during one look is in the other.
        left &= crew.sightings(project, nudge=True).keys() | crew.sightings(project).keys()
        if time.monotonic() > until:
            break
        time.sleep(_LOOK)
    return told, left
