"""Lists are played: a dispatcher's desk, and workers whose tasks take no time."""

from __future__ import annotations

import os
from typing import Callable, Optional

import pytest

from fjd.dispatcher.hosts import Hosts
from fjd.dispatcher.lists import Lists
from fjd.dispatcher.muster import Member
from fjd.spool import names
from fjd.spool.burial import loss_record
from fjd.spool.crew import Sighting
from fjd.spool.lists import shelf, taking
from fjd.spool.lists.names import Assigned
from fjd.spool.lists.shelf import Shelf
from fjd.spool.names import Token
from fjd.spool.project import Project
from fjd.spool.records import Ledger, Record
from fjd.worker.pieces import Pieces, Turn


class Crash(BaseException):
    """The process ends here."""


class Worker:
    """A worker whose tasks take no time; ``fate`` says of (task, attempt) what becomes of it."""

    def __init__(self, project: Project, fate: Optional[Callable[[Turn], str]] = None) -> None:
        self.project, self.id = project, names.new_worker("host", 0)
        self.begun: list[tuple[int, int]] = []
        self.stop = self.crashed = False
        self.fate = fate or (lambda _: "ok")
        self.meanwhile: Callable[[], object] = lambda: None  # done while a task lasts
        self.ledger = Ledger(project, self.id)
        os.mkdir(project.pod(self.id))
        self.pieces = Pieces(
            project, self.id, self.ledger, self.execute, lambda verb: verb(), lambda: self.stop
        )

    def execute(self, turn: Turn, lasts: Callable[[], None]) -> Record:
        """Play a task."""
        self.begun.append((turn.number, turn.attempt))
        fate = self.fate(turn)
        if fate == "crash":
            self.crashed = True
            raise Crash
        if fate == "long":
            lasts()
            self.meanwhile()
        token = Token(turn.key, 0, turn.attempt)
        record = {**loss_record(token, self.id, ""), "task": turn.number, "exit": 0}
        record["command"] = turn.task.command.decode("utf-8", "surrogateescape")
        if fate == "fired":
            self.stop = True
            return {**record, "returned": True, "outcome": "cancelled"}
        return {**record, "outcome": "failed" if fate == "fail" else "ok", "seconds": 0.06}

    def work(self) -> int:
        """Run what lies in the pod; return how many pieces that were."""
        count = 0
        for item in taking.held(self.project, self.id):
            place = Shelf(self.project, item.key)
            if item.accepted or place.accept(self.id, item.piece):
                self.pieces.run(item._replace(accepted=True))
                count += 1
        return count

    def bury(self) -> None:
        """Work, and be buried whether it ended well or not."""
        try:
            self.work()
        except Crash:
            taking.take_all(self.project, self.id, crashed=True)

    def pod(self) -> list[Assigned]:
        """Return what lies in the pod."""
        return taking.held(self.project, self.id)


def lists(
    project: Project,
    retries: int = 0,
    notes: Optional[list[Record]] = None,
    clock: Callable[[], float] = lambda: 0.0,
) -> Lists:
    """Return a new dispatcher's lists."""
    me = names.new_worker("dispatcher", 0)
    note = notes.append if notes is not None else lambda _: None
    return Lists(project, me, note, lambda: True, retries, Hosts(lambda _: None), clock)


def feed(desk: Lists, worker: Worker) -> None:
    """Let one worker have what it can take."""
    sighting = Sighting(worker.id, 0, "workerqueue")
    desk.feed([Member(sighting, None, 0.0)])


def work_off(project: Project, desk: Lists, crew: list[Worker]) -> None:
    """Let dispatcher and workers take turns until no list is left."""
    for _ in range(200):
        desk.look(nudge=True)
        if not shelf.keys(project):
            return
        for worker in crew:
            desk.give(worker.id, "host", len(crew))
            worker.work()
    pytest.fail(f"it does not end: {os.listdir(project.lists)}")


def outcome(project: Project) -> str:
    """Return how the only list has ended."""
    (result,) = filter(None, map(names.Result.parse, os.listdir(project.results)))
    return result.outcome
