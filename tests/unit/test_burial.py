"""Burials: whatever a dead worker had in hand goes on elsewhere, and it cannot come back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fjd.spool import burial, crew, pods, records
from fjd.spool.names import Token
from fjd.spool.pods import CRASH_LIMIT
from fjd.spool.project import Project
from fjd.spool.records import Record

if TYPE_CHECKING:
    from tests.unit.conftest import FakeWorker, Hire


TOKEN = Token("job.abcdefghijkl", 5)


@pytest.fixture
def worker(hire: Hire) -> FakeWorker:
    """Return a worker."""
    return hire()


@pytest.fixture
def notes() -> list[Record]:
    """Return the records of what ended with the worker."""
    return []


def give(worker: FakeWorker, token: Token = TOKEN, accept: bool = False) -> Token:
    """Let a worker have a job, accepted or not."""
    Path(worker.pod.path, str(token)).touch()
    if accept:
        assert worker.pod.accept(token)
    return token


def bury(worker: FakeWorker, notes: list[Record], crashed: bool = True) -> object:
    """Bury a worker as it lies now."""
    return burial.bury(worker.project, worker.id, worker.sighting, "it died", notes.append, crashed)


def left(project: Project) -> list[str]:
    """Return all that is in the queue, in results/ and of the worker."""
    found = []
    for place in ("workerqueue", "workers", "jobpods", "running", "requeue", "results"):
        for name in os.listdir(f"{project.root}/{place}"):
            end = name.rfind(",r") if place == "requeue" else len(name)  # what nobody can know
            found.append(f"{place}/{name[:end]}")
    return found


def test_empty_handed(worker: FakeWorker, project: Project, notes: list[Record]) -> None:
    """Of a worker that had nothing nothing is left."""
    assert bury(worker, notes) == 0
    assert left(project) == []
    assert notes == []


def test_assigned_only(worker: FakeWorker, project: Project, notes: list[Record]) -> None:
    """What it had not accepted goes back as it was: it has not run."""
    token = give(worker)
    assert bury(worker, notes) == 1
    assert left(project) == [f"requeue/{token}"]
    assert notes == []


def test_running(worker: FakeWorker, project: Project, notes: list[Record]) -> None:
    """What it was running goes back as the next attempt and with a crash, and that is recorded."""
    token = give(worker, accept=True)
    assert bury(worker, notes) == 1
    assert left(project) == [f"requeue/{token._replace(attempt=2, crashes=1)}"]
    (note,) = notes
    assert (note["event"], note["outcome"], note["attempt"]) == ("end", "lost", 1)
    assert (note["key"], note["worker"], note["cause"]) == (token.key, worker.id, "it died")


def test_lease_ran_out(worker: FakeWorker, project: Project, notes: list[Record]) -> None:
    """A worker that was only silent does not count against its task."""
    token = give(worker, accept=True)
    assert bury(worker, notes, crashed=False) == 1
    assert left(project) == [f"requeue/{token._replace(attempt=2)}"]
    assert [note["outcome"] for note in notes] == ["lost"]


@pytest.mark.parametrize(
    ("outcome", "number", "code"),
    [("ok", 0, "ok"), ("failed", 3, "x3"), ("timeout", 0, "timeout")],
)
@pytest.mark.parametrize("crashed", [False, True])
def test_recorded_and_not_committed(
    worker: FakeWorker, project: Project, notes: list[Record], outcome: str, number: int, code: str,
    crashed: bool,
) -> None:  # fmt: skip
    """What had ended before its worker did is committed in the worker's name, not run again."""
    token = give(worker, accept=True)
    worker.record(token, outcome, number)
    assert bury(worker, notes, crashed) == 0
    assert left(project) == [f"results/{token},{worker.id},{code}"]
    assert notes == []


def test_killed_by_a_signal(worker: FakeWorker, project: Project, notes: list[Record]) -> None:
    """The signal in the record stands in the name."""
    token = give(worker, accept=True)
    worker.record(token, "killed", 0, exit=None, signal=9)
    bury(worker, notes)
    assert left(project) == [f"results/{token},{worker.id},sig9"]


def test_record_of_an_older_attempt(
    worker: FakeWorker, project: Project, notes: list[Record]
) -> None:
    """The record of another attempt says nothing about this one."""
    token = give(worker, TOKEN._replace(attempt=2), accept=True)
    worker.record(TOKEN)
    bury(worker, notes)
    assert left(project) == [f"requeue/{token._replace(attempt=3, crashes=1)}"]


def test_half_a_record(worker: FakeWorker, project: Project, notes: list[Record]) -> None:
    """A torn record is none."""
    token = give(worker, accept=True)
    worker.record(token)
    path = Path(project.record_file(worker.id))
    path.write_bytes(path.read_bytes()[:-1])
    assert bury(worker, notes) == 1
    assert len(notes) == 1


@pytest.mark.parametrize("crashed", [False, True])
def test_returned_and_not_given_back(
    worker: FakeWorker, project: Project, notes: list[Record], crashed: bool
) -> None:
    """A task that its worker had stopped itself is not why the worker died."""
    token = give(worker, accept=True)
    worker.record(token, "cancelled", returned=True)
    assert bury(worker, notes, crashed) == 1
    assert left(project) == [f"requeue/{token._replace(attempt=2)}"]
    assert notes == []


def test_fourth_and_fifth_crash(
    worker: FakeWorker, hire: Hire, project: Project, notes: list[Record]
) -> None:
    """A task that takes down its fifth worker is lost and says so."""
    token = give(worker, TOKEN._replace(crashes=CRASH_LIMIT - 2, attempt=4), accept=True)
    bury(worker, notes)
    (back,) = os.listdir(project.requeue)
    again = back.rpartition(",r")[0]
    assert again == f"{token.key},s5,a5,c4"
    last = hire()
    os.rename(f"{project.requeue}/{back}", f"{last.pod.path}/{again}")
    last.accept()
    assert bury(last, notes) == 0
    assert left(project) == [f"results/{again},{last.id},lost"]
    assert [note["attempt"] for note in notes] == [4, 5]


def test_fifth_silence(worker: FakeWorker, project: Project, notes: list[Record]) -> None:
    """Without a crash the limit is never reached."""
    token = give(worker, TOKEN._replace(crashes=CRASH_LIMIT - 1, attempt=9), accept=True)
    assert bury(worker, notes, crashed=False) == 1
    assert left(project) == [f"requeue/{token._replace(attempt=10)}"]


def test_just_beaten(worker: FakeWorker, project: Project, notes: list[Record]) -> None:
    """A worker that beats at the last moment is not buried and keeps everything."""
    token = give(worker, accept=True)
    old = worker.sighting
    worker.post.beat()
    answer = burial.bury(project, worker.id, old, "it died", notes.append, True)
    assert answer is None
    assert notes == []
    assert worker.post.beat() is True
    assert worker.finish(token) is True


def test_zombie(worker: FakeWorker, project: Project, notes: list[Record]) -> None:
    """A worker that was buried alive finds out at its beat, and its commit counts nothing."""
    token = give(worker, accept=True)
    bury(worker, notes)
    assert worker.post.beat() is False
    assert worker.finish(token) is False
    assert worker.accept() is None
    assert left(project) == [f"requeue/{token._replace(attempt=2, crashes=1)}"]


def test_zombie_before_the_burial(
    worker: FakeWorker, project: Project, notes: list[Record]
) -> None:
    """What was committed before the burial stays committed."""
    token = give(worker, accept=True)
    worker.finish(token)
    assert bury(worker, notes) == 0
    assert left(project) == [f"results/{token},{worker.id},ok"]


def test_everything_at_once(worker: FakeWorker, project: Project, notes: list[Record]) -> None:
    """Each of several jobs goes its own way, and copies and strange files stop nothing."""
    ended, running, waiting = (Token(f"{name}.abcdefghijkl", 1) for name in "abc")
    for token in (ended, running):
        give(worker, token, accept=True)
    give(worker, waiting)
    worker.record(ended)
    Path(worker.pod.path, ".nfs0001").touch()
    Path(project.running, worker.id, "sub").mkdir(parents=True)
    Path(project.running, worker.id, "a").touch()
    assert bury(worker, notes) == 2
    assert sorted(left(project)) == sorted(
        [
            f"results/{ended},{worker.id},ok",
            f"requeue/{pods.after_crash(running)}",
            f"requeue/{waiting}",
            f"running/{worker.id}",
        ]
    )


@pytest.mark.parametrize("step", range(11))
def test_burier_dies(
    worker: FakeWorker,
    project: Project,
    notes: list[Record],
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    """Whoever buries may die after any step; the next one finishes, and every job goes on once."""
    ended, running, waiting = (Token(f"{name}.abcdefghijkl", 1) for name in "abc")
    for token in (ended, running):
        give(worker, token, accept=True)
    give(worker, waiting)
    worker.record(ended)
    calls = []

    def dying(name: str) -> None:
        real = getattr(os, name)

        def call(*args: Any, **more: Any) -> Any:  # noqa: ANN401
            if len(calls) == step:
                raise KeyboardInterrupt  # whatever ends a process here
            calls.append(name)
            return real(*args, **more)

        monkeypatch.setattr(pods.files.os, name, call)

    with monkeypatch.context():
        for name in ("unlink", "rename", "rmdir"):
            dying(name)
        try:
            bury(worker, notes)
        except KeyboardInterrupt:
            assert len(calls) == step
    monkeypatch.undo()
    bury(worker, notes)
    assert sorted(left(project)) == sorted(
        [
            f"results/{ended},{worker.id},ok",
            f"requeue/{pods.after_crash(running)}",
            f"requeue/{waiting}",
        ]
    )


def test_it_ends_while_it_is_buried(
    worker: FakeWorker, project: Project, notes: list[Record]
) -> None:
    """A worker that was only silent ends its task in the middle of its burial: it is late."""
    token = give(worker, accept=True)
    won: list[bool] = []

    def note(record: Record) -> None:
        notes.append(record)
        worker.record(token)
        won.append(worker.pod.commit(token, "ok"))

    assert burial.bury(project, worker.id, worker.sighting, "it is silent", note, False) == 1
    assert won == [False]
    assert left(project) == [f"requeue/{token._replace(attempt=2)}"]
    assert len(notes) == 1


def test_it_leaves_while_it_is_buried(
    worker: FakeWorker, project: Project, notes: list[Record]
) -> None:
    """A worker that is fired in the middle of its burial does not touch what was taken from it."""
    token = give(worker, accept=True)

    def note(record: Record) -> None:
        notes.append(record)
        assert worker.pod.look() == []
        worker.pod.take_down()

    assert burial.bury(project, worker.id, worker.sighting, "it is silent", note, True) == 1
    assert left(project) == [f"requeue/{pods.after_crash(token)}"]


@pytest.mark.parametrize("why", ["dead", "gone"])
def test_it_ends_after_it_was_given_up(
    worker: FakeWorker, project: Project, notes: list[Record], why: str
) -> None:
    """What is recorded as lost stays lost, though who did that dies and the task ends after all."""
    token = give(worker, accept=True)

    class Killed(Exception):
        pass

    def note(record: Record) -> None:
        notes.append(record)
        ledger = records.Ledger(project, "dispatcher-00ff00ff")
        ledger.write(record)
        ledger.close()
        raise Killed

    with pytest.raises(Killed):
        burial.bury(project, worker.id, worker.sighting, "it is silent", note, why == "dead")
    worker.record(token)
    assert not worker.pod.commit(token, "ok")
    assert bury(worker, notes, crashed=why == "dead") == 1
    assert left(project) == [f"requeue/{token._replace(attempt=2, crashes=int(why == 'dead'))}"]
    assert len(notes) == 1


@pytest.mark.parametrize("why", ["dead", "gone"])
def test_taken_and_not_judged(
    worker: FakeWorker, project: Project, notes: list[Record], why: str
) -> None:
    """Whoever finds what somebody else took judges it as that one meant it."""
    token = give(worker, accept=True)
    (held,) = pods.contents(project, worker.id) or ()
    assert pods.take(project, worker.id, held, why) == held._replace(why=why)
    assert bury(worker, notes, crashed=why != "dead") == 1
    assert left(project) == [f"requeue/{token._replace(attempt=2, crashes=int(why == 'dead'))}"]


def test_pod_without_an_entry(worker: FakeWorker, project: Project, notes: list[Record]) -> None:
    """A burial that somebody began is finished without the entry."""
    token = give(worker, accept=True)
    crew.unlist(project, worker.sighting)
    assert burial.bury(project, worker.id, None, "it is gone", notes.append, False) == 1
    assert left(project) == [f"requeue/{token._replace(attempt=2)}"]


def test_buried_twice(worker: FakeWorker, project: Project, notes: list[Record]) -> None:
    """Who comes second finds nothing to do."""
    give(worker)
    sighting = worker.sighting
    assert bury(worker, notes) == 1
    assert burial.bury(project, worker.id, sighting, "", notes.append, True) is None
    assert burial.bury(project, worker.id, None, "", notes.append, True) == 0


def test_dismissed(worker: FakeWorker, project: Project, notes: list[Record]) -> None:
    """The word by which it was to leave goes with the pod."""
    give(worker, accept=True)
    assert pods.dismiss(project, worker.id)
    assert pods.dismiss(project, worker.id, now=True)
    assert bury(worker, notes, crashed=False) == 1
    assert left(project) == [f"requeue/{TOKEN._replace(attempt=2)}"]
    assert os.listdir(project.tmp) == []
