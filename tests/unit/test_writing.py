"""Who writes a growing list: the sign of life that other hosts see, and what it decides."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from fjd.dispatcher.writer import Writer
from fjd.spool.lists import writing
from fjd.spool.lists.submission import Growing
from fjd.spool.lists.terms import Terms
from fjd.spool.lists.writing import Sign
from fjd.spool.project import Project
from fjd.system.identity import Identity

if TYPE_CHECKING:
    from tests.unit.conftest import Tools

LEASE = 20.0


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def signs(project: Project) -> list[str]:
    """Return the signs of life that lie there."""
    return sorted(os.listdir(project.contexts))


def test_sign(project: Project) -> None:
    """It counts up once in a heartbeat, comes back if it was swept, and goes at the end."""
    clock = Clock()
    sign = Sign(project, "k", clock)
    assert writing.number(project, "k") is None
    for second in range(16):
        clock.now = float(second)
        sign.beat()
        assert writing.number(project, "k") == second // 5 + 1
    assert signs(project) == ["writer,k,4"]
    writing.sweep(project)
    assert signs(project) == []
    clock.now = 20.0
    sign.beat()
    assert signs(project) == ["writer,k,5"]
    sign.end()
    clock.now = 25.0
    sign.beat()
    assert signs(project) == []


def test_swept(project: Project) -> None:
    """Only the sign of a list that is no more is swept."""
    growing = Growing(project, "x", Terms())
    growing.sign.beat()
    Sign(project, "gone").beat()
    writing.sweep(project)
    assert signs(project) == [f"writer,{growing.shelf.key},1"]
    growing.finish()
    assert signs(project) == []


@pytest.fixture
def growing(project: Project) -> Growing:
    """Return a list that somebody writes."""
    return Growing(project, "x", Terms())


def look(writer: Writer, clock: Clock, seconds: float) -> bool:
    """Look every second for so long; tell whether the writer is dead then."""
    until = clock.now + seconds
    while clock.now < until:
        clock.now += 1.0
        if writer.is_dead():
            return True
    return False


def test_writer_elsewhere(growing: Growing, tools: Tools) -> None:
    """Elsewhere it lives as long as its sign moves, and is dead after a lease without that."""
    clock = Clock()
    sign = Sign(growing.shelf.project, growing.shelf.key, clock)
    writer = Writer(growing.shelf, tools.ELSEWHERE, LEASE, clock)
    for _ in range(10):
        sign.beat()
        assert not look(writer, clock, LEASE / 2)
    assert look(writer, clock, LEASE)
    sign.beat()
    assert not look(writer, clock, 1.0)


def test_writer_that_never_beat(growing: Growing, tools: Tools) -> None:
    """One that died before its first beat is dead after a lease, too."""
    clock = Clock()
    writer = Writer(growing.shelf, tools.ELSEWHERE, LEASE, clock)
    assert not look(writer, clock, LEASE)
    assert look(writer, clock, 2.0)


def test_stalled_ourselves(growing: Growing, tools: Tools) -> None:
    """Who has not looked for long knows nothing, and waits for another lease."""
    clock = Clock()
    writer = Writer(growing.shelf, tools.ELSEWHERE, LEASE, clock)
    assert not look(writer, clock, LEASE / 2)
    clock.now += 1000.0
    assert not writer.is_dead()
    assert not look(writer, clock, LEASE)
    assert look(writer, clock, 2.0)


def test_writer_here(growing: Growing, tools: Tools) -> None:
    """On its own host its process tells, at once, and no sign is needed."""
    clock = Clock()
    here = Identity.of(os.getpid())
    assert not look(Writer(growing.shelf, here, LEASE, clock), clock, 3 * LEASE)
    assert not look(Writer(growing.shelf, None, LEASE, clock), clock, 3 * LEASE)
    assert Writer(growing.shelf, tools.gone(), LEASE, clock).is_dead()
