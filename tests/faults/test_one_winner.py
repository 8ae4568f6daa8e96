"""Eight processes want the same thing at the same moment: one gets it, and nothing is harmed."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import traceback
from pathlib import Path
from typing import Any, Callable

import pytest

from fjd.spool import (
    burial,
    contexts,
    crew,
    filing,
    lease,
    lookup,
    names,
    pods,
    records,
    submission,
)
from fjd.spool.crew import Card, Post, Sighting
from fjd.spool.filing import Cabinet
from fjd.spool.lease import Lease
from fjd.spool.lookup import Found
from fjd.spool.names import DEAD, Result, Token
from fjd.spool.pods import Held, Pod
from fjd.spool.project import Project
from fjd.spool.rejection import reject
from fjd.spool.timings import Timings
from fjd.system.identity import Identity

RACERS, ROUNDS = 8, 150
ELSEWHERE = Identity("elsewhere", "another boot", "pid:[1]", 7, 7)
JOB = b"[control]\nexecutable: true\n"
TOKEN = Token("job.abcdefghijkl", 5)
RAN = Held(TOKEN, accepted=True)


class Ground:
    """Where a race is held: a project with eight pods; the racers are forks of the test.

    The actions of a race are given to ``run`` once; its racers are made then and go through all
    rounds, each of which is prepared and judged by the test.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.workers = [names.new_worker("host", n) for n in range(RACERS)]
        self.posts = [self._post(worker) for worker in self.workers]

    def _post(self, worker: str) -> Post:
        card = Card(worker, ELSEWHERE, ELSEWHERE, "", "", "", "", "/", 0.0)
        post = Post(self.project, card)
        post.announce()
        return post

    def put(self, path: str) -> str:
        """Put a token there."""
        Path(path).write_bytes(JOB)
        return path

    def tokens(self) -> list[str]:
        """Return where tokens lie."""
        places = ("jobqueue", "requeue", "jobpods", "results", "done", "failed", "rejected")
        found = [p for place in places for p in Path(self.project.root, place).rglob("*")]
        found = [path for path in found if path.suffix != names.WHY]
        for path in found:
            assert path.is_dir() or path.read_bytes() == JOB
        return [str(path) for path in found if path.is_file()]

    def run(
        self,
        prepare: Callable[[], object],
        act: Callable[[int], bool],
        judge: Callable[[list[bool]], None],
    ) -> int:
        """Hold the race again and again; return how often more than one said True."""
        context = multiprocessing.get_context("fork")
        gate = context.Barrier(RACERS + 1)
        answers = context.Array("i", RACERS)
        racers = [
            context.Process(target=self._race, args=(number, act, gate, answers))
            for number in range(RACERS)
        ]
        for racer in racers:
            racer.start()
        several = 0
        try:
            for _ in range(ROUNDS):
                prepare()
                gate.wait(20)
                gate.wait(20)
                assert -1 not in answers[:], "a racer fell"
                won = [bool(answer) for answer in answers[:]]
                several += sum(won) > 1
                judge(won)
                for path in self.tokens():
                    os.unlink(path)
        finally:
            for racer in racers:
                racer.terminate()
                racer.join()
        return several

    def _race(self, number: int, act: Callable[[int], bool], gate: Any, answers: Any) -> None:  # noqa: ANN401
        while True:
            gate.wait()
            try:
                answers[number] = act(number)
            except BaseException:  # noqa: BLE001  it is printed, and the test fails
                traceback.print_exc()
                answers[number] = -1
            gate.wait()


@pytest.fixture
def ground(memory: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """A project for races."""
    monkeypatch.setenv("FJD_HOME", str(memory / "home"))
    return Ground(Project.open("p"))


def one(ground: Ground) -> Callable[[list[bool]], None]:
    """Return what judges a race with one winner and one token."""

    def judge(won: list[bool]) -> None:
        assert sum(won) == 1
        assert len(ground.tokens()) == 1

    return judge


def test_assign(ground: Ground) -> None:
    """Eight dispatchers assign one queued job."""
    source = f"{ground.project.jobqueue}/job"

    def act(number: int) -> bool:
        token = TOKEN._replace(serial=number)
        return pods.assign(ground.project, source, token, ground.workers[number])

    ground.run(lambda: ground.put(source), act, one(ground))


def test_reassign_and_accept(ground: Ground) -> None:
    """The worker accepts what seven dispatchers take away from it."""
    owner, project = ground.workers[0], ground.project

    def act(number: int) -> bool:
        if number == 0:
            return Pod(project, owner).accept(TOKEN)
        if number == 1:
            return pods.requeue(project, owner, Held(TOKEN, False), TOKEN)
        new = TOKEN._replace(serial=10 + number)
        return pods.reassign(project, TOKEN, owner, new, ground.workers[number])

    winners = set()

    def judge(won: list[bool]) -> None:
        one(ground)(won)
        winners.add(won.index(True))

    ground.run(lambda: ground.put(f"{project.pod(owner)}/{TOKEN}"), act, judge)
    print(f"winners: {sorted(winners)}")
    assert len(winners) > 1, "it is no race if always the same one wins"


def test_commit_and_bury(ground: Ground) -> None:
    """A worker commits while others give up on it: one place, and the commit says which.

    What its commit has won nobody records as lost.
    """
    owner, project = ground.workers[0], ground.project
    ends = set()

    def prepare() -> None:
        os.makedirs(project.pod(owner), exist_ok=True)
        ground.put(f"{project.pod(owner)}/{TOKEN},run")

    def act(number: int) -> bool:
        if number < 4:  # its own commit, and others that end otherwise
            return pods.commit(project, owner, TOKEN, f"x{number}")
        ledger = records.Ledger(project, f"dispatcher-{number:08x}")
        burial.bury(project, owner, None, "it died", ledger.write, crashed=True)
        return False

    def judge(won: list[bool]) -> None:
        (path,) = ground.tokens()
        assert sum(won) == path.startswith(project.results)
        losses = sum(len(list(records.of_worker(project, who))) for who in records.writers(project))
        assert bool(losses) is not any(won)
        for who in records.writers(project):
            os.unlink(project.record_file(who))
        ends.add(os.path.dirname(path))

    ground.run(prepare, act, judge)
    print(f"ends: {sorted(map(os.path.basename, ends))}")


def test_unlist(ground: Ground) -> None:
    """Eight bury one worker while it lives: one takes the entry, or it beats first."""
    post, project = ground.posts[0], ground.project

    def prepare() -> None:
        if not crew.sightings(project).get(post.worker):
            ground.put(f"{project.workerqueue}/{post.worker},0")

    def act(number: int) -> bool:
        return crew.unlist(project, Sighting(post.worker, 0, busy=False))

    def judge(won: list[bool]) -> None:
        assert sum(won) == 1
        assert post.worker not in crew.sightings(project)
        assert not post.beat()

    ground.run(prepare, act, judge)


def test_lease(ground: Ground) -> None:
    """Eight dispatchers take the lease: the listing has one holder, and who holds it knows."""

    def act(number: int) -> bool:
        claim = Lease(ground.project, "", Timings())
        return claim.take() and claim.held(nudge=True)

    def judge(won: list[bool]) -> None:
        # Two that saw nobody may both have taken it for a moment; the listing says who holds it,
        # and the other one finds out at its next heartbeat (Pulse). Nothing depends on it.
        assert lease.holder(ground.project) is not None
        assert any(won)
        for name in os.listdir(ground.project.dispatcher):
            os.unlink(f"{ground.project.dispatcher}/{name}")

    several = ground.run(lambda: None, act, judge)
    print(f"rounds in which one took over from another at once: {several}")


def test_rank(ground: Ground, memory: Path) -> None:
    """Eight contexts start: no two engines ever have the same rank."""
    seen = set[int]()

    def act(number: int) -> bool:
        ranks = contexts.claim(ground.project, 2)
        (memory / f"ranks-{number}").write_text(" ".join(map(str, ranks)))
        return True

    def judge(won: list[bool]) -> None:
        texts = [(memory / f"ranks-{number}").read_text() for number in range(RACERS)]
        ranks = {int(rank) for text in texts for rank in text.split()}
        assert len(ranks) == 2 * RACERS
        assert not ranks & seen
        seen.update(ranks)

    ground.run(lambda: None, act, judge)
    assert seen == set(range(len(seen)))  # and none is left out


def test_submit(ground: Ground, memory: Path) -> None:
    """Eight users submit a file of one name: eight jobs."""
    job = ground.put(str(memory / "job"))

    def act(number: int) -> bool:
        return bool(submission.submit(ground.project, [job]))

    def judge(won: list[bool]) -> None:
        assert all(won)
        assert len(ground.tokens()) == RACERS
        assert os.listdir(ground.project.tmp) == []

    ground.run(lambda: None, act, judge)


def test_leave_and_assign(ground: Ground) -> None:
    """A worker leaves while seven jobs are assigned to it: each is queued, or queued again."""
    owner, project = ground.workers[0], ground.project
    winners = [0]

    def prepare() -> None:
        os.makedirs(project.pod(owner), exist_ok=True)
        for number in range(1, RACERS):
            ground.put(f"{project.jobqueue}/job{number}")

    def act(number: int) -> bool:
        if number == 0:
            Pod(project, owner).take_down()
            return True
        token = Token(f"job{number}.abcdefghijkl", 5)
        try:
            return pods.assign(project, f"{project.jobqueue}/job{number}", token, owner)
        except FileNotFoundError:
            return False

    def judge(won: list[bool]) -> None:
        assert not os.path.exists(project.pod(owner))
        assert len(os.listdir(project.requeue)) == sum(won) - 1
        assert len(ground.tokens()) == RACERS - 1
        winners[0] += sum(won) - 1

    ground.run(prepare, act, judge)
    print(f"assigned: {winners[0]} of {(RACERS - 1) * ROUNDS}")


def test_reject(ground: Ground) -> None:
    """Eight dispatchers reject one file: it lies there once, with one reason."""
    project = ground.project
    source = f"{project.jobqueue}/job"

    def act(number: int) -> bool:
        return reject(project, source, Token(names.new_key("job")), "it is bad")

    def judge(won: list[bool]) -> None:
        one(ground)(won)
        token, why = sorted(os.listdir(project.rejected))
        assert why == token + names.WHY
        os.unlink(f"{project.rejected}/{why}")

    ground.run(lambda: ground.put(source), act, judge)


def test_submit_again(ground: Ground) -> None:
    """Eight users submit a rejected job again: it is queued once, and its reason is gone."""
    project = ground.project
    source = f"{project.rejected}/{TOKEN}"
    found = Found(lookup.REJECTED, "job", TOKEN, "", "", source)

    def prepare() -> None:
        ground.put(source)
        Path(source + names.WHY).touch()

    def judge(won: list[bool]) -> None:
        one(ground)(won)
        assert os.listdir(project.rejected) == []

    ground.run(prepare, lambda number: submission.again(project, found), judge)


def test_list_again(ground: Ground) -> None:
    """Eight users let a failed list run again: it is open once, and nothing else is left of it."""
    project = ground.project
    token = Token("x.tasks.abcdefghijkl")
    source = f"{project.failed}/000/{Result(token, ground.workers[0], 'x1')}"
    found = Found(lookup.FILED, "x.tasks", token, ground.workers[0], "x1", source)
    os.makedirs(f"{project.failed}/000")

    def prepare() -> None:
        ground.put(source)
        Path(source + names.STATUS).touch()

    def judge(won: list[bool]) -> None:
        assert sum(won) == 1
        assert os.listdir(f"{project.failed}/000") == os.listdir(project.tmp) == []
        (key,) = os.listdir(project.lists)
        assert sorted(os.listdir(f"{project.lists}/{key}")) == ["status.txt", f"{key},s0,a1,n0"]
        shutil.rmtree(f"{project.lists}/{key}")

    ground.run(prepare, lambda number: submission.again(project, found), judge)


@pytest.mark.parametrize(
    "verb", ["file", "again", "retry", "requeue", "give back", "take", "give up"]
)
def test_one_mover(ground: Ground, verb: str) -> None:
    """Eight do the same to one token: one of them did it, and he knows.

    Only a filed name is the same for all: who comes second finds it where he wanted it, which is
    also what the first one finds if his reply was lost; he cannot tell, and nobody depends on it.
    So are those by which an attempt is taken from its worker: who goes on decides.
    """
    project, owner = ground.project, ground.workers[0]
    result = Result(TOKEN, owner, "x1")
    cabinet = Cabinet(project)
    places: dict[str, tuple[str, Callable[[], bool]]] = {
        "file": (f"{project.results}/{result}", lambda: cabinet.file(result)),
        "again": (f"{project.results}/{result}", lambda: cabinet.again(result)),
        "retry": (
            f"{project.failed}/000/{result}",
            lambda: filing.retry(project, f"{project.failed}/000/{result}", result),
        ),
        "requeue": (
            f"{project.pod(owner)}/{TOKEN},run",
            lambda: pods.requeue(project, owner, RAN, pods.after_crash(TOKEN)),
        ),
        "give back": (
            f"{project.pod(owner)}/{TOKEN},run",
            lambda: Pod(project, owner).give_back(RAN),
        ),
        "take": (
            f"{project.pod(owner)}/{TOKEN},run",
            lambda: pods.take(project, owner, RAN, DEAD) is not None,
        ),
        "give up": (
            f"{project.pod(owner)}/{TOKEN},dead",
            lambda: pods.give_up(project, owner, RAN._replace(why=DEAD)) is not None,
        ),
    }
    source, act = places[verb]
    os.makedirs(f"{project.failed}/000", exist_ok=True)

    def judge(won: list[bool]) -> None:
        assert any(won)
        assert sum(won) == 1 or verb in ("file", "take", "give up")
        assert len(ground.tokens()) == 1

    several = ground.run(lambda: ground.put(source), lambda number: act(), judge)
    print(f"{verb}: in {several} of {ROUNDS} rounds more than one said True")
