"""Deaths: heard of at once where the kernel tells, and left to the next look where it does not."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Iterator
from typing import Callable, NoReturn

import pytest

from fjd.system.deaths import Deaths
from fjd.system.identity import Identity

ME = Identity.of(os.getpid())
PARENT = Identity.of(os.getppid())


@pytest.fixture
def deaths() -> Iterator[Deaths]:
    """Somebody who hears of the end of two processes at most."""
    found = Deaths(most=2)
    yield found
    found.close()


@pytest.fixture
def end(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Return what lets processes end, as far as their descriptors say."""
    inlet, outlet = os.pipe()
    monkeypatch.setattr(os, "pidfd_open", lambda pid: os.dup(inlet), raising=False)
    yield lambda: os.close(outlet)
    os.close(inlet)


def is_heard(deaths: Deaths) -> bool:
    """Tell whether who waits for it would be woken."""
    return bool(select.select([deaths.fd], [], [], 0)[0])


def no_descriptor(pid: int) -> NoReturn:
    """Refuse as a kernel does that has none left."""
    raise OSError(errno.EMFILE, "none left")


def test_told_once(deaths: Deaths, end: Callable[[], None]) -> None:
    """An end wakes who waits, is told once, and wakes nobody again."""
    assert deaths.watch(ME)
    assert not is_heard(deaths)
    assert deaths.take() == []
    end()
    assert is_heard(deaths)
    assert deaths.take() == [ME]
    assert not is_heard(deaths)
    assert deaths.take() == []


def test_watched_once(deaths: Deaths, end: Callable[[], None]) -> None:
    """Who is watched twice is told once."""
    assert deaths.watch(ME)
    assert deaths.watch(ME)
    end()
    assert deaths.take() == [ME]


def test_forgotten(deaths: Deaths, end: Callable[[], None]) -> None:
    """Whose end does not matter any more is not heard of."""
    deaths.watch(ME)
    deaths.forget(ME)
    deaths.forget(ME)
    end()
    assert not is_heard(deaths)


def test_another_one_has_its_pid(deaths: Deaths) -> None:
    """A pid that is somebody else's by now is not believed."""
    assert not deaths.watch(ME._replace(ticks=ME.ticks + 1))


@pytest.mark.parametrize("other", [{"host": "elsewhere"}, {"boot": "x"}, {"namespace": "pid:[1]"}])
def test_out_of_sight(deaths: Deaths, other: dict[str, str]) -> None:
    """Of another host, boot or container nothing is heard."""
    assert not deaths.watch(ME._replace(**other))


def test_ended_before(deaths: Deaths) -> None:
    """Who has ended already is not watched; a look tells."""
    assert not deaths.watch(Identity.of(1 << 23))


def test_enough_descriptors_are_left(end: Callable[[], None]) -> None:
    """The third of two is not heard of; when one is forgotten there is room again."""
    deaths = Deaths(most=1)
    assert deaths.watch(ME)
    assert not deaths.watch(PARENT)
    deaths.forget(ME)
    assert deaths.watch(PARENT)
    deaths.close()


def test_nothing_to_be_had(deaths: Deaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such call, or no descriptor left: nobody is heard of, and nothing is wrong."""
    monkeypatch.setattr(os, "pidfd_open", no_descriptor, raising=False)
    assert not deaths.watch(ME)
    monkeypatch.delattr(os, "pidfd_open")
    assert not deaths.watch(ME)
    assert deaths.take() == []


def test_nothing_stays_open(end: Callable[[], None]) -> None:
    """Its descriptors are closed with it, and those of the dead at once."""
    before = len(os.listdir("/proc/self/fd"))
    deaths = Deaths()
    deaths.watch(ME)
    deaths.watch(PARENT)
    end()
    assert sorted(deaths.take()) == sorted([ME, PARENT])
    deaths.watch(ME)
    deaths.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1  # `end` has closed one
