"""The muster: who is there, who is dead, and what each one has in hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fjd.dispatcher.muster import Death, Member, Muster
from fjd.spool import crew
from fjd.spool.crew import Sighting
from fjd.spool.names import Token
from fjd.spool.project import Project
from fjd.spool.timings import Timings
from fjd.system.identity import Identity

if TYPE_CHECKING:
    from tests.unit.conftest import Clock, FakeWorker, Hire, Tools

TIMINGS = Timings(lease=30.0, far_lease=90.0)
TOKEN = Token("job.abcdefghijkl", 5)


class Watcher:
    """A muster and its clock."""

    def __init__(self, project: Project, clock: Clock, timings: Timings = TIMINGS) -> None:
        self.muster, self.clock = Muster(project, timings), clock

    def look(self, seconds: float = 1.0, times: int = 1) -> bool:
        """Look so often, with a pause before each look; True if the last one saw a change."""
        changed = False
        for _ in range(times):
            changed = self.muster.look(self.clock.tick(seconds))
        return changed

    def deaths(self) -> list[Death]:
        """Return who is to be buried now."""
        return list(self.muster.deaths(self.clock.now))


@pytest.fixture
def watcher(project: Project, clock: Clock) -> Watcher:
    """Return a muster that has seen nobody yet."""
    return Watcher(project, clock)


def test_come_and_go(watcher: Watcher, hire: Hire) -> None:
    """Who comes is counted in, who withdraws is counted out, and both are news."""
    assert watcher.look() is False
    worker = hire()
    assert watcher.look() is True
    assert watcher.look() is False
    assert watcher.muster.members.keys() == {worker.id}
    worker.leave()
    assert watcher.look() is True
    assert watcher.muster.members == {}
    assert watcher.look() is False


def test_hand_of_one_who_was_here_before(watcher: Watcher, hire: Hire) -> None:
    """What a worker was given by another dispatcher is in its hand."""
    worker = hire()
    for token in (TOKEN, TOKEN._replace(serial=4)):
        Path(worker.pod.path, str(token)).touch()
    worker.accept()
    watcher.look()
    hand = watcher.muster.members[worker.id].hand
    assert list(hand.items()) == [(TOKEN._replace(serial=4), True), (TOKEN, False)]


def test_dead_at_once(watcher: Watcher, hire: Hire, tools: type[Tools]) -> None:
    """On this host a worker is dead the moment its process is."""
    worker = hire(tools.gone())
    watcher.look()
    host = os.uname().nodename
    cause = f"worker {worker.id} on {host} died"
    assert watcher.deaths() == [Death(worker.id, worker.sighting, host, cause, crashed=True)]


def test_alive_here(watcher: Watcher, hire: Hire) -> None:
    """A living process whose heart beats is left alone."""
    worker = hire(Identity.of(os.getpid()))
    for _ in range(100):
        worker.post.beat()
        watcher.look()
        assert watcher.deaths() == []


@pytest.mark.parametrize("here", [False, True])
def test_silence(watcher: Watcher, hire: Hire, here: bool) -> None:
    """Without a heartbeat a worker is given up after a lease, longer on another host."""
    worker = hire(Identity.of(os.getpid())) if here else hire()
    lease = 30 if here else 90
    watcher.look()
    watcher.look(times=lease)
    assert watcher.deaths() == []
    watcher.look()
    (death,) = watcher.deaths()
    assert death.worker == worker.id
    assert death.cause.endswith(f"gave no sign of life for {lease} s")
    assert death.crashed is False


def test_one_beat_is_a_new_lease(watcher: Watcher, hire: Hire) -> None:
    """The counter need only have moved, whatever the clocks of the hosts say."""
    worker = hire()
    watcher.look(times=90)
    worker.post.show(busy=True)
    watcher.look(times=90)
    assert watcher.deaths() == []
    watcher.look(times=2)
    assert len(watcher.deaths()) == 1


def test_few_looks_are_no_proof(project: Project, clock: Clock, hire: Hire) -> None:
    """A lease that is over after two looks is not enough."""
    watcher = Watcher(project, clock, Timings(lease=30.0, far_lease=30.0))
    hire()
    watcher.look()
    watcher.look(14.0, times=4)
    assert watcher.deaths() == []
    watcher.look(14.0)
    assert len(watcher.deaths()) == 1


def test_stall(watcher: Watcher, hire: Hire) -> None:
    """If it was us who stood still, everybody gets a new lease."""
    hire()
    watcher.look(times=80)
    watcher.look(1000.0)
    watcher.look(times=90)
    assert watcher.deaths() == []
    watcher.look()
    assert len(watcher.deaths()) == 1


@pytest.mark.parametrize("lease", [0.5, 1.0, 2.0, 5.0])
def test_short_lease_runs_out(project: Project, clock: Clock, hire: Hire, lease: float) -> None:
    """However short the lease is, our own pace of looking is no stall."""
    watcher = Watcher(project, clock, Timings(lease=lease, far_lease=lease))
    hire()
    stray = hire()
    crew.unlist(project, stray.sighting)
    watcher.look(times=12)
    assert len(watcher.deaths()) == 2


def test_missing_in_one_look(watcher: Watcher, hire: Hire, project: Project) -> None:
    """A worker that is between two places in one look is neither dead nor gone."""
    worker = hire()
    watcher.look(times=2)
    path = worker.sighting.path(project)
    os.rename(path, f"{project.tmp}/away")
    watcher.look()
    assert watcher.muster.members.keys() == {worker.id}
    assert watcher.deaths() == []
    os.rename(f"{project.tmp}/away", path)
    watcher.look(times=31)
    assert watcher.muster.members.keys() == {worker.id}
    assert watcher.deaths() == []


def stray(worker: FakeWorker, *tokens: Token) -> None:
    """Let a worker lose its entry, but not its pod."""
    for token in tokens:
        Path(worker.pod.path, str(token)).touch()
    crew.unlist(worker.project, worker.sighting)


def test_stray_pod(watcher: Watcher, hire: Hire) -> None:
    """A pod whose owner is gone is buried after a lease: whoever began it may have died."""
    worker = hire()
    stray(worker)
    watcher.look()
    watcher.look(times=30)
    assert watcher.deaths() == []
    watcher.look()
    (death,) = watcher.deaths()
    assert (death.worker, death.sighting, death.crashed) == (worker.id, None, False)
    watcher.muster.buried(worker.id)
    assert watcher.deaths() == []


def test_stray_of_the_dead(watcher: Watcher, hire: Hire, tools: type[Tools]) -> None:
    """A worker that is known to be dead is buried at once, with its entry or without."""
    worker = hire(tools.gone())
    watcher.look()
    stray(worker)
    watcher.look()
    (death,) = watcher.deaths()
    assert death.sighting is None


def test_what_strays_hold(watcher: Watcher, hire: Hire) -> None:
    """Only a stray pod that holds something is worth waiting for."""
    empty, full = hire(), hire()
    stray(empty)
    watcher.look()
    assert watcher.muster.strays() is False
    stray(full, TOKEN)
    watcher.look()
    assert watcher.muster.strays() is True


@pytest.mark.parametrize("data", [b"", b"{}"])
def test_entry_without_content(watcher: Watcher, hire: Hire, project: Project, data: bytes) -> None:
    """A worker whose entry a power cut emptied is buried after a lease, with what it had."""
    worker = hire()
    Path(worker.pod.path, str(TOKEN)).touch()
    Path(worker.sighting.path(project)).write_bytes(data)
    watcher.look(times=92)
    (death,) = watcher.deaths()
    assert death.sighting == worker.sighting
    assert list(watcher.muster.members[worker.id].hand) == [TOKEN]
    assert death.host == "elsewhere"


def test_entry_that_moved_on(
    watcher: Watcher, hire: Hire, tools: type[Tools], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that beats while its entry is read is there, and known better a look later."""
    worker = hire(tools.gone())
    with monkeypatch.context() as patch:
        patch.setattr(crew, "card", lambda *_: None)
        assert watcher.look() is True
    assert watcher.deaths() == []
    watcher.look()
    assert [death.worker for death in watcher.deaths()] == [worker.id]


def test_recount(watcher: Watcher, hire: Hire) -> None:
    """A recount tells what is missing in the pod and learns what was accepted or is new."""
    worker = hire()
    gone, accepted, new = (TOKEN._replace(serial=n) for n in (1, 2, 3))
    for token in (gone, accepted):
        Path(worker.pod.path, str(token)).touch()
    watcher.look()
    member = watcher.muster.members[worker.id]
    os.unlink(f"{worker.pod.path}/{gone}")
    worker.accept()
    Path(worker.pod.path, str(new)).touch()
    assert watcher.muster.recount(member, nudge=True) == [gone]
    assert member.hand == {gone: False, accepted: True, new: False}
    worker.leave()
    assert watcher.muster.recount(member, nudge=True) == [gone, accepted, new]


def test_bell(watcher: Watcher, hire: Hire) -> None:
    """Only the bell of a worker of this host can be heard."""
    near, far = hire(Identity.of(os.getpid()), "/bell"), hire(bell="/bell")
    watcher.look()
    members = watcher.muster.members
    assert (members[near.id].bell, members[far.id].bell) == ("/bell", "")


def test_pace() -> None:
    """How long tasks take is learnt from when several of them ended, the latest counting most."""
    member = Member(Sighting("node-0-0123abcd", 0, False), None, 100.0)
    member.finished(0, 100.0)
    assert member.mean is None
    member.give(TOKEN, 110.0)
    member.give(TOKEN._replace(serial=6), 111.0)
    member.finished(2, 114.0)
    assert member.mean == 2.0
    member.finished(1, 121.0)
    assert member.mean == pytest.approx(0.6 * 2.0 + 0.4 * 7.0)


def test_its_guardian_may_finish(
    watcher: Watcher, hire: Hire, tools: type[Tools], project: Project
) -> None:
    """A dead worker's guardian gets a moment to kill what the task left, and not more."""
    worker = hire(tools.gone())
    card = worker.post.card._replace(guardian=Identity.of(os.getpid()))
    Path(worker.sighting.path(project)).write_bytes(card.dump())
    watcher.look()
    assert watcher.deaths() == []
    assert watcher.muster.mourning
    watcher.clock.tick(0.4)
    assert watcher.deaths() == []
    watcher.clock.tick(0.2)
    (death,) = watcher.deaths()
    assert death.crashed
    watcher.muster.buried(death.worker)
    assert not watcher.muster.mourning


def test_the_last_word_is_not_silence(
    watcher: Watcher, hire: Hire, tools: type[Tools], project: Project
) -> None:
    """Also of somebody who was silent for a lease it is waited for; it is buried once."""
    worker = hire()
    watcher.look()
    watcher.look(times=91)
    card = worker.post.card._replace(identity=tools.gone(), guardian=Identity.of(os.getpid()))
    watcher.muster.members[worker.id].learn(card)
    assert watcher.deaths() == []
    watcher.clock.tick(1)
    assert [death.crashed for death in watcher.deaths()] == [False]
