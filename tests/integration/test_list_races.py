"""Eight processes want the same list or piece at the same moment: one gets it, none is harmed.

The same for single jobs stands in ``tests/faults/test_one_winner.py``.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
import traceback
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Callable

import pytest

from fjd.spool import names
from fjd.spool.lists import content, shelf, taking
from fjd.spool.lists.names import DEAD, END, GONE, Kept, Mark, Piece, new_birth
from fjd.spool.lists.shelf import Shelf
from fjd.spool.lists.task import Task
from fjd.spool.names import RUN, Token, new_key
from fjd.spool.project import Project

RACERS, ROUNDS = 8, 60
TOKEN = Token("x.abcdefghijkl", 1)
CUT, END_OF_LIST = 6, 40
PIECE = Piece("aaaaaaaaaa", 0, CUT, 1)
CALLED = 1 << 40  # a number behind all others

Act = Callable[["Ground", int], object]


def data(lo: int, hi: int) -> bytes:
    """Return the content of a piece."""
    return content.encode(lo, hi, [Task(n, n + 1, -1, b"true") for n in range(lo, hi)])


class Ground:
    """A list of which one piece is cut, and eight workers with empty pods."""

    def __init__(self, project: Project) -> None:
        self.project, self.list = project, Shelf(project, TOKEN.key)
        self.workers = [names.new_worker("host", number) for number in range(RACERS)]

    def prepare(self, place: str) -> None:
        """Lay the list out anew, with its piece where the race begins."""
        for path in (self.list.path, *map(self.project.pod, self.workers)):
            shutil.rmtree(path, ignore_errors=True)
            os.makedirs(path)
        Path(self.list.place(Mark(TOKEN, CUT))).write_bytes(b"true\n" * END_OF_LIST)
        Path(place).write_bytes(data(0, CUT))

    @property
    def mark(self) -> Mark:
        """The mark as it is at the start."""
        return Mark(TOKEN, CUT)

    def check(self) -> None:
        """There is one mark, and every task below it lies in exactly one token."""
        seen = self.list.look(nudge=True)
        mark = seen.mark
        assert mark is not None
        tokens = [kept.piece for kept in seen.kept if not kept.unborn]
        tokens += [item.piece for _, item in taking.in_pods(self.list)]
        assert taking.whereabouts(self.list).within(0, mark.n) == mark.n
        below = [piece for piece in tokens if piece.lo < CALLED]
        assert sum(piece.hi - piece.lo for piece in below) == mark.n, "a task lies in two"


def waiting(ground: Ground) -> str:
    return ground.list.place(Kept(PIECE))


def assigned(ground: Ground) -> str:
    return ground.list.in_pod(ground.workers[0], PIECE, accepted=False)


def running(ground: Ground) -> str:
    return assigned(ground) + RUN


TAKEN = Kept(PIECE, False, DEAD, "host-0-00000000")
JUDGED = TAKEN._replace(at=0, k=CUT)


def taken(ground: Ground) -> str:
    return ground.list.place(TAKEN)


def judged(ground: Ground) -> str:
    return ground.list.place(JUDGED)


# -- who races for what: one act per verb, told from each other by the racer's number -------------


def cut(ground: Ground, number: int) -> object:
    worker, hi = ground.workers[number], CUT + 1 + number
    return ground.list.cut(ground.mark, hi, data(CUT, hi), worker if number % 2 else "")


def call(ground: Ground, number: int) -> object:
    child = Piece(new_birth(), CALLED, CALLED + 1)
    return ground.list.call(ground.mark, child, data(CALLED, CALLED + 1))


def stop(ground: Ground, number: int) -> object:
    return ground.list.stop(ground.mark)


def assign(ground: Ground, number: int) -> object:
    return ground.list.assign(PIECE, ground.workers[number])


def part(ground: Ground, number: int) -> object:
    try:
        return ground.list.part(PIECE, 1 + number % (CUT - 1))
    except FileNotFoundError:
        return None  # it was moved before it was read


def call_off(ground: Ground, number: int) -> object:
    return ground.list.call_off(PIECE)


def accept(ground: Ground, number: int) -> object:
    return ground.list.accept(ground.workers[0], PIECE)


def withdraw(ground: Ground, number: int) -> object:
    return ground.list.withdraw(ground.workers[0], PIECE)


def reassign(ground: Ground, number: int) -> object:
    return ground.list.reassign(ground.workers[0], PIECE, ground.workers[number])


def take(ground: Ground, number: int) -> object:
    return ground.list.take(ground.workers[0], PIECE, (DEAD, GONE)[number % 2])


def split(ground: Ground, number: int) -> object:
    at = 1 + number % (CUT - 1)
    return ground.list.split(ground.workers[0], PIECE, at, data(at, CUT))


def hand_in(ground: Ground, number: int) -> object:
    k = 1 + number % (CUT - 1)
    return ground.list.hand_in(ground.workers[0], PIECE, k, 0, data(0, k))


def end(ground: Ground, number: int) -> object:
    return ground.list.end(ground.workers[0], PIECE, END, 0, CUT)


def judge(ground: Ground, number: int) -> object:
    return ground.list.step(TAKEN, TAKEN._replace(at=0, k=number % (CUT + 1)))


def go_on(ground: Ground, number: int) -> object:
    return ground.list.step(JUDGED, Kept(PIECE._replace(attempt=1, extra=1 + number)))


def retry(ground: Ground, number: int) -> object:
    """Give the first tasks, which failed, to a child; what is left begins behind them."""
    at = 1 + number % (CUT - 1)
    child = PIECE.child(0, at, 2, 1)
    left = JUDGED._replace(piece=PIECE._replace(lo=at))
    return ground.list.bear(JUDGED, left, child, data(0, at))


@pytest.fixture
def ground(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    """A place for races, in memory where there is such a place."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = tempfile.mkdtemp(prefix="fjd-race-", dir=base)
    monkeypatch.setenv("FJD_HOME", f"{path}/home")
    yield Ground(Project.open("p"))
    shutil.rmtree(path)


def race(
    ground: Ground,
    prepare: Callable[[], None],
    acts: Sequence[Act],
    check: Callable[[], None],
) -> set[str]:
    """Hold the race again and again; return whose acts have won.

    Some verbs give a token the same name whoever does it. Who comes second finds it where he wanted
    it, which is also what the first one finds if his reply was lost: he cannot tell, and nobody
    depends on it. So there is one name that has won.
    """
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(RACERS + 1)
    answers = context.Array("q", RACERS)

    def run(number: int, act: Act, gate: Any, answers: Any) -> None:  # noqa: ANN401
        while True:
            gate.wait()
            try:
                name = act(ground, number)
                answers[number] = zlib.crc32(str(name).encode()) + 1 if name else 0
            except BaseException:  # noqa: BLE001  it is printed, and the test fails
                traceback.print_exc(file=sys.stdout)
                answers[number] = -1
            gate.wait()

    chosen = [acts[number % len(acts)] for number in range(RACERS)]
    racers = [
        context.Process(target=run, args=(number, act, gate, answers), daemon=True)
        for number, act in enumerate(chosen)
    ]
    for racer in racers:
        racer.start()
    winners = set[str]()
    try:
        for _ in range(ROUNDS):
            prepare()
            gate.wait(60)
            gate.wait(60)
            assert -1 not in answers[:], "a racer fell"
            assert len({answer for answer in answers[:] if answer}) == 1, "one name wins"
            winners |= {act.__name__ for act, answer in zip(chosen, answers[:]) if answer}
            check()
    finally:
        for racer in racers:
            racer.terminate()
            racer.join()
    return winners


@pytest.mark.parametrize(
    ("where", "acts"),
    [
        (waiting, (cut,)),
        (waiting, (stop,)),
        (waiting, (cut, call, stop)),  # all move the mark
        (waiting, (assign,)),
        (waiting, (assign, part, call_off)),
        (assigned, (accept, withdraw, reassign)),
        (running, (take,)),
        (running, (split, hand_in, take, end)),
        (taken, (judge,)),
        (judged, (go_on, retry)),
    ],
    ids=lambda it: "+".join(act.__name__ for act in it) if isinstance(it, tuple) else it.__name__,
)
def test_one_winner(ground: Ground, where: Callable[[Ground], str], acts: tuple[Act, ...]) -> None:
    """One of eight wins, all others learn that they have lost, and no task is lost or doubled."""

    winners = race(ground, lambda: ground.prepare(where(ground)), acts, ground.check)
    print(f"winners: {sorted(winners)}")


def test_open(ground: Ground) -> None:
    """Eight dispatchers open one dropped list: it has one mark, under one key."""
    queued = f"{ground.project.jobqueue}/x.tasks"

    def prepare() -> None:
        for key in os.listdir(ground.project.lists):
            shutil.rmtree(f"{ground.project.lists}/{key}")
        Path(queued).write_bytes(b"true\n")

    def act(ground: Ground, number: int) -> object:
        opened = shelf.open_list(ground.project, queued, Token(new_key("x.tasks")))
        return opened and opened.key

    def check() -> None:
        marks = [Shelf(ground.project, key).look().mark for key in shelf.keys(ground.project)]
        assert len([mark for mark in marks if mark]) == 1
        assert not os.path.exists(queued)

    race(ground, prepare, (act,), check)
