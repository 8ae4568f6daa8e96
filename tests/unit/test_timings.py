"""Timings: they suit the file system, and what belongs together stays together."""

from __future__ import annotations

import json
from typing import Optional

import pytest

from fjd.errors import UsageError
from fjd.spool import timings as module
from fjd.spool.timings import LOCAL, NETWORK, Timings, for_home


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what the caller has set."""
    for field in Timings._fields:
        monkeypatch.delenv(f"FJD_{field.upper()}", raising=False)


@pytest.mark.parametrize(
    ("kind", "timings"),
    [("ext4", LOCAL), ("tmpfs", LOCAL), ("nfs", NETWORK), ("nfs4", NETWORK),
     ("fuse.sshfs", NETWORK), ("lustre", NETWORK), ("", NETWORK)],
)  # fmt: skip
def test_file_systems(monkeypatch: pytest.MonkeyPatch, kind: str, timings: Timings) -> None:
    """What is not known to be local gets the patience of a network."""
    monkeypatch.setattr(module, "file_system", lambda _: kind)
    assert for_home("/home") == timings


@pytest.mark.parametrize("timings", [LOCAL, NETWORK])
def test_pairs(timings: Timings) -> None:
    """A lease is several heartbeats; over a network it outlives a minute of a blocked client."""
    assert timings.lease >= 4 * timings.heartbeat
    assert timings.far_lease > 60
    assert timings.poll < timings.lease
    assert NETWORK.lease > 60


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each can be set; a lease is one for all hosts, and nobody beats slower than that allows."""
    monkeypatch.setattr(module, "file_system", lambda _: "ext4")
    monkeypatch.setenv("FJD_POLL", "0.1")
    assert for_home("/") == LOCAL._replace(poll=0.1)
    monkeypatch.setenv("FJD_LEASE", "2")
    found = for_home("/")
    assert (found.lease, found.far_lease, found.heartbeat) == (2.0, 2.0, 0.5)
    monkeypatch.setenv("FJD_FAR_LEASE", "9")
    monkeypatch.setenv("FJD_HEARTBEAT", "1")
    assert for_home("/")[:3] == (1.0, 2.0, 9.0)


def test_heartbeat_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heart that beats slower than its lease allows would be buried alive for ever."""
    monkeypatch.setenv("FJD_HEARTBEAT", "20")
    monkeypatch.setenv("FJD_LEASE", "30")
    with pytest.raises(UsageError, match="a heartbeat of 20 s is too slow for a lease of 30 s"):
        for_home("/")


@pytest.mark.parametrize("text", ["0", "-1", "x", "1e7", "nan", "inf", "1 s"])
def test_nonsense(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What is no time is refused by the variable's name."""
    monkeypatch.setenv("FJD_LEASE", text)
    with pytest.raises(UsageError) as caught:
        for_home("/")
    assert str(caught.value) == f"FJD_LEASE={text!r} is no time; give seconds above 0"


def test_round_trip() -> None:
    """Timings survive the lease's file."""
    assert Timings.load(json.loads(json.dumps(list(NETWORK)))) == NETWORK


@pytest.mark.parametrize(
    "value", [None, [], [1, 2, 3], [1, 2, 3, 4, 0], [1, 2, 3, 4, "5"], [1, 2, 3, 4, -5], {}]
)
def test_garbage(value: object) -> None:
    """Anything else is none."""
    assert Timings.load(value) is None


MOUNTS = """\
20 1 8:1 / / rw - ext4 /dev/sda rw
21 20 0:1 / /home rw shared:1 - nfs4 server:/home rw
22 21 0:2 / /home/my\\040disk rw - xfs /dev/sdb rw
23 20 0:3 / /homework rw - btrfs /dev/sdc rw
24 21 0:4 / /home rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "ext4"), ("/etc", "ext4"), ("/home", "tmpfs"), ("/home/anna/.fjd", "tmpfs"),
     ("/home/my disk/.fjd", "xfs"), ("/homework", "btrfs"), ("/homes", "ext4")],
)  # fmt: skip
def test_mounts(monkeypatch: pytest.MonkeyPatch, home: str, path: str, kind: str) -> None:
    """The innermost mount counts, of two at one place the later one."""
    with open(f"{home}/mounts", "w", encoding="utf-8") as file:
        file.write(MOUNTS)
    real = open

    def fake(name: str, **more: str) -> object:
        return real(f"{home}/mounts" if name == "/proc/self/mountinfo" else name, **more)

    monkeypatch.setattr(module, "open", fake, raising=False)
    monkeypatch.setattr(module.os.path, "realpath", lambda name: name)
    assert module.file_system(path) == kind


def test_no_mounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not tell, nothing is known."""

    def fake(*_: object, **__: object) -> Optional[object]:
        raise FileNotFoundError

    monkeypatch.setattr(module, "open", fake, raising=False)
    assert module.file_system("/") == ""
