"""Resume: what was done is not done again, and nobody mistakes one task for another."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path
from typing import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjd.batch import resume
from fjd.batch.resume import Mismatch, Parts, Resume, Skipped
from fjd.errors import FjdError
from fjd.spool.lists import statusfile
from fjd.spool.lists.grammar import Reader, Task

Write = Callable[..., str]


def line(number: int, command: bytes, code: int = 0, flag: str = " ", at: int = 0) -> bytes:
    """Return a row as disBatch writes it."""
    flags = f"{'R' if code else ' '}  {flag}"
    text = f"{flags}\t{number}\t{at or number + 1}\t-1\tvm\t99\t{code}\t1.004\t10.000\t11.004"
    return text.encode() + b"\t0\t''\t0\t''\t" + command + b"\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return how to write a status file."""

    def written(*rows: bytes, name: str = "a_status.txt") -> str:
        path = tmp_path / name
        path.write_bytes(b"".join(rows))
        return str(path)

    return written


def through(old: Resume, tasks: bytes) -> tuple[list[Skipped], bytes]:
    """Go through a list; return what is skipped, and the rows of it."""
    new = io.BytesIO()
    return list(old.ranges(Reader(io.BytesIO(tasks), "tasks"), new.write)), new.getvalue()


def done(old: Resume, tasks: bytes) -> list[int]:
    """Return the numbers of what is skipped."""
    return [n for lo, hi, _ in through(old, tasks)[0] for n in range(lo, hi)]


def test_parts_are_kept_as_they_are() -> None:
    parts = [Skipped(0, 3, 1), Skipped(5, 6, 0)]
    assert [list(Parts(iter(parts))), len(Parts(parts)), bool(Parts(()))] == [parts, 2, False]


def test_what_is_done_is_skipped(write: Write) -> None:
    """With its old figures, flag S, in the order of the list."""
    path = write(line(2, b"c"), line(0, b"a"), line(1, b"b", 3))
    found, rows = through(Resume.read([path]), b"a\nb\nc\nd\n")
    assert found == [Skipped(0, 3, 1)]
    assert rows == line(0, b"a", 0, "S") + line(1, b"b", 3, "S") + line(2, b"c", 0, "S")


def test_retry(write: Write) -> None:
    """Failures are run again, also under another text."""
    path = write(line(0, b"a"), line(1, b"b", -9), line(2, b"c", -100), line(3, b"d"))
    found, _ = through(Resume.read([path], retry=True), b"a\nbetter\nc\nd\n")
    assert found == [Skipped(0, 1, 0), Skipped(3, 4, 0)]


def test_other_rows_do_not_count(write: Write) -> None:
    """Per-engine rows have other ids, barriers are passed again, late ones were never counted."""
    rows = [line(0, b"p", flag="P"), line(1, b"z", flag="Z"), b"B " + line(2, b"x")[1:], b"odd\n"]
    old = Resume.read([write(statusfile.HEADER, *rows, line(3, b"d"), line(9, b"x")[:-5])])
    assert (old.rows, old.unreadable) == (1, 1)
    assert done(old, b"a\nb\n#FJD BARRIER\nd\n") == [3]


def test_no_barrier_lies_in_a_range(write: Write) -> None:
    """It has a number, and is passed when its time comes."""
    path = write(*(line(n, b"a") for n in (0, 1, 3)))
    assert done(Resume.read([path]), b"a\na\n#FJD BARRIER\na\n") == [0, 1, 3]


def test_a_resumed_file_alone_is_enough(write: Write) -> None:
    """Again and again."""
    tasks = b"a\nb\n'c'\n#FJD TASK 3\nd\ne\n"
    rows = [line(n, c) for n, c in enumerate((b"a", b"b", b"'c'", rb"'d\ne'"))]
    path = write(*rows)
    for _ in range(3):
        found, new = through(Resume.read([path]), tasks)
        assert found == [Skipped(0, 4, 0)]
        path = write(new)
    assert new.count(b"\n") == 4


@pytest.mark.parametrize("code", [1, -9, -100, 200])
def test_success_wins(write: Write, code: int) -> None:
    """Whatever the code of the failure, and whichever came first."""
    good, bad = line(0, b"a"), line(0, b"a", code)
    for rows in ((good, bad), (bad, good), (bad, good, bad)):
        assert done(Resume.read([write(*rows)], retry=True), b"a\n") == [0]
    two = [write(bad, name="1"), write(good, name="2")]
    for paths in (two, two[::-1]):
        assert through(Resume.read(paths), b"a\n") == ([Skipped(0, 1, 0)], line(0, b"a", 0, "S"))


def test_a_comment_more(write: Write) -> None:
    """The number and the text say which task it is, and not the line; the new line is written."""
    _, rows = through(Resume.read([write(line(0, b"a", at=1))]), b"# new\n\na\n")
    assert rows == line(0, b"a", 0, "S", at=3)


@pytest.mark.parametrize("text", [b"a b", b"'a b'", b'"a b"', b"b'a b'"])
def test_all_quotings(write: Write, text: bytes) -> None:
    """Old files are read, and files in which a command looks like a quoted one."""
    old = Resume.read([write(line(0, text))])
    assert old.decide(Task(0, 1, -1, b"a b")) == line(0, b"a b", 0, "S")
    assert old.decide(Task(0, 1, -1, text)) is not None


def test_a_mismatch(write: Write) -> None:
    """It names the first line that differs, and what to do."""
    path = write(line(0, b"a"), line(2, b"c", at=7), line(1, b"b"))
    with pytest.raises(Mismatch) as caught:
        through(Resume.read([path]), b"a\n\nb\n\nX\nY\n")
    said = str(caught.value)
    assert said.startswith(f"{path}: task 2 (line 5) is 'X', and was 'c' (line 7)")
    assert "--force-resume" in said
    assert "\n" not in said


def test_force(write: Write) -> None:
    """The number alone counts then; the row says the new text, so that it fits the next time."""
    old = Resume.read([write(line(0, b"a"), line(1, b"b"))], force=True)
    found, rows = through(old, b"X\tx\nb\n")
    assert found == [Skipped(0, 2, 0)]
    assert "task 0 (line 1) is 'X\\tx', and was 'a'" in old.differing
    assert done(Resume.read([write(rows)]), b"X\tx\nb\n") == [0, 1]


def test_tabs_are_no_columns(write: Write) -> None:
    """A command that ends like another one is another one."""
    old = Resume.read([write(line(0, b"a\tb"))])
    assert old.decide(Task(0, 1, -1, b"a\tb")) == line(0, b"a\tb", 0, "S")
    with pytest.raises(Mismatch):
        old.decide(Task(0, 1, -1, b"b"))


def test_repeats(write: Write) -> None:
    """Each instance is a task; its index is that of the list."""
    old = Resume.read([write(line(1, b"r"), line(2, b"r"))])
    found, rows = through(old, b"#FJD REPEAT 4 start 10 r\n")
    assert found == [Skipped(1, 3, 0)]
    assert [row.split(b"\t")[3] for row in rows.splitlines()] == [b"11", b"12"]


def test_nothing_was_done(write: Write) -> None:
    """A run that was killed before its first row."""
    for rows in ((), (statusfile.HEADER,), (line(0, b"a")[:-1],)):
        assert done(Resume.read([write(*rows)]), b"a\n") == []


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "tasks", "binary"])
def test_no_status_file(tmp_path: Path, kind: str) -> None:
    """It is refused at once, in one line that names it."""
    path = tmp_path / kind
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "tasks":
        path.write_bytes(b"true\nfalse\n")
    elif kind == "binary":
        path.write_bytes(bytes(range(256)) * 99)
    with pytest.raises(FjdError) as caught:
        Resume.read([str(path)])
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_changes(write: Write) -> None:
    """Nobody trusts a place where another row stands now."""
    path = write(line(0, b"a"), line(1, b"b"))
    old = Resume.read([path])
    Path(path).write_bytes(line(5, b"a") + line(1, b"b"))
    with pytest.raises(FjdError, match="has changed"):
        old.decide(Task(0, 1, -1, b"a"))
    old.close()


@pytest.mark.parametrize("size", [1, 100, 16_300, 16_384, 40_000, 1 << 20])
def test_long_rows(write: Write, size: int) -> None:
    """Wherever a row begins and ends in the file."""
    commands = [b"x" * size + b"%d" % n for n in range(5)] + [b"\xff" * size]
    rows = [line(n, statusfile.quote(c)) for n, c in enumerate(commands)]
    old = Resume.read([write(*random.sample(rows, len(rows)))])
    for number, command in enumerate(commands):
        assert old.decide(Task(number, number + 1, -1, command)) == (
            line(number, statusfile.quote(command), 0, "S")
        )


def test_many(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows than are kept at hand, in any order, from several files."""
    monkeypatch.setattr(resume, "_BLOCKS", 2)
    numbers = random.sample(range(5000), 4000)
    rows = [line(n, b"true # %d" % n, n % 3) for n in numbers]
    old = Resume.read([write(*rows[:2000], name="1"), write(*rows[2000:], name="2")])
    tasks = b"".join(b"true # %d\n" % n for n in range(5000))
    found, new = through(old, tasks)
    assert [n for lo, hi, _ in found for n in range(lo, hi)] == sorted(numbers)
    assert sum(bad for _, _, bad in found) == sum(n % 3 > 0 for n in numbers)
    assert new == b"".join(line(n, b"true # %d" % n, n % 3, "S") for n in sorted(numbers))


ROWS = st.tuples(st.integers(0, 3), st.sampled_from([b"a", b"b"]), st.sampled_from([0, 1, -9]))


@given(st.lists(ROWS, max_size=8), st.binary(max_size=30), st.integers(0, 400), st.booleans())
def test_nonsense(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, bytes, int]],
    odd: bytes,
    at: int,
    retry: bool,
) -> None:
    """Whatever stands in the file: rows are rows, or somebody is told."""
    data = b"".join(line(*row) for row in rows)
    path = tmp_path_factory.mktemp("x") / "s"
    path.write_bytes(data[:at] + odd + data[at:])
    try:
        old = Resume.read([str(path)], retry=retry)
        numbers = done(old, b"a\na\na\na\n")
    except FjdError:
        return
    finally:
        path.unlink()
    assert len(numbers) <= old.rows
    old.close()
