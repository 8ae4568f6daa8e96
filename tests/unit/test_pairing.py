"""Pairing: how much may wait in a pod, and who gets the next job."""

from __future__ import annotations

from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjd.dispatcher import pairing
from fjd.dispatcher.muster import Member
from fjd.spool.crew import Sighting
from fjd.spool.names import Token


def member(in_hand: int = 0, mean: Optional[float] = None, accepted: int = 0) -> Member:
    """Return a worker with so much in hand, so much of it accepted."""
    found = Member(Sighting("node-0-0123abcd", 0, False), None, 0.0)
    found.mean = mean
    found.hand = {Token("job.abcdefghijkl", n): n < accepted for n in range(in_hand)}
    return found


@pytest.mark.parametrize(
    ("mean", "share", "depth"),
    [
        (None, 100, 2),  # unknown: one to run, one to wait
        (10.0, 100, 2),
        (0.25, 100, 2),
        (0.1, 100, 3),
        (0.01, 100, 25),
        (0.01, 7, 7),  # a fair share towards the end
        (10.0, 1, 1),
        (1e-9, 10**6, pairing.DEEPEST),
        (0.0, 100, 2),
        (0.1, 0, 1),
    ],
)
def test_depth(mean: Optional[float], share: int, depth: int) -> None:
    """About a quarter second of work lies ready, two assignments at least, and no unfair share."""
    assert pairing.depth(member(mean=mean), share) == depth


def test_hungriest() -> None:
    """Who has least is next, until everybody has enough."""
    idle, busy = member(), member(2)
    assert pairing.hungriest([busy, idle], 10) is idle
    assert pairing.hungriest([busy, member(2)], 10) is None
    assert pairing.hungriest([], 10) is None


def test_fair_share() -> None:
    """Of three jobs for three workers nobody gets two, however fast it is."""
    members = [member(mean=0.001) for _ in range(3)]
    for queued in (3, 2, 1):
        hungry = pairing.hungriest(members, queued)
        assert hungry is not None
        hungry.hand[Token("job.abcdefghijkl", queued)] = False
    assert [len(one.hand) for one in members] == [1, 1, 1]


def test_spare() -> None:
    """The last one that waits behind a long task, of who has most, can be handed on."""
    rich = member(4, 10.0, accepted=1)
    assert pairing.spare([member(2, 10.0), rich]) == (rich, Token("job.abcdefghijkl", 3))


@pytest.mark.parametrize(
    "members",
    [
        [],
        [member()],
        [member(1, 10.0)],  # its only one
        [member(2, 10.0, accepted=2)],  # both are running
        [member(3, 0.01)],  # it is done before anybody else has it
    ],
)
def test_nothing_to_spare(members: list[Member]) -> None:
    """What is running, or will be in a moment, stays where it is."""
    assert pairing.spare(members) is None


@given(st.lists(st.floats(0.0001, 100.0), min_size=1, max_size=20), st.integers(0, 500))
def test_dealing_out(means: list[float], queued: int) -> None:
    """Dealing out ends, nobody is idle while jobs are left, and nobody has more than its depth."""
    members = [member(mean=mean) for mean in means]
    share = -(-queued // len(members))
    left = queued
    while left:
        hungry = pairing.hungriest(members, left)
        if hungry is None:
            break
        hungry.hand[Token("job.abcdefghijkl", left)] = False
        left -= 1
    assert sum(len(one.hand) for one in members) == queued - left
    assert left == 0 or all(one.hand for one in members)
    assert all(len(one.hand) <= max(1, share) for one in members)
