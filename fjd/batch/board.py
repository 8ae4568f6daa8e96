"""The board: what the dispatcher says about a list that is being worked off."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, Optional

from fjd.spool.lists.shelf import Shelf
from fjd.spool.project import Project
from fjd.system import files

_LARGEST = 16 << 20


class Engine(NamedTuple):
    """One engine: what a context has on one host; ``last`` is when something of it was seen."""

    rank: int
    context: str
    host: str
    slots: int
    idle: int
    assigned: int
    finished: int
    failed: int
    last: float


class Board(NamedTuple):
    """Where a list stands.

    Attributes:
        tasks: how many there are; None while nobody knows.
        more: whether there are tasks that nobody has read yet.
        barrier: the number of the barrier that is waited for; None without one.
        started: wall clock of its start.
    """

    tasks: Optional[int]
    finished: int
    failed: int
    running: int
    more: bool
    barrier: Optional[int]
    started: float
    engines: tuple[Engine, ...]


def load(fields: dict[str, Any]) -> Optional[Board]:
    """Understand a board; None if it is none."""
    try:
        engines = fields.get("engines") or {}
        return Board(
            tasks=_number(fields.get("tasks")),
            finished=int(fields.get("finished") or 0),
            failed=int(fields.get("failed") or 0),
            running=int(fields.get("running") or 0),
            more=bool(fields.get("more")),
            barrier=_number(fields.get("barrier")),
            started=float(fields.get("started") or 0.0),
            engines=tuple(_engine(int(rank), engines[rank]) for rank in sorted(engines, key=int)),
        )
    except (ValueError, TypeError, AttributeError):
        return None


def _number(value: object) -> Optional[int]:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _engine(rank: int, fields: dict[str, Any]) -> Engine:
    def number(name: str) -> int:
        return int(fields.get(name) or 0)

    return Engine(
        rank,
        str(fields.get("context", "")),
        str(fields.get("host", "")),
        number("slots"),
        number("idle"),
        number("assigned"),
        number("finished"),
        number("failed"),
        float(fields.get("last") or 0.0),
    )


def raw(project: Project, key: str) -> dict[str, Any]:
    """Return the board of a list as it stands; {} without one."""
    try:
        fields = json.loads(files.read(Shelf(project, key).place("board"), _LARGEST))
    except (OSError, ValueError):
        return {}
    return fields if isinstance(fields, dict) else {}


def read(project: Project, key: str) -> Optional[Board]:
    """Return what the board of a list says now; None without one."""
    fields = raw(project, key)
    return load(fields) if fields else None
