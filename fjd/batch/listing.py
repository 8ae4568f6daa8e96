"""The list of a run: checked and submitted as a whole if it is a file, fed as it comes if not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple, Optional

from fjd.batch.feeding import Feeder
from fjd.batch.resuming import Done
from fjd.batch.tasksource import TaskSource
from fjd.errors import ConfigError, UsageError
from fjd.spool.lists import grammar, shelf, submission, terms
from fjd.spool.lists.shelf import Shelf
from fjd.spool.lists.terms import Terms
from fjd.spool.lists.writing import Sign
from fjd.spool.project import Project
from fjd.system.identity import Identity


class Listing(NamedTuple):
    """A list that was submitted.

    Attributes:
        done: how many of its tasks an earlier run has done; ``left``: whether others are to be run.
        feeder: what still brings tasks; None for a file.
        sign: tells dispatchers elsewhere that who does lives; None for a file.
    """

    shelf: Shelf
    done: int
    left: bool
    feeder: Optional[Feeder]
    sign: Optional[Sign] = None


def check(path: str, name: str) -> bool:
    """Look through a task file before anything is run; False if there is no task in it.

    Args:
        name: what the tasks come from, for complaints.

    Raises:
        UsageError: it cannot be read.
        JobFileError: a line in it cannot be; it says which.
    """
    try:
        with open(path, "rb") as file:
            grammar.check(file, name)
        with open(path, "rb") as file:
            return grammar.Reader(file, name).next() is not None
    except OSError as error:
        raise UsageError(f"the task file cannot be read: {error.strerror}", where=name) from None


def whole(project: Project, path: str, wanted: Terms, done: Done) -> Listing:
    """Submit a file, of which a part, or all, may be done already."""
    wanted = wanted._replace(resumed=bool(done.skipped))
    shelf = submission.submit(project, wanted.name, path, wanted, done.skipped)
    return Listing(shelf, done.number, done.left > 0, None)


def growing(
    project: Project, path: str, wanted: Terms, source: Optional[TaskSource] = None
) -> Listing:
    """Submit a list that a stream, or a program, still adds to."""
    wanted = wanted._replace(writer=Identity.of(os.getpid()))
    target = submission.Growing(project, wanted.name, wanted)
    return Listing(target.shelf, 0, True, Feeder(path, target, source), target.sign)


def refuse_if_worked_off(project: Project, paths: Sequence[str]) -> None:
    """Raise ConfigError if a list of that project still writes one of these status files."""
    for key in shelf.keys(project):
        status = terms.read(Shelf(project, key).path).status
        if status and status in map(os.path.realpath, paths):
            raise ConfigError(
                f'the list {key} in project "{project.name}" still writes it',
                where=status,
                remedy="wait for its end, or use another -p",
            )
