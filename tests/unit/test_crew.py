"""The crew: announcing, beating, showing busy or idle, leaving; only the worker moves its entry."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fjd.spool import crew
from fjd.spool.crew import Card, Choice, Sighting
from fjd.spool.project import Project
from fjd.system.identity import Identity

if TYPE_CHECKING:
    from tests.unit.conftest import FakeWorker, Hire


@pytest.fixture
def worker(hire: Hire) -> FakeWorker:
    """Return a worker."""
    return hire()


def test_announce(worker: FakeWorker, project: Project) -> None:
    """An announced worker is idle, has a pod, and has not beaten yet."""
    assert os.listdir(project.workerqueue) == [f"{worker.id},0"]
    assert os.listdir(project.jobpods) == [worker.id]
    assert worker.sighting == Sighting(worker.id, 0, busy=False)


def test_beat(worker: FakeWorker, project: Project) -> None:
    """Each beat counts up, wherever the entry is."""
    assert worker.post.beat() is True
    assert worker.post.show(busy=True) is True
    assert worker.post.beat() is True
    assert os.listdir(project.workerqueue) == []
    assert os.listdir(project.workers) == [f"{worker.id},3"]
    assert worker.post.show(busy=False) is True
    assert worker.sighting == Sighting(worker.id, 4, busy=False)


def test_shown_twice(worker: FakeWorker) -> None:
    """What is shown already costs no rename."""
    assert worker.post.show(busy=False) is True
    assert worker.sighting == Sighting(worker.id, 0, busy=False)


@pytest.mark.parametrize("busy", [False, True])
def test_buried(worker: FakeWorker, project: Project, busy: bool) -> None:
    """A worker whose entry is gone learns it at its next beat, and stays buried."""
    worker.post.show(busy)
    assert crew.unlist(project, worker.sighting) is True
    assert worker.post.beat() is False
    assert worker.post.show(not busy) is False
    assert worker.post.beat() is False
    assert crew.sightings(project) == {}


def test_beaten_just_before(worker: FakeWorker, project: Project) -> None:
    """Who unlists a worker that has just beaten loses, and the worker lives on."""
    old = worker.sighting
    worker.post.beat()
    assert crew.unlist(project, old) is False
    assert worker.post.beat() is True


def test_leave(worker: FakeWorker, project: Project) -> None:
    """After a clean end nothing is left."""
    worker.leave()
    assert crew.sightings(project) == {}
    assert os.listdir(project.jobpods) == []


def test_seen_twice(worker: FakeWorker, project: Project) -> None:
    """A worker that moves between the two listings is seen once, as it is now."""
    Path(project.workers, f"{worker.id},7").touch()
    assert worker.sighting == Sighting(worker.id, 7, busy=True)
    worker.post.beat()
    assert crew.sightings(project).keys() == {worker.id}


def test_strangers(project: Project) -> None:
    """What is no entry is nobody."""
    for name in (".nfs1", "notes", "node-0-0123abcd", "node-0-0123abcd,01"):
        Path(project.workerqueue, name).touch()
    assert crew.sightings(project) == {}


def test_card(worker: FakeWorker, project: Project) -> None:
    """What a worker says of itself is read as it was written."""
    assert crew.card(project, worker.sighting) == worker.post.card
    assert crew.cards(project) == {worker.id: (worker.sighting, worker.post.card)}


def test_card_of_one_who_moved_on(worker: FakeWorker, project: Project) -> None:
    """An entry that has beaten meanwhile cannot be read under its old name."""
    old = worker.sighting
    worker.post.beat()
    assert crew.card(project, old) is None


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"{}", b"\xff", b'{"identity": [], "guardian": []}',
     b'{"identity": ["h", "b", "n", 1, 2], "guardian": ["h", "b", "n", 1, 2]}'],
)  # fmt: skip
def test_unreadable_card(worker: FakeWorker, project: Project, data: bytes) -> None:
    """An entry with anything else in it (a power cut) is still a worker's."""
    Path(worker.sighting.path(project)).write_bytes(data)
    assert Card.load(data) is None
    assert crew.cards(project) == {worker.id: (worker.sighting, None)}


def test_identity_in_a_card(worker: FakeWorker) -> None:
    """The two processes are whole identities again."""
    card = Card.load(worker.post.card.dump())
    assert card is not None
    assert isinstance(card.guardian, Identity)
    assert card.identity.alive() is None


def test_cards_of_older_workers(worker: FakeWorker) -> None:
    """They say nothing of contexts, and are read all the same."""
    fields = json.loads(worker.post.card.dump())
    for name in ("context", "engine", "cylinder"):
        del fields[name]
    found = Card.load(json.dumps(fields).encode())
    assert found == worker.post.card
    assert (found.context, found.engine, found.cylinder) == ("", -1, -1)
    fields.update(context="c", engine=3, cylinder=1)
    found = Card.load(json.dumps(fields).encode())
    assert found == worker.post.card._replace(context="c", engine=3, cylinder=1)
    assert Card.load(json.dumps({**fields, "engine": "x"}).encode()) is None


def test_choice(worker: FakeWorker) -> None:
    """All, those of a context, or those of one engine of it."""
    card = worker.post.card._replace(context="c", engine=3)
    held = [Choice(), Choice("c"), Choice("c", 3), Choice("", 3)]
    assert all(choice.holds(card) for choice in held)
    assert not any(choice.holds(card) for choice in (Choice("d"), Choice("c", 2), Choice("d", 3)))
    assert [choice.holds(worker.post.card) for choice in held] == [True, False, False, False]
