"""Serving a run until its list has ended: as its own dispatcher, or beside that of a project."""

from __future__ import annotations

import enum
from typing import Callable, Optional

from fjd.batch import ending, office
from fjd.batch.crew import Crew
from fjd.batch.interrupts import Interrupts
from fjd.batch.listing import Listing
from fjd.batch.office import Office, RunDispatcher
from fjd.dispatcher.service import Contest
from fjd.errors import ConfigError, NoWorkers
from fjd.spool import contexts
from fjd.spool import crew as crews
from fjd.spool.lists import shelf
from fjd.spool.lists.shelf import Shelf
from fjd.spool.project import Project

_LOOK = 0.2  # s between two looks whether a list has ended
_ALONE = 2.0  # s without any worker until that counts

Say = Callable[[str], None]


class How(enum.Enum):
    """How serving ended."""

    OVER = "the list has ended"
    INTERRUPTED = "somebody wanted it to end"
    NOBODY = "nobody is left who could run what remains"


def own(serving: Office, crew: Optional[Crew], start: Callable[[], None]) -> How:
    """Be the dispatcher of a run's own project until its list has ended.

    Args:
        start: called before the first look.
        crew: who may leave; None: wait for whoever comes.
    """

    def ready(dispatcher: RunDispatcher) -> None:
        if crew is not None:
            crew.heed(dispatcher.give_up_without_workers)
        start()

    how = How.OVER
    try:
        if serving.serve(ready):
            how = How.INTERRUPTED
    except NoWorkers:
        how = How.NOBODY
    finally:
        if shelf.keys(serving.project):  # told to end at once, or nobody there
            serving.settle()
    return how


def joined(work: Listing, crew: Optional[Crew], start: Callable[[], None], say: Say) -> How:
    """Wait for the end of a list that another dispatcher works off."""
    place = work.shelf
    interrupts = Interrupts()
    alone = 0.0
    told = False
    try:
        start()
        while ending.of_list(place.project, place.key) is None and _there(place):
            if work.sign:
                work.sign.beat()
            if interrupts.count and not told:
                told = True
                say("finishing what runs; Ctrl-C again to stop now (nothing is lost either way)")
                office.stop(place)
                if crew and crew.context:
                    contexts.dismiss(place.project, crew.context.ranks)
            if interrupts.count > 1:
                office.stop(place, now=True)
                break
            interrupts.wait(_LOOK)
            alone = alone + _LOOK if crew is not None and _is_alone(crew) else 0.0
            if alone > _ALONE:
                office.stop(place)
                return How.NOBODY
    finally:
        interrupts.close()
        if work.sign:
            work.sign.end()
    return How.INTERRUPTED if interrupts.count else How.OVER


def _there(place: Shelf) -> bool:
    """Tell whether the list is still somewhere; between two places it is in the results."""
    return place.key in shelf.keys(place.project)


def _is_alone(crew: Crew) -> bool:
    return crew.hired.is_set() and not crews.sightings(crew.project)


def served(name: str) -> Project:
    """Return a project that a dispatcher serves.

    Raises:
        NothingToDo: there is no such project.
        ConfigError: nobody serves it.
    """
    project = Project.existing(name)
    if Contest(project).look() is None:
        raise ConfigError(
            f'no dispatcher serves project "{name}"',
            remedy=f"start one: fjd-dispatcher --project {name} --keep-running --detach",
        )
    return project
