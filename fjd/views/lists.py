"""Lists of tasks: where they stand, and what one of their tasks has printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple, Optional

from fjd.errors import NothingToDo
from fjd.spool import lookup, records
from fjd.spool.lists.shelf import Shelf, keys
from fjd.spool.lookup import Found
from fjd.spool.names import Token
from fjd.spool.project import Project
from fjd.spool.records import Record
from fjd.system import files

_LARGEST = 16 << 20  # bytes of a board


class Listed(NamedTuple):
    """A list that is being worked off; ``tasks`` is None while nobody has counted them."""

    job: str
    key: str
    tasks: Optional[int]
    finished: int
    failed: int
    running: int


def collect(project: Project) -> list[Listed]:
    """Return where all lists stand, as their dispatcher has said last."""
    return [_listed(project, key) for key in keys(project)]


def _listed(project: Project, key: str) -> Listed:
    try:
        said = json.loads(files.read(Shelf(project, key).place("board"), _LARGEST))
    except (OSError, ValueError):
        said = {}
    said = said if isinstance(said, dict) else {}
    finished, failed, running = (_number(said, n) or 0 for n in ("finished", "failed", "running"))
    return Listed(Token(key).job, key, _number(said, "tasks"), finished, failed, running)


def _number(said: dict[str, Any], name: str) -> Optional[int]:
    value = said.get(name)
    return value if type(value) is int else None


def key_of(project: Project, text: str) -> Optional[Found]:
    """Return the list that is being worked off and is called so, the newest one; None: none."""
    open_ones = (
        Found(lookup.RUNNING, Token(key).job, Token(key), "", "", "") for key in keys(project)
    )
    found = lookup.select(open_ones, text)
    return found[-1] if found else None


def end_of_task(project: Project, found: Found, number: int) -> Record:
    """Return the record of the last attempt at a task of a list that has ended.

    Raises:
        NothingToDo: none has.
    """
    ends = list(_ends(project, found.key, number))
    if not ends:
        raise NothingToDo(
            f"no attempt at task {number} of {found.job} has ended",
            remedy="tasks are numbered from 0, as in the status file",
        )
    return max(ends, key=lambda record: (record.get("attempt") or 0, bool(record.get("pid"))))


def _ends(project: Project, key: str, number: int) -> Iterator[Record]:
    needles = json.dumps(key).encode(), b'"task":%d,' % number
    for writer in records.writers(project):
        with open(project.record_file(writer), "rb") as file:
            for line in file:
                if line.endswith(b"\n") and all(needle in line for needle in needles):
                    try:
                        record = json.loads(line.decode("utf-8", "surrogateescape"))
                    except ValueError:
                        continue
                    mine = record.get("key") == key and record.get("task") == number
                    if mine and record.get("event") == "end":
                        yield record
