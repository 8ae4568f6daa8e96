"""Burying a worker: what it had in hand goes on elsewhere, and it cannot come back.

Whoever has made sure that a worker is dead may bury it: the dispatcher, and the recruiter after it
ended one. Any step may be the last one of the process that does it; the pod is then found without
an entry, and the next dispatcher goes on.
"""

from __future__ import annotations

import time
from typing import Callable, Optional

from fjd.spool import outcomes, pods, records
from fjd.spool.crew import Sighting, unlist
from fjd.spool.lists import taking
from fjd.spool.names import DEAD, GONE, Token, is_pod
from fjd.spool.project import Project

Note = Callable[[records.Record], None]


def loss_record(token: Token, worker: str, cause: str) -> records.Record:
    """Return the record of an attempt whose worker cannot write one any more."""
    return {
        **records.attempt(token, worker),
        "outcome": outcomes.LOST,
        "exit": None,
        "signal": None,
        "cause": cause,
        "start": None,
        "end": time.time(),
        "seconds": None,
    }


def bury(
    project: Project,
    worker: str,
    sighting: Optional[Sighting],
    cause: str,
    note: Note,
    crashed: bool,
) -> Optional[int]:
    """Bury a worker and return how many jobs went back into the queue.

    Args:
        sighting: its entry as last seen; None if it has none any more.
        cause: why, for the record of what it was running ("its worker died").
        note: takes the record of each attempt that ended with the worker.
        crashed: whether the task may have brought it down; being fired or a lease that merely ran
            out does not count against a task.

    Returns None if the worker has just beaten: it is not dead.
    """
    if sighting is not None and not unlist(project, sighting):
        return None  # RACE: it beat, or somebody else buried it
    back = 0
    while True:
        for held in pods.contents(project, worker, nudge=True) or ():
            back += _release(project, worker, held, cause, note, DEAD if crashed else GONE)
        back += taking.take_all(project, worker, crashed)
        if pods.remove_pod(project, worker):
            break
    pods.clear_running(project, worker)
    return back


def _release(
    project: Project, worker: str, held: pods.Held, cause: str, note: Note, why: str
) -> int:
    token = held.token
    if not held.accepted:
        return pods.requeue(project, worker, held, token)
    # First it is taken: a worker that is not dead after all would end it while we judge, and there
    # would be its record beside ours.
    taken = held if held.why else pods.take(project, worker, held, why)
    if taken is None:
        return 0  # RACE: it has just ended
    if not taken.lost:
        ended = records.find(project, worker, token.key, token.attempt)
        if ended is not None and ended.get("returned"):  # it had stopped the task, to give it back
            return pods.requeue(project, worker, taken, pods.after_return(token))
        if ended is not None:
            code = outcomes.code(ended["outcome"], ended.get("exit") or ended.get("signal") or 0)
            pods.end(project, worker, taken, code)  # it had ended; only the rename was missing
            return 0
        # A worker that lives may still write that it ended, and whoever comes after us would read
        # it beside what we record: so the name says first that this is late.
        found = pods.give_up(project, worker, taken)
        if found is None:
            return 0  # RACE: somebody else buries it as well, and has judged it
        taken = found
    if not _noted(project, token, worker):
        note(loss_record(token, worker, cause))
    if taken.why != DEAD:
        return pods.requeue(project, worker, taken, pods.after_return(token))
    pods.crash(project, worker, taken)
    return not pods.is_last(token)


def _noted(project: Project, token: Token, worker: str) -> bool:
    """Tell whether somebody who died while burying this worker has recorded the loss already."""
    for writer in records.writers(project):
        if not is_pod(writer):  # no worker writes of another one's end
            found = records.find(project, writer, token.key, token.attempt)
            if found is not None and found["worker"] == worker:
                return True
    return False
