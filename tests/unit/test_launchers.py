"""Launchers: command lines, names and configurations, without starting anything."""

from __future__ import annotations

import shlex
import sys
import threading
from pathlib import Path

import pytest

from fjd.launchers import base, process, remote, screen
from fjd.launchers.base import Order
from fjd.launchers.errand import Errand, HostError, Reply
from fjd.launchers.remote import Errands, judge
from fjd.launchers.remoteconf import Host

ORDER = Order(
    project="p",
    worker="node1-3-5f0c12ab",
    python="/opt/py/bin/python",
    cwd="/home/ada/a b",
    nice=None,
    session="p-node1-3",
    log="/h/screenlogs/node1-3-5f0c12ab.log",
    rc="/h/screenrcs/node1-3-5f0c12ab.rc",
)
HOST = Host("host2", "node2", 5, None, None, None, None, "remote.conf:4")
LINE = '[fjd-recruiter] Hired 5 workers in project "p".'


def words(argv: list[str]) -> list[str]:
    """Return what follows `python -c CODE`."""
    return argv[argv.index("-c") + 2 :]


def test_worker_argv() -> None:
    """A worker is told who it is and what keeps it."""
    argv = base.worker_argv(ORDER, "process")
    assert argv[0] == "/opt/py/bin/python"
    assert "from fjd.scripts.fjd_worker import main" in argv[2]
    assert words(argv) == [
        *("--project", "p", "--id", "node1-3-5f0c12ab", "--launcher", "process"),
        *("--log", "/h/screenlogs/node1-3-5f0c12ab.log", "--cwd", "/home/ada/a b"),
    ]
    nice = base.worker_argv(ORDER._replace(nice=-5), "screen")
    assert words(nice)[6:8] == ["--session", "p-node1-3"]
    assert words(nice)[-2:] == ["--nice", "-5"]


@pytest.mark.parametrize(
    ("place", "found"),
    [("/co", "['/co'] +"), ("/v/lib/python3.9/site-packages", "[] +"), ("/a'b", '["/a\'b"] +')],
)
def test_command_knows_where_fjd_is(place: str, found: str) -> None:
    """A checkout is named; what is installed is found by Python itself."""
    assert found in base.command("python", "m", [], place)[2]


@pytest.mark.parametrize(
    ("project", "host", "slot", "name"),
    [
        ("default", "hyuga.sen.cwi.nl", 3, "default-hyuga-3"),
        ("12.foo", "h", 1, "12_foo-h-1"),
        ("1.2.3", "h", 1, "1_2.3-h-1"),
        ("v1.2", "h", 1, "v1.2-h-1"),
        ("x" * 64, "h", 12, "x" * 58 + "~-h-12"),
        ("x" * 64, "h" * 50, 123, "x" * 26 + "~-" + "h" * 32 + "-123"),
    ],
)
def test_session_name(project: str, host: str, slot: int, name: str) -> None:
    """Sessions are named as people expect, and within what screen takes."""
    assert base.session_name(project, host, slot) == name
    assert len(name) <= base.SESSION_LIMIT


def test_free_slots() -> None:
    """Gaps are filled first."""
    assert base.free_slots({1, 3, 4}, 3) == [2, 5, 6]
    assert base.free_slots(set(), 2) == [1, 2]


def test_screen() -> None:
    """The session does not fork, and its configuration holds nothing that screen could expand."""
    argv = screen.argv("p-node1-3", "/h/x.rc", ["python", "-c", "1"])
    assert argv == ["screen", "-D", "-m", "-S", "p-node1-3", "-c", "/h/x.rc", "python", "-c", "1"]
    text = screen.rc_text("node1-3-5f0c12ab.log")
    assert "\nlogfile node1-3-5f0c12ab.log\nlogfile flush 1\n" in text
    assert text.endswith("deflog on\n")


def test_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Screen is looked for on the PATH; a process needs nothing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert screen.missing() == "GNU screen is not installed"
    (tmp_path / "screen").touch(0o755)
    assert screen.missing() == ""
    assert process.missing() == ""


def test_command_line_survives_every_shell() -> None:
    """No shell sees an unquoted name; FJD_HOME goes along if it is set."""
    host = HOST._replace(python="/opt/my py/bin/python")
    line = remote.command_line(host, ["--curdir", "/a b/$(rm x)", "fire"], "/h o/me")
    argv = shlex.split(line)
    assert argv[:3] == ["env", "FJD_HOME=/h o/me", "/opt/my py/bin/python"]
    assert words(argv) == ["--curdir", "/a b/$(rm x)", "fire"]
    assert "'/a b/$(rm x)'" in line
    assert shlex.split(remote.command_line(HOST, [], None))[0] == sys.executable


def test_judge_a_good_answer() -> None:
    """What the other recruiter says is passed on; what log-in scripts say is only talk."""
    reply = Reply(0, f"Welcome!\n{LINE}\n", "stty: no tty\n[fjd-recruiter] warning: x\n")
    assert judge(HOST, reply) == ([LINE], ["Welcome!", "stty: no tty", "warning: x"], True)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(127, "", "env: /p: No such file\n"), f"cannot run {sys.executable}; install fjd"),
        (Reply(1, "", "Traceback\nModuleNotFoundError: No module named 'fjd'\n"), "no module fjd;"),
        (Reply(1, "", "Traceback ...\n  x\nKeyError: 1\n"), "KeyError: 1"),
        (Reply(6, "", "[fjd-recruiter] this host has another home: x\n"), "this host has another"),
        (Reply(255, "", ""), "exit code 255"),
    ],
)
def test_judge_a_bad_answer(reply: Reply, said: str) -> None:
    """A host that cannot do it costs a line that says what to do."""
    verdict = judge(HOST, reply)
    assert not verdict.well
    assert said in verdict.talk[0]
    assert len(verdict.talk) <= 2


def test_judge_is_not_flooded() -> None:
    """A chatty host does not fill the terminal."""
    assert len(judge(HOST, Reply(0, "", "noise\n" * 1000)).talk) == 20


def test_errands() -> None:
    """Every host is asked once, and one's fault is not the others'."""

    def transport(errand: Errand, password: str | None) -> Reply:
        if errand.command == "1":
            raise HostError("down", "wake it")
        if errand.command == "2":
            raise ValueError("a bug in a library")
        return Reply(0, errand.command, "")

    errands = Errands([Errand(HOST, str(n), 1.0) for n in range(20)], transport)
    heard = list(errands.answers())
    answers = {errand.command: answer for errand, answer in heard}
    assert len(heard) == len(answers) == 20
    assert str(answers["1"]) == "down; wake it"
    assert str(answers["2"]) == "ValueError: a bug in a library"
    assert answers["19"] == Reply(0, "19", "")
    assert errands.waiting == []


class Crowded:
    """A transport that notes who was asked and how many at once; nobody answers until ``open``."""

    def __init__(self, full: int) -> None:
        self.asked: list[str] = []
        self.now = self.most = 0
        self._lock, self._open = threading.Lock(), threading.Event()
        self._full, self._wanted = threading.Event(), full

    def __call__(self, errand: Errand, password: str | None) -> Reply:
        """Answer once everybody may."""
        with self._lock:
            self.asked.append(errand.host.name)
            self.now += 1
            self.most = max(self.most, self.now)
            if self.now == self._wanted:
                self._full.set()
        self._open.wait(20)
        with self._lock:
            self.now -= 1
        return Reply(0, "", "")

    def answer(self) -> None:
        """Let everybody answer as soon as so many are being asked."""
        assert self._full.wait(20), f"no more than {self.most} at a time"
        self._open.set()


@pytest.mark.parametrize(("hosts", "at_once"), [(20, 8), (3, 3)])
def test_eight_logins_at_a_time(hosts: int, at_once: int) -> None:
    """Of many hosts eight are asked at a time, for a server takes no more; each is asked once."""
    others = set(threading.enumerate())
    crowd = Crowded(at_once)
    names = [f"node{n}" for n in range(hosts)]
    errands = Errands([Errand(HOST._replace(name=n), "", 1.0) for n in names], crowd)
    assert len(set(threading.enumerate()) - others) == at_once  # all of them: it starts no more
    crowd.answer()
    assert len(list(errands.answers())) == hosts
    assert crowd.most == at_once
    assert sorted(crowd.asked) == sorted(names)
