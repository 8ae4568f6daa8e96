"""Records: one line per attempt, whole lines only, whatever stands in them."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjd.spool import records
from fjd.spool.project import Project
from fjd.spool.records import Ledger
from fjd.system import files


def written(project: Project, *found: records.Record) -> Path:
    """Return the file with these records."""
    ledger = Ledger(project, "w")
    for record in found:
        ledger.write(record)
    ledger.close()
    return Path(project.record_file("w"))


def record(attempt: int = 1, **more: object) -> records.Record:
    """Return a record."""
    return {"event": "end", "key": "k", "attempt": attempt, **more}


def test_written_and_read(project: Project) -> None:
    """What is written is read, in order, one line each."""
    path = written(project, record(1), record(2, cause="ä\n\udcff"))
    assert list(records.of_worker(project, "w")) == [record(1), record(2, cause="ä\n\udcff")]
    assert path.read_bytes().count(b"\n") == 2
    assert records.writers(project) == ["w"]
    assert os.stat(path).st_mode & 0o777 == 0o600


@given(st.binary().map(os.fsdecode))
def test_any_bytes_of_a_command(text: str) -> None:
    """Whatever bytes a name or a command has, its record is one line that says them."""
    line = json.dumps({"key": text}, ensure_ascii=False).encode("utf-8", "surrogateescape")
    assert b"\n" not in line
    assert json.loads(line.decode("utf-8", "surrogateescape")) == {"key": text}


@pytest.mark.parametrize("cut", [1, 2, 10])
def test_torn_last_line(project: Project, cut: int) -> None:
    """Half a line at the end is none."""
    path = written(project, record(1), record(2))
    path.write_bytes(path.read_bytes()[:-cut])
    assert list(records.of_worker(project, "w")) == [record(1)]


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"1", b"{}", b'{"key": 1}', b"\xff", b"\0\0"])
def test_garbage(project: Project, line: bytes) -> None:
    """A line that is no record is passed over, and those behind it are read."""
    path = written(project, record(1))
    path.write_bytes(line + b"\n" + path.read_bytes())
    assert list(records.of_worker(project, "w")) == [record(1)]


def test_no_file(project: Project) -> None:
    """Who has written nothing has no records."""
    assert list(records.of_worker(project, "w")) == []
    assert records.find(project, "w", "k", 1) is None
    assert records.writers(project) == []


def test_find(project: Project) -> None:
    """A record is found by job, attempt and event, the first one of them."""
    written(project, record(1, event="start"), record(2), record(1), record(1, cause="again"))
    assert records.find(project, "w", "k", 1) == record(1)
    assert records.find(project, "w", "k", 1, "start") == record(1, event="start")
    assert records.find(project, "w", "k", 3) is None
    assert records.find(project, "w", "other", 1) is None


def test_full_disk(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that does not fit leaves nothing, and the next one is whole."""
    path = written(project, record(1))
    ledger, real = Ledger(project, "w"), os.write

    def write(fd: int, data: memoryview) -> int:
        real(fd, data[:5])
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "write", write)
        with pytest.raises(files.DiskFull):
            ledger.write(record(2))
    assert path.read_bytes().count(b"\n") == 1
    ledger.write(record(2))
    assert list(records.of_worker(project, "w")) == [record(1), record(2)]


@pytest.mark.parametrize(
    ("span", "limit", "text"),
    [([2, 3], 0, b"cde"), ([2, 3], 2, b"de"), ([2, 3], 9, b"cde"), ([5, 9], 0, b"fg"),
     ([9, 1], 0, b""), (None, 0, b""), ([1], 0, b""), (["a", 1], 0, b"")],
)  # fmt: skip
def test_output(project: Project, span: object, limit: int, text: bytes) -> None:
    """What an attempt printed is a range of its worker's output file."""
    Path(project.output_file("w", "out")).write_bytes(b"abcdefg")
    assert records.output(project, {"worker": "w", "out": span}, "out", limit) == text
    assert records.output(project, {"worker": "w", "out": span}, "err", limit) == b""
