"""One attempt at one task: start it, wait for it, end it, leave nothing of it behind.

A task is a session and a process group of its own. It ends when its first process ends; what is
left of the group then gets a moment to finish (the ``tee`` behind ``> >(tee log)``) and is killed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from typing import Callable, NamedTuple, Optional

GRACE = 2.0  # s between TERM and KILL
_LINGER = 0.1  # s for what is left of a group after its first process has ended
_DEFAULT = [
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGCHLD,
    signal.SIGUSR1,
    signal.SIGUSR2,
]


class End(NamedTuple):
    """How a process ended: exactly one of ``exit`` and ``signal`` is a number.

    ``cpu`` in seconds, ``rss_kib`` the peak memory, of it and the children it waited for.
    """

    exit: Optional[int]
    signal: Optional[int]
    cpu: float
    rss_kib: int


def spawn(
    argv: tuple[str | bytes, ...], env: Mapping[str, str], stdin: int, stdout: int, stderr: int
) -> int:
    """Start a task in a new session and return its pid.

    Raises OSError if the program cannot be started at all.
    """
    actions = [
        (os.POSIX_SPAWN_DUP2, stdin, 0),
        (os.POSIX_SPAWN_DUP2, stdout, 1),
        (os.POSIX_SPAWN_DUP2, stderr, 2),
    ]
    return os.posix_spawn(
        argv[0], argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_DEFAULT
    )


def poll(pid: int) -> Optional[End]:
    """Return how the process ended, or None while it runs."""
    got, status, usage = os.wait4(pid, os.WNOHANG)
    if not got:
        return None
    cpu = usage.ru_utime + usage.ru_stime
    if os.WIFSIGNALED(status):
        return End(None, os.WTERMSIG(status), cpu, usage.ru_maxrss)
    return End(os.WEXITSTATUS(status), None, cpu, usage.ru_maxrss)


def signal_group(pid: int, number: int) -> bool:
    """Send a signal to the task's whole group; False if there is no group any more."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # a member changed its user; the others have got the signal
    return True


def _vanishes(pid: int, seconds: float, clock: Callable[[], float]) -> bool:
    end, pause = clock() + seconds, 0.001
    while signal_group(pid, 0):
        if clock() >= end:
            return False
        time.sleep(pause)
        pause = min(2 * pause, 0.02)
    return True


def clear_group(pid: int, clock: Callable[[], float] = time.monotonic) -> None:
    """End what is left of a group whose first process has ended.

    The group's id cannot be reused while a member lives, and without one there is nothing to do.
    """
    if not signal_group(pid, 0) or _vanishes(pid, _LINGER, clock):
        return
    signal_group(pid, signal.SIGTERM)
    if not _vanishes(pid, GRACE / 4, clock):
        signal_group(pid, signal.SIGKILL)
