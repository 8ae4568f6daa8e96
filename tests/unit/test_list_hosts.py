"""Tasks of lists and hosts that eat tasks: elsewhere first, the bench, the try that comes back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Callable

import pytest
from listplay import outcome

from fjd.dispatcher.hosts import PATIENCE, WHILE, Hosts
from fjd.dispatcher.lists import Lists
from fjd.dispatcher.muster import Member
from fjd.spool import names, records
from fjd.spool.burial import loss_record
from fjd.spool.crew import Sighting
from fjd.spool.lists import halt, shelf, submission, taking
from fjd.spool.lists.halt import Halt
from fjd.spool.lists.names import END, Assigned
from fjd.spool.lists.shelf import Shelf
from fjd.spool.names import Token
from fjd.spool.project import Project

if TYPE_CHECKING:
    from tests.unit.conftest import Clock

Fate = Callable[[int, int], str]


class Player:
    """A worker on a host; ``fate`` says of (task, attempt) how it ends."""

    def __init__(self, project: Project, host: str, fate: Fate = lambda _n, _a: "ok") -> None:
        self.project, self.id, self.fate = project, names.new_worker(host, 0), fate
        self.member = Member(Sighting(self.id, 0, False), None, 0.0)
        self.ran: list[tuple[int, int]] = []
        self.seconds = 0.06
        self.ledger = records.Ledger(project, self.id)
        os.mkdir(project.pod(self.id))

    @property
    def pod(self) -> list[Assigned]:
        """What lies in the pod."""
        return taking.held(self.project, self.id)

    def work(self) -> None:
        """Run what lies in the pod."""
        for item in self.pod:
            place, at = Shelf(self.project, item.key), os.path.getsize(self.ledger._file.path)
            assert place.accept(self.id, item.piece)
            for task in item.piece.tasks():
                attempt = item.piece.number(task)
                record = loss_record(Token(item.key, 0, attempt), self.id, "")
                outcome = {"outcome": self.fate(task, attempt), "seconds": self.seconds}
                self.ledger.write({**record, "task": task, **outcome})
                self.ran.append((task, attempt))
            assert place.end(self.id, item.piece, END, at, item.piece.hi)


class Ward:
    """A list, a dispatcher's lists, and two hosts."""

    def __init__(self, project: Project, clock: Clock, tasks: int, retries: int = 1) -> None:
        self.project, self.clock, self.said = project, clock, list[str]()
        submission.submit(project, "x", (b"true" for _ in range(tasks)))
        self.hosts = Hosts(self.said.append)
        me = names.new_worker("dispatcher", 0)
        self.lists = Lists(
            project, me, lambda _: None, lambda: True, retries, self.hosts, self.clock
        )
        self.sick = Player(project, "sick", lambda _n, _a: "failed")
        self.well = Player(project, "well")

    def turn(self, *players: Player, crew: tuple[Player, ...] = ()) -> bool:
        """Feed everybody and let some of them work; True while there is something to do."""
        self.lists.look(nudge=True)
        bench = self.hosts.benched.get("sick")
        if bench and self.clock.now < bench.until:
            self.lists.withdraw(self.sick.id)  # as the dispatcher does
        self.lists.feed([player.member for player in crew or (self.sick, self.well)])
        for player in players:
            player.work()
        return bool(shelf.keys(self.project))

    def outcome(self) -> str:
        """Return how the list ended, in the end."""
        for _ in range(500):
            if not self.turn(self.well, self.sick):
                break
        (result,) = filter(None, map(names.Result.parse, os.listdir(self.project.results)))
        assert result is not None
        return result.outcome


def test_elsewhere_first(project: Project, clock: Clock) -> None:
    """What failed on one host is tried on the other one, however hungry the first one is."""
    ward = Ward(project, clock, 8)
    ward.turn(ward.sick, ward.well)
    failed = {task for task, _ in ward.sick.ran}
    ward.sick.ran.clear()
    for _ in range(10):
        ward.turn(ward.sick)
    assert not failed & {task for task, _ in ward.sick.ran}
    assert ward.outcome() == "ok"
    assert {(task, 2) for task in failed} <= set(ward.well.ran)


def test_nowhere_else(project: Project, clock: Clock) -> None:
    """A host that is alone tries again what failed there."""
    ward = Ward(project, clock, 4)
    ward.sick.fate = lambda _, attempt: "failed" if attempt == 1 else "ok"
    for _ in range(30):
        ward.turn(ward.sick, crew=(ward.sick,))
    assert sorted(ward.sick.ran) == [(task, attempt) for task in range(4) for attempt in (1, 2)]
    assert outcome(project) == "ok"
    assert ward.said == []


def test_nobody_has_time(project: Project, clock: Clock) -> None:
    """When the other host has had no room for a while, the first one may try again."""
    ward = Ward(project, clock, 12)
    ward.turn(ward.sick)
    failed = {task for task, _ in ward.sick.ran}
    ward.sick.fate = lambda _n, _a: "ok"
    for _ in range(5):
        ward.turn(ward.sick)
    assert not {(task, 2) for task in failed} & set(ward.sick.ran)
    clock.tick(PATIENCE + 1.0)
    for _ in range(5):
        ward.turn(ward.sick)
    assert {(task, 2) for task in failed} & set(ward.sick.ran)


def test_benched(project: Project, clock: Clock) -> None:
    """A host that fails at once what passes elsewhere gets no more; nothing fails for that."""
    ward = Ward(project, clock, 300)
    while not ward.said:
        assert ward.turn(ward.sick, ward.well)
    (line,) = ward.said
    assert line.startswith("sick is benched for 300 s: ")
    assert line.endswith(" tasks failed there at once and passed elsewhere")
    before = len(ward.sick.ran)
    assert ward.outcome() == "ok"
    assert len(ward.sick.ran) == before
    assert ward.sick.pod == [], "what waited there was taken back"


def test_alone_with_a_benched_host(project: Project, clock: Clock) -> None:
    """A host on the bench works on when everybody else has gone."""
    ward = Ward(project, clock, 300)
    while not ward.said:
        assert ward.turn(ward.sick, ward.well)
    before = len(ward.sick.ran)
    for _ in range(3):
        ward.turn(ward.sick, crew=(ward.sick,))
    assert len(ward.sick.ran) > before


@pytest.mark.parametrize("mended", [True, False])
def test_probe(project: Project, clock: Clock, mended: bool) -> None:
    """After a while a benched host gets one task, and that decides."""
    ward = Ward(project, clock, 1000)
    while not ward.said:
        assert ward.turn(ward.sick, ward.well)
    ward.turn(ward.well)
    clock.tick(WHILE)
    ward.sick.fate = lambda _n, _a: "ok" if mended else "failed"
    before = len(ward.sick.ran)
    ward.turn()
    assert [item.piece.hi - item.piece.lo for item in ward.sick.pod] == [1]
    ward.turn(ward.sick)
    assert len(ward.sick.ran) == before + 1
    ward.turn()
    if mended:
        assert ward.said[-1] == "sick is off the bench: its probe task ended well"
        assert len(ward.sick.pod) == 2
    else:
        assert ward.said[-1] == "sick is benched for 600 s: its probe task failed"
        assert ward.sick.pod == []
    assert ward.outcome() == "ok"


def test_the_try_comes_back(project: Project, clock: Clock) -> None:
    """A task that lost a try on a host that eats tasks, and then fails for itself, has it still."""
    ward = Ward(project, clock, 60)
    ward.turn(ward.sick)
    flaky = ward.sick.ran[-1][0]
    ward.well.fate = lambda task, attempt: "failed" if (task, attempt) == (flaky, 2) else "ok"
    assert ward.outcome() == "ok"
    assert (flaky, 3) in ward.well.ran
    assert len(ward.said) == 1


def test_faults_of_the_tasks(project: Project, clock: Clock) -> None:
    """Tasks that fail everywhere bench nobody, and each is tried as often as it may be."""
    ward = Ward(project, clock, 40, retries=2)
    ward.well.fate = ward.sick.fate
    for _ in range(300):
        if not ward.turn(ward.sick, ward.well):
            break
    assert outcome(project) == "x1"
    assert ward.said == []
    assert sorted(ward.sick.ran + ward.well.ran) == [
        (task, attempt) for task in range(40) for attempt in (1, 2, 3)
    ]
    assert not ward.hosts._failed, "nothing is remembered of what has ended"


def test_slow_failures(project: Project, clock: Clock) -> None:
    """What fails after a while has done something of its own."""
    ward = Ward(project, clock, 60)
    ward.sick.seconds = 7.0
    for _ in range(100):
        if not ward.turn(ward.sick, ward.well):
            break
    assert outcome(project) == "ok"
    assert ward.said == []


def test_a_success_in_between(project: Project, clock: Clock) -> None:
    """In a row means in a row, also within a piece."""
    ward = Ward(project, clock, 60)
    ward.sick.fate = lambda task, _: "failed" if task % 4 else "ok"
    for _ in range(100):
        if not ward.turn(ward.sick, ward.well):
            break
    assert outcome(project) == "ok"
    assert ward.said == []


def test_given_back_and_over(project: Project, clock: Clock) -> None:
    """What a worker gave back of a list that is over is in nobody's hand: nobody waits for it."""
    ward = Ward(project, clock, 12)
    ward.turn()
    (key,) = shelf.keys(project)
    assert ward.lists.in_hand
    halt.publish(Shelf(project, key), Halt("interrupted"))
    for player in (ward.sick, ward.well):
        for item in player.pod:
            assert Shelf(project, key).withdraw(player.id, item.piece)
    while ward.turn():
        pass
    assert ward.lists.in_hand == 0


def test_stopped_and_then_at_once(project: Project, clock: Clock) -> None:
    """Whoever first lets what runs finish, and then does not, is obeyed at the next look."""
    ward = Ward(project, clock, 12)
    ward.turn()
    (key,) = shelf.keys(project)
    place = Shelf(project, key)
    for player in (ward.sick, ward.well):
        assert place.accept(player.id, player.pod[0].piece)
    halt.publish(place, Halt("interrupted"))
    for _ in range(5):
        assert ward.turn()
    assert len(ward.sick.pod) == len(ward.well.pod) == 1
    halt.publish(place, Halt("interrupted", now=True))
    for _ in range(5):
        ward.turn()
    assert ward.sick.pod == ward.well.pod == []
