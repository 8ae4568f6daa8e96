"""The inbox: what is queued, in which order, and which files are complete."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Optional

import pytest

from fjd.spool import inbox as module
from fjd.spool.inbox import PATIENCE, Inbox, Waiting, natural
from fjd.spool.names import Token
from fjd.spool.project import Project
from fjd.spool.timings import Timings

if TYPE_CHECKING:
    from tests.unit.conftest import Clock, Tools

SETTLE = 0.25


class Desk:
    """An inbox and its clock."""

    def __init__(self, project: Project, clock: Clock) -> None:
        self.project, self.clock = project, clock
        self.inbox = Inbox(project, Timings(settle=SETTLE), clock)

    def look(self, seconds: float = 0.0, complete: tuple[str, ...] = ()) -> None:
        """Look after some time."""
        self.inbox.look(self.clock.tick(seconds), set(complete))

    def pop(self, seconds: float = 0.0) -> Optional[str]:
        """Look after some time and return the name of the next job."""
        self.look(seconds)
        waiting = self.inbox.pop()
        return waiting.name if waiting else None

    def all(self, seconds: float = 0.0) -> list[str]:
        """Look after some time and take everything."""
        self.look(seconds)
        names = []
        for waiting in iter(self.inbox.pop, None):
            names.append(waiting.name)
            self.inbox.taken(waiting)
        return names

    def write(self, name: str, text: str = "content") -> Path:
        """Write a file in place, as an editor does: nothing tells that it is complete."""
        path = Path(self.project.jobqueue, name)
        with path.open("a") as file:
            file.write(text)
        os.utime(path, (9e9, 9e9 + path.stat().st_size))  # not before its ctime, and ever newer
        return path

    def back(self, name: str, serial: int) -> str:
        """Put a token back into the queue."""
        token = Token(f"{name}.abcdefghijkl", serial, 2)
        Path(self.project.requeue, str(token)).touch()
        return str(token)


@pytest.fixture
def desk(project: Project, clock: Clock) -> Desk:
    """Return an inbox that sees an empty queue."""
    return Desk(project, clock)


def test_a_file_server_that_repeats_itself(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an NFS client has cached of a file is no second look; what an open tells is."""
    cached = os.lstat(desk.write("a", "one"))
    monkeypatch.setattr(module.os, "lstat", lambda path: cached)
    assert desk.pop() is None
    for _ in range(5):
        desk.write("a", "more")
        assert desk.pop(SETTLE) is None
    assert desk.pop(SETTLE) == "a"


def test_empty(desk: Desk) -> None:
    """An empty queue has nothing to give."""
    assert desk.all() == []
    assert len(desk.inbox) == 0
    assert not desk.inbox.unsettled


def test_natural_order(desk: Desk, tools: type[Tools]) -> None:
    """What is seen in one look comes in the order in which people count."""
    names = ["job10", "job9", "job1", "a2b10", "a2b9", "a10", "b", "10", "9"]
    for name in names:
        tools.drop(desk.project, name)
    assert desk.all() == ["9", "10", "a2b9", "a2b10", "a10", "b", "job1", "job9", "job10"]


@pytest.mark.parametrize("name", ["²", "١٢", "٣x", "a" * 255, "\udcff", "1.2.3", ""])
def test_natural_order_of_anything(name: str) -> None:
    """Whatever the names are, they can be compared."""
    assert sorted([name, "job1", "1"], key=natural)


def test_first_sight(desk: Desk, tools: type[Tools]) -> None:
    """What was seen first is first, whatever its name."""
    tools.drop(desk.project, "b")
    desk.look()
    tools.drop(desk.project, "a")
    assert desk.all() == ["b", "a"]


def test_requeued_first(desk: Desk, tools: type[Tools]) -> None:
    """What comes back goes before what is new, in the order in which it was assigned."""
    tools.drop(desk.project, "a")
    desk.back("z", 10)
    desk.back("y", 9)
    desk.look()
    desk.back("x", 1)
    assert desk.all() == ["y", "z", "x", "a"]


def test_token_of_what_comes_back(desk: Desk) -> None:
    """A token that comes back keeps its key and its numbers; strangers are passed over."""
    name = desk.back("z", 10)
    Path(desk.project.requeue, "notes").touch()
    desk.look()
    assert len(desk.inbox) == 1
    waiting = desk.inbox.pop()
    assert waiting is not None
    assert str(waiting.fresh_token()) == name


@pytest.mark.parametrize(
    ("name", "job"),
    [
        ("job", "job"),
        ("job.abcdefghijkl,s0,a1", "job"),
        ("job.abcdefghijkl,s7,a2,node-0-0123abcd,x1", "job"),
        ("a,b", "a,b"),
    ],
)
def test_job_name(name: str, job: str) -> None:
    """A new file gets a new key of its own name, also one that was moved back by hand."""
    waiting = Waiting(f"/jobqueue/{name}", None)
    assert waiting.name == job
    token = waiting.fresh_token()
    assert (token.job, token.attempt) == (job, 1)
    assert token.key != waiting.fresh_token().key


def test_no_jobs(desk: Desk, tools: type[Tools]) -> None:
    """Hidden and unfinished files are not queued."""
    for name in (".a", "b~", "c.tmp", "#d#"):
        tools.drop(desk.project, name)
    assert desk.all() == []
    assert len(desk.inbox) == 0


# -- complete or not ------------------------------------------------------------------------------


def test_renamed_in(desk: Desk, tools: type[Tools]) -> None:
    """A file that was renamed after its last write is taken at the first look."""
    tools.drop(desk.project, "job")
    assert desk.pop() == "job"


def test_two_looks(desk: Desk) -> None:
    """A file written in place is taken when it did not change for a while."""
    desk.write("job")
    assert desk.pop() is None
    assert desk.inbox.unsettled
    assert len(desk.inbox) == 1
    assert desk.pop(SETTLE / 2) is None
    assert desk.pop(SETTLE / 2) == "job"
    assert not desk.inbox.unsettled


def test_growing(desk: Desk) -> None:
    """A file that grows is not taken, however long it takes."""
    for _ in range(20):
        desk.write("job")
        assert desk.pop(10.0) is None
    assert desk.pop(SETTLE) == "job"


def test_seen_complete(desk: Desk) -> None:
    """A file that its writer closed is taken at once."""
    desk.write("job")
    desk.look(complete=("job", "other"))
    assert desk.pop() == "job"


def test_empty_file(desk: Desk) -> None:
    """An empty file is given more time: something may be written into it."""
    desk.write("job", "")
    assert desk.pop() is None
    assert desk.pop(PATIENCE - 0.1) is None
    assert desk.pop(0.1) == "job"


def test_empty_file_renamed_in(desk: Desk, tools: type[Tools]) -> None:
    """So is one that was touched long ago."""
    tools.drop(desk.project, "job", b"")
    assert desk.pop() is None
    assert desk.pop(PATIENCE) == "job"


def not_yet(desk: Desk, seconds: float = 0.0) -> bool:
    """Take the next job and find that it does not parse; is it to be looked at again?"""
    desk.look(seconds)
    waiting = desk.inbox.pop()
    assert waiting is not None
    return desk.inbox.not_yet(waiting, desk.clock.now)


def test_not_yet(desk: Desk) -> None:
    """What does not parse is looked at again for some seconds after its last change."""
    desk.write("job")
    desk.look()
    assert not_yet(desk, SETTLE)
    assert desk.inbox.unsettled
    desk.write("job")
    assert desk.pop(1.0) is None
    assert not_yet(desk, PATIENCE - 0.1)
    assert not not_yet(desk, 0.1)


def test_not_yet_after_it_was_closed(desk: Desk) -> None:
    """A shell that writes line by line closes the file after each: that it was closed is a hint."""
    desk.write("job", "[control]\n")
    desk.look(complete=("job",))
    assert not_yet(desk)
    desk.write("job", "executable: true\n")
    desk.look(complete=("job",))
    assert desk.pop() == "job"


def test_certainly_wrong(desk: Desk, tools: type[Tools]) -> None:
    """What was renamed in is complete, and what it says is not going to change."""
    tools.drop(desk.project, "job", b"nonsense")
    assert not not_yet(desk)


def test_wrong_and_removed(desk: Desk) -> None:
    """What was removed meanwhile need not be looked at again."""
    path = desk.write("job")
    desk.look()
    desk.look(SETTLE)
    waiting = desk.inbox.pop()
    assert waiting is not None
    path.unlink()
    assert not desk.inbox.not_yet(waiting, desk.clock.now)


# -- removed, strange, put back -------------------------------------------------------------------


@pytest.mark.parametrize("settled", [False, True])
def test_cancelled(desk: Desk, tools: type[Tools], settled: bool) -> None:
    """What vanishes from the queue is cancelled, whether it was complete or not."""
    if settled:
        tools.drop(desk.project, "job")
    else:
        desk.write("job")
    desk.look()
    os.unlink(f"{desk.project.jobqueue}/job")
    assert desk.pop() is None
    assert [gone.name for gone in desk.inbox.cancelled] == ["job"]
    assert len(desk.inbox) == 0
    desk.look(SETTLE)
    assert not desk.inbox.unsettled


def test_cancelled_on_its_way_back(desk: Desk) -> None:
    """So is what vanishes from requeue/."""
    name = desk.back("job", 1)
    desk.look()
    os.unlink(f"{desk.project.requeue}/{name}")
    assert desk.pop() is None
    assert [gone.name for gone in desk.inbox.cancelled] == [name]


def test_taken_is_not_cancelled(desk: Desk, tools: type[Tools]) -> None:
    """What we moved away ourselves is not."""
    paths = [tools.drop(desk.project, "job"), f"{desk.project.requeue}/{desk.back('z', 1)}"]
    assert desk.all() == ["z", "job"]
    for path in paths:
        os.unlink(path)
    assert desk.all() == []
    assert desk.inbox.cancelled == []


def test_same_name_again(desk: Desk, tools: type[Tools]) -> None:
    """A name that was taken may come again, as another job."""
    for _ in range(3):
        path = tools.drop(desk.project, "job")
        assert desk.all() == ["job"]
        os.unlink(path)


def test_removed_and_dropped_again(desk: Desk, tools: type[Tools]) -> None:
    """A name that vanished and came again between two takings is one job, not two."""
    for _ in range(2):
        os.unlink(tools.drop(desk.project, "job"))
        desk.look()
        tools.drop(desk.project, "job")
        desk.look()
    assert desk.all() == ["job"]


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("directory", "is a directory"),
        ("link", "is a symbolic link"),
        ("fifo", "is no regular file"),
    ],
)
def test_strange_files(desk: Desk, kind: str, wrong: str) -> None:
    """What is no file is handed out at once, with what is wrong with it, and not waited for."""
    path = f"{desk.project.jobqueue}/job"
    if kind == "directory":
        os.mkdir(path)
    elif kind == "link":
        os.symlink("/dev/null", path)
    else:
        os.mkfifo(path)
    desk.look()
    waiting = desk.inbox.pop()
    assert waiting is not None
    assert (waiting.name, waiting.wrong) == ("job", wrong)
    assert not desk.inbox.not_yet(waiting, desk.clock.now)


def test_put_back(desk: Desk, tools: type[Tools]) -> None:
    """What could not be assigned after all keeps its place."""
    for name in ("a", "b", "c"):
        tools.drop(desk.project, name)
    desk.back("y", 1)
    desk.back("z", 2)
    desk.look()
    taken = [desk.inbox.pop() for _ in range(3)]
    for waiting in reversed(taken):
        assert waiting is not None
        desk.inbox.put_back(waiting)
    assert desk.all() == ["y", "z", "a", "b", "c"]


def test_put_back_and_removed(desk: Desk, tools: type[Tools]) -> None:
    """What vanished before it was put back is gone."""
    path = tools.drop(desk.project, "a")
    desk.look()
    waiting = desk.inbox.pop()
    assert waiting is not None
    os.unlink(path)
    desk.look()
    desk.inbox.put_back(waiting)
    assert desk.all() == []


@pytest.mark.parametrize("place", ["jobqueue", "requeue"])
def test_queue_removed(desk: Desk, tools: type[Tools], place: str) -> None:
    """Who removes the whole directory cancels what was in it, and the queue goes on."""
    tools.drop(desk.project, "a")
    desk.back("b", 1)
    desk.look()
    shutil.rmtree(f"{desk.project.root}/{place}")
    desk.look()
    assert len(desk.inbox.cancelled) == 1
    assert len(desk.inbox) == 1
    assert os.path.isdir(desk.project.jobqueue)


def test_failed_listing(desk: Desk, tools: type[Tools], monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that cannot be listed is not an empty one: nothing is cancelled."""
    tools.drop(desk.project, "a")
    desk.look()

    def scandir(path: str) -> None:
        raise OSError(5, "Input/output error", path)

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "scandir", scandir)
        with pytest.raises(OSError, match="Input/output"):
            desk.look(1.0)
    assert desk.inbox.cancelled == []
    assert desk.all() == ["a"]


# -- many -----------------------------------------------------------------------------------------


class SlowListing:
    """A directory whose listing takes its time, by the test's own clock."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds, self.count, self.real = clock, seconds, 0, os.scandir

    def __call__(self, path: str) -> object:
        """List it."""
        self.count += 1
        self.clock.tick(self.seconds)
        return self.real(path)


def test_share_of_the_time(desk: Desk, tools: type[Tools], monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue whose listing takes a second is listed every twenty seconds."""
    tools.drop(desk.project, "a")
    slow = SlowListing(desk.clock, 1.0)
    monkeypatch.setattr(module.os, "scandir", slow)
    for _ in range(100):
        desk.look(1.0)
    assert 4 <= slow.count <= 6
    before = slow.count
    desk.look(complete=("b",))
    assert slow.count == before + 1


def test_empty_queue_is_always_listed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is known to be queued, nothing is ended on the word of an old listing."""
    slow = SlowListing(desk.clock, 1.0)
    monkeypatch.setattr(module.os, "scandir", slow)
    for _ in range(5):
        desk.look(0.1)
    assert slow.count == 5


class Entry:
    """One name in a directory that is only said to exist."""

    def __init__(self, name: str) -> None:
        self.name = name

    def inode(self) -> int:
        """Nobody asks what it is."""
        return 1

    def is_file(self, follow_symlinks: bool = True) -> bool:
        """It is one."""
        return True


class Crowd(list[Entry]):
    """A directory of many names; real files would take longer than the test."""

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def test_many(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 4,000 files only some are looked at closely in one look, and all in the end, in order."""
    crowd = Crowd(Entry(f"job{number}") for number in range(4_000))
    lstats = []

    def lstat(path: str) -> object:
        lstats.append(path)
        return SimpleNamespace(st_ctime_ns=2, st_mtime_ns=1, st_size=1, st_ino=1)

    monkeypatch.setattr(module.os, "scandir", lambda _: crowd)
    monkeypatch.setattr(module.os, "lstat", lstat)
    monkeypatch.setattr(module, "_ENOUGH", 1_000)
    desk.look()
    assert len(desk.inbox) == 4_000
    assert len(lstats) == 1_000
    found: list[str] = []
    while len(found) < 4_000:
        found += desk.all()
    assert len(lstats) == 4_000
    assert found == [f"job{number}" for number in range(4_000)]
