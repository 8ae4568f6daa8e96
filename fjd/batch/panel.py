"""What the monitor shows and what its keys mean; no terminal is needed for it.

run1                                                              Status: More tasks.
Slots 7    Tasks: Finished 120    Failed 3    Barrier -
Rank Context          Host                     Last  Avail Assigned Finished   Failed
   0 ssh0             node1                       0      4       64       60        1
"""

from __future__ import annotations

import time
from typing import NamedTuple, Optional

from fjd.batch.board import Board, Engine

LINES, COLUMNS = 17, 87
TOO_SMALL = f"Screen must be at least {LINES}X{COLUMNS}"
HELP = "C: Shutdown context; E: Shutdown engine; q: quit"
NO_CONTENT = "<No Content>"
OVER = "[disBatch controller has exited]"
HEADING = (
    f"{'Rank':>5} {'Context':<16} {'Host':<20} {'Last':>6} {'Avail':>6} {'Assigned':>8}"
    f" {'Finished':>8} {'Failed':>8}"
)
NORMAL, ASKED, STOPPING = "normal", "asked", "stopping"  # green, yellow, red
_LABEL = 40
_HEAD, _TAIL = 17, 20  # of a label that is too long


class Row(NamedTuple):
    """One engine; ``state`` says how it is shown."""

    engine: Engine
    state: str


class Scene(NamedTuple):
    """Everything that is shown. ``board`` is None once the run is over."""

    label: str
    board: Optional[Board]
    rows: tuple[Row, ...]


def shortened(label: str) -> str:
    """Return a run's label in at most 40 characters, its middle left out."""
    if len(label) <= _LABEL:
        return label
    return f"{label[:_HEAD]}...{label[-_TAIL:]}"


def header(scene: Scene) -> tuple[str, str]:
    """Return the two lines on top."""
    board = scene.board
    label = shortened(scene.label)
    if board is None:
        return label, OVER
    status = "Status: More tasks." if board.more else "Status: No more tasks."
    slots = sum(row.engine.slots for row in scene.rows)
    barrier = "-" if board.barrier is None else str(board.barrier)
    counts = f"Finished {board.finished}    Failed {board.failed}    Barrier {barrier}"
    room = COLUMNS - 4 - len(label)
    return f"{label}{status:>{room}}", f"Slots {slots}    Tasks: {counts}"


def line(row: Row, now: Optional[float] = None) -> str:
    """Return the line of an engine."""
    engine = row.engine
    now = time.time() if now is None else now
    last = "-" if not engine.last else str(max(0, int(now - engine.last)))
    return (
        f"{engine.rank:>5} {_cell(engine.context, 16)} {_cell(engine.host, 20)} {last:>6}"
        f" {engine.idle:>6} {engine.assigned:>8} {engine.finished:>8} {engine.failed:>8}"
    )


def _cell(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else text[: width - 1] + "~"


class Cursor:
    """Which engine is chosen, and which part of the list is seen."""

    def __init__(self) -> None:
        self.rank: Optional[int] = None
        self.top = 0

    def place(self, rows: tuple[Row, ...], room: int) -> Optional[int]:
        """Return where the chosen engine stands; None if there is none. It is always seen."""
        if not rows:
            self.rank, self.top = None, 0
            return None
        ranks = [row.engine.rank for row in rows]
        at = ranks.index(self.rank) if self.rank in ranks else 0
        self.rank = ranks[at]
        self.top = max(min(self.top, at, len(rows) - 1), at - room + 1, 0)
        return at

    def move(self, rows: tuple[Row, ...], step: int) -> None:
        """Choose the engine so many lines further down."""
        ranks = [row.engine.rank for row in rows]
        if not ranks:
            return
        at = ranks.index(self.rank) if self.rank in ranks else 0
        self.rank = ranks[max(0, min(len(ranks) - 1, at + step))]


def scroll_bar(count: int, top: int, room: int) -> range:
    """Return which of the lines in view belong to the bar; none if all engines are seen."""
    if count <= room:
        return range(0)
    length = max(1, room * room // count)
    first = min(top * room // count, room - length)
    return range(first, first + length)


class Question(NamedTuple):
    """A confirmation: what would be stopped."""

    text: str
    ranks: tuple[int, ...]
    done: str


def question(key: str, rows: tuple[Row, ...], rank: Optional[int]) -> Optional[Question]:
    """Return what ``C`` or ``E`` asks; None if nobody is chosen."""
    chosen = next((row.engine for row in rows if row.engine.rank == rank), None)
    if chosen is None:
        return None
    if key == "E":
        text = f"Stopping engine {chosen.rank} ({chosen.host}, {chosen.context})"
        return Question(text, (chosen.rank,), f"Asking controller to stop engine {chosen.rank}")
    ranks = tuple(row.engine.rank for row in rows if row.engine.context == chosen.context)
    text = f"Stopping context {chosen.context} ({len(ranks)} engine(s))"
    return Question(text, ranks, f"Asking controller to stop context {chosen.context}")
