"""Identities: one process of one boot of one host, and whether it has ended."""

from __future__ import annotations

import json
import os
import resource

import pytest

from fjd.system import identity as module
from fjd.system.identity import Identity, start_ticks

ME = Identity.of(os.getpid())


def test_alive() -> None:
    """A process of this host that runs is alive."""
    assert ME.is_here()
    assert ME.alive() is True
    assert ME.ticks == start_ticks(os.getpid())


def test_ended() -> None:
    """One that does not exist, or whose pid is somebody else's by now, has ended."""
    assert Identity.of(1 << 23).alive() is False
    assert ME._replace(ticks=ME.ticks + 1).alive() is False


def test_no_proof_of_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who cannot look, for want of a descriptor or of /proc, does not take anybody for dead."""
    assert ME.is_here()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        assert ME.alive() is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    monkeypatch.setattr(module, "pid_namespace", lambda: "")
    monkeypatch.setattr(module, "_read", lambda _: "")
    assert ME._replace(namespace="").alive() is None


def test_restarted() -> None:
    """Nothing outlives a restart of its host."""
    assert ME._replace(boot="another").alive() is False


@pytest.mark.parametrize("other", [{"host": "elsewhere"}, {"namespace": "pid:[1]"}])
def test_out_of_sight(other: dict[str, str]) -> None:
    """Of another host or container nothing can be seen from here."""
    assert ME._replace(**other).alive() is None
    assert not ME._replace(**other).is_here()


def test_round_trip() -> None:
    """An identity survives a file."""
    assert Identity.load(json.loads(json.dumps(list(ME)))) == ME


@pytest.mark.parametrize("value", [None, [], "abcde", [1, 2], ["h", "b", "n", "1", 2], {}])
def test_garbage(value: object) -> None:
    """Anything else is no identity."""
    assert Identity.load(value) is None


@pytest.mark.parametrize(
    ("stat", "ticks"),
    [
        ("1 (sh) S " + "0 " * 18 + "77 0", 77),
        ("1 (a) b) (S) R " + "0 " * 18 + "77 0", 77),
        ("1 (sh) Z " + "0 " * 18 + "77 0", None),
        ("1 (sh) X " + "0 " * 18 + "77 0", None),
        ("1 (sh) S 0", None),
        ("", None),
    ],
)
def test_start_ticks(monkeypatch: pytest.MonkeyPatch, stat: str, ticks: object) -> None:
    """The name of a process may hold anything; a zombie has ended."""
    monkeypatch.setattr(module, "_read", lambda _: stat)
    assert start_ticks(1) == ticks
