"""Files: what the spool needs, on file systems that lie, fill up and lose replies."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Callable

import pytest

from fjd.system import files

Faults = Callable[..., "Calls"]


class Calls:
    """A system call that first goes wrong in the given ways, then works.

    A fault is an errno (nothing happens), ``after(errno)`` (it happens, and the reply is lost) or
    a function that is called first and may return an errno.
    """

    def __init__(self, real: Callable[..., object], faults: list[object]) -> None:
        self.real, self.faults, self.count = real, list(faults), 0

    def __call__(self, *args: object, **more: object) -> object:
        """Do what the next fault says."""
        self.count += 1
        if not self.faults:
            return self.real(*args, **more)
        fault = self.faults.pop(0)
        number = fault(self.real, *args) if callable(fault) else fault
        if number is None:
            return self.real(*args, **more)
        assert isinstance(number, int)
        raise OSError(number, os.strerror(number))


def after(number: int) -> Callable[..., int]:
    """Return the fault of a call that works and says otherwise."""

    def fault(real: Callable[..., object], *args: object) -> int:
        real(*args)
        return number

    return fault


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Return what makes a call of ``os`` go wrong; no pause takes any time."""
    monkeypatch.setattr(files.time, "sleep", lambda _: None)

    def inject(name: str, *planned: object) -> Calls:
        calls = Calls(getattr(os, name), list(planned))
        monkeypatch.setattr(files.os, name, calls)
        return calls

    return inject


@pytest.fixture
def pair(home: str) -> tuple[str, str]:
    """Return where a file lies, and where it is to go."""
    for name in ("from", "to"):
        os.mkdir(f"{home}/{name}")
    Path(home, "from", "a").write_text("content")
    return f"{home}/from/a", f"{home}/to/b"


def at(path: str) -> bool:
    """Tell whether the file with the content is here."""
    return os.path.exists(path) and Path(path).read_text() == "content"


HINTS = [errno.ENOENT, errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EPERM]


def test_move(pair: tuple[str, str], faults: Faults) -> None:
    """A rename that works is all there is to it."""
    listdir = faults("listdir")
    assert files.move(*pair) is True
    assert at(pair[1])
    assert listdir.count == 0


@pytest.mark.parametrize("number", HINTS)
def test_lost_reply(pair: tuple[str, str], faults: Faults, number: int) -> None:
    """The rename took place and the reply says otherwise: it got there through us."""
    rename = faults("rename", after(number))
    assert files.move(*pair) is True
    assert at(pair[1])
    assert rename.count == 1


@pytest.mark.parametrize("number", HINTS)
def test_nothing_happened(pair: tuple[str, str], faults: Faults, number: int) -> None:
    """The source is still there, whatever the reply says: it is tried again."""
    rename = faults("rename", number, number)
    assert files.move(*pair) is True
    assert at(pair[1])
    assert rename.count == 3


@pytest.mark.parametrize("number", HINTS)
def test_lost_race(pair: tuple[str, str], faults: Faults, number: int) -> None:
    """Somebody else moved it first: not ours, and no exception."""
    os.rename(pair[0], pair[0] + "2")
    faults("rename", number)
    assert files.move(*pair) is False


def test_lost_race_after_a_false_denial(pair: tuple[str, str], faults: Faults) -> None:
    """It was denied although it was there, and then somebody took it."""

    def taken(real: Callable[..., None], source: str, _: str) -> int:
        real(source, source + "2")
        return errno.ENOENT

    faults("rename", errno.ENOENT, taken)
    assert files.move(*pair) is False


def test_both_directories_are_looked_at_afresh(pair: tuple[str, str], faults: Faults) -> None:
    """A listing without a touch can be an old one."""
    utime = faults("utime")
    os.rename(pair[0], pair[0] + "2")
    assert files.move(*pair) is False
    assert utime.count == 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_disk_full(pair: tuple[str, str], faults: Faults, number: int) -> None:
    """A full disk is said so, and the file is where it was."""
    faults("rename", number)
    with pytest.raises(files.DiskFull, match=r"(disk is full|over quota); make room"):
        files.move(*pair)
    assert at(pair[0])


def test_target_directory_gone(pair: tuple[str, str], faults: Faults) -> None:
    """Without the target's directory the file stays, and the caller learns of it."""
    os.rmdir(os.path.dirname(pair[1]))
    with pytest.raises(FileNotFoundError):
        files.move(*pair)
    assert at(pair[0])


def test_both_directories_gone(pair: tuple[str, str]) -> None:
    """Without source and target it is a lost race: there is nothing that could be tried again."""
    os.unlink(pair[0])
    os.rmdir(os.path.dirname(pair[0]))
    os.rmdir(os.path.dirname(pair[1]))
    assert files.move(*pair) is False


@pytest.mark.parametrize("number", [errno.EACCES, errno.EXDEV, errno.EROFS, errno.ENOTDIR])
def test_no_retry_can_mend_it(pair: tuple[str, str], faults: Faults, number: int) -> None:
    """Other errors are raised at once."""
    rename = faults("rename", number)
    with pytest.raises(OSError, match=os.strerror(number)):
        files.move(*pair)
    assert rename.count == 1
    assert at(pair[0])


@pytest.mark.parametrize("call", ["listdir", "utime"])
def test_failed_listing_is_not_an_empty_one(
    pair: tuple[str, str], faults: Faults, call: str
) -> None:
    """Who cannot look does not guess: neither ours nor somebody else's."""
    faults("rename", errno.EIO)
    faults(call, errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        files.move(*pair)


def test_pauses_grow_and_end(pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename that does not happen is tried ever less often, and then the caller is told."""
    pauses: list[float] = []
    monkeypatch.setattr(files.time, "sleep", pauses.append)
    monkeypatch.setattr(files.os, "rename", Calls(os.rename, [errno.ESTALE] * 100))
    with pytest.raises(OSError, match="Stale file handle"):
        files.move(*pair)
    assert pauses[:3] == [0.01, 0.02, 0.04]
    assert files.PATIENCE <= sum(pauses) < files.PATIENCE + 2 * max(pauses)
    assert os.path.exists(pair[0])


@pytest.mark.parametrize(
    ("number", "said"), [(errno.ENOENT, errno.ESTALE), (errno.EIO, errno.EIO), (errno.EPERM,) * 2]
)
def test_never_true(pair: tuple[str, str], faults: Faults, number: int, said: int) -> None:
    """What is listed and denied for ever is a file server in trouble; other errors stay."""
    faults("rename", *[number] * 100)
    with pytest.raises(OSError, match=os.strerror(number) if number == said else "is listed") as e:
        files.move(*pair)
    assert e.value.errno == said
    assert at(pair[0])


def test_a_listing_that_stays_old(
    pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch, faults: Faults
) -> None:
    """Who is shown a name that is gone, however often he looks, waits for the file server."""
    faults("rename")
    os.unlink(pair[0])
    monkeypatch.setattr(
        files,
        "listing",
        lambda path, nudge: [os.path.basename(pair[0])][: path == os.path.dirname(pair[0])],
    )
    with pytest.raises(OSError, match="is listed, and cannot be moved") as failure:
        files.move(*pair)
    assert failure.value.errno in files.TRANSIENT


def test_the_last_reply_is_lost(
    pair: tuple[str, str], faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the last try is judged by what is listed."""
    monkeypatch.setattr(files, "PATIENCE", 0.01)
    rename = faults("rename", errno.ENOENT, after(errno.ENOENT), errno.EBADF)
    assert files.move(*pair) is True
    assert rename.count == 2


def test_listing(home: str, faults: Faults) -> None:
    """A listing is the names, or None without a directory; failing is neither."""
    Path(home, "a").touch()
    assert files.listing(home) == ["a"]
    assert files.listing(home, nudge=True) == ["a"]
    assert files.listing(f"{home}/none") is None
    assert files.listing(f"{home}/none", nudge=True) is None
    faults("listdir", errno.EIO, errno.ESTALE, None, errno.ESTALE, errno.ENOENT)
    with pytest.raises(OSError, match="Input/output"):
        files.listing(home)
    assert files.listing(home) == ["a"]
    assert files.listing(home) is None


def test_publish(home: str) -> None:
    """What is published is whole and private, and nothing else is left."""
    files.publish(f"{home}/.tmp", f"{home}/a", b"x" * 100_000)
    assert Path(home, "a").stat().st_size == 100_000
    assert Path(home, "a").stat().st_mode & 0o777 == 0o600
    assert os.listdir(home) == ["a"]


def short(real: Callable[[int, memoryview], int], fd: int, data: memoryview) -> int:
    """Write three bytes, and then there is no room."""
    real(fd, data[:3])
    return errno.ENOSPC


@pytest.mark.parametrize(
    ("call", "fault", "kind"),
    [
        ("open", errno.ENOSPC, files.DiskFull),
        ("open", errno.EDQUOT, files.DiskFull),
        ("open", errno.EACCES, OSError),
        ("write", short, files.DiskFull),
        ("write", errno.EIO, OSError),
        ("fsync", errno.EIO, OSError),
        ("close", after(errno.EIO), OSError),
        ("rename", errno.ENOSPC, files.DiskFull),
        ("rename", errno.EROFS, OSError),
    ],
)
def test_publish_leaves_nothing(
    home: str, faults: Faults, call: str, fault: object, kind: type[Exception]
) -> None:
    """Whatever goes wrong: neither the file nor half of it is anywhere."""
    faults(call, fault)
    with pytest.raises(kind):
        files.publish(f"{home}/.tmp", f"{home}/a", b"content")
    assert os.listdir(home) == []


def test_publish_writes_on_after_a_short_write(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short write is no error: the rest is written."""
    real = os.write
    monkeypatch.setattr(files.os, "write", lambda fd, data: real(fd, data[:2]))
    files.publish(f"{home}/.tmp", f"{home}/a", b"content")
    assert Path(home, "a").read_bytes() == b"content"


def test_create_takes_no_name_that_exists(home: str) -> None:
    """A file or a link that is there already is not written to."""
    os.symlink("elsewhere", f"{home}/a")
    with pytest.raises(FileExistsError):
        files.create(f"{home}/a", b"content")
    assert not os.path.exists(f"{home}/elsewhere")


def test_make_directory(home: str, faults: Faults) -> None:
    """A directory is private; one that is there is no error; a full disk is said so."""
    assert files.make_directory(f"{home}/a") is True
    assert os.stat(f"{home}/a").st_mode & 0o777 == 0o700
    assert files.make_directory(f"{home}/a") is False
    faults("mkdir", errno.ENOSPC, errno.EACCES)
    with pytest.raises(files.DiskFull):
        files.make_directory(f"{home}/b")
    with pytest.raises(PermissionError):
        files.make_directory(f"{home}/b")


def test_remove(home: str) -> None:
    """Gone is what was wanted."""
    Path(home, "a").touch()
    assert files.remove(f"{home}/a") is True
    assert files.remove(f"{home}/a") is False


def test_read(home: str) -> None:
    """A FIFO does not hang, a link is not followed, a long file is cut."""
    Path(home, "a").write_text("content")
    os.symlink("a", f"{home}/link")
    os.mkfifo(f"{home}/fifo")
    assert files.read(f"{home}/a") == b"content"
    assert files.read(f"{home}/a", 3) == b"con"
    assert files.read(f"{home}/fifo") == b""
    Path(home, "long").write_bytes(bytes(200_000))
    assert len(files.read(f"{home}/long", 1 << 60)) == 200_000  # no room is taken for more
    with pytest.raises(OSError, match="symbolic links"):
        files.read(f"{home}/link")


def open_appender(home: str) -> files.Appender:
    """Return an appender with one line in it."""
    appender = files.Appender(f"{home}/log")
    assert appender.append(b"one\n") == 0
    return appender


def lines(home: str) -> bytes:
    """Return what is in the log."""
    return Path(home, "log").read_bytes()


def test_appender(home: str) -> None:
    """Each append tells where it begins, also after the file was opened again."""
    appender = open_appender(home)
    assert appender.append(b"two\n") == 4
    appender.close()
    assert files.Appender(f"{home}/log").append(b"three\n") == 8
    assert lines(home) == b"one\ntwo\nthree\n"


@pytest.mark.parametrize(
    ("fault", "kind"), [(short, files.DiskFull), (errno.EIO, OSError), (after(errno.EIO), OSError)]
)
def test_appender_takes_half_a_line_back(
    home: str, faults: Faults, fault: object, kind: type[Exception]
) -> None:
    """A line is there as a whole or not at all, and the next one is where it says."""
    appender = open_appender(home)
    faults("write", fault)
    with pytest.raises(kind):
        appender.append(b"two\n")
    assert lines(home) == b"one\n"
    assert appender.append(b"three\n") == 4
    assert lines(home) == b"one\nthree\n"


def test_appender_syncs_only_what_is_new(home: str, faults: Faults) -> None:
    """Nothing new costs nothing; a sync that failed is tried again."""
    fdatasync = faults("fdatasync", None, errno.EIO)
    appender = open_appender(home)
    appender.sync()
    appender.sync()
    assert fdatasync.count == 1
    appender.append(b"two\n")
    with pytest.raises(OSError, match="Input/output"):
        appender.sync()
    appender.sync()
    assert fdatasync.count == 3
