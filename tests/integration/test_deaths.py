"""A worker that dies on the dispatcher's host is buried at once, not at the next look."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from harness import Daemon, FjdEnv, wait_until

RARELY = {"FJD_POLL": "3600", "FJD_LEASE": "36000"}  # an hour between two looks
HOLD = 'echo "$FJD_ATTEMPT" > "began$FJD_ATTEMPT"; while ! test -e go; do sleep 0.02; done; :'


class Scene:
    """Two workers, one of which runs a job, and a dispatcher that sleeps for an hour."""

    def __init__(self, env: FjdEnv) -> None:
        self.env = env
        workers = env.workers(2, **RARELY)
        env.job("job", HOLD)
        self.dispatcher = env.serve(**RARELY)
        env.wait_file("began1")
        runs = env.wait_running("job").worker
        self.victim, self.heir = sorted(workers, key=lambda worker: worker.id != runs)
        wait_until(self._asleep, "the dispatcher listens to events", on_timeout=env.show)

    def _asleep(self) -> bool:
        """It watches the queue, which it begins when it has nothing more to look for."""
        open_files = Path(f"/proc/{self.dispatcher.pid}/fd").iterdir()
        return any("inotify" in _leads_to(link) for link in open_files)

    def goes_on(self) -> None:
        """The job runs on the other worker, and ends there."""
        self.dispatcher.says(f"worker {self.victim.id} on ")
        self.env.wait_file("began2")
        assert self.env.wait_running("job").worker == self.heir.id
        (self.env.cwd / "go").touch()
        assert self.env.wait_for("job")["job"].worker == self.heir.id


def _leads_to(link: Path) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""  # it was closed meanwhile


@pytest.fixture
def scene(env: FjdEnv) -> Scene:
    """Nothing happens any more by itself."""
    return Scene(env)


def kill(victim: Daemon) -> None:
    """Kill a worker and its guardian."""
    worker = victim.worker
    worker.suspend()  # else it may see its guardian die, and give its job back
    victim.kill()
    worker.kill()


def test_guardian_and_worker_killed(scene: Scene) -> None:
    """Nobody is left who could say so; the dispatcher hears of it, an hour before its next look."""
    kill(scene.victim)
    scene.goes_on()


def test_worker_killed(scene: Scene) -> None:
    """The job does not run elsewhere before the guardian has killed what it was running."""
    task = scene.victim.worker.children()[0]
    scene.victim.kill_worker()
    scene.dispatcher.says(" died; 1 job(s) went back into the queue")
    assert not task.is_running()
    scene.goes_on()


def test_guardian_stopped(scene: Scene) -> None:
    """A guardian that cannot do anything holds up nobody for long."""
    scene.victim.signal(signal.SIGSTOP)
    scene.victim.kill_worker()
    try:
        scene.dispatcher.says(" died; 1 job(s) went back into the queue")
    finally:
        scene.victim.signal(signal.SIGCONT)
    scene.goes_on()
