"""When a worker of a run finds that nobody leads the run any more."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from fjd.spool import runs
from fjd.spool.lease import Claim, Holder
from fjd.spool.project import Project
from fjd.spool.timings import Timings
from fjd.system.identity import Identity
from fjd.worker.purpose import Purpose

if TYPE_CHECKING:
    from tests.unit.conftest import Tools

TIMINGS = Timings(far_lease=20.0)
LONG = 200.0


class Watch:
    """A worker that looks every two seconds, by a clock of its own."""

    def __init__(self, project: Project) -> None:
        self.now = 0.0
        self.purpose = Purpose(project, lambda: self.now)

    def over(self, who: Identity, seconds: float, beats: bool = False) -> bool:
        """Look for so long; tell whether the run is over then."""
        until = self.now + seconds
        while self.now < until:
            self.now += 2.0
            claim = Claim(1, "0" * 8, int(self.now) if beats else 0)
            if self.purpose.over(Holder(claim, who, "", TIMINGS, 0.0), TIMINGS):
                return True
        return False


@pytest.fixture
def watch(project: Project) -> Watch:
    """Return a worker in the project of a run."""
    runs.claim(project, "/somewhere/run1")
    return Watch(project)


def test_here(watch: Watch, tools: Tools) -> None:
    """On its own host that is seen at once, and a driver that lives is never given up."""
    assert not watch.over(Identity.of(os.getpid()), 3 * LONG)
    assert watch.over(tools.gone(), 2.0)


def test_elsewhere(watch: Watch, tools: Tools) -> None:
    """Elsewhere a lease tells for as long as it moves, and is given up after many of them."""
    assert not watch.over(tools.ELSEWHERE, 3 * LONG, beats=True)
    assert not watch.over(tools.ELSEWHERE, LONG - 2.0)
    assert watch.over(tools.ELSEWHERE, 6.0)


def test_released(watch: Watch) -> None:
    """A driver that has left without being able to end us is not waited for, either."""
    watch.purpose.over(None, TIMINGS)
    while watch.now < LONG:
        watch.now += 2.0
        assert not watch.purpose.over(None, TIMINGS)
    watch.now += 2.0
    assert watch.purpose.over(None, TIMINGS)


def test_stalled_ourselves(watch: Watch, tools: Tools) -> None:
    """Who has not looked for long begins anew."""
    assert not watch.over(tools.ELSEWHERE, LONG / 2)
    watch.now += 10 * LONG
    assert not watch.over(tools.ELSEWHERE, LONG)


def test_a_project_of_people(project: Project, tools: Tools) -> None:
    """There a dead dispatcher is followed by another one, and workers wait for it."""
    assert not Watch(project).over(tools.gone(), 3 * LONG)
