"""The dispatcher, pass by pass, with a clock of the test and workers without a process."""

from __future__ import annotations

import errno
import os
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fjd.dispatcher.dispatcher import Dispatcher, Manner
from fjd.errors import NoWorkers
from fjd.spool import crew, pods
from fjd.spool.names import Result, Token
from fjd.spool.project import Project
from fjd.system import files
from fjd.system.identity import Identity

if TYPE_CHECKING:
    from tests.unit.conftest import Bench, FakeWorker, Hire, Tools

BAD = b"[control]\nretries: 1\n"


def names_in(*directories: str) -> list[str]:
    """Return the job names of all tokens in these directories."""
    found = []
    for directory in directories:
        for _, _, there in os.walk(directory):
            for name in there:
                result, token = Result.parse(name), Token.parse(name)
                if result or token:
                    found.append((result.token if result else token or Token("")).job)
    return sorted(found)


def work(worker: FakeWorker, code: str = "ok") -> list[str]:
    """Let a worker run all that it has, and return what that was."""
    done = []
    for token in iter(worker.accept, None):
        assert worker.finish(token, code)
        done.append(token.job)
    return done


def test_one_job(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """A job goes to a worker, and what it did is filed; then there is nothing more to do."""
    worker = hire()
    tools.drop(bench.project, "job")
    assert bench.tick() is True
    assert [held.token.job for held in worker.hand] == ["job"]
    assert work(worker) == ["job"]
    assert bench.tick() is False
    assert names_in(bench.project.done) == ["job"]
    assert bench.dispatcher.totals.done == 1
    assert bench.said == []


def test_empty(bench: Bench) -> None:
    """With nothing queued there is nothing to do, workers or not."""
    assert bench.tick() is False


def test_serial_rises(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """What was queued first is run first."""
    worker = hire()
    for number in range(12):
        tools.drop(bench.project, f"job{number}")
    done = []
    while bench.tick():
        done += work(worker)
    assert done == [f"job{number}" for number in range(12)]


def test_no_name_twice(project: Project, hire: Hire, tools: type[Tools]) -> None:
    """A job that another dispatcher assigned before gets a name that it never had."""
    path = Path(project.requeue, str(Token("job.abcdefghijkl", 10**15, 2)))
    path.touch()
    worker, bench = hire(), tools.Bench(project)
    bench.tick()
    (held,) = worker.hand
    assert held.token.serial > 10**15


def test_fair_share(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """Few jobs are spread over all workers."""
    workers = [hire() for _ in range(3)]
    for number in range(3):
        tools.drop(bench.project, f"job{number}")
    bench.tick()
    assert [len(worker.hand) for worker in workers] == [1, 1, 1]


def test_depth(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """Nobody gets more than one to run and one to wait before it is known how long they take."""
    worker = hire()
    for number in range(10):
        tools.drop(bench.project, f"job{number}")
    bench.tick()
    assert len(worker.hand) == 2
    bench.tick(5)
    assert len(worker.hand) == 2


def test_depth_of_short_jobs(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """Of short jobs more lie ready."""
    worker = hire()
    for number in range(200):
        tools.drop(bench.project, f"job{number}")
    hands = []
    while bench.tick(seconds=0.01):
        hands.append(len(work(worker)))
    assert hands[0] == 2
    assert 40 < hands[1] < 60  # a quarter second of jobs of 5 ms


def test_level(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """What waits behind a long job goes to a worker that becomes idle."""
    busy = hire()
    for name in ("long", "next"):
        tools.drop(bench.project, name)
    bench.tick()
    busy.accept()
    idle = hire()
    bench.tick()
    assert [held.token.job for held in idle.hand] == ["next"]
    assert [held.token.job for held in busy.hand] == ["long"]


def test_level_loses(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """What was accepted a moment ago stays where it is."""
    busy = hire()
    for name in ("long", "next"):
        tools.drop(bench.project, name)
    bench.tick()
    busy.accept()
    busy.accept()
    idle = hire()
    bench.tick()
    assert idle.hand == []
    assert len(busy.hand) == 2


def test_worker_leaves(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """Who takes its pod down gets nothing more, and the job goes to somebody else."""
    leaving = hire()
    bench.tick()
    leaving.pod.take_down()
    tools.drop(bench.project, "job")
    bench.tick()
    assert tools.place_of(bench.project, "job") == "jobqueue"
    other = hire()
    bench.tick()
    assert [held.token.job for held in other.hand] == ["job"]


# -- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["x1", "sig9", "timeout", "lost", "cancelled"])
def test_failed(bench: Bench, hire: Hire, tools: type[Tools], code: str) -> None:
    """What did not end well is filed as such, and not tried again by itself."""
    worker = hire()
    tools.drop(bench.project, "job")
    bench.tick()
    work(worker, code)
    assert bench.tick() is False
    assert names_in(bench.project.failed) == ["job"]
    assert (bench.dispatcher.totals.done, bench.dispatcher.totals.bad) == (0, 1)


@pytest.mark.parametrize(
    ("own", "manner", "attempts"), [(0, 0, 1), (2, 0, 3), (0, 2, 3), (1, 3, 4), (3, 1, 4)]
)
@pytest.mark.parametrize("code", ["x1", "sig9", "timeout"])
def test_retries(
    project: Project,
    hire: Hire,
    tools: type[Tools],
    own: int,
    manner: int,
    attempts: int,
    code: str,
) -> None:
    """A failed job is tried again as often as its file or the command line allows."""
    bench, worker = tools.Bench(project, Manner(retries=manner)), hire()
    tools.drop(project, "job", b"[control]\nexecutable: false\nretries: %d\n" % own)
    runs = 0
    while bench.tick():
        runs += len(work(worker, code))
    assert runs == attempts
    ((name,),) = (there for _, _, there in os.walk(project.failed) if there)
    result = Result.parse(name)
    assert result is not None
    assert (result.token.attempt, result.token.failures) == (attempts, attempts - 1)
    assert bench.dispatcher.totals.failed == 1


@pytest.mark.parametrize("code", ["lost", "cancelled"])
def test_no_retry(project: Project, hire: Hire, tools: type[Tools], code: str) -> None:
    """What was lost or cancelled is not retried, whatever is allowed."""
    bench, worker = tools.Bench(project, Manner(retries=5)), hire()
    tools.drop(project, "job")
    bench.tick()
    work(worker, code)
    assert bench.tick() is False
    assert names_in(project.failed) == ["job"]


def test_second_try_succeeds(project: Project, hire: Hire, tools: type[Tools]) -> None:
    """A job that fails and then does not is done."""
    bench, worker = tools.Bench(project, Manner(retries=5)), hire()
    tools.drop(project, "job")
    bench.tick()
    work(worker, "x1")
    bench.tick()
    work(worker)
    assert bench.tick() is False
    assert (bench.dispatcher.totals.done, bench.dispatcher.totals.bad) == (1, 0)


def test_elsewhere_first(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """What failed on one host waits for another one, also behind a long job; but not for ever."""
    busy, sick = (hire(tools.ELSEWHERE._replace(host=host)) for host in ("well", "sick"))
    tools.drop(bench.project, "long")
    bench.tick()
    (long,) = filter(None, (busy.accept(), sick.accept()))
    if sick.hand:
        busy, sick = sick, busy
    tools.drop(bench.project, "job", b"[control]\nexecutable: false\nretries: 2\n")
    bench.tick()
    assert work(sick, "x1") == ["job"]
    bench.tick(5)
    assert [held.token.job for held in busy.hand] == ["long", "job"]
    assert sick.hand == [], "it would fail there once more"
    bench.tick(5, seconds=10.0)
    assert work(sick, "x1") == ["job"], "long waits are worth another try"
    bench.tick()
    assert busy.finish(long)
    assert work(busy) == ["job"]
    assert bench.tick() is False
    assert (bench.dispatcher.totals.done, bench.dispatcher.totals.bad) == (2, 0)


def test_nowhere_else(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """A host that is alone tries again what failed there."""
    worker = hire()
    tools.drop(bench.project, "job", b"[control]\nexecutable: false\nretries: 1\n")
    bench.tick()
    assert work(worker, "x1") == ["job"]
    bench.tick()
    assert work(worker) == ["job"]


# -- rejected and cancelled -----------------------------------------------------------------------


def test_rejected(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """What cannot be run is rejected, loudly and by its own name, and others go on."""
    worker = hire()
    tools.drop(bench.project, "bad", BAD)
    tools.drop(bench.project, "good")
    os.mkdir(f"{bench.project.jobqueue}/directory")
    bench.tick()
    assert [held.token.job for held in worker.hand] == ["good"]
    assert bench.dispatcher.totals.rejected == 2
    first, second = sorted(bench.said)
    assert first.startswith("rejected bad")
    assert "no `executable`" in first
    assert bench.project.jobqueue not in first
    assert second.startswith("rejected directory: is a directory; put a regular job file there")
    work(worker)
    assert bench.tick() is False


def test_written_line_by_line(bench: Bench, hire: Hire) -> None:
    """A file that is complete only later is run later, and not rejected."""
    worker = hire()
    path = Path(bench.project.jobqueue, "job")
    path.write_text("[control]\n")
    os.utime(path, (9e9, 9e9))
    bench.tick(2)
    assert bench.said == []
    path.write_text("[control]\nexecutable: true\n")
    os.utime(path, (9e9, 9e9))
    bench.tick(2)
    assert work(worker) == ["job"]
    assert bench.tick() is False


def test_never_complete(bench: Bench, hire: Hire) -> None:
    """What stays wrong is rejected in the end, and that is the end."""
    hire()
    path = Path(bench.project.jobqueue, "job")
    path.write_text("[control]\n")
    os.utime(path, (9e9, 9e9))
    assert bench.tick(5) is True
    assert bench.tick(5) is False
    assert bench.dispatcher.totals.rejected == 1


def test_cancelled_in_the_queue(bench: Bench, tools: type[Tools]) -> None:
    """Who removes a queued file cancels the job, and that is said and recorded."""
    os.makedirs(bench.project.jobqueue, exist_ok=True)
    path = tools.drop(bench.project, "job")
    bench.tick()
    os.unlink(path)
    assert bench.tick() is False
    assert bench.said == ["job was removed before it ran: cancelled"]
    assert bench.cancelled() == ["job"]
    assert bench.dispatcher.totals.cancelled == 1


def test_whole_queue_removed(bench: Bench, tools: type[Tools]) -> None:
    """So does who removes the directory."""
    for name in ("a", "b"):
        tools.drop(bench.project, name)
    bench.tick()
    shutil.rmtree(bench.project.jobqueue)
    assert bench.tick() is False
    assert sorted(bench.cancelled()) == ["a", "b"]


def test_taken_by_another_dispatcher(bench: Bench, tools: type[Tools]) -> None:
    """What vanishes after somebody took over was not cancelled: he has it."""
    path = tools.drop(bench.project, "job")
    bench.tick()
    tools.Bench(bench.project)
    os.rename(path, f"{bench.project.requeue}/{Token('job.abcdefghijkl')}")
    bench.tick()
    assert bench.said == []
    assert bench.cancelled() == []


def test_cancelled_on_a_full_disk(
    bench: Bench, tools: type[Tools], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancellation that cannot be recorded now is recorded later, and counted once."""
    path = tools.drop(bench.project, "job")
    bench.tick()
    os.unlink(path)

    def write(fd: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "write", write)
        with pytest.raises(files.DiskFull):
            bench.tick()
    assert bench.tick() is False
    assert bench.cancelled() == ["job"]
    assert bench.dispatcher.totals.cancelled == 1


def test_removed_from_a_pod(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """An assignment that somebody removed is found by a recount, and cancelled."""
    worker = hire()
    tools.drop(bench.project, "job")
    bench.tick()
    os.unlink(f"{worker.pod.path}/{worker.hand[0]}")
    assert bench.tick(5) is True  # seen once: it could be between two places
    bench.tick(6)
    assert bench.said == [f"job was removed from the pod of {worker.id} before it ran: cancelled"]
    assert bench.cancelled() == ["job"]
    assert bench.tick() is False


def test_removed_while_it_ran(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """What had ended when its token was found missing counts as it ended."""
    worker = hire()
    tools.drop(bench.project, "job")
    bench.tick()
    token = worker.accept()
    assert token is not None
    os.unlink(worker.pod.job_file(token))
    worker.record(token)
    bench.tick(12)
    assert bench.said == [f"job was removed while {worker.id} ran it; its end counts: ok"]
    assert bench.dispatcher.totals.done == 1
    assert bench.cancelled() == []


def test_recount_finds_nothing_wrong(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """What runs for a long time is never taken for removed."""
    worker = hire(Identity.of(os.getpid()))
    tools.drop(bench.project, "job")
    bench.tick()
    token = worker.accept()
    for _ in range(60):
        worker.post.beat()
        assert bench.tick() is True
    assert token is not None
    assert worker.finish(token)
    assert bench.tick() is False
    assert bench.said == []


# -- deaths ---------------------------------------------------------------------------------------


def test_dead_worker(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """What a dead worker had goes on elsewhere at once, the running one with a crash."""
    dead = hire(tools.gone())
    for name in ("a", "b"):
        tools.drop(bench.project, name)
    for serial, name in enumerate(("a", "b")):
        token = Token(f"{name}.abcdefghijkl", serial)
        pods.assign(bench.project, f"{bench.project.jobqueue}/{name}", token, dead.id)
    dead.accept()
    bench.tick()
    (said,) = bench.said
    assert said.startswith(f"worker {dead.id} on ")
    assert said.endswith(" died; 2 job(s) went back into the queue")
    worker = hire()
    bench.tick()
    crashes = {held.token.job: held.token.crashes for held in worker.hand}
    assert crashes == {"a": 1, "b": 0}
    assert work(worker) == ["a", "b"]
    assert bench.tick() is False


def test_five_crashes(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """A job that takes down its fifth worker is filed as lost."""
    tools.drop(bench.project, "job")
    for _ in range(5):
        worker = hire()
        bench.tick()
        assert worker.accept()
        worker.post.card = worker.post.card._replace(identity=tools.gone())
        Path(worker.sighting.path(bench.project)).write_bytes(worker.post.card.dump())
        bench.dispatcher = tools.Bench(bench.project, clock=bench.clock).dispatcher
        bench.tick()
    assert bench.tick() is False
    ((name,),) = (there for _, _, there in os.walk(bench.project.failed) if there)
    result = Result.parse(name)
    assert result is not None
    assert (result.token.attempt, result.token.crashes, result.outcome) == (5, 4, "lost")


def test_strays_are_waited_for(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """A pod that nobody owns is not forgotten: the dispatcher stays until it is buried."""
    gone, worker = hire(), hire()
    tools.drop(bench.project, "job")
    token = Token("job.abcdefghijkl", 1)
    pods.assign(bench.project, f"{bench.project.jobqueue}/job", token, gone.id)
    crew.unlist(bench.project, gone.sighting)
    for _ in range(30):
        worker.post.beat()
        assert bench.tick() is True
    bench.tick(2)
    assert [held.token.job for held in worker.hand] == ["job"]


# -- nobody there, draining, finished -------------------------------------------------------------


def test_no_workers(bench: Bench, tools: type[Tools]) -> None:
    """That nobody can run what is queued is said once, after a moment."""
    tools.drop(bench.project, "job")
    bench.tick(2)
    assert bench.said == []
    bench.tick(10)
    assert bench.said == [
        "1 job(s) and no workers, so nobody can run them; type: fjd-recruiter --project p hire"
    ]


def test_no_workers_again(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """It is said again when somebody had come and gone."""
    tools.drop(bench.project, "job")
    bench.tick(5)
    worker = hire()
    bench.tick()
    worker.leave()
    bench.tick(5)
    assert len(bench.said) == 2


def test_no_wait(project: Project, tools: type[Tools]) -> None:
    """Who does not want to wait for workers is told so by an error, with the same words."""
    bench = tools.Bench(project, Manner(no_wait=True))
    tools.drop(project, "job")
    with pytest.raises(NoWorkers) as caught:
        bench.tick(5)
    assert str(caught.value) == (
        "1 job(s) and no workers, so nobody can run them; type: fjd-recruiter --project p hire"
    )
    assert tools.place_of(project, "job") == "jobqueue"


def test_keep_running(project: Project, tools: type[Tools]) -> None:
    """Who is to keep running is never done."""
    bench = tools.Bench(project, Manner(keep_running=True))
    assert bench.tick(3) is True


def test_drain(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """After a drain nothing more is assigned; what runs is finished, what waits goes back."""
    worker = hire()
    for number in range(5):
        tools.drop(bench.project, f"job{number}")
    bench.tick()
    token = worker.accept()
    assert token is not None
    bench.dispatcher.drain()
    assert worker.hand == [pods.Held(token, accepted=True)]
    assert bench.tick() is True
    assert worker.finish(token)
    assert bench.tick() is False
    assert worker.hand == []
    assert len(os.listdir(bench.project.jobqueue) + os.listdir(bench.project.requeue)) == 4
    assert bench.said == []


def test_drain_loses(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """What was accepted at that moment is finished, too."""
    worker = hire()
    for name in ("a", "b"):
        tools.drop(bench.project, name)
    bench.tick()
    tokens = [worker.accept(), worker.accept()]
    bench.dispatcher.drain()
    assert bench.tick() is True
    for token in tokens:
        assert token is not None
        assert worker.finish(token)
    assert bench.tick() is False
    assert names_in(bench.project.done) == ["a", "b"]


def test_accepted_counts(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """As long as something runs it is not over, also after a new dispatcher took office."""
    worker = hire()
    tools.drop(bench.project, "job")
    bench.tick()
    token = worker.accept()
    successor = tools.Bench(bench.project, clock=bench.clock)
    assert successor.tick() is True
    assert token is not None
    worker.finish(token)
    assert successor.tick() is False
    assert successor.dispatcher.totals.done == 1


def test_result_counts(project: Project, tools: type[Tools]) -> None:
    """What had ended before this dispatcher came is filed by it."""
    Path(project.results, "job.abcdefghijkl,s1,a1,node-0-0123abcd,ok").touch()
    bench = tools.Bench(project)
    assert bench.tick() is False
    assert names_in(project.done) == ["job"]


def test_dropped_at_the_last_moment(
    bench: Bench, tools: type[Tools], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is dropped just before the end is seen: the end is decided by fresh listings."""
    real = Dispatcher.finished

    def finished(self: Dispatcher) -> bool:
        tools.drop(bench.project, "job")
        return real(self)

    monkeypatch.setattr(Dispatcher, "finished", finished)
    assert bench.tick() is True


def test_progress(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """What is printed is how things stood before the first job was handed out, and since."""
    workers = [hire(), hire()]
    for number in range(5):
        tools.drop(bench.project, f"job{number}")
    while bench.tick():
        for worker in workers:
            work(worker)
    lines = bench.out.getvalue().splitlines()
    assert lines[0] == "[fjd-dispatcher] Found 5 job(s) and 2 worker(s)..."
    assert len(lines) == len({*lines})


def test_count(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """Jobs that wait in a pod are waiting, and one per worker is running."""
    hire()
    hire()
    hire()
    for number in range(9):
        tools.drop(bench.project, f"job{number}")
    bench.tick()
    count = bench.dispatcher.count()
    assert (count.waiting, count.running, count.idle, count.workers) == (6, 3, 0, 3)


# -- several dispatchers --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_two_dispatchers(project: Project, hire: Hire, tools: type[Tools], seed: int) -> None:
    """Two dispatchers at once lose nothing and run nothing twice, in whatever order they act."""
    dice = random.Random(seed)
    workers = [hire() for _ in range(3)]
    benches = [tools.Bench(project), tools.Bench(project)]
    ran: list[str] = []
    running: list[tuple[FakeWorker, Token]] = []
    jobs = [f"job{number}" for number in range(20)]
    left = list(jobs)
    for _ in range(400):
        act = dice.randrange(8)
        if act < 2 and left:
            tools.drop(project, left.pop())
        elif act < 5:
            dice.choice(benches).tick(seconds=0.1)
        elif act == 5 and running:
            worker, token = running.pop(dice.randrange(len(running)))
            assert worker.finish(token)
        else:
            worker = dice.choice(workers)
            token_or_none = worker.accept()
            if token_or_none:
                ran.append(token_or_none.job)
                running.append((worker, token_or_none))
    for worker, token in running:
        assert worker.finish(token)
    while left:
        tools.drop(project, left.pop())
    while benches[0].tick() | benches[1].tick():
        for worker in workers:
            worker.post.beat()
            ran += work(worker)
    assert sorted(ran) == sorted(jobs)
    assert names_in(project.done) == sorted(jobs)
    assert benches[0].said == []  # the first one has lost the lease, and tells nothing untrue
    assert all(len(places) == 1 for places in tools.tokens(project).values())
