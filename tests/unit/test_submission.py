"""Submit: all files or none, complete copies, names that never meet; and what goes back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fjd.spool import lookup, pods, rejection, submission
from fjd.spool.names import Result, Token, new_key, new_worker
from fjd.spool.project import Project
from fjd.system import files

INI = "[control]\nexecutable: true\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("FJD_HOME", str(tmp_path / "home"))
    return Project.open("p")


def job(directory: Path, name: str = "job.conf", text: str = INI, mode: int = 0o644) -> str:
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def staged(project: Project) -> list[str]:
    return [name for name in os.listdir(project.tmp) if name]


def test_a_submitted_job_is_a_private_copy_that_keeps_its_name(
    project: Project, tmp_path: Path
) -> None:
    (token,) = submission.submit(project, [job(tmp_path)])
    (found,) = lookup.queued(project)
    assert (found.job, found.token) == ("job.conf", token)
    assert Path(found.path).read_text() == INI
    assert os.stat(found.path).st_mode & 0o777 == 0o600
    assert staged(project) == []


def test_a_script_stays_one_that_can_be_run(project: Project, tmp_path: Path) -> None:
    submission.submit(project, [job(tmp_path, "s.sh", "#!/bin/sh\n", 0o755)])
    (found,) = lookup.queued(project)
    assert os.stat(found.path).st_mode & 0o777 == 0o700


def test_two_hundred_jobs_of_one_name_are_two_hundred_jobs(
    project: Project, tmp_path: Path
) -> None:
    paths = [job(tmp_path / str(i)) for i in range(200)]
    submission.submit(project, paths)
    assert len(os.listdir(project.jobqueue)) == 200
    assert {found.job for found in lookup.queued(project)} == {"job.conf"}


def test_one_bad_file_keeps_all_others_out(project: Project, tmp_path: Path) -> None:
    good = job(tmp_path, "good.conf")
    bad = [job(tmp_path, "a.conf", "nonsense"), job(tmp_path, "b.conf", "")]
    with pytest.raises(submission.Refused) as refused:
        submission.submit(project, [good, *bad, good])
    assert [problem.where.partition(":")[0] for problem in refused.value.problems] == bad
    assert os.listdir(project.jobqueue) == staged(project) == []


@pytest.mark.parametrize("name", [".job.conf", "job.conf~", "job.conf.swp", "#job.conf#"])
def test_a_backup_file_is_no_job(project: Project, tmp_path: Path, name: str) -> None:
    with pytest.raises(submission.Refused) as refused:
        submission.submit(project, [job(tmp_path, name)])
    assert "backup" in str(refused.value.problems[0])


def test_a_directory_a_fifo_and_a_missing_file_are_refused(
    project: Project, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    paths = [str(tmp_path / name) for name in ("", "fifo", "none")]
    with pytest.raises(submission.Refused) as refused:
        submission.submit(project, paths)
    assert [problem.where for problem in refused.value.problems] == paths


def test_a_link_stands_for_its_file(project: Project, tmp_path: Path) -> None:
    (tmp_path / "link.conf").symlink_to(job(tmp_path))
    submission.submit(project, [str(tmp_path / "link.conf")])
    (found,) = lookup.queued(project)
    assert found.job == "link.conf"
    assert not os.path.islink(found.path)


def test_a_full_disk_leaves_nothing_behind(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, count = files.create, 0

    def fill_up(path: str, *rest: object) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise files.DiskFull("the disk is full", where=path)
        create(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(files, "create", fill_up)
    with pytest.raises(files.DiskFull):
        submission.submit(project, [job(tmp_path)] * 5)
    assert os.listdir(project.jobqueue) == staged(project) == []


def test_what_is_left_out_of_a_queue_that_fails_halfway_is_said(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, count = files.move, 0

    def fail_late(source: str, target: str) -> bool:
        nonlocal count
        count += 1
        if count == 3:
            raise files.DiskFull("the disk is full", where=target)
        return move(source, target)

    monkeypatch.setattr(files, "move", fail_late)
    with pytest.raises(Exception, match="only the first 2 of 5"):
        submission.submit(project, [job(tmp_path)] * 5)
    assert len(os.listdir(project.jobqueue)) == 2
    assert staged(project) == []


def test_nothing_is_reported_before_everything_is_on_the_disk(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    move = files.move
    monkeypatch.setattr(submission.libc, "syncfs", lambda fd: steps.append("sync all"))
    monkeypatch.setattr(files, "sync_directory", lambda path: steps.append("sync names"))
    monkeypatch.setattr(files, "move", lambda a, b: steps.append("move") or move(a, b))
    submission.submit(project, [job(tmp_path)] * 9)
    assert steps == ["sync all", *["move"] * 9, "sync names"]


def test_a_failed_job_goes_back_as_its_next_attempt(project: Project) -> None:
    key, worker = new_key("j"), new_worker("h", 0)
    os.mkdir(f"{project.failed}/000")
    result = Result(Token(key, 7, 2, 1, 1), worker, "x1")
    Path(f"{project.failed}/000/{result}").write_text(INI)
    (found,) = lookup.failed(project)
    assert submission.again(project, found)
    (name,) = os.listdir(project.requeue)
    assert name.startswith(f"{key},s7,a3,r")
    assert not submission.again(project, found)  # a second one comes too late


def test_a_rejected_job_goes_back_without_its_reason(project: Project) -> None:
    source = f"{project.jobqueue}/bad.conf"
    Path(source).write_text("x")
    assert rejection.reject(project, source, Token(new_key("bad.conf")), "it is bad")
    (found,) = lookup.rejected(project)
    assert submission.again(project, found)
    assert os.listdir(project.rejected) == []
    assert [job.job for job in lookup.queued(project)] == ["bad.conf"]


# -- lookup -----------------------------------------------------------------------------------


def queue(project: Project, *job_names: str) -> None:
    for name in job_names:
        Path(os.fsencode(f"{project.jobqueue}/{name}").decode(errors="surrogateescape")).touch()


def test_a_job_is_found_by_name_key_path_and_unique_beginning(project: Project) -> None:
    worker, token = new_worker("h", 0), Token(new_key("job1.conf"), 1)
    queue(project, "job1.conf", "job10.conf")
    os.mkdir(project.pod(worker))
    assert pods.assign(project, f"{project.jobqueue}/job1.conf", token, worker)
    for text in ("job1.conf", "some/where/job1.conf", token.key, token.key[:-3], "job1."):
        (found,) = lookup.select(lookup.everything(project), text)
        assert (found.state, found.key) == ("assigned", token.key), text
    assert lookup.select(lookup.everything(project), "job2") == []


def test_a_beginning_of_several_names_is_refused(project: Project) -> None:
    queue(project, "job1.conf", "job10.conf")
    with pytest.raises(Exception, match=r"2 jobs begin with 'job1': job1.conf, job10.conf"):
        lookup.select(lookup.everything(project), "job1")


def test_of_several_jobs_of_one_name_the_newest_comes_last(project: Project) -> None:
    worker = new_worker("h", 0)
    os.mkdir(f"{project.done}/000")
    for serial in (9, 30, 4):
        name = str(Result(Token(new_key("j"), serial), worker, "ok"))
        Path(f"{project.done}/000/{name}").touch()
    found = lookup.select(lookup.everything(project), "j")
    assert [item.token.serial for item in found if item.token] == [4, 9, 30]
    queue(project, "j")
    assert lookup.select(lookup.everything(project), "j")[-1].state == "queued"


def test_a_name_that_was_cut_is_found_by_the_whole_name(project: Project) -> None:
    name = "n" * 250 + ".conf"
    Path(f"{project.jobqueue}/{Token(new_key(name))}").touch()
    assert len(lookup.select(lookup.everything(project), name)) == 1
