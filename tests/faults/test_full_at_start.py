"""A home that is full when somebody starts: it says so, waits, and goes on when there is room."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from test_full_disk import env as env

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from hardship import fill
from harness import FjdEnv

FULL = "the disk is full; make room; waiting"


@pytest.fixture(params=["new", "known"])
def full(request: pytest.FixtureRequest, env: FjdEnv) -> FjdEnv:
    """A home without room, and a project that is new in it or was used before."""
    if request.param == "known":
        assert env.run("fjd-dispatcher").code == 0
    fill(env.home / "ballast")
    return env


def test_going_on(full: FjdEnv) -> None:
    """Dispatcher and worker wait for room, and then do what there is to do."""
    daemons = [full.start("fjd-dispatcher", "--keep-running"), full.start("fjd-worker")]
    for daemon in daemons:
        daemon.says(FULL)
    (full.home / "ballast").unlink()
    full.job("job", "true")
    assert full.wait_for("job")["job"].code == "ok"
    assert [(daemon.out + daemon.err).count("waiting") for daemon in daemons] == [1, 1]


@pytest.mark.parametrize("program", ["fjd-dispatcher", "fjd-worker"])
def test_told_to_end(full: FjdEnv, program: str) -> None:
    """Who waits for room can be told not to, and nothing is left."""
    daemon = full.start(program)
    daemon.says(FULL)
    daemon.signal(signal.SIGTERM)
    assert daemon.ended() in (0, 130, -signal.SIGTERM)
    assert full.sightings() == {}


def test_hire(full: FjdEnv) -> None:
    """A command says in one line that it cannot, or hires; it never says nothing."""
    done = full.run("fjd-recruiter", "--local-only", "hire", "1", timeout=90.0)
    assert done.code in (4, 6)
    assert "the disk is full" in done.err
    print(done)
