"""A worker, a dispatcher or a recruiter that is started, killed and stopped.

It is a fork of this process, which has loaded all of fjd: a storm in which each death costs the
start of an interpreter would spend its time on that. Apart from this it is what the command is: a
process of its own with its guardian and its tasks, and SIGKILL and SIGSTOP are the real ones.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Callable, NamedTuple

import fjd.worker.attempt
import fjd.worker.heart
import fjd.worker.pieces  # noqa: F401  loaded here, so that no fork has to
from bench.audit import Attempt
from bench.common import Bed, descendants
from fjd.scripts import fjd_dispatcher, fjd_recruiter, fjd_worker

_OURS = (signal.SIGTERM, signal.SIGHUP)
_CLONE_NEWUTS = 0x04000000
_AWAKE = 0.03  # s until a process that was woken up has done something
_MAIN: dict[str, Callable[[Sequence[str]], int]] = {
    "worker": lambda words: fjd_worker.main(list(words)),
    "dispatcher": lambda words: fjd_dispatcher.main(words),
    "recruiter": lambda words: fjd_recruiter.main(list(words)),
}


class Role(NamedTuple):
    """What a daemon is to be.

    Attributes:
        name: of the command, without ``fjd-``; ``words``: its arguments.
        host: the name of the host it believes to be on ("": this one).
        log: the file that takes what it prints.
        change: called with the name, in its process, before anything else; it may change fjd.
    """

    name: str
    words: Sequence[str]
    host: str
    log: str
    change: Callable[[str], None]


class Daemon:
    """One of them, and its successors."""

    def __init__(self, bed: Bed, role: Role) -> None:
        self._bed, self.role = bed, role
        self.stopped: list[int] = []
        self.wake_at = 0.0
        self.start()

    def start(self) -> None:
        """Start it, or its successor."""
        sys.stdout.flush()
        self.alive, self.born = True, time.monotonic()
        signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)  # or the child may swallow one
        self.pid = os.fork()
        if not self.pid:
            os._exit(self._live())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)

    def _live(self) -> int:
        try:
            os.setsid()
            for number in _OURS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)
            for fd, path in enumerate((os.devnull, self.role.log, self.role.log)):
                os.dup2(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), fd)
            os.chdir(self._bed.cwd)
            if self.role.host:
                _rename_host(self.role.host)
            os.environ.clear()
            os.environ.update(self._bed.env)
            self.role.change(self.role.name)
            return _MAIN[self.role.name](self.role.words)
        except BaseException:  # noqa: BLE001  it is printed, and the process ends
            traceback.print_exc()
            return 1

    def pids(self) -> list[int]:
        """Return it and all that is below it: a worker's guardian, the worker, its task."""
        return [self.pid, *descendants(self.pid)]

    def send(self, number: int, pids: Sequence[int]) -> None:
        """Send a signal to some of them."""
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def stop(self, pids: Sequence[int], seconds: float) -> None:
        """SIGSTOP some of them for a while."""
        self.stopped, self.wake_at = list(pids), time.monotonic() + seconds
        self.send(signal.SIGSTOP, pids)

    def wake_up(self) -> None:
        """SIGCONT, the innermost first: a worker gets to say what it did before it is killed."""
        for pid in reversed(self.stopped):
            self.send(signal.SIGCONT, [pid])
            time.sleep(_AWAKE)
        self.stopped = []

    def end(self) -> None:
        """Ask it to end."""
        self.wake_up()
        if self.alive:
            self.send(signal.SIGTERM, [self.pid])


def running(pids: Sequence[int]) -> set[Attempt]:
    """Return the attempts that some processes are part of, as their environment says."""
    found = set()
    for pid in pids:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                words = file.read().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        own = dict(word.decode(errors="replace").split("=", 1) for word in words if b"=" in word)
        key, task, number = (own.get(f"FJD_{what}", "") for what in ("JOB", "TASK", "ATTEMPT"))
        if task.isdigit() and number.isdigit():  # (of a process that has just begun, half is there)
            found.add(Attempt(key, int(task), int(number)))
    return found


def _rename_host(name: str) -> None:
    if ctypes.CDLL(None).unshare(_CLONE_NEWUTS) == 0:
        socket.sethostname(name)
