"""The protocol against a model of ten lines: whatever happens in whatever order, no job is lost.

The model knows how many attempts of each job have begun and which of them have ended; the spool
says where its one token lies. All actors act through the real verbs; crashes are what they are:
somebody does not come back.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Optional

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fjd.dispatcher.dispatcher import Manner
from fjd.spool import filing
from fjd.spool.names import Result, Token
from fjd.spool.project import Project

if TYPE_CHECKING:
    from tests.unit.conftest import FakeWorker, Tools

PICK = st.integers(0, 1000)
ENDS = st.sampled_from(["ok", "ok", "x1"])


class Spool(RuleBasedStateMachine):
    """A project, its dispatcher, up to three workers, the user, and the zombies."""

    def __init__(self, tools: type[Tools], number: int) -> None:
        super().__init__()
        self.tools, self.clock = tools, tools.Clock()
        self.project = Project.open(f"p{number}")
        self.bench = tools.Bench(self.project, Manner(retries=1), self.clock)
        self.workers: list[FakeWorker] = []
        self.zombies: list[tuple[FakeWorker, Optional[Token]]] = []
        self.running: dict[str, Token] = {}  # by worker
        # The model: every job that was ever submitted, and how many attempts of it began.
        self.began: dict[str, int] = {}
        self.removed: set[str] = set()
        self.now: set[str] = set()  # where tokens lie, and where they ever lay
        self.ever: set[str] = set()
        for act in (self.submit, self.submit, self.tick):
            act()
        self.hire(mortal=True)
        self.hire(mortal=False)

    # -- the user -------------------------------------------------------------------------------

    @rule()
    def submit(self) -> None:
        """The user drops a job."""
        name = f"job{len(self.began)}"
        self.tools.drop(self.project, name)
        self.began[name] = 0

    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        """The user removes a queued job."""
        queued = sorted(os.listdir(self.project.jobqueue))
        if queued:
            name = queued[pick % len(queued)]
            os.unlink(f"{self.project.jobqueue}/{name}")
            self.removed.add(name)

    @rule(pick=PICK)
    def retry(self, pick: int) -> None:
        """The user retries a job that failed."""
        failed = sorted(filing.filed(self.project, self.project.failed))
        if failed:
            path, result = failed[pick % len(failed)]
            assert filing.retry(self.project, path, result)

    # -- the dispatcher -------------------------------------------------------------------------

    @rule()
    def tick(self) -> None:
        """The dispatcher looks once."""
        self.bench.tick()

    @rule()
    def dispatcher_dies(self) -> None:
        """The dispatcher dies, and another one takes over."""
        self.bench = self.tools.Bench(self.project, Manner(retries=1), self.clock)

    # -- the workers ----------------------------------------------------------------------------

    @precondition(lambda self: len(self.workers) < 3)
    @rule(mortal=st.booleans())
    def hire(self, mortal: bool) -> None:
        """A worker comes; a mortal one is on this host, and its process has ended before long."""
        identity = self.tools.gone() if mortal else self.tools.ELSEWHERE
        self.workers.append(self.tools.FakeWorker(self.project, identity))

    def worker(self, pick: int) -> FakeWorker:
        """Return one of the workers."""
        return self.workers[pick % len(self.workers)]

    @precondition(lambda self: self.workers)
    @rule(pick=PICK)
    def accept(self, pick: int) -> None:
        """A worker starts the next job."""
        worker = self.worker(pick)
        token = None if worker.id in self.running else worker.accept()
        if token:
            worker.post.show(busy=True)
            self.running[worker.id] = token
            self.began[token.job] += 1

    @precondition(lambda self: self.workers)
    @rule(pick=PICK, code=ENDS, recorded_only=st.booleans())
    def finish(self, pick: int, code: str, recorded_only: bool) -> None:
        """A worker ends its job; or it writes the record and gets no further."""
        worker = self.worker(pick)
        token = self.running.get(worker.id)
        if token and recorded_only:
            worker.record(token, "ok" if code == "ok" else "failed", int(code != "ok"))
            self.give_up(worker)
        elif token:
            alive = worker.sighting is not None
            assert worker.finish(token, code) is alive or not alive
            del self.running[worker.id]

    @precondition(lambda self: self.workers)
    @rule(pick=PICK)
    def fire(self, pick: int) -> None:
        """A worker is fired: it gives everything back and goes."""
        worker = self.worker(pick)
        self.workers.remove(worker)
        self.running.pop(worker.id, None)
        worker.leave()

    @precondition(lambda self: self.workers)
    @rule(pick=PICK)
    def stall(self, pick: int) -> None:
        """A worker stands still, for ever or until its next move as a zombie."""
        self.give_up(self.worker(pick))

    def give_up(self, worker: FakeWorker) -> None:
        """Let a worker do nothing more for now."""
        self.workers.remove(worker)
        self.zombies.append((worker, self.running.pop(worker.id, None)))

    @precondition(lambda self: self.zombies)
    @rule(pick=PICK, code=ENDS)
    def zombie(self, pick: int, code: str) -> None:
        """A worker that stood still goes on: it ends what it ran and notices whether it is dead."""
        worker, token = self.zombies.pop(pick % len(self.zombies))
        buried = worker.sighting is None
        if token:
            won = worker.finish(token, code)
            assert not (won and buried) or self.place(token) == "results"
        assert worker.post.beat() is not buried
        if not buried:
            worker.leave()

    def place(self, token: Token) -> str:
        """Return where a job's token lies."""
        return self.tools.place_of(self.project, token.job)

    @rule()
    def a_lease_passes(self) -> None:
        """Time passes in which everybody who lives beats."""
        for _ in range(13):
            for worker in self.workers:
                worker.post.beat()
            self.bench.tick(seconds=8.0)

    # -- what must hold -------------------------------------------------------------------------

    @invariant()
    def one_token(self) -> None:
        """Every job that was not removed has exactly one token, and no name comes twice."""
        found = self.tools.tokens(self.project)
        lost = self.began.keys() - found.keys()
        assert lost <= self.removed
        for job, places in found.items():
            assert len(places) == 1, (job, places)
        now = {places[0] for places in found.values()}
        assert not (now - self.now) & self.ever
        self.now, self.ever = now, self.ever | now

    def teardown(self) -> None:
        """In the end, with one good worker, every job is filed once, and the numbers add up."""
        for worker in list(self.workers):
            self.give_up(worker)
        last = self.tools.FakeWorker(self.project)
        more = True
        for _ in range(150):
            last.post.beat()
            more = self.bench.tick(seconds=4.0)
            for token in iter(last.accept, None):
                self.began[token.job] += 1
                assert last.finish(token)
            if not more:
                break
        assert not more
        self.one_token()
        for job, places in self.tools.tokens(self.project).items():
            result = Result.parse(os.path.basename(places[0]))
            assert result is not None, places
            assert places[0].startswith("done/" if result.outcome == "ok" else "failed/")
            assert result.token.attempt == self.began[job]
            assert result.token.crashes < 5


def test_model(home: str, tools: type[Tools]) -> None:
    """Every job has one token at every moment, and is filed once at the end."""
    numbers = iter(range(10**6))
    run_state_machine_as_test(
        lambda: Spool(tools, next(numbers)),
        settings=settings(
            max_examples=settings.default.max_examples // 6,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


RULES = {
    "tick": 6, "accept": 9, "finish": 6, "submit": 3, "hire": 5, "stall": 1, "fire": 1,
    "zombie": 1, "retry": 1, "cancel": 1, "a_lease_passes": 1, "dispatcher_dies": 1,
}  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_walk(home: str, tools: type[Tools], seed: int) -> None:
    """The same on long walks, in which what is usual happens more often."""
    dice, machine = random.Random(seed), Spool(tools, 0)
    choices = {
        "accept": lambda: {"pick": dice.randrange(9)},
        "finish": lambda: {"pick": dice.randrange(9), "code": dice.choice(["ok", "x1"]),
                           "recorded_only": dice.random() < 0.2},
        "hire": lambda: {"mortal": dice.random() < 0.3},
        "stall": lambda: {"pick": dice.randrange(9)},
        "fire": lambda: {"pick": dice.randrange(9)},
        "zombie": lambda: {"pick": dice.randrange(9), "code": dice.choice(["ok", "x1"])},
        "retry": lambda: {"pick": dice.randrange(9)},
        "cancel": lambda: {"pick": dice.randrange(9)},
    }  # fmt: skip
    for name in dice.choices(list(RULES), list(RULES.values()), k=250):
        possible = {"hire": len(machine.workers) < 3, "zombie": machine.zombies}
        possible.update(dict.fromkeys(("accept", "finish", "stall", "fire"), machine.workers))
        if possible.get(name, True):
            getattr(machine, name)(**choices.get(name, dict)())
            machine.one_token()
    machine.teardown()
    assert sum(machine.began.values()) > 10


def test_model_bites(home: str, tools: type[Tools]) -> None:
    """A token that was copied, and one that vanished, are found out."""
    for number, act in enumerate((os.link, os.rename)):
        machine = Spool(tools, number)
        machine.submit()
        machine.one_token()
        name = sorted(os.listdir(machine.project.jobqueue))[0]
        act(
            f"{machine.project.jobqueue}/{name}",
            f"{machine.project.requeue}/job0.abcdefghijkl,s1,a1",
        )
        if act is os.rename:
            os.unlink(f"{machine.project.requeue}/job0.abcdefghijkl,s1,a1")
        with pytest.raises(AssertionError):
            machine.one_token()
