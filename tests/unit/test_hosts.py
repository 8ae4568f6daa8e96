"""Hosts that eat tasks are benched, others are not; and what is known of a kill."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from fjd.dispatcher.hosts import STREAK, WHILE, Hosts
from fjd.spool.names import Token
from fjd.worker import memory

BOTH = {"sick", "well"}


class Ward:
    """Two hosts, one of which fails every task at once."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.hosts = Hosts(self.said.append)
        self.now = 0.0

    def eat(self, number: int, quick: bool = True, first: int = 0) -> None:
        """Let tasks fail on the sick host."""
        for key in range(first, first + number):
            self.hosts.failed("sick", f"k{key}", quick, self.now)

    def pass_elsewhere(self, number: int, present: set[str] = BOTH) -> None:
        """Let them succeed on the other one."""
        for key in range(number):
            for suspect in self.hosts.succeeded("well", f"k{key}"):
                self.hosts.judge(suspect, present, self.now)

    def works(self, host: str = "sick", in_hand: int = 0, present: set[str] = BOTH) -> bool:
        """Tell whether a host may get a task."""
        return self.hosts.may_work(host, in_hand, present, self.now)


@pytest.fixture
def ward() -> Ward:
    """Give two hosts."""
    return Ward()


def test_a_host_that_eats_tasks_is_benched(ward: Ward) -> None:
    """Five quick failures in a row that pass elsewhere bench a host, and that is said."""
    ward.eat(STREAK)
    ward.pass_elsewhere(STREAK - 1)
    assert ward.works()
    ward.pass_elsewhere(STREAK)
    assert not ward.works()
    assert ward.works("well")
    assert ward.said == [
        "sick is benched for 300 s: 5 tasks failed there at once and passed elsewhere"
    ]


def test_tasks_that_fail_everywhere_bench_nobody(ward: Ward) -> None:
    """A fault of the tasks is not the host's."""
    ward.eat(3 * STREAK)
    for key in range(3 * STREAK):
        ward.hosts.failed("well", f"k{key}", True, 0.0)
        ward.hosts.gave_up(f"k{key}")
    assert ward.works()
    assert ward.works("well")


def test_slow_failures_bench_nobody(ward: Ward) -> None:
    """What fails after a while has done something of its own."""
    ward.eat(STREAK, quick=False)
    ward.pass_elsewhere(STREAK)
    assert ward.works()


def test_a_success_in_between_clears_a_host(ward: Ward) -> None:
    """In a row means in a row."""
    ward.eat(STREAK - 1)
    ward.hosts.succeeded("sick", "other")
    ward.eat(1, first=STREAK - 1)
    ward.pass_elsewhere(STREAK)
    assert ward.works()


def test_one_host_alone_is_never_benched(ward: Ward) -> None:
    """Nor is it kept on the bench when the others have gone."""
    ward.eat(STREAK)
    ward.pass_elsewhere(STREAK, present={"sick"})
    assert ward.works(present={"sick"})
    ward.eat(STREAK, first=10)
    for key in range(10, 10 + STREAK):
        for suspect in ward.hosts.succeeded("well", f"k{key}"):
            ward.hosts.judge(suspect, BOTH, 0.0)
    assert not ward.works()
    assert ward.works(present={"sick"})


def test_the_probe_decides(ward: Ward) -> None:
    """After a while one task shows whether the host is well; if not, it waits twice as long."""
    ward.eat(STREAK)
    ward.pass_elsewhere(STREAK)
    ward.now = WHILE
    assert ward.works()
    assert not ward.works(in_hand=1)
    ward.hosts.failed("sick", "probe", True, ward.now)
    assert not ward.works()
    ward.now += WHILE
    assert not ward.works()
    ward.now += WHILE
    assert ward.works()
    ward.hosts.succeeded("sick", "probe")
    assert ward.works(in_hand=7)
    assert ward.said[-1] == "sick is off the bench: its probe task ended well"


def test_tasks_get_their_try_back(ward: Ward) -> None:
    """What failed there and has not yet run elsewhere does not lose a try; once."""
    ward.eat(STREAK + 1)
    ward.pass_elsewhere(STREAK)
    token = Token(f"k{STREAK}", 1, 2, 0, 1)
    assert ward.hosts.pardon(token) == token._replace(failures=0)
    assert ward.hosts.pardon(token) == token
    assert ward.hosts.avoid(f"k{STREAK}") == {"sick"}


@pytest.mark.parametrize(
    ("number", "rss", "kills", "expected"),
    [
        (signal.SIGSEGV, 9 << 20, 1, "killed by signal 11 (SIGSEGV)"),
        (signal.SIGKILL, 1 << 20, 0, "killed by signal 9 (SIGKILL)"),
        (
            signal.SIGKILL,
            1 << 20,
            1,
            "killed by signal 9 (SIGKILL), probably out of memory: 1.0 GiB at the peak",
        ),
        (
            signal.SIGKILL,
            9 << 20,
            0,
            "killed by signal 9 (SIGKILL), probably out of memory: 9.0 GiB at the peak",
        ),
        (99, 0, 0, "killed by signal 99 (unknown)"),
    ],
)
def test_what_is_known_of_a_kill(
    number: int, rss: int, kills: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill for memory is told from one by somebody."""
    monkeypatch.setattr(memory, "oom_kills", lambda: kills)
    monkeypatch.setattr(memory, "total_kib", lambda: 16 << 20)
    assert memory.cause(number, rss, 0) == expected


def test_memory_of_this_host() -> None:
    """What the kernel says is what is read."""
    fields = dict(line.split()[:2] for line in Path("/proc/vmstat").read_text().splitlines())
    assert memory.oom_kills() == int(fields["oom_kill"])
    assert 1 << 10 < memory.total_kib() <= psutil.virtual_memory().total >> 10


@pytest.mark.parametrize(
    ("text", "kib"), [("max\n", 0), ("104857600\n", 100 << 10), ("9223372036854771712\n", 0)]
)
def test_memory_of_a_control_group(
    text: str, kib: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of our control group counts if it is less than what the host has."""
    (tmp_path / "max").write_text(text)
    monkeypatch.setattr(memory, "_LIMITS", (str(tmp_path / "max"), str(tmp_path / "none")))
    assert memory.total_kib() == (kib or psutil.virtual_memory().total >> 10)
