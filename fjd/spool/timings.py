"""How often to beat, to look and to give up; told by the dispatcher, obeyed by the workers.

The pairs that belong together stand here together: whoever waits for a sign of life waits several
times as long as the other side takes to give one, and the longest time that one lost reply can
block an NFS client (a minute) is shorter than the lease on a network file system.
"""

# No postponed annotations: NamedTuple would compile each of them, and a worker waits for it.

import os
from typing import NamedTuple, Optional

from fjd.errors import UsageError

_LOCAL = frozenset(
    ("ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "ramfs", "overlay", "zfs", "f2fs", "jfs")
)


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


def for_home(path: str) -> Timings:
    """Return the timings that suit a file system, as ``FJD_HEARTBEAT`` & Co. change them."""
    timings = LOCAL if file_system(path) in _LOCAL else NETWORK
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
