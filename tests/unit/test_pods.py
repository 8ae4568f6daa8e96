"""Pods: each hand-over of a job has one winner, and the loser learns of it by False."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fjd.spool import crew, pods
from fjd.spool.names import Token
from fjd.spool.project import Project

if TYPE_CHECKING:
    from tests.unit.conftest import FakeWorker, Hire, Tools


TOKEN = Token("job.abcdefghijkl", 5)


@pytest.fixture
def worker(hire: Hire) -> FakeWorker:
    """Return a worker."""
    return hire()


def give(worker: FakeWorker, token: Token = TOKEN) -> Token:
    """Assign a new job file to a worker."""
    project = worker.project
    Path(project.jobqueue, token.key).write_text("content")
    assert pods.assign(project, f"{project.jobqueue}/{token.key}", token, worker.id)
    return token


def test_assign(worker: FakeWorker, tools: type[Tools]) -> None:
    """A queued job is assigned by one rename; the file itself is handed over."""
    token = give(worker)
    assert worker.hand == [pods.Held(token, accepted=False)]
    assert Path(worker.pod.path, str(token)).read_text() == "content"
    assert tools.place_of(worker.project, "job") == "jobpods"


def test_assign_loses(worker: FakeWorker) -> None:
    """What was removed or taken by another dispatcher cannot be assigned."""
    assert pods.assign(worker.project, f"{worker.project.jobqueue}/x", TOKEN, worker.id) is False
    assert worker.hand == []


def test_assign_to_one_who_leaves(worker: FakeWorker, tools: type[Tools]) -> None:
    """Without a pod nothing can be assigned, and the job is still queued."""
    path = tools.drop(worker.project, "job")
    worker.leave()
    with pytest.raises(FileNotFoundError):
        pods.assign(worker.project, path, TOKEN, worker.id)
    assert tools.place_of(worker.project, "job") == "jobqueue"


def test_accept_once(worker: FakeWorker) -> None:
    """An assignment can be accepted once, and then it is running."""
    token = give(worker)
    assert worker.pod.accept(token) is True
    assert worker.hand == [pods.Held(token, accepted=True)]
    assert Path(worker.pod.job_file(token)).read_text() == "content"
    assert worker.pod.accept(token) is True  # as after a lost reply


def test_withdraw_before_accept(worker: FakeWorker, hire: Hire) -> None:
    """What is reassigned first cannot be accepted any more."""
    token, other = give(worker), hire()
    new = token._replace(serial=6)
    assert pods.reassign(worker.project, token, worker.id, new, other.id) is True
    assert worker.pod.accept(token) is False
    assert other.accept() == new


def test_accept_before_withdraw(worker: FakeWorker, hire: Hire) -> None:
    """What is accepted first cannot be withdrawn any more."""
    token, other = give(worker), hire()
    assert worker.pod.accept(token)
    new = token._replace(serial=6)
    assert pods.reassign(worker.project, token, worker.id, new, other.id) is False
    assert pods.requeue(worker.project, worker.id, pods.Held(token, False), token) is False
    assert other.hand == []


def test_reassign_to_one_who_leaves(worker: FakeWorker, hire: Hire) -> None:
    """Without a pod to go to it stays where it is."""
    token, other = give(worker), hire()
    other.leave()
    with pytest.raises(FileNotFoundError):
        pods.reassign(worker.project, token, worker.id, token._replace(serial=6), other.id)
    assert worker.accept() == token


@pytest.mark.parametrize("code", ["ok", "x1", "sig9", "timeout", "cancelled", "lost"])
def test_commit(worker: FakeWorker, code: str) -> None:
    """A running job ends with its outcome in its name, once."""
    token = give(worker)
    worker.pod.accept(token)
    assert worker.pod.commit(token, code) is True
    assert os.listdir(worker.project.results) == [f"{token},{worker.id},{code}"]
    assert worker.pod.commit(token, code) is True  # as after a lost reply
    assert worker.pod.commit(token, "x2") is False
    assert len(os.listdir(worker.project.results)) == 1


def test_commit_without_accept(worker: FakeWorker) -> None:
    """What was not accepted did not run, so it cannot end."""
    token = give(worker)
    assert worker.pod.commit(token, "ok") is False
    assert worker.hand == [pods.Held(token, accepted=False)]


def queued(project: Project) -> list[str]:
    """Return what is in requeue/, without what who put it there has chosen."""
    return sorted(name.rpartition(",r")[0] for name in os.listdir(project.requeue))


def test_late_commit(worker: FakeWorker) -> None:
    """Once somebody gave up on a worker its commit comes late and changes nothing."""
    token = give(worker)
    worker.pod.accept(token)
    again = pods.after_crash(token)
    assert pods.requeue(worker.project, worker.id, pods.Held(token, True), again) is True
    assert worker.pod.commit(token, "ok") is False
    assert queued(worker.project) == [str(again)]
    assert os.listdir(worker.project.results) == []


def test_commit_before_requeue(worker: FakeWorker) -> None:
    """Once a worker has committed nobody takes its job back."""
    token = give(worker)
    worker.pod.accept(token)
    worker.pod.commit(token, "ok")
    again = pods.after_crash(token)
    assert pods.requeue(worker.project, worker.id, pods.Held(token, True), again) is False
    assert os.listdir(worker.project.requeue) == []


def test_give_back(worker: FakeWorker) -> None:
    """A running job comes back as its next attempt without a crash, a waiting one as it was."""
    running, waiting = give(worker), give(worker, TOKEN._replace(key="b.abcdefghijkl", serial=6))
    worker.pod.accept(running)
    for held in worker.hand:
        assert worker.pod.give_back(held) is True
        assert worker.pod.give_back(held) is False  # it is there, but not through this call
    back = queued(worker.project)
    assert back == [str(waiting), str(running._replace(attempt=2))]


def test_numbers_of_the_next_attempt() -> None:
    """A crash counts as an attempt and a crash, a return as an attempt."""
    token = Token("k.abcdefghijkl", 7, 3, 1, 1)
    assert pods.after_crash(token) == Token("k.abcdefghijkl", 7, 4, 2, 1)
    assert pods.after_return(token) == Token("k.abcdefghijkl", 7, 4, 1, 1)


def test_contents(worker: FakeWorker, project: Project) -> None:
    """The oldest assignment is the first one; what is none of ours is passed over."""
    for serial in (10, 9, 100):
        give(worker, Token(f"{serial}.abcdefghijkl", serial))
    for name in (".nfs0001", "notes", "job.abcdefghijkl,s01,a1", "job.abcdefghijkl,s1,a1,runs"):
        Path(worker.pod.path, name).touch()
    assert [held.token.serial for held in worker.hand] == [9, 10, 100]
    assert pods.contents(project, "nobody-0-01234567") is None


def test_everyone(worker: FakeWorker, project: Project) -> None:
    """Pods are what has a worker's name."""
    os.mkdir(f"{project.jobpods}/notes")
    assert crew.with_pods(project) == [worker.id]


def test_deleted_pod_is_made_again(worker: FakeWorker) -> None:
    """A pod that somebody deleted is there again after the worker's next look."""
    os.rmdir(worker.pod.path)
    assert worker.pod.look() == []
    assert os.path.isdir(worker.pod.path)
    give(worker)
    assert worker.pod.look() == [pods.Held(TOKEN, accepted=False)]


def test_take_down(worker: FakeWorker, project: Project) -> None:
    """At the end everything goes back, strange files too go away, and the pod with them."""
    give(worker)
    give(worker, Token("b.abcdefghijkl", 6))
    for name in ("notes", "job.abcdefghijkl,s01,a1"):
        Path(worker.pod.path, name).write_text("mine")
    os.mkdir(f"{worker.pod.path}/directory")
    worker.pod.take_down()
    assert os.listdir(project.jobpods) == []
    assert len(os.listdir(project.requeue)) == 2
    assert len(os.listdir(project.tmp)) == 3  # moved away, not removed


def test_assigned_while_taken_down(
    worker: FakeWorker, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dispatcher that is faster than the end of a worker loses nothing."""
    real, late = os.rmdir, [1, 2]

    def rmdir(path: str) -> None:
        if path == worker.pod.path and late:
            give(worker, TOKEN._replace(serial=late.pop()))
        real(path)

    monkeypatch.setattr(pods.os, "rmdir", rmdir)
    worker.pod.take_down()
    assert queued(project) == [
        "job.abcdefghijkl,s1,a1",
        "job.abcdefghijkl,s2,a1",
    ]


def test_remove_pod_twice(worker: FakeWorker, project: Project) -> None:
    """Two who remove one pod both succeed."""
    assert pods.remove_pod(project, worker.id) is True
    assert pods.remove_pod(project, worker.id) is True


def test_clear_running(worker: FakeWorker, project: Project) -> None:
    """The copies go; a directory that a job put beside them stops nobody."""
    path = Path(project.running, worker.id)
    (path / "sub").mkdir(parents=True)
    (path / "job.sh").touch()
    pods.clear_running(project, worker.id)
    assert os.listdir(path) == ["sub"]
    (path / "sub").rmdir()
    pods.clear_running(project, worker.id)
    pods.clear_running(project, worker.id)
    assert not path.exists()


@pytest.mark.parametrize("words", [(False,), (True,), (False, True, False)])
def test_dismiss(worker: FakeWorker, words: tuple[bool, ...], tools: type[Tools]) -> None:
    """The stronger word counts; it goes with the pod, and what lay there goes back."""
    give(worker)
    for now in words:
        assert pods.dismiss(worker.project, worker.id, now)
    assert worker.pod.look() == [pods.Held(TOKEN, accepted=False)]
    word = pods.DISMISSED_NOW if True in words else pods.DISMISSED
    assert (worker.pod.dismissed, worker.hand) == (word, worker.pod.look())
    worker.leave()
    assert os.listdir(worker.project.jobpods) == []
    assert os.listdir(worker.project.tmp) == []
    assert tools.place_of(worker.project, "job") == "requeue"


def test_dismiss_one_who_has_left(worker: FakeWorker) -> None:
    """There is no pod any more, and nothing is left behind."""
    worker.leave()
    assert not pods.dismiss(worker.project, worker.id)
    assert os.listdir(worker.project.jobpods) + os.listdir(worker.project.tmp) == []
