"""The three classes for Python programs, detached dispatchers, and a person who looks in."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from harness import FjdEnv, wait_until

PROGRAM = """
from fjd import Dispatcher, Recruiter
ended = []
assert Recruiter(num_workers=2).hire() == 0
dispatcher = Dispatcher(callback=lambda: ended.append(True))
code = dispatcher.run()
print("ended", code, dispatcher.totals.done, dispatcher.totals.failed, ended)
"""
WORKER = "from fjd import Worker; raise SystemExit(Worker().run())"
needs_screen = pytest.mark.skipif(not shutil.which("screen"), reason="GNU screen is not installed")


def test_the_classes_hire_dispatch_and_fire(env: FjdEnv) -> None:
    """A Python program does with three lines what the three commands do."""
    env.job("good", "true")
    env.job("bad", "false")
    out, _ = env.python(PROGRAM).communicate(timeout=60)
    assert "ended 1 1 1 [True]" in out
    assert 'Hired 2 workers in project "default".' in out
    assert 'Fired 2 workers in project "default".' in out


HERE = """
import os
from fjd import Dispatcher, Recruiter
os.chdir("sub")
assert Recruiter(num_workers=1{more}).hire() == 0
os.chdir("/")
raise SystemExit(Dispatcher().run())
"""


@pytest.mark.parametrize(("more", "where"), [("", "sub"), (", curdir='sub sub'", "sub/sub sub")])
def test_tasks_start_where_the_program_stood(env: FjdEnv, more: str, where: str) -> None:
    """Hired from Python, tasks start in the caller's directory, or in the one that it names."""
    for directory in (env.cwd / "sub", env.cwd / "sub/sub sub"):
        directory.mkdir()
        env.own(directory)
    env.job("one", "pwd > here; :")
    program = env.python(HERE.format(more=more))
    out, _ = program.communicate(timeout=60)
    assert program.returncode == 0, out
    assert (env.cwd / where / "here").read_text() == f"{env.cwd / where}\n"


def test_tasks_cannot_start_nowhere(env: FjdEnv) -> None:
    """A directory that is not there is an error of its own kind, and nobody is hired."""
    code = """
from fjd import Recruiter
from fjd.errors import ConfigError
try:
    Recruiter(num_workers=1, curdir="nowhere").hire()
except ConfigError as error:
    print("refused:", error)
"""
    out, _ = env.python(code).communicate(timeout=60)
    assert f"refused: there is no directory {env.cwd}/nowhere" in out
    assert env.sightings() == {}


def test_a_worker_in_a_python_program(env: FjdEnv) -> None:
    """``Worker().run()`` serves until it is fired."""
    worker = env.python(WORKER)
    wait_until(env.sightings, "the worker is announced")
    env.job("one", "true")
    assert env.dispatch().code == 0
    assert worker.wait(20) in (0, -signal.SIGTERM)  # it may be told twice to end


def test_detach_tells_where_it_is_once_it_serves(env: FjdEnv) -> None:
    """The command ends when its detached dispatcher holds the lease; that one does the work."""
    (worker,) = env.workers(1)
    worker.asked = True  # it is fired at the end
    env.job("one", "true")
    done = env.run("fjd_dispatcher", "--detach")
    assert re.search(r'Detached on project "default", (in the screen|as a process)', done.out)
    env.wait_for("one")
    assert worker.ended() == 0
    wait_until(lambda: not list(Path(env.project.dispatcher).iterdir()), "the dispatcher ended")
    wait_until(lambda: not env.processes(), "its screen has ended")
    assert list(Path(env.project.screenrcs).glob("dispatcher*")) == []


def test_detach_refuses_where_somebody_serves(env: FjdEnv) -> None:
    """A second dispatcher is refused in the foreground, not lost in a log."""
    env.serve()
    done = env.run("fjd_dispatcher", "--detach")
    assert done.code == 6
    assert 'serves project "default" already' in done.err


@needs_screen
def test_a_person_can_attach(env: FjdEnv) -> None:
    """``screen -r`` shows what the worker says; detaching leaves it at work."""
    with tempfile.TemporaryDirectory(prefix="fjd-s-", dir="/tmp") as screens:  # a short path
        os.chown(screens, env.person.uid, env.person.gid)
        env.env["SCREENDIR"] = screens
        env.run("fjd_recruiter", "hire", "1")
        (worker,) = env.sightings()
        (session,) = os.listdir(screens)
        master, slave = os.openpty()
        os.fchown(slave, env.person.uid, env.person.gid)
        person = subprocess.Popen(
            ["screen", "-r", session],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**env.env, "TERM": "vt100"},
            start_new_session=True,
            **env.person.as_user(),
        )
        shown = b""
        while f"Started with ID {worker}".encode() not in shown:
            ready, _, _ = select.select([master], [], [], 20)
            assert ready, shown
            shown += os.read(master, 4096)
        os.write(master, b"\x01d")
        assert person.wait(20) == 0
        os.close(master)
        os.close(slave)
        assert list(env.sightings()) == [worker]
        assert "Fired 1 worker " in env.run("fjd_recruiter", "fire").out
