"""The dispatcher's lease: one holder, told by names alone; and the contest for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import pytest

from fjd.dispatcher.service import Contest
from fjd.errors import ConfigError
from fjd.spool import lease as module
from fjd.spool.lease import Claim, Lease, holder
from fjd.spool.project import Project
from fjd.spool.timings import Timings
from fjd.system import files
from fjd.system.identity import Identity

if TYPE_CHECKING:
    from tests.unit.conftest import Clock, Tools

TIMINGS = Timings()


def claimed(project: Project, nonce: str = "", timings: Timings = TIMINGS) -> Lease:
    """Return a lease that was taken."""
    lease = Lease(project, "/bell", timings)
    lease.nonce = nonce or lease.nonce
    assert lease.take()
    return lease


def claims(project: Project) -> list[str]:
    """Return the names of all claims."""
    return sorted(os.listdir(project.dispatcher))


def test_take(project: Project) -> None:
    """The first claim holds and says who it is and what the workers are to obey."""
    lease = claimed(project, "00000001")
    assert claims(project) == ["e1,00000001,0"]
    assert lease.held()
    found = holder(project)
    assert found is not None
    assert found.claim == Claim(1, "00000001", 0)
    assert found.identity == Identity.of(os.getpid())
    assert (found.bell, found.timings) == ("/bell", TIMINGS)


def test_nobody(project: Project) -> None:
    """Without a claim nobody holds the lease, and what is none is nobody's."""
    Path(project.dispatcher, "notes").touch()
    assert holder(project) is None
    assert not Lease(project, "", TIMINGS).held()
    assert not Lease(project, "", TIMINGS).beat()
    assert Lease(project, "", TIMINGS).epoch == 0


def test_beat(project: Project) -> None:
    """Each beat counts up in the name."""
    lease = claimed(project, "00000001")
    assert lease.beat()
    assert lease.beat()
    assert claims(project) == ["e1,00000001,2"]
    assert lease.held()


def test_take_over(project: Project) -> None:
    """A later claim holds, and the one before learns it by its beat and by a look."""
    old, new = claimed(project), claimed(project)
    assert new.epoch == 2
    assert new.held()
    assert not old.held()
    assert not old.beat()
    old.release()
    assert new.held()
    assert len(claims(project)) == 1


@pytest.mark.parametrize(("mine", "other", "wins"), [(1, 2, True), (2, 1, False)])
def test_same_epoch(
    project: Project, monkeypatch: pytest.MonkeyPatch, mine: int, other: int, wins: bool
) -> None:
    """Of two who claim at the same moment the one with the smaller nonce holds."""
    lease = Lease(project, "", TIMINGS)
    lease.nonce = f"{mine:08d}"
    publish = module.files.publish

    def both(staging: str, target: str, data: bytes, sync: bool) -> None:
        publish(staging, target, data, sync)
        Path(project.dispatcher, f"e1,{other:08d},0").write_bytes(data)

    monkeypatch.setattr(module.files, "publish", both)
    assert lease.take() is wins
    assert lease.held() is wins
    assert lease.epoch == (1 if wins else 0)
    if not wins:
        assert claims(project) == [f"e1,{other:08d},0"]


def test_claims_do_not_sort_as_text(project: Project) -> None:
    """Epoch 10 is above epoch 9."""
    for epoch in (9, 10):
        Path(project.dispatcher, f"e{epoch},00000001,0").touch()
    assert claimed(project).epoch == 11
    assert len(claims(project)) == 1


def test_release(project: Project) -> None:
    """A lease that was given up is nobody's, and giving it up twice is as good."""
    lease = claimed(project)
    lease.beat()
    lease.release()
    lease.release()
    assert claims(project) == []
    assert not lease.held()
    assert not lease.beat()


def test_claim_removed_by_hand(project: Project) -> None:
    """A holder whose claim somebody removed knows that it holds nothing."""
    lease = claimed(project)
    os.unlink(f"{project.dispatcher}/{claims(project)[0]}")
    assert not lease.held()
    assert not lease.beat()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"identity": 1, "timings": 2}'])
def test_unreadable_claim(project: Project, data: bytes) -> None:
    """A claim that a power cut emptied is nobody's, and the next epoch is above it."""
    Path(project.dispatcher, "e3,00000001,0").write_bytes(data)
    assert holder(project) is None
    assert claimed(project).epoch == 4


def foreign(project: Project, tools: type[Tools], beat: int = 0) -> Path:
    """Let a dispatcher of another host hold the lease; nobody here sees whether it lives."""
    lease = Lease(project, "", TIMINGS)
    content = lease._content.decode().replace(f'"{Identity.of(1).host}"', '"elsewhere"')
    path = Path(project.dispatcher, f"e1,00000001,{beat}")
    path.write_text(content)
    return path


def test_contest_without_a_holder(project: Project, clock: Clock) -> None:
    """Where nobody serves, the lease is free."""
    assert Contest(project, clock).look() is None


def test_contest_with_the_living(project: Project, clock: Clock) -> None:
    """A holder of this host whose process runs is named at once."""
    claimed(project)
    here = os.uname().nodename
    assert Contest(project, clock).look() == f"a dispatcher (pid {os.getpid()} on {here})"


def test_contest_with_the_dead(
    project: Project, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder of this host whose process has ended is replaced at once."""
    monkeypatch.setattr(module.os, "getpid", lambda: 1 << 23)
    claimed(project)
    monkeypatch.undo()
    assert Contest(project, clock).look() is None


def test_contest_with_one_elsewhere(project: Project, clock: Clock, tools: type[Tools]) -> None:
    """A silent holder elsewhere is replaced after a lease; until then it is waited for."""
    foreign(project, tools)
    contest = Contest(project, clock)
    assert contest.look() == ""
    clock.tick(TIMINGS.lease)
    assert contest.look() == ""
    clock.tick()
    assert contest.look() is None


def test_contest_with_one_who_beats(project: Project, clock: Clock, tools: type[Tools]) -> None:
    """A holder elsewhere that beats meanwhile is named."""
    path = foreign(project, tools)
    contest = Contest(project, clock)
    assert contest.look() == ""
    path.rename(path.with_name("e1,00000001,1"))
    assert contest.look() == f"a dispatcher (pid {os.getpid()} on elsewhere)"


def test_win(project: Project, clock: Clock, tools: type[Tools]) -> None:
    """The lease is waited for as long as need be, and then it is ours."""
    foreign(project, tools)
    lease = Lease(project, "", TIMINGS)
    Contest(project, clock).win(lease, lambda seconds: clock.tick(10.0))
    assert lease.held()
    assert lease.epoch == 2
    assert clock.now > 1000.0 + TIMINGS.lease


def test_win_against_the_living(project: Project, clock: Clock) -> None:
    """Who serves already is said, and what to do about it."""
    claimed(project)
    with pytest.raises(ConfigError) as caught:
        Contest(project, clock).win(Lease(project, "", TIMINGS), clock.tick)
    assert 'serves project "p" already; stop that one first' in str(caught.value)


def test_a_listing_of_before(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for it is not told by an old listing that nobody dispatches."""
    right = files.listing

    def cached(path: str, nudge: bool = False) -> Optional[list[str]]:
        return right(path, nudge) if nudge else []

    monkeypatch.setattr(files, "listing", cached)
    claim = Lease(project, "", Timings())
    assert claim.take()
    assert holder(project) is None
    found = holder(project, nudge=True)
    assert found is not None
    assert found.identity.is_here()
