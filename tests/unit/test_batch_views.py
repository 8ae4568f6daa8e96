"""What a run shows and hears: the board, the monitor's panel, new rows, the last words."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from fjd.batch import board, panel, services
from fjd.batch.bar import Display
from fjd.batch.board import Board, Engine
from fjd.batch.following import Follower
from fjd.batch.panel import Cursor, Row, Scene
from fjd.batch.tail import Tail
from fjd.spool.lists import statusfile
from fjd.spool.project import Project

BOARD = {
    "schema": 1,
    "tasks": 10,
    "cut": 9,
    "finished": 5,
    "failed": 1,
    "running": 2,
    "more": True,
    "barrier": 7,
    "started": 12.5,
    "engines": {
        "10": {"context": "ssh1", "host": "b", "slots": 2, "idle": 1},
        "2": {"context": "lab", "host": "a", "slots": 4, "assigned": 3, "last": 9.5},
    },
}


def rows(number: int, context: str = "lab") -> tuple[Row, ...]:
    """Return so many engines."""
    engines = [Engine(n, context, f"h{n}", 2, 1, 4, 3, 1, 0.0) for n in range(number)]
    return tuple(Row(engine, panel.NORMAL) for engine in engines)


# -- the board ------------------------------------------------------------------------------------


def test_board() -> None:
    """A board is read with its engines in the order of their ranks."""
    seen = board.load(BOARD)
    assert seen is not None
    assert (seen.tasks, seen.finished, seen.barrier, seen.more) == (10, 5, 7, True)
    assert [engine.rank for engine in seen.engines] == [2, 10]
    assert seen.engines[0] == Engine(2, "lab", "a", 4, 0, 3, 0, 0, 9.5)


def test_board_of_a_list_that_nobody_has_read() -> None:
    """What is not known is not there."""
    assert board.load({}) == Board(None, 0, 0, 0, False, None, 0.0, ())
    assert board.load({"tasks": None, "barrier": None, "engines": {}}) == board.load({})


@pytest.mark.parametrize("wrong", [{"finished": "x"}, {"engines": {"x": {}}}, {"engines": 3}])
def test_wrong_board(wrong: dict[str, object]) -> None:
    """What is no board is none."""
    assert board.load(wrong) is None


# -- the panel ------------------------------------------------------------------------------------


def test_panel_fits() -> None:
    """Every line fits into the smallest screen, whatever stands in it."""
    long = Engine(12345, "c" * 60, "h" * 60, 9, 99999, 10**7, 10**7, 10**7, 1.0)
    lines = [panel.HEADING, panel.line(Row(long, panel.NORMAL), 2.0)]
    scene = Scene("x" * 200, board.load(BOARD), (Row(long, panel.NORMAL),))
    lines += panel.header(scene)
    assert all(len(line) <= panel.COLUMNS - 2 for line in lines)
    assert len(panel.HEADING) == len(panel.line(Row(long, panel.NORMAL), 2.0))


def test_panel_says_how_it_stands() -> None:
    """The header has the counts of the seed's monitor; a label that is long loses its middle."""
    first, second = panel.header(Scene("run1", board.load(BOARD), rows(3)))
    assert first.startswith("run1 ")
    assert first.endswith("Status: More tasks.")
    assert second == "Slots 6    Tasks: Finished 5    Failed 1    Barrier 7"
    assert panel.header(Scene("run1", None, ()))[1] == "[disBatch controller has exited]"
    label = panel.shortened("a" * 30 + "b" * 30)
    assert label == "a" * 17 + "..." + "b" * 20


def test_cursor() -> None:
    """The chosen engine stays chosen and in view while others come and go."""
    cursor, many = Cursor(), rows(10)
    assert cursor.place((), 4) is None
    assert cursor.place(many, 4) == 0
    for _ in range(20):
        cursor.move(many, 1)
    assert cursor.place(many, 4) == 9
    assert cursor.top == 6
    cursor.move(many, -4)
    assert cursor.place(many, 4) == 5
    assert cursor.top == 5
    assert cursor.place(many[3:], 4) == 2
    assert cursor.place(many[:2], 4) == 0
    cursor.move((), 1)


def test_scroll_bar() -> None:
    """The bar says which part is seen."""
    assert panel.scroll_bar(4, 0, 4) == range(0)
    assert panel.scroll_bar(8, 0, 4) == range(2)
    assert panel.scroll_bar(8, 4, 4) == range(2, 4)
    assert len(panel.scroll_bar(1000, 996, 4)) == 1


def test_questions() -> None:
    """E asks about one engine, C about all of its context."""
    mixed = rows(3) + (Row(Engine(7, "ssh7", "z", 1, 0, 0, 0, 0, 0.0), panel.NORMAL),)
    one = panel.question("E", mixed, 1)
    assert one is not None
    assert (one.text, one.ranks) == ("Stopping engine 1 (h1, lab)", (1,))
    assert one.done == "Asking controller to stop engine 1"
    all_ = panel.question("C", mixed, 1)
    assert all_ is not None
    assert (all_.text, all_.ranks) == ("Stopping context lab (3 engine(s))", (0, 1, 2))
    assert panel.question("C", mixed, 5) is None


# -- rows -----------------------------------------------------------------------------------------


def test_tail(tmp_path: Path) -> None:
    """Whole lines come once; a torn one comes when it is whole, a new file from its beginning."""
    path = tmp_path / "s"
    tail = Tail(str(path))
    assert tail.lines() == []
    path.write_bytes(b"one\ntwo\nthr")
    assert tail.lines() == [b"one", b"two"]
    assert tail.lines() == []
    with path.open("ab") as file:
        file.write(b"ee\n")
    assert tail.lines() == [b"three"]
    other = tmp_path / "t"
    other.write_bytes(b"four\n" + b"x" * 50 + b"\nlast\n")
    os.replace(other, path)
    found: list[bytes] = []
    while new := tail.lines(limit=20):
        found += new
    assert found == [b"four", b"x" * 50, b"last"]


def test_tail_of_what_is_there(tmp_path: Path) -> None:
    """What was there before can be passed over."""
    path = tmp_path / "s"
    path.write_bytes(b"old\n")
    tail = Tail(str(path))
    tail.pass_over()
    with path.open("ab") as file:
        file.write(b"new\n")
    assert tail.lines() == [b"new"]


def test_fields_of_a_row() -> None:
    """A row has the names that programs know; the header and what is torn have none."""
    row = b"ROE \t5\t13\t-1\tvm\t26660\t3\t0.008\t1.5\t2.5\t5\t'leak\\n'\t4\t'err\\n'\techo\ta"
    found = services.fields(row)
    assert found["TaskId"] == 5
    assert (found["TaskRepIndex"], found["ReturnCode"], found["Elapsed"]) == (-1, 3, 0.008)
    assert (found["OutBytes"], found["OutData"], found["TaskCmd"]) == (5, "leak\n", "echo\ta")
    assert services.fields(b"a\tb") == {}
    assert services.fields(b"\t".join([b"ROE[ PSZ]", *[b"x"] * 14])) == {}


@pytest.mark.parametrize("command", [b"a\nb", b"a\tb", b"'a'", b"\xff\n"])
def test_command_of_a_row(command: bytes) -> None:
    """Programs are told the command that was run, however it is quoted in the row."""
    figures = b"vm\t1\t0\t1.0\t1.0\t2.0\t0\t''\t0\t''"
    row = statusfile.compose(b"    ", 1, 1, -1, figures, statusfile.quote(command))
    said = services.fields(row)["TaskCmd"]
    assert str(said).encode("utf-8", "surrogateescape") == command


def test_heard_once(tmp_path: Path, project: Project) -> None:
    """A row is heard once, also if the file is written anew by who ends a list."""
    path, heard = tmp_path / "status", list[bytes]()
    display = Display(io.StringIO(), "fjd-batch", live=False)
    old = statusfile.row({"outcome": "ok", "exit": 0, "task": 0, "command": "a"})
    new = statusfile.row({"outcome": "ok", "exit": 0, "task": 1, "command": "b"})
    path.write_bytes(b"")
    follower = Follower(project, "key", display, 0, str(path), heard.append)
    path.write_bytes(old)
    follower._read()
    (tmp_path / "anew").write_bytes(old + new)
    os.replace(tmp_path / "anew", path)
    follower._read()
    assert heard == [old[:-1], new[:-1]]
