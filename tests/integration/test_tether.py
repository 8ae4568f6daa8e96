"""A command that does not outlive who started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from harness import CHECKOUT, gone, wait_until

from fjd.batch.tether import Tethered

OWNER = "import os, sys, time; from fjd.batch.tether import Tethered;"
OWNER += (
    "held = Tethered(sys.argv[1], os.environ, 0.2); print(held.pid, flush=True); time.sleep(99)"
)


def session(leader: int) -> list[int]:
    """Return who is in a session."""
    found = []
    for pid in psutil.pids():
        try:
            found += [pid] if os.getsid(pid) == leader else []
        except ProcessLookupError:
            continue
    return found


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has started a command, which tells two pids and does not want to end."""
    command = f"trap '' TERM; sleep 98 & echo $$ $! > {tmp_path}/pids; wait; sleep 97"
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    words = [sys.executable, "-c", OWNER, command]
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_owner_killed(owner: subprocess.Popen[str], tmp_path: Path) -> None:
    """It ends with all its children, though TERM is not enough for it."""
    assert owner.stdout
    leader = int(owner.stdout.readline())
    path = tmp_path / "pids"
    pids = wait_until(lambda: path.exists() and path.read_text().split(), "it runs")
    assert int(pids[0]) == leader
    assert {leader, int(pids[1])} < set(session(leader))
    owner.kill()
    wait_until(lambda: not session(leader), "all of its session has ended")
    assert gone(map(int, pids))


def test_nothing_is_seen_of_it(tmp_path: Path) -> None:
    """The command has its pid, no child and no file that is not its own; its end is what it was."""
    code = (
        "import os; fds = os.listdir('/proc/self/fd'); "
        "print(os.getpid(), os.getsid(0), sorted(map(int, fds))[:-1]); os.wait()"
    )
    path = tmp_path / "seen"
    command = f'exec {sys.executable} -c "{code}" > {path} 2>&1'
    held = Tethered(command, os.environ, 1.0)
    assert held.wait(20.0) == 1
    first, *rest = path.read_text().splitlines()
    assert first == f"{held.pid} {held.pid} [0, 1, 2]"
    assert rest[-1] == "ChildProcessError: [Errno 10] No child processes"
    held.end()
    wait_until(lambda: not session(held.pid), "nobody waits any more")


@pytest.mark.parametrize(("command", "code"), [("exit 7", 7), ("kill -KILL $$", -signal.SIGKILL)])
def test_exit_codes(command: str, code: int) -> None:
    """Exit codes and signals are the command's own; what it leaves behind is left alone."""
    held = Tethered(f"sleep 96 & {command}", os.environ, 1.0)
    assert held.wait(20.0) == code
    held.end()
    (left,) = wait_until(
        lambda: len(session(held.pid)) == 1 and session(held.pid), "who waits goes"
    )
    os.kill(left, signal.SIGKILL)


def test_end() -> None:
    """Ended by us it is gone with who waited; ended twice is ended once."""
    held = Tethered("sleep 95", os.environ, 1.0)
    held.end()
    held.end()
    assert held.returncode == -signal.SIGTERM
    wait_until(lambda: not session(held.pid), "nobody is left")
