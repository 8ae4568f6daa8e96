"""The recruiter with real workers in real screen sessions, on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import psutil
import pytest

from fjd.launchers import ending
from fjd.spool import crew, pods
from fjd.spool.crew import Card
from fjd.spool.names import Token, new_key
from fjd.spool.project import Project
from fjd.system import files
from fjd.system.identity import Identity

REPO = Path(__file__).resolve().parents[2]
HEADER = "worker\thost\tstate\truns\tsince\tseen\tcontext\n"
NO_SCREEN = shutil.which("screen") is None
needs_screen = pytest.mark.skipif(NO_SCREEN, reason="screen is not installed")


def wait_until(true: Callable[[], object], show: Callable[[], object], timeout: float = 30) -> None:
    """Wait until ``true()`` is; fail with what ``show()`` says if that takes too long."""
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end, show()
        time.sleep(0.01)


class Home:
    """A home of its own, with screen sessions of its own."""

    def __init__(self, base: Path, screens: str) -> None:
        self.base = base
        self.cwd = base / "work"
        self.cwd.mkdir()
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("FJD_", "PYTHON", "STY"))},
            "FJD_HOME": str(base / "home"),
            "SCREENDIR": screens,
            "PYTHONPATH": str(REPO),
        }

    def run(self, *words: str, timeout: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the recruiter."""
        return subprocess.run(
            [sys.executable, "-m", "fjd.scripts.fjd_recruiter", *words],
            cwd=self.cwd,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def project(self, name: str = "default") -> Project:
        """Open a project as the recruiter sees it."""
        project = Project(name, f"{self.env['FJD_HOME']}/{name}")
        Path(project.tmp).mkdir(parents=True, exist_ok=True)
        return project

    def cards(self, name: str = "default") -> list[Card]:
        """Return what the workers say of themselves."""
        return [card for _, card in crew.cards(self.project(name)).values() if card]

    def sessions(self) -> list[str]:
        """Return the names of the live screen sessions."""
        text = subprocess.run(
            ["screen", "-ls"], env=self.env, capture_output=True, text=True, check=False
        ).stdout
        lines = [line.split() for line in text.splitlines() if line.startswith("\t")]
        return sorted(words[0].partition(".")[2] for words in lines if "Dead" not in text)

    def assign(self, worker: str, script: str, name: str = "default") -> Token:
        """Do what the dispatcher does: put a job into a worker's pod."""
        project = self.project(name)
        token = Token(new_key("job.sh"))
        files.create(f"{project.jobqueue}/job.sh", f"#!/bin/sh\n{script}\n".encode(), 0o700)
        assert pods.assign(project, f"{project.jobqueue}/job.sh", token, worker)
        return token

    def processes(self) -> list[psutil.Process]:
        """Return every process that was started with this home, except screens that just end."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("FJD_HOME") == self.env["FJD_HOME"]:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def arriving(self) -> bool:
        """Tell whether somebody was started who is not announced yet.

        It looks twice: a list of processes misses who is forked while it is read.
        """
        seen = self.processes()
        time.sleep(0.2)
        return self.processes() != seen or self._arriving(seen)

    def _arriving(self, seen: list[psutil.Process]) -> bool:
        words, screens = list[str](), 0
        for process in seen:
            try:
                screens += process.name() == "screen"
                words += [" ".join(process.cmdline())] * (process.name() != "screen")
            except psutil.Error:
                return True  # it has just ended, or become another program
        there = len(self.cards())
        workers = sum("fjd_worker" in line for line in words)  # each with its guardian
        return workers != 2 * there or screens not in (0, there) or workers != len(words)

    def traces(self, name: str = "default") -> list[str]:
        """Return what a worker must not leave behind in the spool."""
        project = self.project(name)
        places = (project.workerqueue, project.workers, project.jobpods, project.running)
        return [n for place in (*places, project.screenrcs) for n in files.listing(place) or ()]

    def assert_clean(self, name: str = "default") -> None:
        """Nobody is left: no entry, pod, configuration, process or session."""
        assert self.traces(name) == []
        wait_until(lambda: not self.processes(), self.processes)
        assert NO_SCREEN or self.sessions() == []


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """Give a home and end everything in it afterwards."""
    screens = tempfile.mkdtemp(prefix="fjd-s-", dir="/tmp")  # a socket's path must be short
    found = Home(tmp_path, screens)
    yield found
    for process in found.processes():
        process.send_signal(signal.SIGCONT)
        process.kill()
    shutil.rmtree(screens, ignore_errors=True)


def hired(number: int, project: str = "default") -> str:
    return f'[fjd-recruiter] Hired {number} worker{"s" * (number != 1)} in project "{project}".\n'


def fired(number: int, project: str = "default") -> str:
    if not number:
        return f'[fjd-recruiter] No workers to fire in project "{project}".\n'
    return f'[fjd-recruiter] Fired {number} worker{"s" * (number != 1)} in project "{project}".\n'


@needs_screen
def test_a_life_with_screen(home: Home) -> None:
    """Hire, look, hire more, fire: nothing is left behind."""
    done = home.run("hire", "3")
    assert (0, hired(3)) == (done.returncode, done.stdout), done.stderr
    host = os.uname().nodename.split(".")[0]
    assert [f"default-{host}-{n}" for n in (1, 2, 3)] == home.sessions()
    before = {card.identity for card in home.cards()}
    assert {("screen", str(home.cwd))} == {(card.launcher, card.cwd) for card in home.cards()}

    done = home.run("hire", "1")
    assert (0, hired(1)) == (done.returncode, done.stdout), done.stderr
    assert before < {card.identity for card in home.cards()}
    assert all(identity.alive() for identity in before)
    assert f"default-{host}-4" in home.sessions()

    rows = json.loads(home.run("roster", "--json").stdout)
    assert rows["schema"] == "fjd.roster/1"
    assert [int(row["session"].rsplit("-", 1)[1]) for row in rows["workers"]] == [1, 2, 3, 4]
    assert all(row["state"] == "idle" and row["seen_seconds"] < 10 for row in rows["workers"])

    done = home.run("fire")
    assert (0, fired(4)) == (done.returncode, done.stdout), done.stderr
    home.assert_clean()
    done = home.run("fire")
    assert (
        done.returncode,
        done.stdout,
    ) == (0, '[fjd-recruiter] No workers to fire in project "default".\n')


@needs_screen
def test_projects_with_like_names(home: Home) -> None:
    """Firing project `a` harms neither `ab` nor `a-b`."""
    for name in ("a", "ab", "a-b"):
        assert home.run("--project", name, "hire", "1").returncode == 0
    assert fired(1, "a") == home.run("--project", "a", "fire").stdout
    assert home.traces("a") == []
    for name in ("ab", "a-b"):
        assert [card.identity.alive() for card in home.cards(name)] == [True]
        assert fired(1, name) == home.run("fire", "--project", name).stdout
        home.assert_clean(name) if name == "a-b" else None


def without_screen(home: Home) -> str:
    """Return a PATH on which there is no screen."""
    tools = home.base / "bin"
    tools.mkdir()
    for name in ("sh", "sleep", "touch", "setsid"):
        (tools / name).symlink_to(shutil.which(name) or name)
    return str(tools)


def test_no_screen(home: Home) -> None:
    """Where there is no screen, workers are detached processes with the same log."""
    done = home.run("hire", "2", PATH=without_screen(home))
    assert (0, hired(2)) == (done.returncode, done.stdout)
    assert done.stderr.count("GNU screen is not installed") == 1
    cards = home.cards()
    assert [card.launcher for card in cards] == ["process", "process"]
    wait_until(lambda: "Started with ID" in Path(cards[0].log).read_text(), lambda: cards)
    assert fired(2) == home.run("fire").stdout
    home.assert_clean()


@needs_screen
def test_screen_that_fails(home: Home) -> None:
    """A screen that cannot run is replaced by processes, and its own words are shown."""
    (home.base / "file").touch()
    nowhere = str(home.base / "file" / "screens")  # below a file nobody can make a directory
    done = home.run("hire", "2", SCREENDIR=nowhere)
    assert (0, hired(2)) == (done.returncode, done.stdout)
    assert done.stderr.count("screen failed") == 1
    assert nowhere in done.stderr
    assert {"process"} == {card.launcher for card in home.cards()}
    assert fired(2) == home.run("fire").stdout
    home.assert_clean()


@pytest.mark.parametrize("screen", [pytest.param(True, marks=needs_screen), False])
def test_everybody_is_there_when_hire_returns(home: Home, screen: bool) -> None:
    """Who hires eight workers need not wait for any of them afterwards."""
    done = home.run("hire", "8", **({} if screen else {"PATH": without_screen(home)}))
    there = crew.sightings(home.project())
    assert (0, hired(8)) == (done.returncode, done.stdout), done.stderr
    assert len(there) == 8
    assert {card.worker for card in home.cards()} == there.keys()
    assert fired(8) == home.run("fire").stdout
    home.assert_clean()


def busy(home: Home, card: Card, script: str) -> Token:
    """Give a worker a job and wait until it runs."""
    token = home.assign(card.worker, script)
    started = home.cwd / "started"
    wait_until(started.exists, lambda: Path(card.log).read_text())
    return token


def requeued(home: Home) -> list[str]:
    return os.listdir(home.project().requeue)


@pytest.mark.parametrize("stopped", [False, True], ids=["stubborn", "stopped"])
def test_fire_kills_what_does_not_listen(home: Home, stopped: bool) -> None:
    """A task that ignores SIGTERM, and children that have fled, die; the job is queued again."""
    home.run("hire", "1", PATH=without_screen(home))
    card = home.cards()[0]
    busy(home, card, "trap '' TERM HUP; setsid sleep 300 & sleep 300 & touch started; wait; wait")
    row = json.loads(home.run("roster", "--json").stdout)["workers"][0]
    assert (row["state"], row["runs"]) == ("busy", ["job.sh"])
    assert 0 <= row["running_seconds"] < 60
    if stopped:
        os.kill(card.identity.pid, signal.SIGSTOP)
        os.kill(card.guardian.pid, signal.SIGSTOP)
    assert fired(1) == home.run("fire").stdout
    home.assert_clean()
    assert len(requeued(home)) == 1
    assert ",a2,r" in requeued(home)[0]


def test_worker_that_was_killed(home: Home) -> None:
    """A worker that died with its guardian is cleaned up, orphans included, and not counted."""
    home.run("hire", "2", PATH=without_screen(home))
    card = home.cards()[0]
    busy(home, card, "setsid sleep 300 & touch started; wait")
    os.kill(card.guardian.pid, signal.SIGSTOP)  # so that it cannot do its work
    os.kill(card.identity.pid, signal.SIGKILL)
    os.kill(card.guardian.pid, signal.SIGKILL)
    wait_until(lambda: not card.guardian.alive(), lambda: card)
    states = {
        r["worker"]: r["state"] for r in json.loads(home.run("roster", "--json").stdout)["workers"]
    }
    assert states[card.worker] == "dead"
    done = home.run("fire")
    assert (0, fired(1)) == (done.returncode, done.stdout)
    assert "Cleaned up after 1 dead worker." in done.stderr
    home.assert_clean()
    assert len(requeued(home)) == 1


def test_fire_gently(home: Home) -> None:
    """The task at hand ends by itself; idle workers go at once."""
    home.run("hire", "2", PATH=without_screen(home))
    card = home.cards()[0]
    busy(home, card, "touch started; until [ -e go ]; do sleep 0.02; done; touch ended")
    done = home.run("fire", "--gently")
    assert done.stdout.startswith(fired(2)), done
    assert "1 of them will finish" in done.stdout
    assert [card.worker] == [left.worker for left in home.cards()]
    (home.cwd / "go").touch()
    wait_until(lambda: not home.cards(), lambda: Path(card.log).read_text())
    assert (home.cwd / "ended").exists()
    assert len(os.listdir(home.project().results)) == 1
    home.run("fire")
    home.assert_clean()


def conf(home: Home, text: str) -> None:
    (home.base / "home" / "default").mkdir(parents=True, mode=0o700, exist_ok=True)
    os.chmod(home.base / "home", 0o700)
    (home.base / "home" / "default" / "remote.conf").write_text(text)


@pytest.mark.parametrize("screen", [pytest.param(True, marks=needs_screen), False])
def test_python_that_is_not_there(home: Home, screen: bool) -> None:
    """Workers that end at once are told with the end of their log; exit code 4."""
    wrong = home.base / "python"
    wrong.write_text("#!/bin/sh\necho this is no python >&2\nexit 3\n")
    wrong.chmod(0o755)
    conf(home, f"[host1]\nname: localhost\nworkers: 2\npython: {wrong}\n")
    done = home.run("hire", **({} if screen else {"PATH": f"{without_screen(home)}"}))
    assert (done.returncode, done.stdout) == (4, "")
    assert "this is no python" in done.stderr
    assert "2 of 2 workers did not come up" in done.stderr
    home.assert_clean()


def test_remote_conf_decides(home: Home) -> None:
    """N is ignored and that is said; --local-only makes it count; this machine needs no SSH."""
    conf(home, "[host2]\nname: localhost\nworkers: 2\nnice: 3\n")
    done = home.run("hire", "5", PATH=without_screen(home))
    assert (0, hired(2)) == (done.returncode, done.stdout), done.stderr
    assert "5 is ignored" in done.stderr
    assert "[host1] is missing" in done.stderr
    assert {3} == {os.getpriority(os.PRIO_PROCESS, card.identity.pid) for card in home.cards()}
    assert hired(1) == home.run("--local-only", "hire", "1", PATH=str(home.base / "bin")).stdout
    assert fired(3) == home.run("fire").stdout
    home.assert_clean()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no host in it"),
        ("[host1]\nname: x\nworkers: two\n", "remote.conf:3"),
        ("[host1]\nworkers: 2\n", "remote.conf:1"),
    ],
)
def test_remote_conf_is_wrong(home: Home, text: str, said: str) -> None:
    """An error in remote.conf is told with its line; exit code 6; nobody is hired."""
    conf(home, text)
    done = home.run("hire")
    assert (done.returncode, done.stdout) == (6, "")
    assert said in done.stderr
    home.assert_clean()


def test_odd_home(home: Home, tmp_path: Path) -> None:
    """Quotes, blanks, dollars, percent signs and carets in FJD_HOME are just characters."""
    odd = tmp_path / "a 'b' \"c\" $HOME %n ^A #\\é"
    home.env["FJD_HOME"] = str(odd)
    done = home.run("hire", "1")
    assert (0, hired(1)) == (done.returncode, done.stdout), done.stderr
    log = Path(home.cards()[0].log)
    wait_until(lambda: "Started with ID" in log.read_text(), lambda: log)
    assert fired(1) == home.run("fire").stdout
    home.assert_clean()


def test_interrupted_hire(home: Home) -> None:
    """After Ctrl-C it says who is hired already; `fire` ends them and those that came later."""
    slow = home.base / "python"
    slow.write_text(f'#!/bin/sh\nsleep 1\nexec {sys.executable} "$@"\n')
    slow.chmod(0o755)
    conf(home, f"[host1]\nname: localhost\nworkers: 1\npython: {slow}\n")
    proc = subprocess.Popen(
        [sys.executable, "-m", "fjd.scripts.fjd_recruiter", "hire"],
        cwd=home.cwd,
        env={**home.env, "PATH": f"{without_screen(home)}:/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: files.listing(home.project().screenlogs), lambda: "no log")
    proc.send_signal(signal.SIGINT)
    out, err = proc.communicate(timeout=30)
    assert proc.returncode == 130, err
    assert hired(0) == out
    assert "fjd-recruiter --project default fire" in err
    wait_until(home.cards, lambda: "no worker")
    assert fired(1) == home.run("fire").stdout
    home.assert_clean()


@pytest.mark.parametrize("screen", [pytest.param(True, marks=needs_screen), False])
@pytest.mark.parametrize("then", ["fire", "hire"])
def test_killed_while_it_hires(home: Home, screen: bool, then: str) -> None:
    """A recruiter that is killed before its workers are there: whoever comes next has them all."""
    slow = home.base / "python"
    slow.write_text(f'#!/bin/sh\nsleep 1\nexec {sys.executable} "$@"\n')
    slow.chmod(0o755)
    conf(home, f"[host1]\nname: localhost\nworkers: 3\npython: {slow}\n")
    path = home.env["PATH"] if screen else without_screen(home)
    proc = subprocess.Popen(
        [sys.executable, "-m", "fjd.scripts.fjd_recruiter", "hire"],
        cwd=home.cwd,
        env={**home.env, "PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: files.listing(home.project().screenlogs), lambda: "no log")
    proc.kill()
    proc.wait()
    assert home.cards() == [], "it was killed too late"
    if then == "hire":
        more = home.run("hire", PATH=path)
        assert more.returncode == 0, more.stderr
        assert more.stdout == hired(3)
        assert len(home.cards()) >= 3
    # Who is not there yet comes, and is known like any other.
    wait_until(lambda: not home.arriving(), home.processes)
    number = len(home.cards())
    assert home.run("fire", PATH=path).stdout == fired(number)
    project = home.project()
    for name in files.listing(project.screenrcs) or ():  # it died before it started that session
        os.utime(f"{project.screenrcs}/{name}", (0, time.time() - 300))
    assert home.run("fire", PATH=path).returncode == 0
    home.assert_clean()


def test_force(home: Home) -> None:
    """What neither listens nor has a guardian is killed with everything below it."""
    stubborn = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; setsid sleep 300 & sleep 300 & touch started; wait; wait"],
        cwd=home.cwd,
        env=home.env,
        start_new_session=True,
    )
    wait_until((home.cwd / "started").exists, lambda: "not started")
    identity = Identity.of(stubborn.pid)
    card = Card("x-1-00000000", identity, identity, "", "", "", "", "", 0.0)
    assert ending.end("default", [card], patience=0.1) == []
    assert stubborn.wait(1) == -signal.SIGKILL
    home.assert_clean()


def test_no_such_project(home: Home) -> None:
    """Asking about a project does not make one."""
    assert 'No workers to fire in project "x"' in home.run("--project", "x", "fire").stdout
    assert home.run("roster", "--project", "x").stdout == HEADER
    assert not (home.base / "home").exists()


def test_marker_of_another_home(home: Home) -> None:
    """A remote leg that does not see the caller's marker hires nobody and makes no project."""
    done = home.run("--project", "p", "--local-only", "--marker", "marker-00", "hire", "1")
    assert (done.returncode, done.stdout) == (6, "")
    assert "another home" in done.stderr
    assert not (home.base / "home").exists()


def test_a_context_has_a_life_of_its_own(home: Home) -> None:
    """Its workers know where they stand and share what is there; the others stay when it ends."""
    assert home.run("hire", "1").returncode == 0
    words = ["hire", "3", "--context", "night", "--engine", "4", "-E", "THINGS"]
    done = home.run(*words, THINGS="7,8")
    assert (done.returncode, done.stdout) == (0, hired(2)), done.stderr
    assert "THINGS has 2 for 3 slots: 2 will be used" in done.stderr
    ours = sorted((c for c in home.cards() if c.context), key=lambda card: card.cylinder)
    assert [(c.context, c.engine, c.cylinder) for c in ours] == [("night", 4, 0), ("night", 4, 1)]
    workers = [psutil.Process(card.identity.pid) for card in ours]
    shown = [home.cwd / str(card.cylinder) for card in ours]
    for card, path in zip(ours, shown):
        home.assign(card.worker, f"echo $THINGS >{path}.new; mv {path}.new {path}")
    wait_until(lambda: all(path.exists() for path in shown), home.traces)
    assert [path.read_text() for path in shown] == ["7\n", "8\n"]
    lines = home.run("roster").stdout.splitlines()
    assert sorted(line.split("\t")[-1] for line in lines[1:]) == ["", "night/4", "night/4"]
    nobody = home.run("fire", "--context", "night", "--engine", "3").stdout
    assert 'No workers to fire of context "night" in project "default".' in nobody
    done = home.run("fire", "--context", "night")
    said = fired(2).replace("workers in", 'workers of context "night" in')
    assert done.stdout == said
    wait_until(lambda: not any(worker.is_running() for worker in workers), lambda: workers)
    assert [card.context for card in home.cards()] == [""]
    assert home.run("fire").stdout == fired(1)
    home.assert_clean()
