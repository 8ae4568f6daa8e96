"""How a list ended: what its token and its record say, and what its status file counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple, Optional

from fjd.spool import lookup, outcomes, records
from fjd.spool.lookup import Found
from fjd.spool.project import Project


class End(NamedTuple):
    """How a list came out; ``cause`` says why, "" if all is well.

    Attributes:
        reason: why it was stopped before its end (halt.py); "" if it was not, or was cancelled.
    """

    outcome: str
    cause: str = ""
    reason: str = ""


class Counts(NamedTuple):
    """The rows of a status file: tasks, those of them that failed, and those that were skipped."""

    tasks: int
    failed: int
    skipped: int
    per_engine_failed: int


def of_list(project: Project, key: str) -> Optional[End]:
    """Return how a list ended; None if it has not, or was removed."""
    for found in _ended(project):
        if found.key == key and found.token is not None:
            record = records.find(project, found.worker, key, found.token.attempt) or {}
            cause, reason = (str(record.get(word) or "") for word in ("cause", "reason"))
            return End(outcomes.outcome(found.code), cause, reason)
    return None


def _ended(project: Project) -> Iterator[Found]:
    return chain(lookup.ended(project), lookup.failed(project), lookup.done(project))


def count(path: str) -> Counts:
    """Count the rows of a status file; nothing is there if it cannot be read."""
    tasks = failed = skipped = per_engine = 0
    try:
        file = open(path, "rb")  # noqa: SIM115  closed by the with below
    except OSError:
        return Counts(0, 0, 0, 0)
    with file:
        for line in file:
            flags = line[:4]
            if line[4:5] != b"\t":
                continue  # a barrier's, or the header
            bad = flags[:1] == b"R"
            if flags[3:] == b"P":
                per_engine += bad
                continue
            tasks += 1
            failed += bad
            skipped += flags[3:] == b"S"
    return Counts(tasks, failed, skipped, per_engine)


def set_aside(path: str) -> str:
    """Give the status file of an earlier run another name, ``<path>.<n>``; return it ("": none).

    A link first: there is never a moment without a file of that name.
    """
    if not os.path.lexists(path):
        return ""
    number = 1
    while True:
        other = f"{path}.{number}"
        try:
            os.link(path, other, follow_symlinks=False)
            return other
        except FileExistsError:
            number += 1
        except OSError:  # no links here (some network file systems)
            if not os.path.lexists(other):
                os.rename(path, other)
                return other
            number += 1
