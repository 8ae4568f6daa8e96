"""Scratch files: what a task prints is kept as it was, and of endless output head and tail."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from fjd.system import files
from fjd.system import place as places
from fjd.system.place import Place
from fjd.worker.scratch import Stream


def stream(home: str, keep: int = 1000) -> Stream:
    """Return a stream that keeps so much of each task."""
    return Stream(home, "out", files.Appender(f"{home}/kept"), keep)


def kept(home: str, span: list[int]) -> bytes:
    """Return what was kept of a task."""
    start, length = span
    return Path(home, "kept").read_bytes()[start : start + length]


def test_one_task_after_the_other(home: str) -> None:
    """Each task's output is kept, in one file, and its span says where."""
    out = stream(home)
    for text in (b"one", b"", b"three"):
        out.begin()
        os.write(out.fd, text)
        assert kept(home, out.finish()) == text
        assert os.fstat(out.fd).st_size == 0
    assert Path(home, "kept").read_bytes() == b"onethree"


@pytest.mark.parametrize("flushes", [0, 1, 3])
@pytest.mark.parametrize("size", [0, 1, 499, 500, 501, 999, 1000])
def test_kept_whole(home: str, size: int, flushes: int) -> None:
    """What is not too much is kept whole, also if it was looked at while it came."""
    out, text = stream(home), bytes(n % 251 for n in range(size))
    out.begin()
    for part in range(flushes):
        os.write(out.fd, text[part * size // 4 : (part + 1) * size // 4])
        out.flush()
    os.write(out.fd, text[flushes * size // 4 :])
    assert kept(home, out.finish()) == text


@pytest.mark.parametrize("flushes", [False, True])
@pytest.mark.parametrize("size", [1001, 1500, 10_000])
def test_head_and_tail(home: str, size: int, flushes: bool) -> None:
    """Of too much the head and the tail are kept, with a note of what is missing between them."""
    out, text = stream(home), bytes(n % 251 for n in range(size))
    out.begin()
    for start in range(0, size, 300):
        os.write(out.fd, text[start : start + 300])
        if flushes:
            out.flush()
    note = b"\n[fjd: %d bytes left out here]\n" % (size - 1000)
    assert kept(home, out.finish()) == text[:500] + note + text[-500:]


def test_finished_twice(home: str) -> None:
    """Who asks again is told the same, and nothing is kept twice."""
    out = stream(home)
    os.write(out.fd, b"text")
    assert out.finish() == out.finish() == [0, 4]


def test_full_disk(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk nothing is lost: it is kept when there is room."""
    out = stream(home)
    os.write(out.fd, b"text")
    real = os.write

    def write(fd: int, data: memoryview) -> int:
        real(fd, data[:2])
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "write", write)
        with pytest.raises(files.DiskFull):
            out.finish()
    assert kept(home, out.finish()) == b"text"


def test_truncated_by_the_task(home: str) -> None:
    """A task that truncates its own output harms nobody else's."""
    out = stream(home)
    os.write(out.fd, b"before")
    out.finish()
    out.begin()
    os.write(out.fd, b"a long line")
    out.flush()
    Path(home, "out0").write_bytes(b"x")
    assert kept(home, out.finish()).endswith(b"x")
    assert Path(home, "kept").read_bytes().startswith(b"before")


def test_renew(home: str) -> None:
    """What an escaped process still prints does not reach the next task."""
    out = stream(home)
    escaped = os.dup(out.fd)
    out.renew()
    out.begin()
    os.write(escaped, b"late")
    os.write(out.fd, b"text")
    assert kept(home, out.finish()) == b"text"
    os.close(escaped)
    out.close()
    assert os.listdir(home) == ["kept"]


@pytest.fixture
def place(home: str, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return the private directory of this process."""
    monkeypatch.setenv("TMPDIR", home)
    found = Place()
    found.make()
    return found


def test_place(place: Place) -> None:
    """The directory is private, and gone after the end with all that is in it."""
    assert os.stat(place.path).st_mode & 0o777 == 0o700
    assert os.stat(os.path.dirname(place.path)).st_mode & 0o777 == 0o700
    Path(place.path, "bell").touch()
    place.make()
    place.clear()
    assert not os.path.exists(place.path)
    place.clear()


def test_left_by_the_dead(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process left is removed, what the living and the unknown have is not."""
    root = Path(place.path).parent
    world = place.path.rsplit("-", 1)[1]
    ticks = places.start_ticks(1)
    names = [f"{1 << 23}-5-{world}", f"1-{ticks}-{world}", f"1-{ticks}-1{world}", "notes", "²-²-0"]
    for name in names:
        (root / name).mkdir()
        (root / name / "file").touch()
    place.clear()
    assert sorted(os.listdir(root)) == sorted(names[1:])


def test_common_name_taken(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody else could write to the common directory, one of our own is used."""
    monkeypatch.setenv("TMPDIR", home)
    os.mkdir(f"{home}/fjd-{os.geteuid()}")
    os.chmod(f"{home}/fjd-{os.geteuid()}", 0o777)
    place = Place()
    place.make()
    assert f"{home}/fjd-{os.geteuid()}-" in place.path
    assert os.listdir(f"{home}/fjd-{os.geteuid()}") == []
