"""What a list says, worked off: directives, terms, status file, resume, halts."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import NamedTuple, Optional

import pytest
from listplay import Worker, lists, work_off

from fjd.dispatcher.lists import Lists
from fjd.spool import names, records
from fjd.spool.lists import halt, shelf, statusfile, submission
from fjd.spool.lists.covered import Folded
from fjd.spool.lists.halt import Halt
from fjd.spool.lists.names import END, NOBODY, OFF
from fjd.spool.lists.shelf import Shelf
from fjd.spool.lists.submission import Growing
from fjd.spool.lists.tally import Tally
from fjd.spool.lists.terms import Terms
from fjd.spool.lists.writing import Sign
from fjd.spool.project import Project
from fjd.system.identity import Identity
from fjd.worker.pieces import Turn


class Part(NamedTuple):
    """What an earlier run has done."""

    lo: int
    hi: int
    bad: int = 0


class Ground:
    """A list in a project, with its status file beside it."""

    def __init__(self, project: Project, path: Path) -> None:
        self.project, self.path = project, path
        self.status = path / "x_status.txt"
        self.terms = Terms(name="x", status=str(self.status))

    def submit(self, text: bytes, *done: Part, terms: Optional[Terms] = None) -> Shelf:
        """Submit a list as it stands."""
        source = self.path / "x"
        source.write_bytes(text)
        return submission.submit(self.project, "x", str(source), terms or self.terms, done)

    def rows(self) -> list[statusfile.Row]:
        """Return the rows of the status file; every line must be one."""
        found = [statusfile.parse(line) for line in self.status.read_bytes().splitlines(True)]
        assert all(found), self.status.read_bytes()
        return [row for row in found if row]

    def codes(self) -> dict[int, int]:
        """Return the codes by number; each number stands there once."""
        rows = self.rows()
        found = {row.number: row.code for row in rows}
        assert len(found) == len(rows), "an id stands there twice"
        return found

    def cause(self, word: str = "cause") -> str:
        """Return what the list's own record says."""
        (cause,) = [
            record[word]
            for writer in records.writers(self.project)
            for record in records.of_worker(self.project, writer)
            if record["task"] is None
        ]
        return str(cause)

    def reason(self) -> str:
        """Return which kind of end that was."""
        return self.cause("reason")

    def outcome(self) -> str:
        """Return how the list ended."""
        (result,) = filter(None, map(names.Result.parse, os.listdir(self.project.results)))
        return result.outcome


@pytest.fixture
def ground(project: Project, tmp_path: Path) -> Ground:
    """Return a place for a list."""
    return Ground(project, tmp_path)


def commands(worker: Worker, project: Project) -> list[str]:
    """Return what a worker has run."""
    return [record["command"] for record in records.of_worker(project, worker.id)]


# -- directives ------------------------------------------------------------------------------------


def test_directives(ground: Ground, project: Project) -> None:
    """Numbers count tasks, instances and barriers; lines are those of the file."""
    ground.submit(
        b"# a comment\n#DISBATCH PREFIX a \n#DISBATCH SUFFIX  z\none\r\n\n"
        b"#DISBATCH REPEAT 2 start 5 step 5 r\n#FJD BARRIER\n#FJD TASK 5\nt\nw\no\nlast\n"
    )
    worker = Worker(project)
    work_off(project, lists(project), [worker])
    assert commands(worker, project) == ["a one z", "a r z", "a r z", "a t\nw\no z", "a last z"]
    assert [number for number, _ in worker.begun] == [0, 1, 2, 4, 5]
    rows = ground.rows()
    assert [(row.kind, row.number, row.line, row.repeat) for row in rows] == [
        (" ", 0, 4, -1),
        (" ", 1, 6, 5),
        (" ", 2, 6, 10),
        ("B", 3, 7, -1),
        (" ", 4, 8, -1),
        (" ", 5, 12, -1),
    ]
    assert ground.outcome() == "ok"


def test_repeat_of_ten_million(ground: Ground, project: Project) -> None:
    """Instances are counted, not written out: where the mark is, it goes on."""
    place = ground.submit(b"#FJD REPEAT 10000000 start 3 run\nlast\n", Part(0, 9_999_998))
    worker = Worker(project)
    work_off(project, lists(project), [worker])
    assert [number for number, _ in worker.begun] == [9_999_998, 9_999_999, 10_000_000]
    assert not os.path.exists(place.path)
    assert [row.repeat for row in ground.rows()] == [10_000_001, 10_000_002, -1]


def test_barrier(ground: Ground, project: Project) -> None:
    """Nothing behind a barrier is handed out before all in front of it have ended."""
    ground.submit(b"a\nb\n#FJD BARRIER\nc\n")
    desk, one, two = lists(project), Worker(project), Worker(project)
    desk.look()
    assert desk.give(one.id, "host", 2)
    assert desk.give(two.id, "host", 2)
    assert desk.give(one.id, "host", 2) is None
    one.work()
    desk.look()
    assert desk.give(one.id, "host", 2) is None
    two.work()
    desk.look()
    assert desk.give(one.id, "host", 2)
    work_off(project, desk, [one])
    assert ground.outcome() == "ok"


def test_barriers_in_a_row(ground: Ground, project: Project) -> None:
    """Ten thousand barriers are one step."""
    place = ground.submit(b"a\n" + b"#FJD BARRIER\n" * 10_000 + b"b\n")
    desk, worker = lists(project), Worker(project)
    desk.look()
    desk.give(worker.id, "host", 1)
    worker.work()
    desk.look()
    mark = place.look().mark
    assert mark is not None
    assert mark.n == 10_001
    work_off(project, desk, [worker])
    assert ground.codes().keys() == set(range(10_002))


@pytest.mark.parametrize("anew", [False, True])
def test_check(ground: Ground, project: Project, anew: bool) -> None:
    """A failure since the last barrier ends the list at a CHECK, also for the next dispatcher."""
    ground.submit(
        b"a\n#FJD BARRIER\nb\n#FJD BARRIER\n#FJD BARRIER CHECK\nc\nd\n#FJD BARRIER CHECK\ne\n"
    )
    worker = Worker(project, lambda turn: "fail" if turn.number in (0, 2, 5) else "ok")
    desk = lists(project)
    for _ in range(100):
        if anew:
            desk.close()
            desk = lists(project)
        desk.look(nudge=True)
        if not shelf.keys(project):
            break
        desk.give(worker.id, "host", 1)
        worker.work()
    assert [number for number, _ in worker.begun] == [0, 2, 5, 6]
    assert ground.outcome() == "x1"
    assert ground.cause() == "barrier check: 1 task failed before line 8"
    assert ground.reason() == halt.FAILURE
    assert ground.codes() == {0: 1, 1: 0, 2: 1, 3: 0, 4: 0, 5: 1, 6: 0}


def test_check_of_resumed(ground: Ground, project: Project) -> None:
    """What failed in an earlier run, and is not run again, counts at a CHECK."""
    ground.submit(b"a\nb\n#FJD BARRIER CHECK\nc\n", Part(0, 1, 1))
    worker = Worker(project)
    work_off(project, lists(project), [worker])
    assert [number for number, _ in worker.begun] == [1]
    assert ground.outcome() == "x1"


def test_wrong_line(ground: Ground, project: Project) -> None:
    """A wrong line ends the list there, and the record names it."""
    ground.submit(b"a\n#FJD BARIER\nb\n")
    worker = Worker(project)
    work_off(project, lists(project), [worker])
    assert [number for number, _ in worker.begun] in ([], [0])
    assert "line 2" in ground.cause()
    assert ground.reason() == halt.WRONG
    assert ground.outcome() == "x1"


# -- resume ----------------------------------------------------------------------------------------


def test_resumed(ground: Ground, project: Project) -> None:
    """What is done is not run again; pieces span it, also when they are lost or fail."""
    ground.submit(
        b"".join(b"%d\n" % n for n in range(12)), Part(0, 2), Part(3, 4), Part(6, 8), Part(11, 12)
    )
    seen: list[int] = []

    def fate(turn: Turn) -> str:
        seen.append(turn.number)
        return "fail" if turn.number in (5, 9) and turn.attempt == 1 else "ok"

    work_off(project, lists(project, retries=1), [Worker(project, fate)])
    assert set(seen) == {2, 4, 5, 8, 9, 10}
    assert ground.codes() == dict.fromkeys((2, 4, 5, 8, 9, 10), 0)
    assert ground.outcome() == "ok"


def test_all_resumed(ground: Ground, project: Project) -> None:
    """A list of which all is done ends at once."""
    ground.submit(b"a\nb\n#FJD BARRIER\nc\n", Part(0, 2), Part(3, 4))
    work_off(project, lists(project), [])
    assert ground.outcome() == "ok"
    assert [row.kind for row in ground.rows()] == ["B"]


# -- growing ---------------------------------------------------------------------------------------


def test_growing(ground: Ground, project: Project) -> None:
    """Tasks are run as they come; the list ends when its writer says so."""
    terms = ground.terms._replace(writer=Identity.of(os.getpid()))
    target = Growing(project, "x", terms)
    desk, worker = lists(project), Worker(project)
    for count in range(1, 4):
        target.write(b"echo %d\necho" % count)
        for _ in range(3):
            desk.look(nudge=True)
            desk.give(worker.id, "host", 1)
            worker.work()
        assert len(worker.begun) == count
        target.write(b" half\n#FJD REPEAT 0\n" if count == 3 else b"\n#FJD REPEAT 0\n# ")
        target.write(b"\n")
        desk.look()
        desk.give(worker.id, "host", 1)
        worker.work()
        del worker.begun[count:]
    target.finish()
    work_off(project, desk, [worker])
    assert ground.outcome() == "ok"
    assert len(ground.rows()) == 6


def test_writer_died(ground: Ground, project: Project) -> None:
    """What was written of a list is run; that its writer died is why it failed."""
    nobody = Identity.of(os.getpid())._replace(ticks=1)
    target = Growing(project, "x", ground.terms._replace(writer=nobody))
    target.write(b"a\nb\nhalf")
    worker = Worker(project)
    work_off(project, lists(project), [worker])
    assert commands(worker, project) == ["a", "b"]
    assert ground.outcome() == "x1"
    assert "writer died" in ground.cause()
    assert ground.reason() == halt.WRONG


def test_writer_died_elsewhere(ground: Ground, project: Project) -> None:
    """On another host it is dead when its sign of life stands still: not sooner, and not never."""
    elsewhere = Identity("elsewhere", "another boot", "pid:[1]", 7, 7)
    target = Growing(project, "x", ground.terms._replace(writer=elsewhere))
    target.write(b"a\n")
    desk, worker = lists(project, clock=itertools.count(0.0, 4.0).__next__), Worker(project)
    sign = Sign(project, target.shelf.key, itertools.count(0.0, 6.0).__next__)
    for _ in range(100):
        sign.beat()
        desk.look(nudge=True)
        desk.give(worker.id, "host", 1)
        worker.work()
    assert shelf.keys(project)
    work_off(project, desk, [worker])
    assert commands(worker, project) == ["a"]
    assert "writer died" in ground.cause()


# -- stopping --------------------------------------------------------------------------------------


def test_fail_fast(ground: Ground, project: Project) -> None:
    """The first failure stops the list; what waits is not begun, what runs is taken away."""
    ground.submit(b"a\nb\nc\nd\ne\n", terms=ground.terms._replace(fail_fast=True))
    one = Worker(project, lambda turn: "fail")
    other = Worker(project)
    desk = lists(project)
    desk.look()
    assert desk.give(one.id, "host", 4)
    given = desk.give(other.id, "host", 4)
    assert given is not None
    place = Shelf(project, given.key)
    assert place.accept(other.id, given.piece)
    one.work()
    desk.look()
    assert other.pod() == []
    assert other.id in desk.woken
    work_off(project, desk, [other])
    assert other.begun == []
    assert ground.outcome() == "x1"
    assert "task 0" in ground.cause()
    assert ground.reason() == halt.FAILURE
    assert ground.codes() == {0: 1}


@pytest.mark.parametrize("anew", [False, True])
def test_cancel(ground: Ground, project: Project, anew: bool) -> None:
    """Whoever says halt stops a list for good, whoever serves."""
    place = ground.submit(b"a\nb\nc\nd\n")
    desk, worker = lists(project), Worker(project)
    desk.look()
    desk.give(worker.id, "host", 1)
    worker.work()
    halt.publish(place, Halt("somebody wanted it", now=True))
    if anew:
        desk.close()
        desk = lists(project)
    work_off(project, desk, [worker])
    assert len(worker.begun) == len(ground.codes()) < 4
    assert (ground.outcome(), ground.cause()) == ("cancelled", "somebody wanted it")
    assert ground.reason() == ""


# -- the status file -------------------------------------------------------------------------------


def test_rows_of_the_lost(ground: Ground, project: Project) -> None:
    """A task that took down its workers has a row that says what it was."""
    ground.submit(b"a\nb\nc\n")
    desk = lists(project)
    for _ in range(30):
        worker = Worker(project, lambda turn: "crash" if turn.number == 1 else "ok")
        desk.look()
        desk.give(worker.id, "host", 1)
        worker.bury()
        if not shelf.keys(project):
            break
    rows = {row.number: row for row in ground.rows()}
    assert (rows[1].code, rows[1].pid, rows[1].line, rows[1].command) == (-100, -1, 2, b"b")
    assert ground.codes() == {0: 0, 1: -100, 2: 0}


@pytest.mark.parametrize("cut", [0, 1, 30, 100])
def test_restored(ground: Ground, project: Project, cut: int) -> None:
    """The next dispatcher writes the rows that are missing, and drops what is torn."""
    ground.submit(
        b"a\nb\n#FJD BARRIER\nc\nd\n" + b"e\n" * 20, terms=ground.terms._replace(header=True)
    )
    worker, desk = (
        Worker(project, lambda turn: "fail" if turn.number == 1 else "ok"),
        lists(project),
    )
    for _ in range(4):
        desk.look(nudge=True)
        desk.give(worker.id, "host", 1)
        worker.work()
    desk.look()
    written = ground.status.read_bytes()
    assert len(written.splitlines()) > 5
    ground.status.write_bytes(written[: len(written) - cut] if cut else b"")
    work_off(project, lists(project), [worker])
    first, rest = ground.status.read_bytes().split(b"\n", 1)
    assert first + b"\n" == statusfile.HEADER
    ground.status.write_bytes(rest)
    assert ground.codes() == {n: int(n == 1) for n in range(25)}


def test_two_dispatchers(ground: Ground, project: Project) -> None:
    """Two who wrote at the same time leave one row of each task."""
    ground.submit(b"".join(b"%d\n" % n for n in range(30)))
    worker, desks = Worker(project), [lists(project), lists(project)]
    for turn in range(100):
        if not shelf.keys(project):
            break
        desk: Lists = desks[turn % 2]
        desk.look(nudge=True, recount=turn > 20)
        desk.give(worker.id, "host", 1)
        worker.work()
        if turn == 4:
            text = ground.status.read_bytes()
            ground.status.write_bytes(text + text.splitlines(True)[0])
    assert ground.codes() == dict.fromkeys(range(30), 0)


def test_status_cannot_be_written(ground: Ground, project: Project) -> None:
    """Without a place for the rows nothing is run, and the record says why."""
    wrong = ground.terms._replace(status=str(ground.path / "nowhere" / "status"))
    ground.submit(b"a\n", terms=wrong)
    worker = Worker(project)
    work_off(project, lists(project), [worker])
    assert worker.begun == []
    assert "status file cannot be written" in ground.cause()


# -- the tally ------------------------------------------------------------------------------------


def test_what_was_not_run_has_not_failed() -> None:
    """Tasks of a stopped list that were not run count as done with, and as nothing else."""
    tally = Tally()
    tally.covered.add(0, 6)
    tally.fail(1)
    for task in (4, 5):
        tally.fail(task, cancelled=True)
    assert (tally.tasks, tally.ended, tally.failed, tally.bad) == (6, 4, 1, 3)


def test_what_another_dispatcher_has_called_off() -> None:
    """The progress file says it as well."""
    tally = Tally()
    tally.learn(Folded(0, 4, "w", 0, 1, 0, END, 1))
    tally.learn(Folded(4, 9, NOBODY, 0, 1, 0, OFF, 5))
    assert (tally.tasks, tally.ended, tally.failed, tally.bad) == (9, 4, 1, 6)
