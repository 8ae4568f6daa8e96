"""The board of a list: where it stands, for progress bars, ``fjd status`` and the monitor.

``lists/<key>/board``, one JSON object, written at most every quarter of a second while something
changes. Nothing is decided by it; a new dispatcher goes on with what it says of the engines.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any, Callable, Optional

from fjd.dispatcher.census import Census
from fjd.dispatcher.hands import Hands
from fjd.dispatcher.muster import Member
from fjd.spool import outcomes
from fjd.spool.lists.folder import Counted, Folder
from fjd.spool.lists.grammar import ENGINE_BASE
from fjd.spool.lists.names import Mark
from fjd.spool.lists.shelf import Shelf
from fjd.system import files

BOARD = "board"
SCHEMA = "fjd.board/1"
_PAUSE = 0.25  # s between two boards
_LARGEST = 16 << 20


class Board:
    """What is said of one list.

    Attributes:
        started: wall clock of its start.
    """

    def __init__(self, shelf: Shelf, growing: bool, clock: Callable[[], float]) -> None:
        self._shelf, self._clock = shelf, clock
        self._census = Census(shelf, growing)
        old = _read(shelf)
        self.started = float(old.get("started") or time.time())
        self._engines: dict[int, dict[str, Any]] = _engines(old)
        self._last: dict[str, Any] = {}
        self._due = 0.0

    def ended(
        self, counted: Iterable[Counted], spent: Mapping[str, int], ranks: Mapping[str, int]
    ) -> None:
        """Count ends for the engines; ``ranks`` says to which of them a worker belongs.

        ``spent``: how many attempts of each worker did not count.
        """
        for worker, number in spent.items():
            if ranks.get(worker, -1) >= 0:
                self._engine(ranks[worker])["spent"] += number
        for task, record in counted:
            if task >= ENGINE_BASE:
                continue
            rank = ranks.get(str(record.get("worker")), -1)
            if rank >= 0 and record["outcome"] != outcomes.CANCELLED:
                engine = self._engine(rank)
                engine["finished"] += 1
                engine["failed"] += record["outcome"] != outcomes.OK

    def had(self, ranks: Iterable[int]) -> int:
        """Return how many tasks some engines have had; one that is tried again counts again."""
        found = (self._engines[rank] for rank in ranks if rank in self._engines)
        return sum(engine["finished"] + engine["spent"] for engine in found)

    def show(
        self,
        mark: Optional[Mark],
        folder: Folder,
        crew: Iterable[Member],
        hands: Hands,
        more: bool,
        barrier: Optional[int],
        broken_off: bool,
    ) -> None:
        """Publish where the list stands, if that is new and due."""
        now = self._clock()
        if mark is None or now < self._due:
            return
        self._census.look(mark, broken_off)
        self._note(crew, hands)
        said = {
            "schema": SCHEMA,
            "tasks": self._census.tasks,
            "cut": mark.n,
            "finished": folder.tally.ended,
            "failed": folder.tally.failed,
            "running": hands.busy(self._shelf.key),
            "more": more,
            "barrier": barrier,
            "started": self.started,
            "engines": self._engines,
        }
        text = json.dumps(said)
        if said == self._last:
            return
        self._due = now + _PAUSE
        path = self._shelf.place(BOARD)
        try:
            data = text.encode()
            files.publish(self._shelf.project.staging(), path, data, sync=False)
        except FileNotFoundError:
            return  # RACE: the list has ended, or was removed
        self._last = json.loads(text)
        self._last["engines"] = {int(k): v for k, v in self._last["engines"].items()}

    def _note(self, crew: Iterable[Member], hands: Hands) -> None:
        """Note who is there now."""
        for engine in self._engines.values():
            engine.update(slots=0, idle=0, in_hand=0)
        away = time.time() - self._clock()
        for member in crew:
            if member.card is None or member.card.engine < 0:
                continue
            engine = self._engine(member.card.engine)
            hand = hands.of(member.worker)
            engine.update(context=member.card.context, host=member.host)
            engine["slots"] += 1
            engine["idle"] += not hand and not member.hand
            engine["in_hand"] += sum(h.tasks for h in hand.values())
            engine["last"] = max(engine["last"], round(member.moved + away))
        for engine in self._engines.values():
            engine["assigned"] = engine["finished"] + engine["spent"] + engine["in_hand"]

    def _engine(self, rank: int) -> dict[str, Any]:
        return self._engines.setdefault(rank, _new_engine())

    def close(self) -> None:
        """Leave nothing open."""
        self._census.close()


def _new_engine() -> dict[str, Any]:
    numbers = ("slots", "idle", "in_hand", "assigned", "finished", "failed", "spent")
    return {"context": "", "host": "", "last": 0, **dict.fromkeys(numbers, 0)}


def _read(shelf: Shelf) -> dict[str, Any]:
    try:
        fields = json.loads(files.read(shelf.place(BOARD), _LARGEST))
    except (OSError, ValueError):
        return {}
    return fields if isinstance(fields, dict) and fields.get("schema") == SCHEMA else {}


def _engines(old: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {int(rank): {**_new_engine(), **said} for rank, said in old.get("engines", {}).items()}
