"""Which process on which boot of which host; enough to know for sure that one has ended.

A pid alone says nothing: it is reused, and another host has the same ones. With the start ticks
of ``/proc/<pid>/stat``, the boot id and the pid namespace it names one process for ever.
"""

# No postponed annotations: NamedTuple would compile each of them, and a worker waits for it.

import functools
import os
from typing import NamedTuple, Optional


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""  # there is none, or it is somebody else's


def hostname() -> str:
    """Return this host's name as the kernel has it."""
    return os.uname().nodename


@functools.cache  # asked for every task, and it cannot change while we run
def boot_id() -> str:
    """Return what names this boot of this host ("" where the kernel does not say)."""
    return _read("/proc/sys/kernel/random/boot_id").strip()


@functools.cache
def pid_namespace() -> str:
    """Return what names the world in which our pids mean something."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def start_ticks(pid: int) -> Optional[int]:
    """Return when a process started, in clock ticks since boot; None if it has ended.

    A zombie has ended: nothing of it runs any more.

    Raises:
        OSError: that cannot be seen now (no descriptor is left, say), which proves nothing.
    """
    stat = _read(f"/proc/{pid}/stat")
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    if len(fields) < 20 or fields[0] in "ZX":
        return None
    return int(fields[19])


class Identity(NamedTuple):
    """One process: ``host``, ``boot`` id, pid ``namespace``, ``pid`` and start ``ticks``."""

    host: str
    boot: str
    namespace: str
    pid: int
    ticks: int

    @classmethod
    def of(cls, pid: int) -> "Identity":
        """Describe a process of this host (ticks 0 if it has just ended)."""
        return cls(hostname(), boot_id(), pid_namespace(), pid, start_ticks(pid) or 0)

    @classmethod
    def load(cls, value: object) -> "Optional[Identity]":
        """Read what ``list(identity)`` wrote; None if it is something else."""
        if not isinstance(value, list) or len(value) != 5:
            return None
        host, boot, namespace, pid, ticks = value
        if not (isinstance(pid, int) and isinstance(ticks, int)):
            return None
        return cls(str(host), str(boot), str(namespace), pid, ticks)

    def is_here(self) -> bool:
        """Tell whether it runs, or ran, on this boot of this host, among our pids."""
        return (self.host, self.boot, self.namespace) == (hostname(), boot_id(), pid_namespace())

    def alive(self) -> Optional[bool]:
        """Tell whether it still runs; None if that cannot be seen from here."""
        if self.is_here():
            try:
                return start_ticks(self.pid) == self.ticks if self.namespace else None
            except OSError:
                return None
        if self.host == hostname() and self.boot != boot_id():
            return False  # the host has been restarted since
        return None
