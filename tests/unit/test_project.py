"""Projects: made complete and private, and refused where that is not so."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Callable

import pytest

from fjd.errors import ConfigError, FjdError, NothingToDo, UsageError
from fjd.spool import project as module
from fjd.spool.project import DIRECTORIES, FORMAT, Project
from fjd.system import files


def refusal(name: str = "p") -> str:
    """Return the whole line that is said when a project is refused."""
    with pytest.raises(ConfigError) as caught:
        Project.open(name)
    assert caught.value.remedy
    return str(caught.value)


def test_made_complete(home: str) -> None:
    """A new project has all its directories, says what it is, and nobody else can look in."""
    project = Project.open("p")
    assert project.root == f"{home}/p"
    assert sorted(os.listdir(project.root)) == sorted((*DIRECTORIES, "README", "VERSION"))
    assert Path(project.root, "VERSION").read_text() == FORMAT
    assert "fjd status" in Path(project.root, "README").read_text()
    assert os.listdir(project.tmp) == []
    for path in (project.root, project.tmp, *(f"{project.root}/{d}" for d in DIRECTORIES)):
        assert os.stat(path).st_mode & 0o777 == 0o700


def test_every_directory_has_its_attribute(project: Project) -> None:
    """What stands in the list can be said in the code."""
    for name in DIRECTORIES:
        if name != "tmp":
            assert getattr(project, name) == f"{project.root}/{name}"
    assert os.path.dirname(project.tmp) == f"{project.root}/tmp"


def test_opened_twice(project: Project) -> None:
    """Opening changes nothing that is there."""
    Path(project.root, "README").write_text("mine")
    Path(project.jobqueue, "job").touch()
    again = Project.open("p")
    assert again.root == project.root
    assert Path(project.root, "README").read_text() == "mine"
    assert os.listdir(project.jobqueue) == ["job"]


@pytest.mark.parametrize("missing", [*DIRECTORIES, "README", "VERSION"])
def test_made_again(project: Project, missing: str) -> None:
    """What somebody removed is made again."""
    path = Path(project.root, missing)
    if missing == "tmp":
        os.rmdir(project.tmp)
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink()
    Project.open("p")
    assert path.exists()
    assert os.path.isdir(project.tmp)


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o722])
def test_others_can_write(project: Project, mode: int) -> None:
    """Where others can write, a job of theirs would run in our name."""
    os.chmod(project.root, mode)
    assert refusal() == (
        f"{project.root}: others can write to it (mode {mode:04o}), and what lies in it is run"
        f" in your name; look through it, then type: chmod go-w {project.root}"
    )


@pytest.mark.parametrize("name", ["jobqueue", "jobpods", "requeue", "tmp"])
def test_others_can_write_to_what_they_reach(project: Project, name: str) -> None:
    """So it is with a directory inside, if others get that far."""
    path = f"{project.root}/{name}"
    os.chmod(path, 0o777)
    assert Project.open("p").root == project.root
    os.chmod(project.root, 0o711)
    assert refusal().startswith(f"{path}: others can write to it (mode 0777)")
    assert refusal().endswith(f"; look through it, then type: chmod go-w {path}")
    os.chmod(path, 0o755)
    assert Project.open("p").root == project.root


@pytest.mark.parametrize("name", ["jobqueue", "records", "tmp", "tmp/host"])
def test_nothing_is_written_through_a_link(project: Project, name: str, tmp_path: Path) -> None:
    """A link in the place of a directory is refused, wherever it leads to."""
    path = project.tmp if name == "tmp/host" else f"{project.root}/{name}"
    os.rename(path, f"{path}.away")
    for target in (tmp_path, tmp_path / "nowhere"):
        os.symlink(target, path)
        assert refusal() == (
            f"{path}: is a symbolic link, and fjd writes through none;"
            f" type: rm {path} (what it leads to stays)"
        )
        os.unlink(path)
    assert Project.open("p").root == project.root


@pytest.mark.parametrize("mode", [0o750, 0o755])
def test_others_can_read(project: Project, mode: int) -> None:
    """Letting others look is everybody's own decision."""
    os.chmod(project.root, mode)
    assert Project.open("p").root == project.root


def test_others_can_write_to_the_home(home: str) -> None:
    """Who can write to the home could put another project there."""
    os.chmod(home, 0o777)
    assert "others can write to it (mode 0777)" in refusal()


def test_somebody_elses(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's project is refused."""
    mine = os.geteuid()
    monkeypatch.setattr(module.os, "geteuid", lambda: mine + 1)
    assert f"belongs to uid {mine}, and you are uid {mine + 1}; run fjd as its owner" in refusal()


@pytest.mark.parametrize("text", ["fjd spool 2\n", "", "fjd spool 1", "\xff"])
def test_unknown_format(project: Project, text: str) -> None:
    """What another fjd laid out is left alone."""
    Path(project.root, "VERSION").write_text(text, encoding="latin-1")
    assert "this fjd knows 'fjd spool 1'; use the fjd that made it" in refusal()


def test_format_in_no_file(project: Project) -> None:
    """What else may stand in the place of the format is named."""
    path = Path(project.root, "VERSION")
    path.unlink()
    for put in (path.mkdir, lambda: path.symlink_to("README"), lambda: os.mkfifo(path)):
        put()
        assert refusal() == f"{path}: is no plain file; move it away"
        os.rename(path, project.staging())
    Project.open("p")


def test_format_survives_a_power_cut(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The format is on the disk before anything is queued: an empty one would lock us out."""
    synced: list[str] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(files.os, "fsync", fsync)
    Project.open("p")
    assert f"{home}/p" in synced


@pytest.mark.parametrize("path", ["", "p"])
def test_file_in_the_way(home: str, path: str) -> None:
    """A file where a directory belongs is named."""
    where = Path(home, path)
    if where.exists():
        where.rmdir()
    where.write_text("")
    assert refusal() == f"{str(where).rstrip('/')}: is not a directory; move it away"
    where.unlink()
    Path(home).mkdir(exist_ok=True)


@pytest.mark.parametrize("name", ["jobqueue", "tmp", "dispatcher"])
def test_file_in_the_way_inside(project: Project, name: str) -> None:
    """So is a file inside a project."""
    if name == "tmp":
        os.rmdir(project.tmp)
    os.rmdir(f"{project.root}/{name}")
    Path(project.root, name).touch()
    assert name in refusal()


def test_no_place_for_a_home(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that cannot be made is told with what to set."""
    monkeypatch.setenv("FJD_HOME", f"{home}/none/home")
    assert "cannot make the directory: No such file or directory; set FJD_HOME" in refusal()


def test_home_is_made(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home itself is made if only it is missing, and as private."""
    monkeypatch.setenv("FJD_HOME", f"{home}/new")
    assert Project.open("p").root == f"{home}/new/p"
    assert os.stat(f"{home}/new").st_mode & 0o777 == 0o700


def test_home_without_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without FJD_HOME, or with an empty one, it is ~/.fjd."""
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.delenv("FJD_HOME", raising=False)
    assert module.home() == "/home/anna/.fjd"
    monkeypatch.setenv("FJD_HOME", "")
    assert module.home() == "/home/anna/.fjd"


def test_relative_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative FJD_HOME is fixed at once: processes change their directory."""
    monkeypatch.setenv("FJD_HOME", "here")
    assert module.home() == os.path.abspath("here")


def test_linked_home(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home behind a symbolic link is as good as any."""
    os.mkdir(f"{home}/real", 0o700)
    os.symlink("real", f"{home}/link")
    monkeypatch.setenv("FJD_HOME", f"{home}/link")
    assert Project.open("p").root == f"{home}/link/p"
    assert os.listdir(f"{home}/real") == ["p"]


def test_full_disk(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is said so."""

    def mkdir(path: str, mode: int) -> None:
        raise OSError(errno.ENOSPC, "no space", path)

    monkeypatch.setattr(files.os, "mkdir", mkdir)
    with pytest.raises(files.DiskFull):
        Project.open("p")


@pytest.mark.parametrize("opened", [Project.open, Project.existing])
def test_bad_name(home: str, opened: Callable[[str], Project]) -> None:
    """No name leads out of the home."""
    with pytest.raises(UsageError):
        opened("../x")
    assert os.listdir(home) == []


def test_existing(home: str) -> None:
    """Looking at a project never makes one."""
    with pytest.raises(NothingToDo) as caught:
        Project.existing("p")
    assert str(caught.value) == (
        f'{home}/p: there is no project "p"; make it by its first job: fjd submit --project p FILE'
    )
    assert os.listdir(home) == []
    Project.open("p")
    assert Project.existing("p").name == "p"


def test_name_from_the_environment(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """FJD_PROJECT names the project where nothing else does, and else it is `default`."""
    assert Project.open().name == "default"
    monkeypatch.setenv("FJD_PROJECT", "other")
    assert Project.open().name == "other"
    assert Project.open("p").name == "p"


def test_staging_is_fresh(project: Project) -> None:
    """No two files are ever written under one name."""
    paths = {project.staging() for _ in range(100)}
    assert len(paths) == 100
    assert {os.path.dirname(path) for path in paths} == {project.tmp}


def test_time_on_a_full_disk(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system's clock can be read where there is no room for a file."""
    before = project.server_now()

    def create(path: str, _: bytes) -> None:
        raise files.full(OSError(errno.ENOSPC, "full"), path)

    monkeypatch.setattr(files, "create", create)
    assert before <= project.server_now() < before + 60
    assert os.listdir(project.tmp) == []


def test_all_errors_are_lines(home: str) -> None:
    """Whatever is refused says where and what to type."""
    os.chmod(home, 0o777)
    with pytest.raises(FjdError) as caught:
        Project.open("p")
    assert caught.value.where
    assert caught.value.exit_code == 6
