"""Whereabouts: does a job whose token is not where it was lie somewhere else?

While two dispatchers overlap, one of them may finish a move that it had begun; a worker may give
something back; a burial may have been interrupted. Then a token is gone from where we know it, and
nobody has removed it. A job that has a key is found by that. A file that was dropped into the queue
has none yet: it is found by its name and its inode, which a rename keeps (where a file system
invents inodes, as SSHFS does, it is not found).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from itertools import chain
from typing import NamedTuple, Union

from fjd.spool import crew, filing
from fjd.spool.names import job_name, new_key, submission
from fjd.spool.project import Project
from fjd.system import files

Mark = Union[str, tuple[str, int]]  # a key, or a job's file name and inode

_SHARDS = 10  # the newest of done/ and of failed/: what was filed since we saw it last


class Gone(NamedTuple):
    """A name that is not where it was, and the inode that it had there (0 if nobody looked)."""

    name: str
    inode: int = 0


def elsewhere(project: Project, gone: Collection[Gone]) -> set[Gone]:
    """Return those that lie somewhere else now."""
    wanted = {item: _marks(item) for item in gone}
    left = {mark for marks in wanted.values() for mark in marks}
    for place in _places(project):
        if not left:
            break
        for name, inode in _entries(place):
            key, comma, _ = name.partition(",")
            if comma:
                left -= {key, (job_name(key), inode)}
    return {item for item, marks in wanted.items() if not marks & left}


def has_ended(project: Project, key: str) -> bool:
    """Tell whether a job has ended, or was submitted again after that."""
    places = chain([project.results], _filed(project), [project.requeue])  # as it goes
    return any(name.startswith(f"{key},") for place in places for name, _ in _entries(place))


def _marks(item: Gone) -> set[Mark]:
    """Return by what a token is known as this job's."""
    job, token = submission(item.name)
    # A long name is cut in a key.
    return {token.key} if token else {(job_name(new_key(job)), item.inode)}


def _places(project: Project) -> Iterator[str]:
    """Yield where tokens lie, in the order in which they go, so that none passes us."""
    yield project.requeue
    yield from (project.pod(worker) for worker in crew.with_pods(project))
    yield from (f"{project.lists}/{key}" for key in files.listing(project.lists, True) or ())
    yield project.results
    yield project.rejected
    yield from _filed(project)
    yield project.requeue  # what went back while we looked
    yield project.jobqueue


def _filed(project: Project) -> Iterator[str]:
    for place in (project.failed, project.done):
        yield from filing.newest(place, _SHARDS)


def _entries(path: str) -> Iterator[tuple[str, int]]:
    try:
        os.utime(path)
        with os.scandir(path) as entries:
            for entry in entries:
                yield entry.name, entry.inode()
    except (FileNotFoundError, NotADirectoryError):
        return  # RACE: a pod was taken down, a list was closed
