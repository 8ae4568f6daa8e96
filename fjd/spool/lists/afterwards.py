"""What becomes of a piece that its worker has not any more, and of a list that is done with.

How its tasks are counted in between is the folder's business (folder.py).
"""

from __future__ import annotations

import os
from typing import Callable, Optional

from fjd.spool import names, outcomes, records
from fjd.spool.burial import loss_record
from fjd.spool.lists import ends
from fjd.spool.lists.covered import NOTHING, PROGRESS, Covered
from fjd.spool.lists.names import (
    BACK,
    BROKEN_OFF,
    DEAD,
    END,
    GONE,
    LOST,
    OFF,
    TORN,
    Kept,
    Mark,
    Piece,
)
from fjd.spool.lists.shelf import Look, Shelf
from fjd.spool.lists.tally import Tally
from fjd.spool.names import Result, Token, is_pod
from fjd.spool.pods import CRASH_LIMIT
from fjd.spool.records import Record
from fjd.system import files

STATUS = "status.txt"  # the status file, unless the terms say where it is
BESIDE = ("terms", "halt", "board", STATUS)  # what may lie in a list's directory besides

_LOST = "the record of its end was lost"
_CAUSES = {
    DEAD: "its worker died",
    LOST: f"it took down its worker {CRASH_LIMIT} times",
    GONE: "its worker gave no sign of life",
    OFF: "its list was stopped",
    END: _LOST,
    TORN: _LOST,
    BACK: _LOST,
}


def judge(
    shelf: Shelf, kept: Kept, note: Callable[[Record], None], done: Covered = NOTHING
) -> Optional[Kept]:
    """Taken -> judged. None: somebody else has judged it, perhaps otherwise.

    Args:
        note: takes the record of the attempt that ended with the worker.
        done: what was done before and is not run.
    """
    piece = kept.piece
    found = ends.read(shelf.project, shelf.key, piece, kept.worker, sync=True)
    k, why = found.first_missing(piece, done), kept.why
    if k == found.returned:
        why = BACK
    elif k < piece.hi:
        if not _noted(shelf, piece, k, kept.worker):
            note(loss(shelf.key, piece, k, kept.worker, why))
        before = piece.crashes if k == piece.lo else 0
        if why == DEAD and before + 1 >= CRASH_LIMIT:
            k, why = k + 1, LOST
    return shelf.step(kept, kept._replace(why=why, at=found.at, k=k))


def loss(key: str, piece: Piece, task: int, worker: str, why: str) -> Record:
    """Return the record of an attempt of which its worker wrote none."""
    token = Token(key, 0, piece.number(task))
    record = {**loss_record(token, worker, _CAUSES[why]), "task": task}
    if why == OFF:
        record["outcome"] = outcomes.CANCELLED
    return record


def _noted(shelf: Shelf, piece: Piece, task: int, worker: str) -> bool:
    """Tell whether somebody who died while judging this piece has recorded the loss already."""
    for writer in records.writers(shelf.project):
        if not is_pod(writer):  # no worker writes of another one's end
            found = ends.read(shelf.project, shelf.key, piece, writer).records.get(task)
            if found is not None and found.get("worker") == worker:
                return True
    return False


def rest(kept: Kept) -> Kept:
    """Return what waits of a judged piece after what counts; its first task is that at ``k``."""
    piece = kept.piece
    first = kept.k == piece.lo and kept.why != LOST
    extra, crashes = (piece.extra, piece.crashes) if first else (0, 0)
    if kept.why in BROKEN_OFF:
        extra += 1
        crashes += kept.why == DEAD
    return Kept(piece._replace(lo=kept.k, extra=extra, crashes=crashes))


def close(shelf: Shelf, mark: Mark, code: str) -> Optional[Mark]:
    """Open or stopped -> closed; every task below the mark is folded, and there are no more."""
    new = mark._replace(end=code, bore="")
    return new if files.move(shelf.place(mark), shelf.place(new)) else None


def record(mark: Mark, who: str, tally: Tally, cause: str = "", reason: str = "") -> Record:
    """Return the record of the end of a whole list; ``task`` is null, ``reason`` as in halt.py."""
    outcome = outcomes.outcome(mark.end)
    tasks = tally.tasks or mark.n  # the barriers have numbers, but are no tasks
    if tally.bad and not cause:
        cause = f"{tally.bad} of {tasks} tasks did not end well"
    return {
        **loss_record(mark.token, who, cause),
        "task": None,
        "tasks": tasks,
        "outcome": outcome,
        "reason": reason,
        "exit": {outcomes.OK: 0, outcomes.FAILED: 1}.get(outcome),
        "command": mark.token.job,
    }


def commit(shelf: Shelf, mark: Mark, look: Look, who: str) -> bool:
    """Closed -> ended: the rows, then what nobody needs goes, then the token, then the directory.

    Args:
        who: in whose name; it has the form of a worker's.
    """
    result = Result(mark.token, who, mark.end)
    if STATUS in look.others:
        files.move(shelf.place(STATUS), f"{shelf.project.results}/{result}{names.STATUS}")
    _sweep(shelf, look)
    won = files.move(shelf.place(mark), f"{shelf.project.results}/{result}")
    clear(shelf, look._replace(kept=[], others=[]))
    return won


def clear(shelf: Shelf, look: Look) -> bool:
    """Remove the directory of a list without a token; False if something else is left in it."""
    _sweep(shelf, look)
    try:
        os.rmdir(shelf.path)
    except FileNotFoundError:
        return True  # RACE: somebody else removed it
    except OSError:
        return False
    return True


def _sweep(shelf: Shelf, look: Look) -> None:
    """Remove what nobody needs once every task is folded: void pieces, and what we wrote.

    What somebody else has put there goes to tmp/: the directory would stay, and a dispatcher wait.
    """
    for kept in look.kept:
        files.remove(shelf.place(kept))
    for name in look.others:
        if name.startswith((PROGRESS, f"{STATUS}.")) or name in BESIDE:  # STATUS.: half written
            files.remove(shelf.place(name))
            continue
        try:
            files.move(shelf.place(name), shelf.project.staging())
        except OSError:
            continue  # NFS keeps it there as long as somebody reads it; there is another look
