"""The grammar of lists: what disBatch's documents promise, and no line that says nothing."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjd.errors import JobFileError
from fjd.spool.lists import grammar
from fjd.spool.lists.grammar import LONGEST, Barrier, Item, Reader, Task, check

PIECES = [
    *(b"a", b" b ", b"", b"  ", b"# c", b" #FJD x", b"#disbatch BARRIER", b"e\r", b"\xff\t", b"f"),
    *(b"#DISBATCH PREFIX p ", b"#FJD prefix ", b"#DISBATCH SUFFIX  s", b"#FJD suffix "),
    *(b"#DISBATCH BARRIER", b"#FJD BARRIER CHECK", b"#FJD BARRIER CHECK k", b"#FJD BARRIER k l "),
    *(b"#DISBATCH REPEAT 3 start 10 step 5 r", b"#FJD REPEAT 0", b"#FJD repeat 2", b"#FJD LINE 7"),
    *(b"#FJD TASK 5\nx\n#FJ", b"#FJD TASK 0\n", b"#FJD TASK 11\n#FJD REPEAT"),
]
LISTS = st.lists(st.sampled_from(PIECES), max_size=25).map(lambda lines: b"\n".join([*lines, b""]))
ODD = [
    *PIECES,
    *(b"#DISBATCH", b"#FJDX", b"#FJD NO", b"#FJD END", b"#FJD TASK 9", b"#FJD REPEAT 99999999999"),
    *(b"#FJD PERENGINE START e", b"#FJD perengine stop e", b"\0", b"#FJD BARRIER check"),
]


def everything(data: bytes) -> list[Item]:
    """Return all items of a list."""
    return rest(Reader(io.BytesIO(data), "x"))


def rest(reader: Reader) -> list[Item]:
    """Return what a reader has still to say."""
    found = list(iter(reader.next, None))
    return [item for item in found if item is not None]


def commands(data: bytes) -> list[bytes]:
    """Return what is run."""
    return [item.command for item in everything(data) if isinstance(item, Task)]


def refused(data: bytes) -> Optional[str]:
    """Return what is said of a list, the same before it is run and while it is."""
    said: list[Optional[str]] = []
    reader = Reader(io.BytesIO(data), "x")
    for read in (lambda: check(io.BytesIO(data), "x"), lambda: reader.skip_to(1 << 60)):
        try:
            read()
            said.append(None)
        except JobFileError as error:
            said.append(str(error))
    assert said[0] == said[1]
    return said[0]


def test_tasks_and_what_is_none() -> None:
    """Numbers count tasks, lines are those of the file; comments and blank lines are nothing."""
    data = b"a\n\n  # c\n#disbatch BARRIER\n #DISBATCH BARRIER\n \t\n b \nlast"
    assert everything(data) == [
        Task(0, 1, -1, b"a"),
        Task(1, 7, -1, b" b "),
        Task(2, 8, -1, b"last"),
    ]


def test_prefix_and_suffix() -> None:
    """One blank goes, the rest is verbatim; a later one replaces it, an empty one resets it."""
    data = (
        b"#DISBATCH PREFIX  ( \n#FJD suffix  )\nx\n#DISBATCH Prefix p\n#FJD REPEAT 1 r\n"
        b"#FJD PREFIX \n#FJD SUFFIX \ny\n"
    )
    assert commands(data) == [b" ( x )", b"pr )", b"y"]


def test_repeat() -> None:
    """The count says how many, start and step only what their index is."""
    found = everything(b"#DISBATCH REPEAT 5 start 100 step 50 c d \n#DISBATCH REPEAT 2\nlast\n")
    assert [(t.number, t.line, t.repeat) for t in found if isinstance(t, Task)] == [
        *((n, 1, 100 + 50 * n) for n in range(5)),
        *((5, 2, 0), (6, 2, 1), (7, 3, -1)),
    ]
    assert {t.command for t in found[:5] if isinstance(t, Task)} == {b"c d "}
    assert commands(b"#FJD REPEAT 0 x\n#FJD REPEAT 1  two blanks\n") == [b" two blanks"]


def test_repeat_of_ten_million_is_lazy() -> None:
    """Nobody counts to ten million."""
    reader = Reader(io.BytesIO(b"#FJD REPEAT 10000000 start 1 x\nlast\n"), "x")
    assert reader.skip_to(9_999_999)
    assert reader.next() == Task(9_999_999, 1, 10_000_000, b"x")
    assert reader.next() == Task(10_000_000, 2, -1, b"last")


@pytest.mark.parametrize(
    ("text", "checks", "key"),
    [
        (b"", False, ""),
        (b" ", False, ""),
        (b" CHECK", True, ""),
        (b" CHECK  ", True, ""),
        (b" key", False, "key"),
        (b" checkpoint 7 ", False, "checkpoint 7"),
        (b" CHECK CHECK", True, "CHECK"),
        (b" k\xff", False, "k\udcff"),
    ],
)
def test_barrier(text: bytes, checks: bool, key: str) -> None:
    """A barrier has a number like a task; it may check, and may have a key."""
    line = b"#DISBATCH BARRIER" + text
    assert everything(b"a\n" + line + b"\nb\n")[1:] == [
        Barrier(1, 2, checks, key, line),
        Task(2, 3, -1, b"b"),
    ]


def test_per_engine() -> None:
    """They count by themselves, take prefix and suffix, and come first."""
    reader = Reader(
        io.BytesIO(
            b"#DISBATCH PERENGINE START a\n#DISBATCH PREFIX p \n#fjd x\n\n#FJD perengine stop b\n"
            b"#DISBATCH PERENGINE start c\nx\n"
        ),
        "x",
    )
    assert reader.next() == Task(0, 7, -1, b"p x")
    assert reader.start == [Task(0, 1, -1, b"a"), Task(1, 6, -1, b"p c")]
    assert reader.stop == [Task(0, 5, -1, b"p b")]


@pytest.mark.parametrize("first", [b"x", b"#FJD REPEAT 0", b"#FJD BARRIER", b"#FJD TASK 1\nx"])
def test_per_engine_behind_a_task(first: bytes) -> None:
    """Behind that it is an error, and never the end of the list."""
    line = first.count(b"\n") + 2
    said = refused(first + b"\n#DISBATCH PERENGINE STOP b\ny\n") or ""
    assert said.startswith(f"x: line {line} is PERENGINE behind a task")


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"#DISBATCH",
            b"#DISBATCHX",
            b"#DISBATCH ",
            b"#FJD",
            b"#FJD\tBARRIER",
            b"#DISBATCH  BARRIER",
        ),
        *(
            b"#DISBATCH NO",
            b"#DISBATCH PREFIX",
            b"#FJD SUFFIX\tx",
            b"#DISBATCH barrier",
            b"#FJDX y",
        ),
        *(b"#DISBATCH BARRIERX", b"#DISBATCH BARRIERCHECK", b"#DISBATCH BARRIER check"),
        *(b"#DISBATCH BARRIER  CHECK", b"#DISBATCH BARRIER CHECKX", b"#FJD BARRIER-x"),
        *(
            b"#FJD REPEAT",
            b"#FJD REPEAT -5 x",
            b"#FJD REPEAT 5x",
            b"#FJD REPEAT 2 step 5 start 1 x",
        ),
        *(b"#FJD REPEAT 2 start -3", b"#FJD REPEAT 2 start 3x", b"#FJD REPEAT 2\tx"),
        *(b"#FJD REPEAT 1099511627776", b"#FJD REPEAT " + b"9" * 5000, b"#FJD REPEAT \xdb\xb2"),
        *(b"#FJD REPEAT 9 start 999999999999999999 step 999999999999999999",),
        *(b"#FJD PERENGINE", b"#FJD PERENGINE START", b"#FJD PERENGINE PAUSE x"),
        *(b"#DISBATCH TASK 1", b"#DISBATCH END", b"#DISBATCH LINE 1", b"#FJD end", b"#FJD END x"),
        *(
            b"#FJD LINE",
            b"#FJD LINE -1",
            b"#FJD TASK",
            b"#FJD TASK 3",
            b"#FJD TASK 1",
            b"#FJD TASK 99",
        ),
        *(b"#FJD END", b"#FJD TASK 1048577", b"nul \0", b"# \0", b"x" * (LONGEST + 1)),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(line: bytes) -> None:
    """Before anything is run, and while it is: the same words, and the line."""
    said = refused(b"a\n\n#FJD TASK 3\nb\nc\n" + line + b"\nxx\nd\n")
    assert said is not None
    assert said.startswith("x: line 6 ")
    assert "\n" not in said


def test_nothing_behind_an_error_is_read() -> None:
    """Whoever asks again is told again."""
    reader = Reader(io.BytesIO(b"a\n#FJD NO\nb\n"), "x")
    assert reader.next() == Task(0, 1, -1, b"a")
    for _ in range(3):
        with pytest.raises(JobFileError, match="line 2"):
            reader.next()


def test_too_many_per_engine() -> None:
    """Their numbers have a room of their own, and it is not endless."""
    assert refused(b"#FJD PERENGINE START x\n" * grammar.PER_ENGINE) is None
    assert "line 1001 " in (refused(b"#FJD PERENGINE STOP x\n" * 1001) or "")


def test_bytes_are_not_touched() -> None:
    """Tabs, what is no UTF-8, what others take for a line break: all of it is the command."""
    line = "é\t\x0b\x0c\u2028\x85".encode() + b"\xff\x85 \r x"
    assert commands(line + b"\n") == [line]
    assert commands(line + b"\r\n" + line + b"\r\n") == [line, line]
    assert commands(b"a\r\n\r\n#FJD PREFIX p\r\nb\r\r\nc\r") == [b"a", b"pb\r", b"pc"]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_the_longest_line(end: bytes) -> None:
    """A line of 1 MiB is one."""
    line = b"x" * LONGEST
    assert refused(line + end) is None
    assert commands(line + end) == [line]


def test_commands_with_line_breaks() -> None:
    """A TASK says its length, stands where it begins, and takes what is in force."""
    data = b"#FJD PREFIX p\n#FJD TASK 9\n#FJD NO\nx\nlast\n#FJD TASK 2\nyy"
    assert everything(data) == [
        Task(0, 2, -1, b"p#FJD NO\nx"),
        Task(1, 5, -1, b"plast"),
        Task(2, 6, -1, b"pyy"),
    ]


def test_lines_can_be_said() -> None:
    """What a program sends in one go stands in one line."""
    data = b"#FJD LINE 70\na\n#FJD BARRIER\n#FJD LINE 71\n#FJD REPEAT 2 x\n#FJD TASK 1\nx\n"
    assert [item.line for item in everything(data)] == [70, 70, 71, 71, 71]


def test_ten_thousand_barriers() -> None:
    """Nobody minds them."""
    found = everything(b"#DISBATCH BARRIER\n" * 10_000)
    assert [b.number for b in found if isinstance(b, Barrier)] == list(range(10_000))


def test_empty() -> None:
    """An empty list has ended."""
    reader = Reader(io.BytesIO(b"\n# x\n#FJD END\n"), "x")
    assert not reader.exhausted
    assert reader.next() is None
    assert reader.exhausted


@given(LISTS, st.integers(0, 60), st.integers(0, 5))
def test_skipping_is_reading_and_dropping(data: bytes, number: int, before: int) -> None:
    """Whoever skips finds what whoever reads finds."""
    full = everything(data)
    reader = Reader(io.BytesIO(data), "x")
    for _ in range(min(before, number)):
        reader.next()
    assert reader.skip_to(number) == (number <= len(full))
    assert rest(reader) == full[number:]
    assert [item.number for item in full] == list(range(len(full)))


def test_nobody_skips_back() -> None:
    """What was read is gone."""
    reader = Reader(io.BytesIO(b"a\nb\n"), "x")
    assert reader.skip_to(1)
    with pytest.raises(ValueError, match="item 0"):
        reader.skip_to(0)


@given(st.lists(st.sampled_from(ODD), max_size=12).map(b"\n".join))
def test_checked_is_runnable(data: bytes) -> None:
    """What passes the check passes the reader, and what does not is refused in the same words."""
    refused(data)


# -- growing ------------------------------------------------------------------------------------


@given(LISTS, st.lists(st.integers(0, 400), max_size=8).map(sorted))
def test_growing(data: bytes, cuts: list[int]) -> None:
    """However it grows, in the end the same was read, and only whole lines were."""
    file, found, written = io.BytesIO(), list[Item](), 0
    reader = Reader(file, "x", growing=True)
    for cut in [*cuts, len(data)]:
        at = file.tell()
        file.seek(0, os.SEEK_END)
        file.write(data[written:cut])
        written = max(written, min(cut, len(data)))
        file.seek(at)
        found += rest(reader)
        assert not reader.exhausted
    assert found == everything(data)


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[tuple[Callable[[bytes], object], Reader]]:
    """Return how to write to a growing file, and who reads it."""
    path = tmp_path / "list"
    with open(path, "ab", buffering=0) as writer, open(path, "rb") as file:
        yield writer.write, Reader(file, "x", growing=True)


def test_a_growing_file(growing: tuple[Callable[[bytes], object], Reader]) -> None:
    """An unfinished line waits, END ends, and what stands behind it is not read."""
    write, reader = growing
    assert reader.next() is None
    write(b"a\nhal")
    assert reader.next() == Task(0, 1, -1, b"a")
    assert reader.next() is None
    assert not reader.skip_to(5)
    write(b"f\n#FJD TASK 3\nx\n")
    assert reader.next() == Task(1, 2, -1, b"half")
    assert reader.next() is None
    write(b"y")
    assert reader.next() is None
    write(b"\n#FJD END\nb\n")
    assert reader.next() == Task(2, 3, -1, b"x\ny")
    assert reader.next() is None
    assert reader.exhausted
    assert reader.next() is None


@pytest.mark.parametrize("cut", range(12))
def test_a_byte_order_mark(growing: tuple[Callable[[bytes], object], Reader], cut: int) -> None:
    """Some editors put one first: the directive behind it is one, however the file grows."""
    write, reader = growing
    data = b"\xef\xbb\xbf#FJD PREFIX x\n\xef\xbb\xbfa\n"
    write(data[:cut])
    assert reader.next() is None
    write(data[cut:])
    assert reader.next() == Task(0, 2, -1, b"x\xef\xbb\xbfa")


def test_a_wrong_line_behind_a_byte_order_mark() -> None:
    """It is found before anything runs, and while it does."""
    assert "line 1 is no directive" in (refused(b"\xef\xbb\xbf#FJD NO\na\n") or "")
    assert refused(b"\xef\xbb\xbf") is None
    assert commands(b"\xef\xbb\xbfa") == [b"a"]


def test_bytes_that_arrive_later(tmp_path: Path) -> None:
    """Where NUL bytes stand, what was written may not have arrived yet; nothing is run of it."""
    path = tmp_path / "list"
    path.write_bytes(b"a\nb\0\0\0\0\0\0d\ne\n#FJD TASK 3\nx\0z\n")
    with open(path, "rb") as file, open(path, "r+b", buffering=0) as writer:
        reader = Reader(file, "x", growing=True)
        assert rest(reader) == [Task(0, 1, -1, b"a")]
        writer.seek(3)
        writer.write(b"bb\ncc\n")
        assert rest(reader) == [
            *(Task(1, 2, -1, b"bbb"), Task(2, 3, -1, b"cc"), Task(3, 4, -1, b"d")),
            Task(4, 5, -1, b"e"),
        ]
        writer.seek(-3, os.SEEK_END)
        writer.write(b"y")
        assert rest(reader) == [Task(5, 6, -1, b"xyz")]


def test_a_nul_byte_that_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not for ever: then it is what somebody wrote."""
    path = tmp_path / "list"
    path.write_bytes(b"a\nb\0\n")
    with open(path, "rb") as file:
        reader = Reader(file, "x", growing=True)
        assert rest(reader) == [Task(0, 1, -1, b"a")]
        monkeypatch.setattr(grammar, "_PATIENCE", 0.0)
        with pytest.raises(JobFileError, match="line 2 holds a NUL"):
            reader.next()
