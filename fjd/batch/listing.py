"""The list of a run: checked and submitted as a whole if it is a file, fed as it comes if not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Optional

from fjd.batch.sources import Feeder
from fjd.errors import UsageError
from fjd.spool.lists import grammar, submission
from fjd.spool.lists.shelf import Shelf
from fjd.spool.project import Project


class Listing(NamedTuple):
    """A list that was submitted.

    Attributes:
        done: how many of its tasks an earlier run has done.
        feeder: what still brings tasks; None for a file.
    """

    shelf: Shelf
    done: int
    feeder: Optional[Feeder]


def check(path: str) -> bool:
    """Look through a task file before anything is run; False if there is no task in it.

    Raises:
        UsageError: it cannot be read.
        JobFileError: a line in it cannot be; it says which.
    """
    try:
        with open(path, "rb") as file:
            grammar.check(file, path)
        with open(path, "rb") as file:
            return grammar.Reader(file, path).next() is not None
    except OSError as error:
        raise UsageError(f"the task file cannot be read: {error.strerror}", where=path) from None


def _commands(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        reader = grammar.Reader(file, path)
        while True:
            item = reader.next()
            if item is None:
                return
            if isinstance(item, grammar.Task):
                yield item.command


def whole(project: Project, name: str, path: str) -> Listing:
    """Submit a file."""
    return Listing(submission.submit(project, name, _commands(path)), 0, None)
