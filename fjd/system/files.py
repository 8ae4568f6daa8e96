"""Files that other processes, other hosts and power cuts may touch at any moment.

The four things that the spool needs of a file system, written so that they hold on NFS, SSHFS and
a full disk as well:

    listing   what lies in a directory now; the only way to learn whether a name exists
    move      rename with one winner: True, the file got there through us; False, it is not ours
    publish   a complete, synced file appears under its final name, or nothing does
    Appender  a file with one writer, whole lines only

After any error from a rename the errno is a hint: a reply can be lost although the rename took
place, and a cache can deny a name that exists. Only a *nudged* listing (the directory is touched
first, which makes every client look again) says where the file is.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from collections.abc import Iterable
from itertools import islice
from typing import Optional, Union

from fjd.errors import FjdError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_CHUNK = 1000  # rows that are written at once
_UNSIZED = 1 << 16  # bytes that are read of what has no size, as a FIFO or what lies in /proc
_HINTS = frozenset(
    {
        errno.ENOENT,
        errno.ESTALE,
        errno.EIO,
        errno.ETIMEDOUT,
        errno.EPERM,  # what SSHFS says instead of EEXIST and others
        errno.ENOTCONN,
        errno.EREMOTEIO,
        errno.EAGAIN,
        errno.EINTR,
    }
)
TRANSIENT = _HINTS - {errno.ENOENT, errno.EPERM}  # a file server in trouble; wait, try again
PATIENCE = 5.0  # s after which a rename that neither happens nor fails is the caller's trouble
_PAUSE_MAX = 1.0  # s between two tries at a rename that neither happens nor fails

Data = Union[bytes, bytearray, memoryview]


class DiskFull(FjdError):
    """No room, or over quota. The caller waits and tries again; nothing is half written."""


def full(error: OSError, path: str) -> DiskFull:
    """Say of an OSError that the disk is full."""
    why = "over quota" if error.errno == errno.EDQUOT else "the disk is full"
    return DiskFull(why, where=path, remedy="make room")


def listing(path: str, nudge: bool = False) -> Optional[list[str]]:
    """Return the names in a directory, or None if there is no such directory.

    ``nudge`` costs one more round trip and defeats what clients cache. A listing that failed is
    not an empty one: every other error is raised.
    """
    try:
        if nudge:
            os.utime(path)
        return os.listdir(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
    try:
        return os.listdir(path)  # the directory was replaced; by path, once more
    except FileNotFoundError:
        return None


def move(source: str, target: str) -> bool:
    """Rename ``source`` to ``target``, a name that never existed before.

    True: the file got there through this call. False: somebody else moved it away first.

    Raises:
        DiskFull: there is no room for the name; the file is still at ``source``.
        FileNotFoundError: the target's directory is gone; the file is still at ``source``.
        OSError: what no retry can mend (permissions, another file system), or what was still so
            after ``PATIENCE``; the file is still at ``source``. One of ``TRANSIENT`` if the file
            server lists the name and denies it: it will come to itself.
    """
    pause, waited = 0.01, 0.0
    while True:
        try:
            os.rename(source, target)
            return True
        except OSError as error:
            if error.errno in FULL:
                raise full(error, target) from error
            if error.errno not in _HINTS:
                raise
            failure = error
        there = listing(os.path.dirname(target), nudge=True)
        if there is not None and os.path.basename(target) in there:
            return True  # the reply was lost, the rename was not
        here = listing(os.path.dirname(source), nudge=True)
        if here is None or os.path.basename(source) not in here:
            return False  # RACE: somebody else moved it first
        if there is None:
            raise FileNotFoundError(errno.ENOENT, "no such directory", os.path.dirname(target))
        if waited >= PATIENCE:
            if failure.errno != errno.ENOENT:
                raise failure
            raise OSError(errno.ESTALE, "is listed, and cannot be moved", source) from failure
        time.sleep(pause)
        waited += pause
        pause = min(2 * pause, _PAUSE_MAX)


def make_directory(path: str) -> bool:
    """Make a private directory; False if it is there already."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return False  # RACE: somebody of ours made it first
    except OSError as error:
        if error.errno in FULL:
            raise full(error, path) from error
        raise
    return True


def write_all(fd: int, data: Data, path: str) -> None:
    """Write all of ``data`` or raise; a short write is not a success."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError as error:
        if error.errno in FULL:
            raise full(error, path) from error
        raise


def create(path: str, data: Data, mode: int = 0o600, sync: bool = False) -> None:
    """Write a new file that nobody reads yet; on failure there is none."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, mode)
    except OSError as error:
        if error.errno in FULL:
            raise full(error, path) from error
        raise
    try:
        try:
            os.fchmod(fd, mode)  # whatever the umask
            write_all(fd, data, path)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
    except BaseException:
        remove(path)
        raise


def publish(staging: str, target: str, data: Data, sync: bool = True) -> None:
    """Let a complete file appear at ``target``; ``staging`` is a fresh name nobody else uses."""
    create(staging, data, sync=sync)
    try:
        move(staging, target)
    except BaseException:
        remove(staging)
        raise
    if sync:
        sync_directory(os.path.dirname(target))


def sync_directory(path: str) -> None:
    """Make the names in a directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove(path: str) -> bool:
    """Unlink a file that is not a token; False if it was gone."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False  # RACE: gone is what we wanted
    return True


def being_written(path: str) -> bool:
    """Tell whether a process of this host has a file of ours open for writing, if that shows.

    A read lease is refused as long as there is a writer. False also says: no leases are given here
    (network file systems), or it is somebody else's file.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Who opens it for writing at this moment waits until the close below. We would be sent a
        # signal then: one that does nothing, instead of SIGIO, which kills.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


def read(path: str, limit: int = 1 << 20) -> bytes:
    """Return a small file's content; links are not followed, a FIFO does not hang."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        size = max(os.fstat(fd).st_size, _UNSIZED)  # the room is taken before it is filled
        return os.read(fd, min(limit, size))
    finally:
        os.close(fd)


class Appender:
    """A file that only this process writes: each append is there as a whole or not at all."""

    def __init__(self, path: str) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self.fd = os.open(path, flags, 0o600)
        except OSError as error:
            if error.errno in FULL:
                raise full(error, path) from error
            raise
        self.size = os.fstat(self.fd).st_size
        self._synced = self.size

    def append(self, data: Data) -> int:
        """Add ``data`` and return the offset where it begins."""
        start = self.size
        try:
            write_all(self.fd, data, self.path)
        except BaseException:
            os.ftruncate(self.fd, start)  # a full disk takes half a line: take it back
            raise
        self.size = start + len(data)
        return start

    def sync(self) -> None:
        """Make what was appended survive a power cut; costs nothing if nothing was."""
        size = self.size
        if size != self._synced:
            os.fdatasync(self.fd)
            self._synced = size

    def close(self) -> None:
        """Close the file; appending is over."""
        os.close(self.fd)


def write_rows(path: str, rows: Iterable[bytes]) -> None:
    """Create a file of so many rows, in constant memory, and sync it."""
    create(path, b"")
    target, left = Appender(path), iter(rows)
    try:
        while chunk := b"".join(islice(left, _CHUNK)):
            target.append(chunk)
        target.sync()
    finally:
        target.close()
