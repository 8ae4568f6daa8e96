"""Lists on a real file system: verb by verb, with a crash at every system call, and at random."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

import pytest
from listplay import Crash, Worker, feed, lists, outcome, work_off

from fjd.dispatcher.rows import Rows
from fjd.spool import burial, names, records
from fjd.spool.filing import Cabinet
from fjd.spool.lists import (
    afterwards,
    content,
    covered,
    ends,
    grammar,
    shelf,
    statusfile,
    submission,
    taking,
)
from fjd.spool.lists.names import BACK, DEAD, TORN, Assigned, Kept, Mark, Piece
from fjd.spool.lists.shelf import Shelf
from fjd.spool.lists.task import Task
from fjd.spool.project import Project
from fjd.spool.records import Ledger, Record
from fjd.system import files
from fjd.worker.pieces import Turn

if TYPE_CHECKING:
    from tests.unit.conftest import Bench, Hire, Tools

ME = "dispatcher-0-00000000"
TASKS = 9


def submit(project: Project, count: int = TASKS) -> Shelf:
    """Submit a list."""
    return submission.submit(project, "x.tasks", (b"echo %d" % n for n in range(count)))


class Ledgers:
    """Who counts for each task, as the progress files say just before they are removed."""

    def __init__(self, project: Project, patch: pytest.MonkeyPatch) -> None:
        self.project = project
        self.lines: list[covered.Folded] = []
        self.key = ""
        commit = afterwards.commit

        def watched(place: Shelf, mark: Mark, look: shelf.Look, who: str) -> bool:
            self.key = place.key
            for name in look.others:
                self.lines += covered.lines(place.place(name))
            return commit(place, mark, look, who)

        patch.setattr(afterwards, "commit", watched)

    def counted(self) -> dict[int, tuple[str, int, str]]:
        """Return (worker, attempt, outcome) of each task; nobody may be counted twice."""
        found: dict[int, tuple[str, int, str]] = {}
        for line in self.lines:
            piece = Piece("a" * 10, line.lo, line.hi, 0, line.attempt, 0, line.extra)
            seen = ends.read(self.project, self.key, piece, line.worker, line.at)
            for task in piece.tasks():
                record = seen.records.get(task)
                end = (line.worker, piece.number(task), record["outcome"] if record else "lost")
                assert found.setdefault(task, end) == end
        return found


@pytest.fixture
def ledgers(project: Project, monkeypatch: pytest.MonkeyPatch) -> Ledgers:
    """Return what is counted."""
    return Ledgers(project, monkeypatch)


def cut_one(project: Project, worker: str, hi: int = 5) -> tuple[Shelf, Piece]:
    """Submit a list and cut a piece of it into a pod."""
    place = submit(project)
    mark = place.look().mark
    assert mark is not None
    data = content.encode(0, hi, [Task(n, n + 1, -1, b"echo %d" % n) for n in range(hi)])
    piece = place.cut(mark, hi, data, worker)
    assert piece is not None
    return place, piece


# -- verb by verb ----------------------------------------------------------------------------------


def test_submit(project: Project) -> None:
    """A list is open at once, and its bytes are what was given."""
    place = submission.submit(project, "x.tasks", [b"echo \xff\t", b"", b"b"])
    mark = place.look().mark
    assert mark is not None
    assert (mark.n, mark.token.job) == (0, "x.tasks")
    assert Path(place.place(mark)).read_bytes() == b"echo \xff\t\n#FJD TASK 0\n\nb\n"
    assert shelf.keys(project) == [place.key]


@pytest.mark.parametrize("bad", [b"a\0b", b"x" * ((1 << 20) + 1)])
def test_submit_refused(project: Project, bad: bytes) -> None:
    """What cannot be a command is refused, and nothing is left behind."""
    with pytest.raises(Exception, match="command 2"):
        submission.submit(project, "x", [b"true", bad])
    assert (os.listdir(project.lists), os.listdir(project.tmp)) == ([], [])


def test_cut(project: Project) -> None:
    """Of two who cut at one mark one wins, and the loser's piece never is a token."""
    worker = Worker(project)
    place = submit(project)
    mark = place.look().mark
    assert mark is not None
    first = place.cut(mark, 3, b"", worker.id)
    assert place.cut(mark, 7, b"", worker.id) is None
    assert first is not None
    assert [item.piece for item in worker.pod()] == [first]
    look = place.look()
    assert look.mark == mark._replace(n=3, bore=first.birth)
    assert [(kept.unborn, kept.piece.hi) for kept in look.kept] == [(True, 7)]


def test_cut_for_nobody(project: Project) -> None:
    """A piece for a worker that has just left waits for another one."""
    place = submit(project)
    mark = place.look().mark
    assert mark is not None
    piece = place.cut(mark, 3, b"", "host-0-00000000")
    assert [kept.piece for kept in place.look().kept if kept.waiting] == [piece]


def test_pods(project: Project) -> None:
    """Assigned pieces are withdrawn and reassigned; an accepted one is not; no name comes twice."""
    one, two = Worker(project), Worker(project)
    place, piece = cut_one(project, one.id)
    moved = place.reassign(one.id, piece, two.id)
    assert moved is not None
    assert place.withdraw(one.id, piece) is None
    waits = place.withdraw(two.id, moved)
    assert waits is not None
    given = place.assign(waits, one.id)
    assert given is not None
    assert [p.serial for p in (piece, moved, waits, given)] == [1, 2, 3, 4]
    assert place.accept(one.id, given)
    assert place.withdraw(one.id, given) is None
    assert place.assign(waits, two.id) is None


def test_run(project: Project, ledgers: Ledgers) -> None:
    """A list is worked off, filed as ended, and nothing is left of its directory."""
    workers = [Worker(project), Worker(project)]
    submit(project)
    work_off(project, lists(project), workers)
    assert ledgers.counted().keys() == set(range(TASKS))
    assert sorted(n for worker in workers for n, _ in worker.begun) == list(range(TASKS))
    (result,) = filter(None, map(names.Result.parse, os.listdir(project.results)))
    assert result is not None
    assert (result.token.job, result.outcome) == ("x.tasks", "ok")
    assert Path(project.results, str(result)).read_bytes().startswith(b"echo 0\necho 1\n")
    commands = [r["command"] for w in workers for r in records.of_worker(project, w.id)]
    assert sorted(commands) == [f"echo {n}" for n in range(TASKS)]


def test_empty(project: Project, ledgers: Ledgers) -> None:
    """A list without tasks is done."""
    submit(project, 0)
    work_off(project, lists(project), [])
    assert outcome(project) == "ok"


def test_take_and_judge(project: Project) -> None:
    """Of a dead worker's piece that counts which it recorded; the crash counts against the next."""
    worker = Worker(project, lambda turn: "crash" if turn.number == 3 else "ok")
    place, _ = cut_one(project, worker.id)
    with pytest.raises(Crash):
        worker.work()
    assert taking.take_all(project, worker.id, crashed=True) == 1
    (kept,) = (k for k in place.look().kept)
    assert (kept.taken, kept.why) == (True, DEAD)
    notes: list[Record] = []
    judged = afterwards.judge(place, kept, notes.append)
    assert judged is not None
    assert (judged.k, judged.at) == (3, 0)
    assert [(r["task"], r["attempt"], r["outcome"]) for r in notes] == [(3, 1, "lost")]
    waits = afterwards.rest(judged).piece
    assert (waits.lo, waits.hi, waits.extra, waits.crashes) == (3, 5, 1, 1)
    assert [waits.number(task) for task in waits.tasks()] == [2, 1]


def test_late(project: Project, ledgers: Ledgers) -> None:
    """Who was given up in the middle of a piece goes on in vain: no record of it counts twice."""
    zombie = Worker(project)
    cut_one(project, zombie.id)

    def given_up(turn: Turn) -> str:
        if turn.number == 2:
            taking.take_all(project, zombie.id, crashed=False)
            desk.look(nudge=True)  # judged
        return "ok"

    desk, zombie.fate = lists(project), given_up
    assert zombie.work() == 1
    assert len(zombie.begun) == 5
    good = Worker(project)
    work_off(project, desk, [good])
    counted = ledgers.counted()
    assert {task: who for task, (who, _, _) in counted.items()} == {
        task: zombie.id if task < 2 else good.id for task in range(TASKS)
    }
    assert (2, 2) in good.begun
    assert (3, 1) in good.begun


def test_fifth_crash(project: Project, ledgers: Ledgers) -> None:
    """A task that takes down five workers is lost; the others of its piece are not."""
    notes: list[Record] = []
    desk = lists(project, notes=notes)
    submit(project)
    attempts = []
    for _ in range(30):
        worker = Worker(project, lambda turn: "crash" if turn.number == 4 else "ok")
        desk.look()
        while desk.give(worker.id, "host", 1):
            pass
        try:
            worker.work()
        except Crash:
            taking.take_all(project, worker.id, crashed=True)
        attempts += [attempt for number, attempt in worker.begun if number == 4]
    work_off(project, desk, [Worker(project)])
    assert attempts == [1, 2, 3, 4, 5]
    outcomes = {task: outcome for task, (_, _, outcome) in ledgers.counted().items()}
    assert outcomes == {task: "lost" if task == 4 else "ok" for task in range(TASKS)}
    assert [(n["task"], n["attempt"]) for n in notes] == [(4, n) for n in (1, 2, 3, 4, 5)]
    assert outcome(project) == "x1"


def test_fired(project: Project, ledgers: Ledgers) -> None:
    """Who is fired gives back the task that runs, as the next attempt, without a crash."""
    worker = Worker(project, lambda turn: "fired" if turn.number == 2 else "ok")
    place, _ = cut_one(project, worker.id)
    worker.work()
    (kept,) = place.look().kept
    assert (kept.why, kept.k, afterwards.rest(kept).piece.crashes) == (BACK, 2, 0)
    good = Worker(project)
    work_off(project, lists(project), [good])
    assert {(2, 2), (3, 1), (4, 1)} <= set(good.begun)
    assert len(ledgers.counted()) == TASKS


def test_fired_and_killed(project: Project) -> None:
    """Who stopped its task and died before it could give it back did not die of the task."""
    worker = Worker(project, lambda turn: "fired" if turn.number == 2 else "ok")
    place, piece = cut_one(project, worker.id)
    place.accept(worker.id, piece)
    worker.pieces.run(Assigned(place.key, piece, accepted=True))
    (ended,) = place.look().kept
    taken = Kept(ended.piece, False, DEAD, worker.id)
    os.rename(place.place(ended), place.place(taken))
    notes: list[Record] = []
    judged = afterwards.judge(place, taken, notes.append)
    assert judged is not None
    assert notes == []
    assert (judged.why, judged.k) == (BACK, 2)


def test_retries(project: Project, ledgers: Ledgers) -> None:
    """A task that fails is tried again by itself; what failed for good is counted as that."""
    worker = Worker(
        project,
        lambda turn: (
            "fail" if turn.number in (1, 2, 5) and turn.attempt < turn.number + 1 else "ok"
        ),
    )
    submit(project)
    work_off(project, lists(project, retries=2), [worker])
    counted = {task: (attempt, end) for task, (_, attempt, end) in ledgers.counted().items()}
    expected = {1: (2, "ok"), 2: (3, "ok"), 5: (3, "failed")}
    assert counted == {task: expected.get(task, (1, "ok")) for task in range(TASKS)}
    assert Counter(n for n, _ in worker.begun) == {
        task: expected.get(task, (1, ""))[0] for task in range(TASKS)
    }


def test_split(project: Project, ledgers: Ledgers) -> None:
    """While a task lasts, those behind it wait for somebody else."""
    seen: list[int] = []
    worker = Worker(project)
    place, _ = cut_one(project, worker.id)

    def fate(turn: Turn) -> str:
        if seen:
            return "ok"
        seen.append(turn.number)
        return "long"

    worker.fate = fate
    worker.work()
    assert worker.begun == [(0, 1)]
    look = place.look()
    assert [(k.piece.lo, k.piece.hi, k.waiting) for k in look.kept] == [(0, 1, False), (1, 5, True)]
    work_off(project, lists(project), [Worker(project)])
    assert len(ledgers.counted()) == TASKS


def test_hand_in(project: Project, ledgers: Ledgers) -> None:
    """While a task lasts, those before it count already, and what failed waits for another try."""
    worker = Worker(project, lambda turn: {1: "fail", 2: "long"}.get(turn.number, "ok"))
    place, _ = cut_one(project, worker.id)
    desk = lists(project, retries=1)
    desk.look()

    def look() -> None:
        desk.look(nudge=True)
        desk.look(nudge=True)
        (work,) = desk.works.values()
        assert list(work.folder.covered.ranges()) == [(0, 1)]
        assert [(k.piece.lo, k.waiting) for k in place.look().kept] == [(1, True), (3, True)]
        assert [(i.piece.lo, i.piece.hi) for i in worker.pod()] == [(2, 3)]

    worker.meanwhile = look
    worker.work()
    assert worker.begun == [(0, 1), (1, 1), (2, 1)]
    worker.meanwhile = lambda: None
    work_off(project, desk, [worker])
    assert {n: attempt for n, (_, attempt, _) in ledgers.counted().items()} == {
        n: 2 if n == 1 else 1 for n in range(TASKS)
    }


def test_hand_in_after_a_crash(project: Project, ledgers: Ledgers) -> None:
    """How often the first task of a piece was broken off stays with it when it is handed in."""
    first = Worker(project, lambda turn: "crash" if turn.number == 0 else "ok")
    cut_one(project, first.id)
    first.bury()
    second = Worker(project, lambda turn: "long" if turn.number == 2 else "ok")
    work_off(project, lists(project), [second])
    assert {n: attempt for n, (_, attempt, _) in ledgers.counted().items()} == {
        n: 2 if n == 0 else 1 for n in range(TASKS)
    }


@pytest.mark.parametrize("broken", [1, 2])
def test_hand_in_without_reply(
    project: Project, ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    """It is decided or not, whatever the worker was told of it; each task runs and counts once."""
    worker = Worker(project, lambda turn: "long" if turn.number == 3 else "ok")
    cut_one(project, worker.id)
    move, calls = files.move, [0]

    def breaks(source: str, target: str) -> bool:
        if ",0-3," in source + target or target.endswith(",run"):
            calls[0] += 1
            if calls[0] == broken + 1:  # the first one accepts the piece
                raise OSError(errno.EIO, "the file server is in trouble")
        return move(source, target)

    monkeypatch.setattr(files, "move", breaks)
    worker.work()
    monkeypatch.setattr(files, "move", move)
    other = Worker(project)
    work_off(project, lists(project), [worker, other])
    begun = Counter(n for n, _ in worker.begun + other.begun)
    assert begun == Counter(range(TASKS))
    assert len(ledgers.counted()) == TASKS


def test_torn(project: Project, ledgers: Ledgers) -> None:
    """A piece that a power cut has emptied is written once more from the list."""
    worker = Worker(project)
    place, piece = cut_one(project, worker.id)
    Path(place.in_pod(worker.id, piece, False)).write_bytes(b'{"lo":0}\n1\t-1\t')
    worker.work()
    (kept,) = place.look().kept
    assert (kept.why, kept.k) == (TORN, 0)
    work_off(project, lists(project), [worker])
    assert sorted(n for n, _ in worker.begun) == list(range(TASKS))
    assert len(ledgers.counted()) == TASKS


def test_stop(project: Project) -> None:
    """What waits in a stopped list is cancelled; what runs ends as it does."""
    worker = Worker(project)
    place, piece = cut_one(project, worker.id, 3)
    assert place.accept(worker.id, piece)
    desk = lists(project)
    desk.look()
    other = Worker(project)
    desk.give(other.id, "host", 1)
    assert place.withdraw(other.id, other.pod()[0].piece)
    mark = place.look().mark
    assert mark is not None
    assert place.stop(mark)
    work_off(project, desk, [worker])
    assert [n for n, _ in worker.begun] == [0, 1, 2]
    assert outcome(project) == "cancelled"


def test_removed(project: Project) -> None:
    """Who removes a list's file stops it: what runs ends, nothing more begins, nothing is left."""
    worker, other = Worker(project), Worker(project)
    place, _ = cut_one(project, worker.id, 3)
    desk = lists(project)
    desk.look()
    assert desk.give(other.id, "host", 1)
    mark = place.look().mark
    os.unlink(place.place(mark))
    worker.work()
    work_off(project, desk, [])
    other.work()
    assert ([n for n, _ in worker.begun], other.begun) == ([0, 1, 2], [])
    assert os.listdir(project.results) == []


def test_piece_removed(project: Project) -> None:
    """Who removes a piece cancels its tasks; the list ends without them."""
    worker, other = Worker(project), Worker(project)
    place, piece = cut_one(project, worker.id, 3)
    os.unlink(place.in_pod(worker.id, piece, False))
    notes: list[Record] = []
    desk = lists(project, notes=notes)
    for _ in range(30):
        desk.look(nudge=True, recount=True)
        if not shelf.keys(project):
            break
        feed(desk, other)
        other.work()
    assert [n for n, _ in sorted(other.begun)] == list(range(3, TASKS))
    assert [(r["task"], r["outcome"]) for r in notes] == [(n, "cancelled") for n in range(3)]
    assert outcome(project) == "x1"


def test_somebody_else_folded(project: Project, ledgers: Ledgers) -> None:
    """What another dispatcher folded behind our back is not missed."""
    worker, desk = Worker(project), lists(project)
    cut_one(project, worker.id, 3)
    desk.look()
    worker.work()
    lists(project).look(nudge=True)
    for _ in range(30):
        desk.look(nudge=True, recount=True)
        if not shelf.keys(project):
            break
        feed(desk, worker)
        worker.work()
    assert {end for _, _, end in ledgers.counted().values()} == {"ok"}
    assert len(ledgers.counted()) == TASKS


def test_restart_with_other_sizes(project: Project, ledgers: Ledgers) -> None:
    """Each piece is cut by another dispatcher, with its own idea of how large it should be."""
    worker = Worker(project)
    submit(project, 40)
    for seconds in (0.01, 1.0, 0.05, 0.1):
        desk = lists(project)
        desk.look()
        for work in desk.works.values():
            work.mean = seconds
        desk.give(worker.id, "host", 1)
    work_off(project, lists(project), [worker])
    assert sorted(n for n, _ in worker.begun) == list(range(40))
    assert len(ledgers.counted()) == 40


def test_covered() -> None:
    """A set of ranges knows what is new and what is missing, whatever comes in whatever order."""
    dice = random.Random(3)
    for _ in range(300):
        ours, model = covered.Covered(), set[int]()
        for _ in range(dice.randrange(12)):
            lo = dice.randrange(30)
            hi = lo + dice.randrange(8)
            new = {n for a, b in ours.add(lo, hi) for n in range(a, b)}
            assert new == set(range(lo, hi)) - model
            model |= new
        assert ours.count == len(model)
        assert {n for n in range(40) if n in ours} == model
        assert {n for a, b in ours.holes(35) for n in range(a, b)} == set(range(35)) - model
        ranges = list(ours.ranges())
        assert all(b < c for (_, b), (c, _) in zip(ranges, ranges[1:]))


def test_content() -> None:
    """Commands are kept byte for byte, and what was cut off anywhere is noticed."""
    tasks = [
        Task(5, 1, -1, b"a\tb \xff\n"),
        Task(6, 70000, 3, b""),
        Task(8, 3, -1, bytes(range(1, 256))),
    ]
    data = content.encode(5, 9, tasks, {"key": "k"})
    found = content.decode(data)
    assert found == (5, 9, {"key": "k"}, tasks)
    assert found.part(6, 9) == tasks[1:]
    assert found.part(7, 8) == [], "it was done by an earlier run"
    for lo, hi in ((4, 6), (7, 10)):
        with pytest.raises(content.Torn):
            found.part(lo, hi)
    for size in range(len(data)):
        with pytest.raises(content.Torn):
            content.decode(data[:size])


# -- crashes ---------------------------------------------------------------------------------------


class Limit:
    """Lets whoever acts die at one system call that changes something."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.left = -1
        self.calls = 0
        for where, name in ((files, "move"), (files, "create"), (files, "remove"),
                            (files.Appender, "append"), (files.Appender, "sync"),
                            (os, "rmdir")):  # fmt: skip
            patch.setattr(where, name, self.wrap(getattr(where, name)))

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the call as it is made by somebody mortal."""

        def counted(*args: Any, **more: Any) -> Any:  # noqa: ANN401
            self.calls += 1
            self.left -= 1
            if self.left == 0:
                raise Crash
            return call(*args, **more)

        return counted


def story(project: Project, seed: int, begun: list[tuple[int, int, str]]) -> Iterator[None]:
    """A dispatcher and two workers; tasks that fail, last, crash; everybody is replaced."""
    dice = random.Random(seed)

    def fate(turn: Turn) -> str:
        if turn.attempt > 2:
            return "ok"
        return dice.choices(["ok", "fail", "long", "fired", "crash"], [8, 2, 1, 1, 1])[0]

    desk, crew = lists(project, 2), [Worker(project, fate) for _ in range(2)]
    for _ in range(400):
        yield
        try:
            desk.look(nudge=True)
            if not shelf.keys(project):
                break
            for worker in crew:
                desk.give(worker.id, "host", 2)
        except Crash:
            desk = lists(project, 2)
        for number, worker in enumerate(crew):
            try:
                worker.work()
                if worker.stop or dice.random() < 0.1:
                    raise Crash
            except Crash:
                begun += [(*what, worker.id) for what in worker.begun]
                crew[number] = Worker(project, fate)
                while worker.pod():
                    try:
                        taking.take_all(project, worker.id, worker.crashed)
                    except Crash:
                        desk = lists(project, 2)
    else:
        pytest.fail("it does not end")
    for worker in crew:
        begun += [(*what, worker.id) for what in worker.begun]


def rows_of(project: Project, key: str) -> Counter[int]:
    """Return how many rows each task has in the status file of a list that has ended."""
    (name,) = [n for n in os.listdir(project.results) if n.startswith(key) and n.endswith("txt")]
    lines = Path(project.results, name).read_bytes().splitlines(keepends=True)
    rows = list(map(statusfile.parse, lines))
    return Counter(row.number if row else -1 for row in rows)


def play(
    project: Project, ledgers: Ledgers, limit: Optional[Limit], seed: int, at: int, often: int = 0
) -> int:
    """Tell one story, in which everybody who makes the ``at``-th call dies; return the calls."""
    begun: list[tuple[int, int, str]] = []
    submit(project)
    ledgers.lines.clear()
    if limit:
        limit.calls, limit.left = 0, at
    for _ in story(project, seed, begun):
        if limit and limit.left < 0 < often:
            limit.left, often = at, often - 1  # again and again
    if limit:
        limit.left = -1
    assert rows_of(project, ledgers.key) == Counter(range(TASKS)), "one row each"
    counted = ledgers.counted()
    assert counted.keys() == set(range(TASKS))
    assert max(Counter(begun).values()) == 1
    for task, (_, attempt, _) in counted.items():
        numbers = [a for n, a, _ in begun if n == task]
        assert max(numbers) <= attempt
    assert "lost" not in {outcome for _, _, outcome in counted.values()}
    return limit.calls if limit else 0


def test_crash_points(
    project: Project, ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch, tools: type[Tools]
) -> None:
    """Whoever makes the n-th system call dies before it, for every n; nothing is lost by it."""
    limit = Limit(monkeypatch)
    calls = play(project, ledgers, limit, 0, 0)
    assert calls > 50
    for at in range(1, calls):
        play(project, ledgers, limit, at, at)


@pytest.mark.parametrize("seed", range(6))
def test_storm(
    project: Project, ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Somebody dies every few calls."""
    dice, limit = random.Random(seed), Limit(monkeypatch)
    for number in range(10):
        play(project, ledgers, limit, 100 * seed + number, dice.randrange(3, 40), 8)


# -- attacks ---------------------------------------------------------------------------------------


def test_server_in_trouble(project: Project, ledgers: Ledgers) -> None:
    """A list that cannot be read for a moment is not taken for one that has ended."""
    worker, desk = Worker(project), lists(project)
    submit(project, 40)
    reads = grammar.Reader.next

    def fails(reader: grammar.Reader) -> Optional[grammar.Item]:
        if reader.number == 20 and not failed:
            failed.append(True)
            raise OSError(errno.EIO, "the file server is in trouble")
        return reads(reader)

    failed: list[bool] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grammar.Reader, "next", fails)
        desk.look()
        (work,) = desk.works.values()
        work.mean = 0.01
        with pytest.raises(OSError, match="in trouble"):
            desk.give(worker.id, "host", 1)
        work_off(project, desk, [worker])
    assert sorted(n for n, _ in worker.begun) == list(range(40))
    assert len(ledgers.counted()) == 40


def test_unreadable(project: Project) -> None:
    """A list that cannot be read at all fails, and the record says why."""
    worker, desk = Worker(project), lists(project)
    place = submit(project)
    mark = place.look().mark
    assert mark is not None
    os.unlink(place.place(mark))
    os.symlink("/dev/null", place.place(mark))
    work_off(project, desk, [worker])
    assert outcome(project) == "x1"
    told = [r["cause"] for w in records.writers(project) for r in records.of_worker(project, w)]
    assert [cause for cause in told if "it cannot be read" in cause]


def test_split_without_reply(
    project: Project, ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was split off runs elsewhere only, also if the worker was told that it went wrong."""
    worker = Worker(project, lambda turn: "long" if turn.number == 0 else "ok")
    cut_one(project, worker.id)
    move = files.move

    def breaks(source: str, target: str) -> bool:
        if source.endswith(",new"):
            monkeypatch.setattr(files, "move", move)
            raise OSError(errno.EIO, "the file server is in trouble")
        return move(source, target)

    monkeypatch.setattr(files, "move", breaks)
    worker.work()
    worker.work()
    assert worker.begun == [(0, 1)]
    work_off(project, lists(project), [Worker(project)])
    assert len(ledgers.counted()) == TASKS


def test_split_after_burial(project: Project) -> None:
    """Who learns at a split that it was given up begins none of the other tasks."""
    worker = Worker(project)
    cut_one(project, worker.id)

    def given_up(_: Turn) -> str:
        taking.take_all(project, worker.id, crashed=False)
        return "long"

    worker.fate = given_up
    worker.work()
    assert worker.begun == [(0, 1)]


def test_directory_removed(project: Project) -> None:
    """Who removes a list with all that belongs to it is rid of it: nothing of it runs again."""
    worker, other, notes = Worker(project), Worker(project), list[Record]()
    place, _ = cut_one(project, worker.id, 3)
    desk = lists(project, notes=notes)
    desk.look()
    assert desk.give(other.id, "host", 1)
    worker.fate = lambda turn: shutil.rmtree(place.path) or "ok" if turn.number == 0 else "ok"
    worker.work()
    assert worker.pod() == [], "else it would see it again and again"
    desk.look()
    assert other.pod() == []
    assert [(r["task"], r["outcome"]) for r in notes] == [(None, "cancelled")]


def test_removed_is_recorded(project: Project) -> None:
    """That a list was removed is recorded, once, also by a dispatcher that comes later."""
    worker, notes = Worker(project), list[Record]()
    place, _ = cut_one(project, worker.id, 3)
    worker.work()
    desk = lists(project, notes=notes)
    mark = place.look().mark
    assert mark is not None
    desk.look()
    os.unlink(place.place(mark))
    desk.close()
    work_off(project, lists(project, notes=notes), [])
    assert [(r["task"], r["outcome"]) for r in notes] == [(None, "cancelled")]


def test_ended_is_not_removed(project: Project) -> None:
    """What another dispatcher has ended, and its end was filed at once, nobody has removed."""
    worker, notes = Worker(project), list[Record]()
    submit(project)
    desk = lists(project, notes=notes)
    desk.look()
    work_off(project, lists(project), [worker])
    cabinet = Cabinet(project)
    (result,) = cabinet.results()
    assert cabinet.file(result)
    for _ in range(3):
        desk.look(nudge=True)
    assert notes == []


def test_rows_of_who_was_stopped(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that somebody writes who was stopped before, when the list has ended, are not added."""
    worker, late = Worker(project), lists(project)
    submit(project)
    late.look()
    assert late.give(worker.id, "host", 1)
    worker.work()
    (work,) = late.works.values()
    with monkeypatch.context() as patch:
        patch.setattr(Rows, "flush", lambda rows: None)
        late.look()
    work_off(project, lists(project), [worker])
    work._rows.flush()
    (name,) = (name for name in os.listdir(project.results) if name.endswith(names.STATUS))
    rows = Path(project.results, name).read_text().splitlines()
    assert sorted(int(row.split("\t")[1]) for row in rows) == list(range(TASKS))


def test_rows_half_joined(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is killed while joining the rows leaves a file that keeps nobody from ending the list."""
    worker, first = Worker(project), lists(project)
    place = submit(project)
    first.look()
    assert first.give(worker.id, "host", 1)
    worker.work()
    first.look()
    first.close()

    def killed(source: str, target: str) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        patch.setattr(os, "getpid", lambda: 7)
        with pytest.raises(Crash):
            work_off(project, lists(project), [worker])
    assert [name for name in os.listdir(place.path) if name.endswith(".tmp")]
    work_off(project, lists(project), [])
    assert outcome(project) == "ok"


def test_rows_of_who_died(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows that one dispatcher has moved on are filed with the token that another one moves."""
    worker = Worker(project)
    place = submit(project)
    move = files.move

    def killed(source: str, target: str) -> bool:
        if target.startswith(project.results) and not target.endswith(names.STATUS):
            raise Crash
        return move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(files, "move", killed)
        with pytest.raises(Crash):
            work_off(project, lists(project), [worker])
    notes = list[Record]()
    work_off(project, lists(project, notes=notes), [])
    cabinet = Cabinet(project)
    (result,) = cabinet.results()
    assert cabinet.file(result)
    assert (os.listdir(project.results), os.path.exists(place.path), notes) == ([], False, [])
    filed = Path(project.done, "000", f"{result}{names.STATUS}").read_text().splitlines()
    assert [int(row.split("\t")[1]) for row in filed] == list(range(TASKS))


def test_void_is_no_token(project: Project) -> None:
    """A piece that was removed is missed also if somebody wrote a void one for its tasks."""
    worker = Worker(project)
    place = submit(project)
    mark = place.look().mark
    assert mark is not None
    piece = place.cut(
        mark, 3, content.encode(0, 3, [Task(n, 1, -1, b"") for n in range(3)]), worker.id
    )
    assert piece is not None
    assert place.cut(mark, 5, b"", worker.id) is None
    os.unlink(place.in_pod(worker.id, piece, False))
    desk = lists(project)
    for _ in range(30):
        desk.look(nudge=True, recount=True)
        feed(desk, worker)
        worker.work()
    assert shelf.keys(project) == []
    assert sorted(n for n, _ in worker.begun) == list(range(3, TASKS))


def test_mark_missed(project: Project, ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing that misses the mark once costs no task its other try."""
    worker = Worker(project, lambda turn: "fail" if turn.attempt == 1 else "ok")
    desk, look = lists(project, retries=1), Shelf.look
    cut_one(project, worker.id)
    desk.look()
    worker.work()
    monkeypatch.setattr(Shelf, "look", lambda self, nudge=False: look(self)._replace(mark=None))
    desk.look()
    monkeypatch.setattr(Shelf, "look", look)
    work_off(project, desk, [worker])
    assert {outcome for _, _, outcome in ledgers.counted().values()} == {"ok"}


def test_shortened(project: Project) -> None:
    """Tasks that a power cut took, and that the list has no more, are cancelled."""
    worker = Worker(project)
    place, piece = cut_one(project, worker.id)
    Path(place.in_pod(worker.id, piece, False)).write_bytes(b"")
    mark = place.look().mark
    assert mark is not None
    Path(place.place(mark)).write_bytes(b"echo 0\n")
    work_off(project, lists(project), [worker])
    assert worker.begun == []
    assert outcome(project) == "x1"


def test_loss_recorded_once(project: Project) -> None:
    """Who judges a piece again, since somebody died of it, records no loss twice."""
    worker = Worker(project, lambda turn: "crash" if turn.number == 3 else "ok")
    place, _ = cut_one(project, worker.id)
    with pytest.raises(Crash):
        worker.work()
    taking.take_all(project, worker.id, crashed=True)
    (kept,) = place.look().kept
    ledger = Ledger(project, "dispatcher-00000000")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shelf, "step", lambda *_: None)
        assert afterwards.judge(place, kept, ledger.write) is None
    assert afterwards.judge(place, kept, ledger.write) is not None
    assert len(list(records.of_worker(project, "dispatcher-00000000"))) == 1


# -- with everybody else -------------------------------------------------------------------------


def test_burial(project: Project, hire: Hire, ledgers: Ledgers) -> None:
    """Whoever buries a worker sends its pieces back as well, accepted or not."""
    fake = hire()
    place, piece = cut_one(project, fake.id, 3)
    mark = place.look().mark
    assert mark is not None
    assert place.cut(
        mark, 5, content.encode(3, 5, [Task(n, n + 1, -1, b"") for n in (3, 4)]), fake.id
    )
    assert place.accept(fake.id, piece)
    assert burial.bury(project, fake.id, fake.sighting, "it died", lambda _: None, True) == 2
    assert [kept.why for kept in place.look().kept] == [DEAD, ""]
    assert not os.path.exists(project.pod(fake.id))
    work_off(project, lists(project), [Worker(project)])
    assert ledgers.counted()[0][1] == 2


def test_take_down(project: Project, hire: Hire, ledgers: Ledgers) -> None:
    """Who leaves gives its pieces back."""
    fake = hire()
    cut_one(project, fake.id, 3)
    assert [Assigned.parse(name) is not None for name in os.listdir(fake.pod.path)] == [True]
    assert fake.pod.look() == []
    assert len(fake.pod.others) == 1
    fake.leave()
    work_off(project, lists(project), [Worker(project)])
    assert {attempt for _, attempt, _ in ledgers.counted().values()} == {1}


def test_no_workers(project: Project, bench: Bench) -> None:
    """A list that nobody can run is told as a job is."""
    submit(project)
    assert bench.tick(5)
    assert [said for said in bench.said if "1 job(s) and no workers" in said]
