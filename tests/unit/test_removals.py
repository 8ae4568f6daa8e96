"""Removals: what the user took away is cancelled; what somebody else moved is not."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fjd.spool import crew, names, pods, whereabouts
from fjd.spool.names import Result, Token
from fjd.spool.project import Project
from fjd.spool.whereabouts import Gone
from fjd.system import files

if TYPE_CHECKING:
    from tests.unit.conftest import Bench, FakeWorker, Hire, Tools

KEY = "job.abcdefghijkl"
TOKEN = Token(KEY, 7)


def busy(bench: Bench, hire: Hire, tools: type[Tools]) -> tuple[FakeWorker, Token]:
    """Return a worker that runs the job."""
    worker = hire()
    tools.drop(bench.project, "job")
    bench.tick()
    token = worker.accept()
    assert token is not None
    return worker, token


def assign_late(path: str, worker: FakeWorker) -> Token:
    """Be a dispatcher that was stopped in office before its last rename, and thaws now."""
    token = Token(names.new_key(os.path.basename(path)), 7)
    assert pods.assign(worker.project, path, token, worker.id)
    return token


def test_assigned_by_who_was_in_office_before(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """His last assignment is no removal, and the job is waited for."""
    path = tools.drop(bench.project, "job")
    bench.tick()
    worker = hire()
    assign_late(path, worker)
    assert bench.tick() is True
    assert (bench.said, bench.cancelled()) == ([], [])
    token = worker.accept()
    assert token is not None
    assert worker.finish(token)
    assert bench.tick() is False
    assert (bench.dispatcher.totals.done, bench.dispatcher.totals.cancelled) == (1, 0)


@pytest.mark.parametrize("filed", [False, True])
def test_already_ended(bench: Bench, hire: Hire, tools: type[Tools], filed: bool) -> None:
    """Nor is it if the job has ended before we look, or somebody has filed it."""
    path = tools.drop(bench.project, "job")
    bench.tick()
    worker = hire()
    token = assign_late(path, worker)
    assert worker.accept()
    assert worker.finish(token)
    if filed:
        os.makedirs(f"{bench.project.done}/000")
        name = str(Result(token, worker.id, "ok"))
        os.rename(f"{bench.project.results}/{name}", f"{bench.project.done}/000/{name}")
    assert bench.tick() is False
    assert (bench.said, bench.cancelled()) == ([], [])


def test_moved_between_pods(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """What he moves from one pod to another is in the other one's hand."""
    first = hire()
    for name in ("long", "next"):
        tools.drop(bench.project, name)
    bench.tick()
    assert first.accept()
    (waiting,) = (held.token for held in first.hand if not held.accepted)
    second = hire()
    new = waiting._replace(serial=waiting.serial + 1)
    assert pods.reassign(bench.project, waiting, first.id, new, second.id)
    bench.tick(20)
    assert (bench.said, bench.cancelled()) == ([], [])
    assert [held.token for held in second.hand] == [new]


def test_burial_that_was_interrupted(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """What a recruiter gave back before it was killed runs again, and is nobody's removal."""
    dead = hire()
    tools.drop(bench.project, "job")
    bench.tick()
    token = dead.accept()
    assert token is not None
    crew.unlist(bench.project, dead.sighting)
    pods.requeue(bench.project, dead.id, pods.Held(token, True), pods.after_return(token))
    worker = hire()
    bench.tick(25)  # less than a lease: its pod is still there
    again = worker.accept()
    assert again is not None
    assert worker.finish(again)
    bench.tick(20)
    assert bench.cancelled() == []
    assert bench.dispatcher.totals.done == 1


@pytest.mark.parametrize("seen", [False, True])
def test_removed_and_runs_on(bench: Bench, hire: Hire, tools: type[Tools], seen: bool) -> None:
    """A job that is removed while it runs is not cancelled: it is told how it ended, once."""
    worker, token = busy(bench, hire, tools)
    copies = Path(bench.project.running, worker.id)
    if seen:
        bench.tick(6)
    else:
        copies.mkdir()
        (copies / token.job).touch()
    os.unlink(worker.pod.job_file(token))
    for _ in range(20):
        worker.post.beat()
        assert bench.tick() is True
    assert (bench.said, bench.cancelled()) == ([], [])
    worker.record(token)
    shutil.rmtree(copies, ignore_errors=True)
    for _ in range(12):
        worker.post.beat()
        bench.tick()
    assert bench.said == [f"job was removed while {worker.id} ran it; its end counts: ok"]
    assert (bench.tick(), bench.cancelled(), bench.dispatcher.totals.done) == (False, [], 1)


def test_removed_and_its_worker_dies(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """If the worker is gone without a record of its end, it is cancelled."""
    worker, token = busy(bench, hire, tools)
    bench.tick(6)
    os.unlink(worker.pod.job_file(token))
    for _ in range(12):
        worker.post.beat()
        bench.tick()
    worker.leave()
    assert bench.tick() is False
    told = f"job was removed while {worker.id} ran it, which has ended: cancelled"
    assert (bench.said, bench.cancelled()) == ([told], ["job"])
    assert bench.dispatcher.totals.cancelled == 1


def test_same_name_again(bench: Bench, hire: Hire, tools: type[Tools]) -> None:
    """A job of the same name that has ended before does not hide that this one was removed."""
    worker, token = busy(bench, hire, tools)
    assert worker.finish(token)
    bench.tick()
    worker.leave()
    bench.tick()
    os.unlink(tools.drop(bench.project, "other"))
    path = tools.drop(bench.project, "job")
    bench.tick()
    os.unlink(path)
    bench.tick()
    assert bench.cancelled() == ["job"]
    assert bench.dispatcher.totals.cancelled == 1


def test_full_disk(
    bench: Bench, hire: Hire, tools: type[Tools], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removal from a pod that cannot be recorded now is recorded later, and counted once."""
    worker = hire()
    tools.drop(bench.project, "job")
    bench.tick()
    (held,) = worker.hand
    os.unlink(f"{worker.pod.path}/{held}")

    def write(fd: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch, pytest.raises(files.DiskFull):  # noqa: PT012
        patch.setattr(files.os, "write", write)
        bench.tick(30)
    bench.tick(30)
    assert bench.cancelled() == ["job"]
    assert bench.dispatcher.totals.cancelled == 1


PLACES = {
    "requeue": f"requeue/{TOKEN}",
    "pod": f"jobpods/h-0-00ff00ff/{TOKEN},run",
    "list": f"lists/{KEY}/{TOKEN},n5",
    "results": f"results/{TOKEN},h-0-00ff00ff,ok",
    "rejected": f"rejected/{TOKEN}",
    "failed": f"failed/012/{TOKEN},h-0-00ff00ff,x1",
    "done": f"done/1003/{TOKEN},h-0-00ff00ff,ok",
    "jobqueue": f"jobqueue/{TOKEN}",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("known", ["its key", "its inode"])
def test_found(project: Project, tools: type[Tools], place: str, known: str) -> None:
    """A job is found wherever its token may lie, and one that lies nowhere is not."""
    path = tools.drop(project, "job")
    inode = os.stat(path).st_ino
    target = Path(project.root, PLACES[place])
    target.parent.mkdir(parents=True, exist_ok=True)
    os.rename(path, target)
    moved = Gone(str(TOKEN), inode) if known == "its key" else Gone("job", inode)
    others = [Gone("job", inode + 1), Gone("other", inode), Gone("other.abcdefghijkl,s1,a1")]
    assert whereabouts.elsewhere(project, [*others, moved]) == {moved}
    os.unlink(target)
    assert whereabouts.elsewhere(project, [*others, moved]) == set()


def test_long_name(project: Project, tools: type[Tools]) -> None:
    """So is one whose name is cut in its key."""
    name = "n" * 200
    path = tools.drop(project, name)
    gone = Gone(name, os.stat(path).st_ino)
    os.rename(path, f"{project.requeue}/{Token(names.new_key(name))}")
    assert whereabouts.elsewhere(project, [gone]) == {gone}
