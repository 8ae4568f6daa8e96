"""The verbs of lists against a model of ten lines: whatever happens, each task is counted once.

The model knows of each task which attempt is due and how the last one ended; the spool says where
its token lies. A record counts as long as its piece was not judged: who stood still and wakes up
after that writes in vain. Dispatchers are replaced, with another idea of how large a piece is, and
the old ones go on as well.

More walks: FJD_MODEL=20000 (or any number) in the environment.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Callable, NamedTuple, Optional

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from fjd.dispatcher.hosts import Hosts
from fjd.dispatcher.lists import Lists
from fjd.spool import names, records
from fjd.spool.burial import loss_record
from fjd.spool.lists import afterwards, covered, ends, shelf, submission, taking
from fjd.spool.lists.covered import Folded
from fjd.spool.lists.folder import Folder
from fjd.spool.lists.names import BACK, END, Kept, Mark, Piece
from fjd.spool.lists.shelf import Look, Shelf
from fjd.spool.names import Token
from fjd.spool.pods import CRASH_LIMIT
from fjd.spool.project import Project
from fjd.spool.records import Record

WALKS = int(os.environ.get("FJD_MODEL", "0")) or 20
TASKS, RETRIES, STEPS = 7, 1, 80
PICK = st.integers(0, 1000)
ENDS = st.sampled_from(["ok", "ok", "failed"])

Counted = tuple[str, int, str]  # worker, attempt, outcome


class Model:
    """What must come out: the attempt that is due of each task, and what was counted."""

    def __init__(self) -> None:
        self.due = {task: [1, 0, 0] for task in range(TASKS)}  # attempt, failures, crashes
        self.counted: dict[int, Counted] = {}

    def end(self, task: int, worker: str, outcome: str, crashed: bool = False) -> None:
        """An attempt has ended, or was broken off."""
        assert task not in self.counted, "it is counted already"
        attempt, failures, crashes = self.due[task]
        self.due[task] = [attempt + 1, failures + (outcome == "failed"), crashes + crashed]
        if outcome == "failed":
            self.due[task][2] = 0
        again = outcome == "lost" and self.due[task][2] < CRASH_LIMIT
        if outcome == "ok" or not (again or (outcome == "failed" and failures < RETRIES)):
            self.counted[task] = (worker, attempt, outcome)


class Hand:
    """A worker, the piece that it runs, and the task in it."""

    def __init__(self, project: Project) -> None:
        self.id = names.new_worker("host", 0)
        self.ledger = records.Ledger(project, self.id)
        self.piece: Optional[Piece] = None
        self.now = self.at = 0
        self.dead = False
        os.mkdir(project.pod(self.id))


class Spool(RuleBasedStateMachine):
    """A list, its dispatcher and the one before, workers, zombies."""

    def __init__(self, project: Project) -> None:
        super().__init__()
        self.project, self.model = project, Model()
        commands = (b"echo %d" % n for n in range(TASKS))
        self.shelf = submission.submit(project, "x", commands)
        self.lines: list[Folded] = []
        self.desks: list[Lists] = []
        self.crew: list[Hand] = []
        self.zombies: list[Hand] = []
        self.restart(0.1)
        self.hire()
        self.hire()

    # -- the dispatcher -------------------------------------------------------------------------

    @rule(mean=st.sampled_from([0.05, 0.1, 1.0]))
    def restart(self, mean: float) -> None:
        """Another dispatcher takes over, with pieces of another size; the old one lives on."""
        me = names.new_worker("dispatcher", 0)
        hosts = Hosts(lambda _: None)
        desk = Lists(self.project, me, self.note, lambda: True, RETRIES, hosts, lambda: 0.0)
        self.desks = [*self.desks[-1:], desk]
        desk.look()
        for work in desk.works.values():
            work.mean = mean

    def note(self, loss: Record) -> None:
        """The dispatcher has recorded that an attempt ended with its worker."""
        if loss["task"] is not None:
            dead = any(hand.dead for hand in self.zombies if hand.id == loss["worker"])
            self.model.end(loss["task"], loss["worker"], "lost", dead)

    @rule(old=st.booleans())
    def look(self, old: bool) -> None:
        """A dispatcher looks."""
        self.desks[0 if old else -1].look(nudge=True)

    @rule(pick=PICK, old=st.booleans())
    def give(self, pick: int, old: bool) -> None:
        """A dispatcher hands out what it believes to be the next piece."""
        if self.crew:
            desk = self.desks[0 if old else -1]
            desk.give(self.crew[pick % len(self.crew)].id, "host", 1)

    @rule(pick=PICK)
    def bury(self, pick: int) -> None:
        """Somebody who stands still is given up."""
        if self.zombies:
            hand = self.zombies[pick % len(self.zombies)]
            taking.take_all(self.project, hand.id, hand.dead)

    # -- the workers ----------------------------------------------------------------------------

    @rule()
    def hire(self) -> None:
        """A worker comes."""
        if len(self.crew) < 3:
            self.crew.append(Hand(self.project))

    @rule(pick=PICK)
    def accept(self, pick: int) -> None:
        """A worker begins with a piece."""
        hand = self.crew[pick % len(self.crew)] if self.crew else None
        if hand is None or hand.piece is not None:
            return
        for item in taking.held(self.project, hand.id):
            if self.shelf.accept(hand.id, item.piece):
                hand.piece, hand.now = item.piece, item.piece.lo
                hand.at = os.path.getsize(self.project.record_file(hand.id))
                return

    def counts(self, hand: Hand, piece: Piece) -> bool:
        """Tell whether a record that is written now is in time."""
        here = [item.piece.birth for item in taking.held(self.project, hand.id)]
        kept = [kept for kept in self.shelf.look().kept if kept.taken and kept.worker == hand.id]
        return piece.birth in [*here, *(k.piece.birth for k in kept if hand.now < k.piece.hi)]

    def write(self, hand: Hand, piece: Piece, outcome: str) -> None:
        """Record the end of the task that runs."""
        if self.counts(hand, piece):
            assert self.model.due[hand.now][0] == piece.number(hand.now)
            told = "lost" if outcome == "cancelled" else outcome
            self.model.end(hand.now, hand.id, told)
        token = Token(self.shelf.key, 0, piece.number(hand.now))
        record = {**loss_record(token, hand.id, ""), "task": hand.now, "outcome": outcome}
        hand.ledger.write({**record, "returned": True} if outcome == "cancelled" else record)

    def step(self, hand: Hand, outcome: str) -> None:
        """A worker ends the task that runs, and its piece if that was the last one."""
        piece = hand.piece
        if piece is None:
            return
        self.write(hand, piece, outcome)
        hand.now += outcome != "cancelled"
        if hand.now < piece.hi and outcome != "cancelled":
            return
        hand.piece = None
        try:
            why = BACK if outcome == "cancelled" else END
            self.shelf.end(hand.id, piece, why, hand.at, hand.now)
        except FileNotFoundError:
            assert hand in self.zombies, "the list has ended without us"

    @rule(pick=PICK, outcome=ENDS)
    def finish(self, pick: int, outcome: str) -> None:
        """A worker ends a task."""
        if self.crew:
            self.step(self.crew[pick % len(self.crew)], outcome)

    @rule(pick=PICK, zombie=st.booleans())
    def split(self, pick: int, zombie: bool) -> None:
        """A task lasts, and its worker lets somebody else have those behind it."""
        hands = self.zombies if zombie else self.crew
        hand = hands[pick % len(hands)] if hands else None
        if hand is None or hand.dead or hand.piece is None or hand.now + 1 >= hand.piece.hi:
            return
        try:
            short = self.shelf.split(hand.id, hand.piece, hand.now + 1, b"")
        except FileNotFoundError:
            assert zombie, "the list has ended without us"
            return
        assert short is not None or zombie
        hand.piece = short or hand.piece

    @rule(pick=PICK, zombie=st.booleans())
    def hand_in(self, pick: int, zombie: bool) -> None:
        """A task lasts, and its worker hands in those before it, which have ended."""
        hands = self.zombies if zombie else self.crew
        hand = hands[pick % len(hands)] if hands else None
        if hand is None or hand.dead or hand.piece is None or hand.now == hand.piece.lo:
            return
        try:
            left = self.shelf.hand_in(hand.id, hand.piece, hand.now, hand.at, b"")
        except FileNotFoundError:
            assert zombie, "the list has ended without us"
            return
        assert left is not None or zombie
        if left is not None:
            hand.piece, hand.at = left, os.path.getsize(self.project.record_file(hand.id))

    @rule(pick=PICK)
    def fire(self, pick: int) -> None:
        """A worker is fired: it breaks off its task and goes."""
        if self.crew:
            hand = self.crew.pop(pick % len(self.crew))
            self.step(hand, "cancelled")
            taking.take_all(self.project, hand.id, crashed=False)

    @rule(pick=PICK, dead=st.booleans())
    def stall(self, pick: int, dead: bool) -> None:
        """A worker dies, or stands still."""
        if self.crew:
            hand = self.crew.pop(pick % len(self.crew))
            hand.dead = dead
            self.zombies.append(hand)

    @rule(pick=PICK, outcome=ENDS, many=st.integers(1, TASKS))
    def wake(self, pick: int, outcome: str, many: int) -> None:
        """Who stood still goes on, perhaps long after it was given up."""
        if self.zombies:
            hand = self.zombies[pick % len(self.zombies)]
            for _ in range(0 if hand.dead else many):
                self.step(hand, outcome)

    # -- what must hold -------------------------------------------------------------------------

    @invariant()
    def one_token(self) -> None:
        """Each task below the mark lies in one token, or is folded, or both while that is done."""
        seen, tokens = self.shelf.look(), dict[int, object]()
        if seen.mark is None or seen.mark.closed:
            return
        in_pods = [item for _, item in taking.in_pods(self.shelf)]
        bearers = seen.bearers | {item.piece.bore for item in in_pods}
        born = [k for k in seen.kept if not k.unborn or k.piece.birth in bearers]
        for piece, token in [(i.piece, i) for i in in_pods] + [(k.piece, k) for k in born]:
            for task in piece.tasks():
                assert task not in tokens, (tokens[task], token)
                tokens[task] = token
        folded = {task: line.worker for line in self.progress(seen) for task in span(line)}
        for task in range(seen.mark.n):
            token = tokens.get(task)
            assert token or task in folded, f"{task} is lost"
            if token and task in folded:
                assert isinstance(token, Kept)
                assert token.judged
                assert token.worker == folded[task]

    def progress(self, seen: Look) -> list[Folded]:
        """Return all that the progress files say."""
        files = [name for name in seen.others if name.startswith(covered.PROGRESS)]
        return [line for name in files for line in covered.lines(self.shelf.place(name))]

    def counted(self) -> dict[int, Counted]:
        """Return who counts for each task."""
        found: dict[int, Counted] = {}
        for line in self.lines:
            piece = Piece("a" * 10, line.lo, line.hi, 0, line.attempt, 0, line.extra)
            seen = ends.read(self.project, self.shelf.key, piece, line.worker, line.at)
            for task in span(line):
                outcome = seen.records[task]["outcome"] if task in seen.records else "lost"
                end = (line.worker, piece.number(task), outcome)
                assert found.setdefault(task, end) == end, "it is counted twice"
        return found

    def teardown(self) -> None:
        """In the end, with one good worker, the sums are right."""
        for hand in [*self.crew, *self.zombies]:
            hand.dead = hand.dead or hand in self.crew
            self.zombies += [hand] if hand in self.crew else []
            taking.take_all(self.project, hand.id, hand.dead)
        self.crew = [Hand(self.project)]
        for _ in range(100):
            self.desks[-1].look(nudge=True, recount=True)
            if not shelf.keys(self.project):
                break
            self.desks[-1].give(self.crew[0].id, "host", 1)
            self.accept(0)
            while self.crew[0].piece:
                self.step(self.crew[0], "ok")
        assert not shelf.keys(self.project), "it does not end"
        assert self.counted() == self.model.counted, "not what was in time"
        assert self.model.counted.keys() == set(range(TASKS))


def span(line: Folded) -> range:
    """Return the tasks that a line of a progress file is about."""
    return range(line.lo, line.hi)


class Factory:
    """Makes worlds, and keeps what their progress files say before they are removed."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.number = 0
        self.worlds: dict[str, Spool] = {}
        self.commit = afterwards.commit
        patch.setattr(afterwards, "commit", self.watched)

    def __call__(self) -> Spool:
        self.number += 1
        world = Spool(Project.open(f"p{self.number}"))
        self.worlds = {world.shelf.key: world}
        return world

    def watched(self, place: Shelf, mark: Mark, look: Look, who: str) -> bool:
        """End a list."""
        world = self.worlds[place.key]
        world.lines += world.progress(look)
        return self.commit(place, mark, look, who)


@pytest.fixture
def factory(home: str) -> Iterator[Factory]:
    """Return what makes worlds."""
    with pytest.MonkeyPatch.context() as patch:
        yield Factory(patch)


def test_machine(factory: Factory) -> None:
    """Each task has one token at every moment, and is counted once at the end."""
    run_state_machine_as_test(
        factory,
        settings=settings(
            max_examples=settings.default.max_examples // 6,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


class Choice(NamedTuple):
    """How often something happens on a walk."""

    weight: int
    arguments: Callable[[random.Random], dict[str, object]]


def pick(dice: random.Random) -> dict[str, object]:
    """Choose somebody."""
    return {"pick": dice.randrange(6)}


def end(dice: random.Random) -> dict[str, object]:
    """Choose somebody, and how a task ends."""
    return {**pick(dice), "outcome": dice.choice(["ok", "ok", "failed"])}


CHOICES = {
    "look": Choice(6, lambda dice: {"old": dice.random() < 0.2}),
    "give": Choice(6, lambda dice: {**pick(dice), "old": dice.random() < 0.3}),
    "accept": Choice(8, pick),
    "finish": Choice(8, end),
    "split": Choice(2, lambda dice: {**pick(dice), "zombie": dice.random() < 0.5}),
    "hand_in": Choice(2, lambda dice: {**pick(dice), "zombie": dice.random() < 0.3}),
    "restart": Choice(1, lambda dice: {"mean": dice.choice([0.05, 0.1, 1.0])}),
    "hire": Choice(4, lambda _: {}),
    "fire": Choice(1, pick),
    "stall": Choice(2, lambda dice: {**pick(dice), "dead": dice.random() < 0.4}),
    "bury": Choice(2, pick),
    "wake": Choice(2, lambda dice: {**end(dice), "many": dice.randrange(1, TASKS)}),
}


def walk(factory: Factory, seed: int) -> Spool:
    """Let what is usual happen more often."""
    dice, world = random.Random(seed), factory()
    weights = [choice.weight for choice in CHOICES.values()]
    for name in dice.choices(list(CHOICES), weights, k=STEPS):
        getattr(world, name)(**CHOICES[name].arguments(dice))
        world.one_token()
    world.teardown()
    return world


def walk_often(factory: Factory, walks: int) -> int:
    """Take many walks; return how many attempts there were."""
    attempts = 0
    for seed in range(walks):
        attempts += sum(attempt for _, attempt, _ in walk(factory, seed).model.counted.values())
    return attempts


def test_walks(factory: Factory) -> None:
    """The same on long walks."""
    attempts = walk_often(factory, WALKS)
    assert attempts > WALKS * TASKS * 1.1, "there were retries and burials"


def count_late(patch: pytest.MonkeyPatch) -> None:
    """Let records count that were written after their worker was given up."""
    fold = Folder.fold

    def late(self: Folder, judged: list[Kept]) -> object:
        now: list[Optional[Kept]] = []
        for kept in judged:
            place = self.shelf
            found = ends.read(place.project, place.key, kept.piece, kept.worker)
            k = max(kept.k, found.first_missing(kept.piece))
            now.append(place.step(kept, kept._replace(k=k)) if k > kept.k else kept)
        return fold(self, [kept for kept in now if kept])

    patch.setattr(Folder, "fold", late)


def cut_twice(patch: pytest.MonkeyPatch) -> None:
    """Let who lost the race for the mark hand out its piece all the same."""
    cut = Shelf.cut

    def twice(self: Shelf, mark: Mark, hi: int, data: bytes, worker: str = "") -> Optional[Piece]:
        given = cut(self, mark, hi, data, worker)
        if given is None:
            void = next(k.piece for k in self.look().kept if k.unborn and k.piece.hi == hi)
            self._deliver(Kept(void, unborn=True))
        return given

    patch.setattr(Shelf, "cut", twice)


@pytest.mark.parametrize(
    ("mutant", "what"), [(count_late, "in time|counted|Kept"), (cut_twice, "Piece")]
)
def test_mutants(
    factory: Factory,
    monkeypatch: pytest.MonkeyPatch,
    mutant: Callable[[pytest.MonkeyPatch], None],
    what: str,
) -> None:
    """A verb that is wrong in one point is found out."""
    mutant(monkeypatch)
    with pytest.raises(AssertionError, match=what):
        walk_often(factory, 20 * WALKS)
