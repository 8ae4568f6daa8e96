"""The doctor's judgement: what facts mean, what is read of other hosts, and what is shown."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import Optional

import pytest

from fjd.doctor import disk, echo, examine, machine, page, rounds, verdict
from fjd.doctor.check import FAIL, OK, WARN, Check, Clock, Findings, Latency, count
from fjd.errors import UsageError
from fjd.launchers.errand import Errand, HostError, Reply
from fjd.spool import timings
from fjd.spool.project import Project

GIB = 1 << 30
FACTS = {"fjd": "1.0.0", "sources": "a1", "package": "/nowhere/fjd", "python": "3.11.2"}


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what the caller has set, and start no loginctl."""
    for field in timings.Timings._fields:
        monkeypatch.delenv(f"FJD_{field.upper()}", raising=False)

    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", refuse)


def put(root: Path, name: str, text: str) -> None:
    """Write a file below a root."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


# -- what a machine has ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "state", "said"),
    [
        ({}, OK, "there is no systemd"),
        ({"run/systemd/system/x": ""}, OK, "unknown"),
        ({"etc/systemd/logind.conf": "[Login]\nKillUserProcesses=no\n"}, OK, "workers stay"),
        ({"etc/systemd/logind.conf": "[Login]\n#KillUserProcesses=no\n"}, OK, "workers stay"),
        ({"etc/systemd/logind.conf": "[Login]\n#KillUserProcesses=yes\n"}, FAIL, "workers end"),
        ({"etc/systemd/logind.conf": "[Login]\nKillUserProcesses=yes\n"}, FAIL, "workers end"),
        ({"etc/systemd/logind.conf": "[Login]\nKillUserProcesses = True\n"}, FAIL, "workers end"),
        ({"etc/systemd/logind.conf": "[Other]\nKillUserProcesses=yes\n"}, OK, ""),
        (
            {"etc/systemd/logind.conf": "[Login]\nKillUserProcesses=yes\n",
             "etc/systemd/logind.conf.d/10-stay.conf": "[Login]\nKillUserProcesses=no\n"},
            OK, "workers stay",
        ),
        (
            {"usr/lib/systemd/logind.conf": "[Login]\n#KillUserProcesses=no\n",
             "usr/lib/systemd/logind.conf.d/50-a.conf": "[Login]\nKillUserProcesses=no\n",
             "etc/systemd/logind.conf.d/50-a.conf": "[Login]\nKillUserProcesses=yes\n"},
            FAIL, "workers end",
        ),
        (
            {"etc/systemd/logind.conf": "[Login]\nKillUserProcesses=yes\nKillExcludeUsers=ada\n"},
            OK, "workers stay",
        ),
        (
            {"etc/systemd/logind.conf": "[Login]\nKillUserProcesses=yes\nKillOnlyUsers=bob\n"},
            OK, "workers stay",
        ),
        (
            {"etc/systemd/logind.conf": "[Login]\nKillUserProcesses=yes\n",
             "var/lib/systemd/linger/ada": ""},
            WARN, "you linger",
        ),
    ],
)  # fmt: skip
def test_logout(tmp_path: Path, files: dict[str, str], state: str, said: str) -> None:
    """The last word of logind's files counts; who must fear the logout is told what to type."""
    for name, text in files.items():
        put(tmp_path, name, text)
    check = machine.logout("ada", str(tmp_path))
    assert (check.state, said in check.fact) == (state, True), check
    assert ("systemd-run --user --scope" in check.remedy) == (state != OK)
    assert ("loginctl enable-linger" in check.remedy) == (state == FAIL)


@pytest.mark.parametrize(
    ("files", "state", "said"),
    [
        ({}, OK, "no logins"),
        ({"sshd_config": "Port 22\n"}, OK, "10:30:100 (sshd's default)"),
        ({"sshd_config": "#MaxStartups 3\n"}, OK, "10:30:100 (sshd's default)"),
        ({"sshd_config": "MaxStartups 100\nMaxStartups 2\n"}, OK, "MaxStartups 100"),
        ({"sshd_config": "maxstartups=4:50:60 # few\n"}, WARN, "MaxStartups 4:50:60;"),
        ({"sshd_config": "Match User x\nMaxStartups 2\n"}, OK, "default"),
        (
            {"sshd_config": "Include sshd_config.d/*.conf\nMaxStartups 2\n"},
            WARN, "MaxStartups 2",
        ),
        ({"sshd_config": "Include sshd_config\n"}, OK, "default"),  # of this very machine
    ],
)  # fmt: skip
def test_startups(tmp_path: Path, files: dict[str, str], state: str, said: str) -> None:
    """The first word of sshd's files counts."""
    for name, text in files.items():
        put(tmp_path, f"etc/ssh/{name}", text)
    check = machine.startups(str(tmp_path))
    assert (check.state, said in check.fact) == (state, True), check


def test_startups_in_a_file_that_is_included(tmp_path: Path) -> None:
    """It stands before what follows; a file that includes itself ends somewhere."""
    put(tmp_path, "etc/ssh/sshd_config", "Include /etc/ssh/more/*.conf\nMaxStartups 100\n")
    put(tmp_path, "etc/ssh/more/a.conf", "Include more/a.conf\nMaxStartups 5\n")
    assert machine.startups(str(tmp_path)).fact.startswith("MaxStartups 5;")


def test_startups_unknown(tmp_path: Path) -> None:
    """What cannot be read is told as unknown."""
    (tmp_path / "etc/ssh/sshd_config").mkdir(parents=True)
    check = machine.startups(str(tmp_path))
    assert (check.state, "unknown" in check.fact) == (OK, True)


@pytest.mark.parametrize(
    ("other", "state"),
    [({"python": "3.11.9"}, OK), ({"python": "3.9.1"}, WARN), ({"python": "3.1.2"}, WARN)],
)
def test_same_python(other: dict[str, str], state: str) -> None:
    """The first two numbers count."""
    check = machine.same_python(FACTS, {**FACTS, **other}, "remote.conf:3")
    assert check.state == state
    assert bool(check.remedy) == (state != OK)


@pytest.mark.parametrize(
    ("other", "state"),
    [({}, OK), ({"fjd": "0.9"}, FAIL), ({"sources": "b2"}, FAIL), ({"package": "/x/fjd"}, OK)],
)
def test_same_fjd(other: dict[str, str], state: str) -> None:
    """Version and content count, the place does not."""
    check = machine.same_fjd(FACTS, {**FACTS, **other})
    assert check.state == state
    assert bool(check.remedy) == (state != OK)
    assert machine.same_fjd(FACTS, {}).state == FAIL


def test_sources(tmp_path: Path) -> None:
    """Each file's name and content are in the digest."""
    put(tmp_path, "a.py", "1")
    seen = {machine.sources(str(tmp_path))}
    put(tmp_path, "b/a.py", "")
    seen.add(machine.sources(str(tmp_path)))
    put(tmp_path, "a.py", "2")
    seen.add(machine.sources(str(tmp_path)))
    put(tmp_path, "notes", "")
    seen.add(machine.sources(str(tmp_path)))
    assert len(seen) == 3


def test_interpreter() -> None:
    """One that remote.conf names for this machine must be there."""
    assert machine.interpreter("/bin/sh", "remote.conf:1") is None
    check = machine.interpreter("/nowhere/python", "remote.conf:1")
    assert check
    assert (check.state, check.remedy) == (FAIL, "correct `python` in remote.conf:1")


# -- what the disk can do -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "inodes", "state"),
    [
        ((50 * GIB, 100 * GIB), (10**6, 10**7), OK),
        ((GIB, 10 * GIB), (10**6, 10**7), OK),
        ((GIB - 1, 10 * GIB), (10**6, 10**7), WARN),
        ((4 * GIB, 100 * GIB), (10**6, 10**7), WARN),
        ((50 * GIB, 100 * GIB), (9_999, 10**7), WARN),
        ((50 * GIB, 100 * GIB), (0, 0), OK),
        ((0, 0), (0, 0), OK),
    ],
)
def test_room(space: tuple[int, int], inodes: tuple[int, int], state: str) -> None:
    """Less than a GiB, than 5 % or than 10,000 inodes is little; some systems count none."""
    check = disk.judge_room("room", "/home", space, inodes, "make room")
    assert (check.state, "inodes" in check.fact) == (state, bool(inodes[1]))


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (12 << 20, "12 MiB"), (5 << 50, "5120 TiB")],
)
def test_size(number: int, text: str) -> None:
    """Two digits are enough."""
    assert disk.size(number) == text


def test_disk(project: Project) -> None:
    """Nothing is left of what was tried."""
    checks = {check.name: check for check in disk.checks(project)}
    assert (checks["home"].state, checks["rename"].state) == (OK, OK)
    assert checks["link"].fact.startswith("works;")
    assert os.listdir(project.tmp) == []


def test_rename_that_is_none(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename that copies, so that both of two succeed, is found out."""

    def copy(source: str, target: str) -> None:
        time.sleep(0.01)  # both are inside
        if os.path.exists(source):
            Path(target).write_bytes(Path(source).read_bytes())
            time.sleep(0.01)
            Path(source).unlink(missing_ok=True)
        else:
            raise FileNotFoundError

    monkeypatch.setattr(os, "rename", copy)
    check = disk.rename(project)
    assert (check.state, check.fact) == (FAIL, "of two renames of one file 2 succeeded")
    monkeypatch.setattr(os, "rename", lambda *_: None)
    assert disk.rename(project).fact == "a rename does not replace the file that is there"
    assert os.listdir(project.tmp) == []


def test_full(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be written: the checks that write say so."""

    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", refuse)
    states = {check.name: check.state for check in disk.checks(project)}
    assert states == {"home": OK, "rename": FAIL, "link": OK, "room": FAIL, "temp": FAIL}


def test_link_does_not_matter(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems without hard links are fine."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    check = disk.link(project)
    assert (check.state, "does not work (Operation not permitted)" in check.fact) == (OK, True)


# -- how late the home is -------------------------------------------------------------------------


def test_echo(project: Project) -> None:
    """Markers come back, and nothing is left."""
    path = echo.box(project, echo.open_box(project))
    other = threading.Thread(target=echo.answer, args=(path,))
    other.start()
    rounds_ = echo.ask(path, threading.Event())
    other.join(10)
    echo.close_box(path)
    late, lead = echo.latency(rounds_), echo.clock(rounds_)
    assert late
    assert lead
    assert late.markers > 2
    assert 0 < late.p50 <= late.p95 < 2
    assert abs(lead.ahead) <= lead.within + 0.01
    assert not os.path.exists(path)


def test_echo_from_a_clock_that_is_wrong(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hours do not matter to the latency, and are told."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() - 7200 * 10**9)
    path = echo.box(project, echo.open_box(project))
    other = threading.Thread(target=echo.answer, args=(path,))
    other.start()
    found = echo.ask(path, threading.Event())
    other.join(10)
    lead = echo.clock(found)
    assert lead
    assert lead.ahead == pytest.approx(-7200, abs=1)
    assert all(0 < one.took < 600 for one in found)


def test_nobody_answers(project: Project) -> None:
    """Whoever waits is freed when the login has ended."""
    stop = threading.Event()
    stop.set()
    assert echo.ask(echo.box(project, echo.open_box(project)), stop) == []
    assert echo.ask(f"{project.root}/nowhere", stop) == []
    echo.answer(f"{project.root}/nowhere")
    assert (echo.latency([]), echo.clock([])) == (None, None)


def test_old_boxes_are_removed(project: Project) -> None:
    """Those of a doctor who was killed, after a day, and no others."""
    old, young = (echo.box(project, echo.open_box(project)) for _ in range(2))
    Path(old, "hello").touch()
    os.utime(old, (1e9, 1e9))
    third = echo.box(project, echo.open_box(project))
    assert [os.path.exists(path) for path in (old, young, third)] == [False, True, True]


@pytest.mark.parametrize(
    ("values", "percent", "value"),
    [([3], 50, 3), ([3], 95, 3), ([1, 2], 50, 1), ([4, 1, 3, 2], 50, 2), (range(1, 21), 95, 19),
     (range(1, 8), 95, 7), (range(1, 101), 95, 95)],
)  # fmt: skip
def test_percentile(values: list[float], percent: int, value: float) -> None:
    """A value that was measured, never one in between."""
    assert echo.percentile(values, percent) == value


@pytest.mark.parametrize(
    ("late", "state"),
    [(None, FAIL), (Latency(0.004, 0.012, 20), OK), (Latency(0.5, 1.4, 3), WARN)],
)
def test_latency(late: Optional[Latency], state: str) -> None:
    """No answer at all is a fault; a late one is a note."""
    assert verdict.latency(late).state == state


def test_words() -> None:
    """As a person would say it."""
    assert verdict.latency(Latency(0.004, 1.4, 9)).fact.startswith("p50 4 ms, p95 1.4 s (")
    assert verdict.clock(Clock(-7200.0, 0.01)).fact.startswith("7200.000 s behind, +- 0.010 s")


# -- what follows for the timings -----------------------------------------------------------------

BEFORE = timings.Measured(1.0, 2.0, "slow", "here", 0.0)


@pytest.mark.parametrize(
    ("known", "before", "hosts", "host"),
    [
        ({}, None, {"a"}, None),
        ({"a": 0.1, "b": 0.3}, None, {"a", "b"}, "b"),
        ({"a": 0.1}, BEFORE, {"a", "slow"}, None),  # it was not heard from
        ({"a": 3.0}, BEFORE, {"a", "slow"}, "a"),
        ({"a": 0.1}, BEFORE, {"a"}, "a"),  # it has left remote.conf
        ({"a": 0.1, "slow": 0.2}, BEFORE, {"a", "slow"}, "slow"),
    ],
)
def test_slowest(
    known: dict[str, float],
    before: Optional[timings.Measured],
    hosts: set[str],
    host: Optional[str],
) -> None:
    """The slowest host counts, also while it is silent."""
    found = verdict.slowest({k: Latency(v, v, 9) for k, v in known.items()}, before, hosts)
    assert (found.host if found else None) == host


def write_timings(project: Project, **fields: object) -> None:
    """Write the file as the doctor does."""
    whole = {"p50": 0.5, "p95": 2.0, "host": "n", "by": "m", "at": 1.0, **fields}
    Path(project.timings).write_text(json.dumps(whole))
    os.chmod(project.timings, 0o600)


def test_timings_follow(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment before file before default; nothing becomes shorter."""
    usual = timings.for_home(project.root)
    write_timings(project, p50=0.001, p95=0.01)
    assert timings.for_home(project.root) == usual
    write_timings(project, p95=5.0)
    slow = timings.for_home(project.root)
    assert (slow.poll, slow.nudge, slow.settle, slow.lease) == (10.0, 10.0, 15.0, 150.0)
    assert (slow.far_lease, slow.heartbeat) == (150.0, usual.heartbeat)
    monkeypatch.setenv("FJD_POLL", "0.1")
    assert timings.for_home(project.root) == slow._replace(poll=0.1)


@pytest.mark.parametrize(
    "fields",
    [{"p95": "x"}, {"p95": -1}, {"p95": 0.1}, {"p95": 61}, {"p95": float("nan")}, {"p95": None},
     {"p50": float("inf")}, {"at": []}],
)  # fmt: skip
def test_timings_that_are_none(project: Project, fields: dict[str, object]) -> None:
    """Nonsense is as no file."""
    write_timings(project, **fields)
    assert timings.measured(project.root) is None


@pytest.mark.parametrize("data", ["", "[]", "{}", "1", "[" * 4000, '{"p50": 1' + "0" * 3000 + "}"])
def test_timings_garbage(project: Project, data: str) -> None:
    """So is anything else."""
    Path(project.timings).write_text(data)
    assert timings.measured(project.root) is None


def test_timings_of_others(project: Project) -> None:
    """A file that others could write, a link or a FIFO is not read."""
    write_timings(project)
    assert timings.measured(project.root)
    os.chmod(project.timings, 0o622)
    assert timings.measured(project.root) is None
    os.chmod(project.timings, 0o600)
    os.rename(project.timings, f"{project.root}/elsewhere")
    os.symlink("elsewhere", project.timings)
    assert timings.measured(project.root) is None
    os.unlink(project.timings)
    os.mkfifo(project.timings)
    assert timings.measured(project.root) is None


# -- other hosts ----------------------------------------------------------------------------------


def reply(found: Findings, before: str = "") -> str:
    """Return what a host prints."""
    return before + json.dumps({"schema": verdict.SCHEMA, **page.as_json([found])}, indent=1) + "\n"


FINDINGS = Findings(
    "n", False, [Check("same home", OK, "seen"), Check("fjd", OK, "1")], FACTS
)  # fmt: skip


def test_read() -> None:
    """Whatever a log-in script prints before or behind."""
    found = verdict.read(reply(FINDINGS, '{"a": 1}\nWelcome {\n') + "Bye\n")
    assert found
    assert (list(found.checks), found.facts) == (FINDINGS.checks, FACTS)


@pytest.mark.parametrize(
    "text",
    ["", "Welcome", "{}", '{\n "schema": "fjd.doctor/2"}', '{\n "schema": "fjd.doctor/1"',
     '{\n "schema": "fjd.doctor/1"}', '{\n "schema": "fjd.doctor/1", "hosts": []}',
     '{\n "schema": "fjd.doctor/1", "hosts": [1]}', '{\n "schema": "fjd.doctor/1", "hosts": [{}]}',
     '{\n "schema": "fjd.doctor/1", "hosts": ' + "[" * 5000],
)  # fmt: skip
def test_read_garbage(text: str) -> None:
    """Anything else is nothing."""
    assert verdict.read(text) is None


@pytest.mark.parametrize(
    "value", [None, [], {}, {"check": "a", "state": "bad", "fact": "", "remedy": ""},
              {"check": "a", "state": "ok", "fact": 1, "remedy": ""}]
)  # fmt: skip
def test_check_garbage(value: object) -> None:
    """A check is four texts."""
    assert Check.load(value) is None


class Hosts:
    """Answers of other hosts, by name."""

    def __init__(self, **answers: object) -> None:
        self.answers, self.asked = answers, list[str]()

    def __call__(self, errand: Errand, password: Optional[str]) -> Reply:
        assert password is None
        self.asked.append(errand.command)
        answer = self.answers[errand.host.name]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Reply):
            return answer
        (box,) = re.findall(r"--box (\S+)", errand.command)
        return Reply(0, reply(examine.visited("p", box)), "")


def conf(project: Project, *names: str, extra: str = "") -> None:
    """Write remote.conf."""
    sections = [f"[host{n}]\nname: {name}\nworkers: 1\n" for n, name in enumerate(names, 1)]
    Path(project.remote_conf).write_text("".join(sections) + extra)


def test_rounds(project: Project) -> None:
    """Everybody is asked and told of, in order at the end; what was measured is written down."""
    conf(project, "localhost", "good", "shut", "odd", "old")
    hosts = Hosts(
        good=None,
        shut=HostError("no answer", "look there"),
        odd=RuntimeError("what a library throws"),
        old=Reply(2, "", "[fjd] 'doctor' is no verb; there are: submit"),
    )
    told: list[Findings] = []
    found = rounds.Doctor("p", told.append, told.append, transport=hosts).run()  # type: ignore[arg-type]
    assert [one.host for one in found[1:]] == ["good", "shut", "odd", "old", ""]
    assert sorted(one.host for one in told) == sorted(one.host for one in found)
    assert found[0].here
    by_name = {one.host: one for one in found}
    assert [c.state for c in by_name["good"].checks if c.state == FAIL] == []
    assert [c.name for c in by_name["good"].checks][:3] == ["login", "same home", "latency"]
    assert by_name["shut"].checks == [Check("login", FAIL, "no answer", "look there")]
    assert by_name["odd"].checks[0].state == FAIL
    assert by_name["old"].checks[-1].remedy == "install the same fjd there"
    measured = timings.measured(project.root)
    assert measured
    assert by_name["good"].latency
    assert (measured.host, measured.p95) == ("good", by_name["good"].latency.p95)
    assert os.listdir(os.path.dirname(project.tmp)) == [os.path.basename(project.tmp)]
    assert all("--local-only --json --box" in command for command in hosts.asked)


def test_another_home(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the marker is not seen nothing is made, and the rest is examined all the same."""
    box = echo.open_box(project)
    monkeypatch.setenv("FJD_HOME", str(tmp_path / "other"))
    monkeypatch.setattr("fjd.spool.samehome.check.__defaults__", (0.0,))
    found = examine.visited("p", box)
    assert (found.checks[0].name, found.checks[0].state) == ("same home", FAIL)
    assert "another home" in found.checks[0].fact
    assert "python" in [check.name for check in found.checks]
    assert not (tmp_path / "other").exists()


def test_no_remote_conf_or_a_wrong_one(project: Project) -> None:
    """One line each."""

    def last() -> Check:
        doctor = rounds.Doctor("p", lambda _: None, lambda _: None, transport=Hosts())
        return next(c for c in doctor.run()[0].checks if c.name == "remote.conf")

    assert last().state == OK
    conf(project)
    assert (last().state, last().fact) == (FAIL, "there is no host in it")
    conf(project, "bad name")
    assert last().state == FAIL
    assert "remote.conf:2" in last().fact
    conf(project, "localhost", extra="python: /nowhere/python\n")
    doctor = rounds.Doctor("p", lambda _: None, lambda _: None, transport=Hosts())
    wrong = [c for c in doctor.run()[0].checks if c.state == FAIL]
    assert [c.fact for c in wrong] == ["cannot run /nowhere/python"]


def test_project_that_others_can_write(project: Project) -> None:
    """It is a finding, the machine is examined all the same, and nobody else is asked."""
    conf(project, "far")
    os.chmod(project.root, 0o777)
    hosts = Hosts()
    (found,) = rounds.Doctor("p", lambda _: None, lambda _: None, transport=hosts).run()
    checks = {check.name: check for check in found.checks}
    assert "chmod go-w" in checks["home"].remedy
    assert (checks["home"].state, checks["remote.conf"].state) == (FAIL, WARN)
    assert "cpus" in checks
    assert hosts.asked == []


def test_home_that_hangs(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs the limit."""
    free = threading.Event()
    monkeypatch.setattr(examine, "here", lambda _: free.wait(20))
    (found,) = rounds.Doctor("p", lambda _: None, lambda _: None, limit=0.05).run()
    free.set()
    assert found.checks[0].state == FAIL
    assert "did not end the examination" in found.checks[0].fact


def test_times_that_do_not_fit(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that the dispatcher would refuse are told."""
    monkeypatch.setenv("FJD_POLL", "soon")
    found = rounds.Doctor("p", lambda _: None, lambda _: None, local_only=True).run()
    assert found[-1].checks[0].state == FAIL
    with pytest.raises(UsageError):
        timings.for_home(project.root)


# -- what is shown --------------------------------------------------------------------------------

SHOWN = Findings(
    "n\x1b[1m",
    False,
    [
        Check("python", OK, "3.11", "not shown"),
        Check("logout", FAIL, "a long fact " * 12, "type there: x " * 12),
        Check("screen", WARN, "none\nat all", "\x1b]0;title\x07"),
    ],
    {},
)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_page(width: int) -> None:
    """Aligned, at most 80 columns, and nothing that a terminal obeys."""
    lines = page.for_terminal(SHOWN, width)
    assert max(map(len, lines)) <= min(80, width)
    assert all(line.isprintable() for line in lines)
    text = "\n".join(lines)
    assert "not shown" not in text
    assert [line[2:6].strip() for line in lines if line[2:3].strip()][1:] == ["ok", "FAIL", "note"]
    assert "-> type there: x" in text


def test_pipe() -> None:
    """Five fields, nothing cut."""
    rows = [line.split("\t") for line in page.for_pipe(SHOWN)]
    assert [len(row) for row in rows] == [5, 5, 5]
    assert rows[1][1:3] == ["fail", "logout"]


def test_summary() -> None:
    """Hosts, failures and notes are counted."""
    assert page.summary([SHOWN]) == "1 host: 1 check failed, 1 note"
    assert page.summary([FINDINGS, FINDINGS]) == "2 hosts: all well"
    assert count([SHOWN, SHOWN], FAIL) == 2
