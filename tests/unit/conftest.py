"""What the tests of the spool share: a project of one's own, a clock, a worker, job files.

Nothing here starts a process or waits: whoever tries fails. A worker is played by ``FakeWorker``,
which uses the same verbs as the real one.

Each run tries other examples, so a run has few of them; more at once are tried with
``pytest tests/unit --hypothesis-profile=thorough``.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, NoReturn, Optional

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode does not

from fjd.dispatcher.dispatcher import Dispatcher, Manner
from fjd.dispatcher.progress import Progress
from fjd.spool import names, pods, records
from fjd.spool.burial import loss_record
from fjd.spool.crew import Card, Post, Sighting, sightings
from fjd.spool.lease import Lease
from fjd.spool.names import Token
from fjd.spool.project import Project
from fjd.spool.timings import Timings
from fjd.system import files
from fjd.system.identity import Identity

ELSEWHERE = Identity("elsewhere", "another boot", "pid:[1]", 7, 7)
JOB = b"[control]\nexecutable: true\n"
PLACES = ("jobqueue", "requeue", "results", "done", "failed", "rejected")

settings.register_profile("fjd", max_examples=50, deadline=None, database=None)
settings.register_profile("thorough", settings.get_profile("fjd"), max_examples=1000)


def pytest_configure(config: pytest.Config) -> None:
    """Choose how many examples are tried."""
    settings.load_profile(config.getoption("--hypothesis-profile", None) or "fjd")


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float = 1.0) -> float:
        """Go on and return the time."""
        self.now += seconds
        return self.now


class FakeWorker:
    """A worker without a process: announces itself, accepts, records, commits, gives back."""

    def __init__(self, project: Project, identity: Identity = ELSEWHERE, bell: str = "") -> None:
        self.project = project
        self.id = names.new_worker(identity.host, 0)
        card = Card(self.id, identity, identity, "", "", "", bell, "/", 0.0)
        self.post, self.pod = Post(project, card), pods.Pod(project, self.id)
        self.post.announce()

    @property
    def sighting(self) -> Optional[Sighting]:
        """The entry as it lies now."""
        return sightings(self.project).get(self.id)

    @property
    def hand(self) -> list[pods.Held]:
        """What lies in the pod."""
        return pods.contents(self.project, self.id) or []

    def accept(self) -> Optional[Token]:
        """Accept the oldest assignment that waits."""
        for held in self.hand:
            if not held.accepted and self.pod.accept(held.token):
                return held.token
        return None

    def record(self, token: Token, outcome: str = "ok", number: int = 0, **more: object) -> None:
        """Write the record of an end."""
        ledger = records.Ledger(self.project, self.id)
        fields = {"outcome": outcome, "exit": number, **more}
        ledger.write({**loss_record(token, self.id, ""), **fields})
        ledger.close()

    def finish(self, token: Token, code: str = "ok") -> bool:
        """Record and commit an accepted job."""
        self.record(token, "ok" if code == "ok" else "failed", 0 if code == "ok" else 1)
        return self.pod.commit(token, code)

    def leave(self) -> None:
        """End as a fired worker does."""
        self.pod.take_down()
        self.post.leave()


def drop(project: Project, name: str, data: bytes = JOB, mode: int = 0o600) -> str:
    """Put a complete job file into the queue, as a rename does: its ctime is the later one."""
    staging = project.staging()
    files.create(staging, data, mode)
    os.utime(staging, (1e9, 1e9))
    path = f"{project.jobqueue}/{name}"
    os.rename(staging, path)
    return path


def below(directory: str) -> Iterator[str]:
    """Yield every file below a directory; it need not be there."""
    try:
        entries = list(os.scandir(directory))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from below(entry.path)
        else:
            yield entry.path


def tokens(project: Project) -> dict[str, list[str]]:
    """Return every job in the spool, and where it lies: the invariant is one place for each."""
    found: dict[str, list[str]] = {}
    for path in (p for place in (*PLACES, "jobpods") for p in below(f"{project.root}/{place}")):
        name = os.path.basename(path)
        if not name.endswith(names.WHY):
            held = pods.parse(name)
            result = names.Result.parse(name)
            token = held.token if held else result.token if result else None
            found.setdefault(token.job if token else name, []).append(path[len(project.root) + 1 :])
    return found


def place_of(project: Project, job: str) -> str:
    """Return the one directory in which a job lies."""
    (where,) = tokens(project)[job]
    return where.split("/")[0]


class Bench:
    """One dispatcher on a project, with its clock, its output and its talk."""

    def __init__(
        self,
        project: Project,
        manner: Manner = Manner(),  # noqa: B008  immutable
        clock: Optional[Clock] = None,
        timings: Timings = Timings(),  # noqa: B008  immutable
    ) -> None:
        self.project, self.clock = project, clock or Clock()
        self.out, self.said = io.StringIO(), list[str]()
        self.lease = Lease(project, "", timings)
        assert self.lease.take()
        progress = Progress(self.out, 0.0, self.clock, live=False)
        self.dispatcher = Dispatcher(
            project, self.lease, timings, progress, self.said.append, manner, self.clock
        )

    def tick(self, times: int = 1, seconds: float = 1.0) -> bool:
        """Let some time pass and the dispatcher look, so often; True while it has work."""
        more = False
        for _ in range(times):
            self.clock.tick(seconds)
            more = self.dispatcher.tick(set(), True)
        return more

    def cancelled(self) -> list[str]:
        """Return the jobs that are recorded as cancelled."""
        return [
            record["job"]
            for writer in records.writers(self.project)
            for record in records.of_worker(self.project, writer)
            if record["outcome"] == "cancelled"
        ]


Hire = Callable[..., FakeWorker]


class Tools:
    """What a test that builds its own world needs; a fixture, for tests import nothing."""

    Bench, Clock, FakeWorker = Bench, Clock, FakeWorker
    ELSEWHERE, JOB = ELSEWHERE, JOB
    drop, tokens, place_of = staticmethod(drop), staticmethod(tokens), staticmethod(place_of)

    @staticmethod
    def gone() -> Identity:
        """Return a process of this host that has ended: no pid is so large."""
        return Identity.of(1 << 23)


@pytest.fixture(autouse=True, scope="module")
def nothing_starts() -> Iterator[None]:
    """Let a test fail that starts a process; it belongs into tests/integration."""

    def refuse(*_: object, **__: object) -> NoReturn:
        pytest.fail("a unit test has started a process")  # no Exception, so nobody swallows it

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", refuse)
        for name in ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system"):
            patch.setattr(os, name, refuse)
        yield


@pytest.fixture
def tools() -> type[Tools]:
    """Return the classes and functions of this file."""
    return Tools


@pytest.fixture
def home() -> Iterator[str]:
    """Return a home of one's own, in memory where there is such a place, and leave nothing."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = tempfile.mkdtemp(prefix="fjd-test-", dir=memory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FJD_HOME", path)
        patch.delenv("FJD_PROJECT", raising=False)
        yield path
    shutil.rmtree(path)


@pytest.fixture
def project(home: str) -> Project:
    """Return an empty project."""
    return Project.open("p")


@pytest.fixture
def clock() -> Clock:
    """Return a clock that the test moves."""
    return Clock()


@pytest.fixture
def hire(project: Project) -> Hire:
    """Return what makes a worker of this project."""
    return lambda *args, **more: FakeWorker(project, *args, **more)


@pytest.fixture
def bench(project: Project) -> Bench:
    """Return a dispatcher in office."""
    return Bench(project)
