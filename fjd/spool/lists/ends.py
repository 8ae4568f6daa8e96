"""Reading of a piece what its worker wrote: which tasks ended, and how."""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from fjd.spool.lists.covered import NOTHING, Covered
from fjd.spool.lists.names import NOBODY, Piece
from fjd.spool.project import Project
from fjd.spool.records import Record

_EVENT = b'"event":"end"'


class Ends(NamedTuple):
    """The ends of a piece's tasks by one worker.

    Attributes:
        at: where in the worker's records they begin.
        records: by the number of the task.
        returned: the task that its worker stopped itself, to give it back (-1: none).
    """

    at: int
    records: dict[int, Record]
    returned: int = -1

    def first_missing(self, piece: Piece, done: Covered = NOTHING) -> int:
        """Return the first task that did not end (``hi`` if all did).

        Args:
            done: what was done before and is not run.
        """
        missing = (n for n in piece.tasks() if n not in self.records and n not in done)
        return next(missing, piece.hi)


def read(
    project: Project, key: str, piece: Piece, worker: str, at: int = 0, sync: bool = False
) -> Ends:
    """Read the ends of a piece's tasks.

    Args:
        at: where in the worker's records to begin.
        sync: make what was read survive a power cut; something will be built on it.
    """
    found: dict[int, Record] = {}
    start = returned = -1
    if worker == NOBODY:
        return Ends(0, found)
    needle = json.dumps(key, ensure_ascii=False).encode("utf-8", "surrogateescape")
    try:
        # Opened anew each time: that is when a network file system looks again.
        file = open(project.record_file(worker), "rb")  # noqa: SIM115  closed by the with below
    except FileNotFoundError:
        return Ends(0, found)
    with file:
        if sync:
            os.fsync(file.fileno())
        file.seek(at)
        for line in file:
            if not line.endswith(b"\n"):
                break
            if needle in line and _EVENT in line:
                record = _end_of(piece, key, line)
                if record is not None and record.get("returned"):
                    returned = -1 if record.get("orphaned") else record["task"]
                elif record is not None and found.setdefault(record["task"], record) is record:
                    start = at if start < 0 else start
                    if len(found) == piece.hi - piece.lo:
                        break
            at += len(line)
    return Ends(max(start, 0), found, returned)


def _end_of(piece: Piece, key: str, line: bytes) -> Record | None:
    try:
        record = json.loads(line.decode("utf-8", "surrogateescape"))
    except ValueError:
        return None
    task = record.get("task") if isinstance(record, dict) else None
    if not isinstance(task, int) or not piece.lo <= task < piece.hi:
        return None
    if record.get("key") != key or record.get("attempt") != piece.number(task):
        return None
    if record.get("event") != "end":
        return None
    return record if isinstance(record.get("outcome"), str) else None
