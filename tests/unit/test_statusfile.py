"""The status file: byte for byte what disBatch's documents and files say."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjd.spool.burial import loss_record
from fjd.spool.lists import statusfile
from fjd.spool.lists.grammar import ENGINE_BASE, Barrier
from fjd.spool.lists.statusfile import leak, parse, quote, row, unquote
from fjd.spool.names import Token

KEY = "x.abcdefghijkl"
OLD = (  # lines of disBatch itself; | stands for a tab
    "   P|0|4|-1|vm|26381|0|1.004|1795156913.065|1795156914.069|0|''|0|''|( echo start )",
    "    |1|9|10|vm|26464|0|1.005|1.000|2.005|0|''|0|''|( echo $X ) > out_${X}.log 2>&1",
    "B    |4|10|-1|vm|26055|0|1.003|1.000|2.003|0|''|0|''|#DISBATCH BARRIER",
    r"ROE |5|13|-1|vm|26660|3|0.008|1.000|1.008|5|'leak\n'|4|'err\n'|echo leak; exit 3",
    r"R E |3|4|-1|vm|22274|127|0.004|1.000|1.004|48|'/bin: no...t found\n'|0|''|nosuchcmd",
    r"ROES|5|13|-1|vm|26660|3|0.008|1.000|1.008|5|'leak\n'|4|'err\n'|echo leak; exit 3",
    "R   |0|1|-1|vm|-1|-100|0.000|1.000|1.000|0|''|0|''|sleep 9",
    '|314|315|-1|worker032|8016|0|10.0486528873|1458660919.78|1458660929.83|0|""|0|""|\'cd /p\'',
)


def line_of(text: str) -> bytes:
    """Return a line of a status file."""
    return text.replace("|", "\t").encode() + b"\n"


def record(**more: object) -> dict[str, Any]:
    """Return the record of a task that has ended well."""
    return {
        **{
            "event": "end",
            "job": "x",
            "key": KEY,
            "task": 1,
            "attempt": 1,
            "worker": "vm-0-00000000",
        },
        **{"host": "vm", "pid": 26464, "outcome": "ok", "exit": 0, "signal": None, "cause": ""},
        **{"start": 1795156913.0654, "end": 1795156914.0696, "seconds": 1.0044, "out": [0, 0]},
        **{"err": [0, 0], "command": "a", "line": 9, "repeat": 10},
        **more,
    }


def test_a_task() -> None:
    """Fifteen columns, four flags, three decimals."""
    text = "    |1|9|10|vm|26464|0|1.004|1795156913.065|1795156914.070|0|''|0|''|a"
    assert row(record()) == line_of(text)
    assert (
        line_of(
            "ROE[ PSZ]|TaskID|LineNum|RepeatIndex|Node|PID|ReturnCode|Elapsed|Start|Finish"
            "|BytesOfLeakedOutput|OutputSnippet|BytesOfLeakedError|ErrorSnippet|Command"
        )
        == statusfile.HEADER
    )


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({}, 0),
        ({"outcome": "failed", "exit": 44}, 44),
        ({"outcome": "failed", "exit": 126, "pid": None}, 126),
        ({"outcome": "failed", "exit": None}, 1),
        ({"outcome": "killed", "exit": None, "signal": 9}, -9),
        ({"outcome": "timeout", "exit": None, "signal": 15}, 124),
        ({"outcome": "timeout", "exit": 0}, 124),
        ({"outcome": "lost", "exit": None}, -100),
    ],
)
def test_codes(more: dict[str, Any], code: int) -> None:
    """Only what ended well has 0."""
    found = row(record(**more)).split(b"\t")
    assert int(found[6]) == code
    assert found[0] == (b"R   " if code else b"    ")


def test_lost_with_its_workers() -> None:
    """Nobody knows its pid, and the host is that of the last one."""
    said = {
        **loss_record(Token(KEY, 0, 5), "node1-3-00000000", "it died"),
        "command": "a",
        "task": 3,
    }
    found = row({**said, "end": 12.5, "line": 4}).split(b"\t")
    assert found == line_of("R   |3|4|-1|node1|-1|-100|0.000|12.500|12.500|0|''|0|''|a").split(
        b"\t"
    )


def test_cancelled() -> None:
    """What was not run to its end has no row."""
    assert row(record(outcome="cancelled", signal=15)) == b""


def test_per_engine() -> None:
    """They have ids of their own."""
    for number, kept in ((0, 0), (2003, 3), (3007, 7)):
        found = parse(row(record(task=ENGINE_BASE + number)))
        assert found is not None
        assert (found.kind, found.number) == ("P", kept)


@pytest.mark.parametrize(
    ("printed", "size", "snippet"),
    [
        (b"leak\n", b"5", rb"'leak\n'"),
        (b"x" * 40, b"40", b"'" + b"x" * 40 + b"'"),
        (b"x" * 41, b"41", b"'" + b"x" * 40 + b"...x'"),
        (b"x" * 100 + b"\n", b"101", b"'" + b"x" * 40 + b"..." + b"x" * 39 + rb"\n'"),
        (b"it's\t\xff\xc3\xa9", b"8", '"it\'s\\t\ufffdé"'.encode()),
    ],
)
def test_leaks(printed: bytes, size: bytes, snippet: bytes) -> None:
    """The beginning and the end of what was printed, as Python quotes it."""
    said = leak(len(printed), printed[:99], printed[-99:])
    found = row(record(leak={"out": said})).split(b"\t")
    assert (found[0], found[10], found[11], found[12], found[13]) == (
        b" O  ",
        size,
        snippet,
        b"0",
        b"''",
    )
    found = row(record(leak={"err": said}, outcome="failed", exit=3)).split(b"\t")
    assert (found[0], found[10], found[11], found[12], found[13]) == (
        b"R E ",
        b"0",
        b"''",
        size,
        snippet,
    )


def test_barriers() -> None:
    """Five flags, the dispatcher's pid, and the line itself."""
    plain = Barrier(4, 10, False, "", b"#DISBATCH BARRIER")
    text = "B    |4|10|-1|vm|26055|0|1.003|1.000|2.003|0|''|0|''|#DISBATCH BARRIER"
    assert statusfile.barrier_row(plain, "vm", 26055, 1.0, 2.003) == line_of(text)
    check = Barrier(4, 10, True, "", b"#FJD BARRIER CHECK")
    assert statusfile.barrier_row(check, "vm", 1, 1.0, 2.0).startswith(
        b"C    \t4\t10\t-1\tvm\t1\t0\t"
    )


@pytest.mark.parametrize(
    ("command", "written"),
    [
        (b"a\tb 'c'", b"a\tb 'c'"),
        (b"", b""),
        ("é\u2028".encode(), "é\u2028".encode()),
        (b"a\nb", rb"'a\nb'"),
        (b"a\r", rb"'a\r'"),
        (b"\xff", rb"b'\xff'"),
        (b"\xff\n'", rb'''b"\xff\n'"'''),
        (b"'a'", b'''"'a'"'''),
        (b"b'a'", b'''"b'a'"'''),
        (b"'a' 'b'", b"'a' 'b'"),
        (rb"'a\d'", rb"'a\d'"),
        (rb"'a\n'", rb'''"'a\\n'"'''),
    ],
)
def test_quoting(command: bytes, written: bytes) -> None:
    """As it is, unless a reader would take it for something else."""
    assert quote(command) == written
    assert unquote(written) == command


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (b"'cd /p ; x > y 2>&1'", b"cd /p ; x > y 2>&1"),
        (b'''"it's"''', b"it's"),
        (rb"'a\tb\\\'\xe9\u2028\U0001f600'", "a\tb\\'é\u2028😀".encode()),
        (rb"b'a\xff\''", b"a\xff'"),
        (b"echo 'a'", b"echo 'a'"),
        (b"'echo' 'a'", b"'echo' 'a'"),
        (rb"'\U00110000'", rb"'\U00110000'"),
        (rb"b'\u0041'", rb"b'\u0041'"),
    ],
)
def test_old_quotings(text: bytes, command: bytes) -> None:
    """Raw, quoted, quoted bytes: all three are read."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert unquote(text) == command


@given(st.binary().filter(lambda b: b"\0" not in b) | st.text("'\"b\\nux0\n\r\t a").map(str.encode))
def test_any_command_is_one_row_and_comes_back(command: bytes) -> None:
    """Whatever it is, it is one line, and what was run."""
    text = command.decode("utf-8", "surrogateescape")
    line = row(record(command=text))
    assert line.count(b"\n") == 1
    found = parse(line)
    assert found is not None
    assert found.command == command
    again = parse(statusfile.skipped(found, 1, 9, 10, command))
    assert again == found._replace(kind="S")


@pytest.mark.parametrize("text", OLD)
def test_lines_of_disbatch(text: str) -> None:
    """They are read; what a resume makes of them is the same with another flag."""
    line = line_of(text)
    found = parse(line)
    assert found is not None
    assert statusfile.brief(line) == (found.kind, found.number, found.code)
    columns = line.split(b"\t")
    assert found.figures == b"\t".join(columns[4:14])
    assert found.kind == (columns[0] + b"    ").strip(b"ROE ").decode() or found.kind == " "
    new = statusfile.skipped(found, found.number, found.line, found.repeat, found.command)
    assert new.split(b"\t")[1:14] == columns[1:14]
    assert new.split(b"\t")[0][3:] == b"S"


@pytest.mark.parametrize("text", OLD)
def test_torn(text: str) -> None:
    """Half a line is none."""
    line = line_of(text)
    assert [parse(line[:n]) for n in range(len(line))] == [None] * len(line)


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"\n", b"true\n", statusfile.HEADER, b"\0" * 50 + b"\n", b"\t" * 14 + b"\n"),
        line_of("X   |1|9|10|vm|1|0|1.0|1.0|2.0|0|''|0|''|a"),
        line_of("    |1|9|10|vm|1|0|nan|1.0|2.0|0|''|0|''|a"),
        line_of("    |1|9|10|vm|1|0|1.0.0|1.0|2.0|0|''|0|''|a"),
        line_of("    |1|9|10|vm|1|0|1.0|-|2.0|0|''|0|''|a"),
        line_of("    |1_0|9|10|vm|1|0|1.0|1.0|2.0|0|''|0|''|a"),
        line_of("    |" + "9" * 30 + "|9|10|vm|1|0|1.0|1.0|2.0|0|''|0|''|a"),
    ],
)
def test_no_rows(line: bytes) -> None:
    """What is none is passed over."""
    assert parse(line) is None
    assert statusfile.brief(line) is None


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())


@given(st.dictionaries(st.sampled_from([*record(), "leak"]), VALUES), st.lists(VALUES, max_size=4))
def test_odd_records(more: dict[str, Any], leaked: list[Any]) -> None:
    """Whatever a record says, there is one line that can be read, or none."""
    line = row(record(**{"leak": {"out": leaked}, **more}))
    assert line.count(b"\n") == (line != b"")
    assert line == b"" or parse(line) is not None or "\0" in str(more.get("command"))
