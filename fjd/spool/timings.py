"""How often to beat, to look and to give up; told by the dispatcher, obeyed by the workers.

The pairs that belong together stand here together: whoever waits for a sign of life waits several
times as long as the other side takes to give one, and the longest time that one lost reply can
block an NFS client (a minute) is shorter than the lease on a network file system.

Where ``fjd doctor`` has measured how late the home is on the slowest host, the project's file
``timings`` says so, and no time is shorter than what such a home allows.
"""

# No postponed annotations: NamedTuple would compile each of them, and a worker waits for it.

import os
import stat
from typing import NamedTuple, Optional

from fjd.errors import UsageError

_LOCAL = frozenset(
    ("ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "ramfs", "overlay", "zfs", "f2fs", "jfs")
)

_SLOWEST = 60.0  # s: who is later than that is cut off


class Timings(NamedTuple):
    """All in seconds.

    Attributes:
        heartbeat: between two signs of life of a worker or a dispatcher.
        lease: without a sign of life for so long, a worker or dispatcher counts as dead.
        far_lease: the same for a worker on another host than the dispatcher's: even if the home
            is on a disk here, it is on a network there.
        poll: the longest wait between two looks where no bell and no event reach.
        nudge: between two looks that defeat what NFS and SSHFS cache of a directory.
        settle: a job file written in place is complete when it did not change for so long.
    """

    heartbeat: float = 5.0
    lease: float = 30.0
    far_lease: float = 90.0
    poll: float = 1.0
    nudge: float = 5.0
    settle: float = 0.25

    @classmethod
    def load(cls, value: object) -> "Optional[Timings]":
        """Read what ``list(timings)`` wrote; None if it is something else."""
        if not isinstance(value, list) or len(value) != len(cls._fields):
            return None
        if not all(isinstance(v, (int, float)) and v > 0 for v in value):
            return None
        return cls(*map(float, value))


class Measured(NamedTuple):
    """What ``fjd doctor`` has measured.

    Attributes:
        p50, p95: how many seconds late a host sees what another one published.
        host: the slowest one; ``by``: who asked it; ``at``: when, seconds since 1970.
    """

    p50: float
    p95: float
    host: str
    by: str
    at: float

    @classmethod
    def load(cls, data: bytes) -> "Optional[Measured]":
        """Read the file ``timings``; None if it is something else."""
        import json  # most homes have no such file

        try:
            fields = json.loads(data)
            p50, p95, at = (float(fields[key]) for key in ("p50", "p95", "at"))
            measured = cls(p50, p95, str(fields["host"]), str(fields["by"]), at)
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
            return None
        return measured if 0 <= p50 <= p95 <= _SLOWEST else None


LOCAL = Timings()
NETWORK = Timings(lease=90.0, poll=0.5, nudge=0.5, settle=1.5)


def _unescape(path: str) -> str:
    for octal, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(octal, char)
    return path


def file_system(path: str) -> str:
    """Return the type of the file system that holds ``path`` ("" if that cannot be seen)."""
    best, kind = "", ""
    path = os.path.realpath(path)
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.readlines()
    except OSError:
        return ""
    for line in lines:
        left, _, right = line.partition(" - ")
        where = _unescape(left.split()[4])
        inside = where == "/" or path == where or path.startswith(where + "/")
        if inside and len(where) >= len(best):
            best, kind = where, right.split()[0]
    return kind


def measured(path: str) -> Optional[Measured]:
    """Return what was measured in a project; None if nothing was, or if others wrote the file."""
    try:
        fd = os.open(f"{path}/timings", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
        return Measured.load(os.read(fd, 4096)) if ours and not found.st_mode & 0o022 else None
    except OSError:
        return None
    finally:
        os.close(fd)


def allow(timings: Timings, latency: float) -> Timings:
    """Return timings that are long enough for a home that is so late."""
    return timings._replace(
        lease=max(timings.lease, 30 * latency),
        far_lease=max(timings.far_lease, 30 * latency),
        poll=max(timings.poll, 2 * latency),  # more looks than that only burden the server
        nudge=max(timings.nudge, 2 * latency),
        settle=max(timings.settle, 3 * latency),
    )


def for_home(path: str) -> Timings:
    """Return the timings that suit a project's home, as ``FJD_HEARTBEAT`` & Co. change them."""
    timings = LOCAL if file_system(path) in _LOCAL else NETWORK
    slow = measured(path)
    if slow:
        timings = allow(timings, slow.p95)
    changes = {}
    for field in Timings._fields:
        variable = f"FJD_{field.upper()}"
        text = os.environ.get(variable)
        if text:
            try:
                value = float(text)
            except ValueError:
                value = 0.0
            if not 0 < value < 1e6:
                raise UsageError(f"{variable}={text!r} is no time", remedy="give seconds above 0")
            changes[field] = value
    if "lease" in changes:
        changes.setdefault("far_lease", changes["lease"])
        changes.setdefault("heartbeat", min(timings.heartbeat, changes["lease"] / 4))
    timings = timings._replace(**changes)
    lease = min(timings.lease, timings.far_lease)
    if lease < 2 * timings.heartbeat:
        raise UsageError(
            f"a heartbeat of {timings.heartbeat:g} s is too slow for a lease of {lease:g} s",
            remedy="set FJD_LEASE to four times FJD_HEARTBEAT",
        )
    return timings
