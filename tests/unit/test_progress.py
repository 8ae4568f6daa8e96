"""Progress: the classic lines in a pipe, one line that is rewritten on a terminal."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest

from fjd.dispatcher import progress as module
from fjd.dispatcher.progress import Count, Progress

if TYPE_CHECKING:
    from tests.unit.conftest import Clock

COUNT = Count(waiting=10, running=2, done=3, failed=0, idle=4, workers=6)
PREFIX = "[fjd-dispatcher] "


class Screen:
    """A progress and what it has printed."""

    def __init__(self, clock: Clock, interval: float, live: bool) -> None:
        self.out, self.clock = io.StringIO(), clock
        self.progress = Progress(self.out, interval, clock, live)

    def show(self, count: Count, seconds: float = 0.0) -> str:
        """Show this after some time, and return everything that was printed so far."""
        self.clock.tick(seconds)
        self.progress.show(count)
        return self.out.getvalue()

    def visible(self) -> str:
        """Return what a terminal shows in the last line."""
        line = ""
        for part in self.out.getvalue().rpartition("\n")[2].split("\r"):
            line = part + line[len(part) :]
        return line


@pytest.fixture
def pipe(clock: Clock) -> Screen:
    """Return a progress that writes into a pipe."""
    return Screen(clock, 1.0, live=False)


@pytest.fixture
def terminal(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Return a progress on a terminal of 60 columns."""
    monkeypatch.setattr(module.shutil, "get_terminal_size", lambda: Size(60))
    return Screen(clock, 1.0, live=True)


class Size:
    """The size of a terminal."""

    def __init__(self, columns: int) -> None:
        self.columns = columns


def test_line(pipe: Screen) -> None:
    """The line says what waits and who is idle, as it always did."""
    assert pipe.show(COUNT) == "[fjd-dispatcher] Found 10 job(s) and 4 worker(s)...\n"


def test_only_what_is_new(pipe: Screen) -> None:
    """What was said is not said again, however much time passes."""
    first = pipe.show(COUNT)
    assert pipe.show(COUNT, 100.0) == first
    assert pipe.show(COUNT._replace(running=3, done=9), 100.0) == first


def test_once_per_interval(pipe: Screen) -> None:
    """Within an interval nothing is said; after it, how things are then."""
    pipe.show(COUNT)
    for waiting in (9, 8, 7):
        pipe.show(COUNT._replace(waiting=waiting), 0.25)
    assert pipe.out.getvalue().count("\n") == 1
    pipe.show(COUNT._replace(waiting=6), 0.25)
    assert pipe.out.getvalue().endswith("Found 6 job(s) and 4 worker(s)...\n")


def test_nothing_waits(pipe: Screen) -> None:
    """Without a job that waits there is nothing to say."""
    assert pipe.show(COUNT._replace(waiting=0)) == ""


def test_own_line(pipe: Screen) -> None:
    """A line of its own is one line."""
    pipe.progress.line("No (more) jobs.")
    assert pipe.out.getvalue() == "[fjd-dispatcher] No (more) jobs.\n"


def test_live(terminal: Screen) -> None:
    """On a terminal one line says everything, and is rewritten in place."""
    terminal.show(COUNT)
    assert terminal.visible() == f"{PREFIX}10 waiting, 2 running, 3 done; 6 worker(s)"
    terminal.show(COUNT._replace(waiting=0, running=0, done=5, failed=1), 1.0)
    assert "\n" not in terminal.out.getvalue()
    assert terminal.visible().startswith(f"{PREFIX}0 waiting, 0 running, 5 done, 1 failed; 6")


@pytest.mark.parametrize("columns", [1, 2, 20, 59, 60, 80, 300])
def test_live_line_fits(clock: Clock, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """The line never reaches the right edge, where it would wrap, whatever the width."""
    monkeypatch.setattr(module.shutil, "get_terminal_size", lambda: Size(columns))
    screen = Screen(clock, 1.0, live=True)
    for count in (COUNT, COUNT._replace(failed=10**9), Count(0, 0, 0, 0, 0, 0)):
        screen.show(count, 1.0)
        longest = max(map(len, re.split("[\r\n]", screen.out.getvalue())))
        assert longest < columns


def test_live_line_that_gets_shorter(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a longer line stays behind a shorter one."""
    monkeypatch.setattr(module.shutil, "get_terminal_size", lambda: Size(200))
    screen = Screen(clock, 1.0, live=True)
    screen.show(COUNT._replace(waiting=10**6, failed=7))
    screen.show(COUNT, 1.0)
    shown = f"{PREFIX}10 waiting, 2 running, 3 done; 6 worker(s), 4 idle"
    assert screen.visible().rstrip() == shown


def test_talk_between_live_lines(terminal: Screen) -> None:
    """Somebody else's line finds a clean one, and the live line comes back behind it."""
    terminal.show(COUNT)
    terminal.progress.talk(lambda text: terminal.out.write(f"{text}\n") and None, "something")
    assert terminal.out.getvalue().split("\r")[-1] == "something\n"
    terminal.show(COUNT, 1.0)
    assert terminal.visible().startswith(PREFIX)


def test_live_pace(clock: Clock, terminal: Screen) -> None:
    """A live line may change five times a second, whatever the interval."""
    terminal.show(COUNT)
    terminal.show(COUNT._replace(done=4), 0.1)
    assert "4 done" not in terminal.out.getvalue()
    terminal.show(COUNT._replace(done=5), 0.1)
    assert "5 done" in terminal.out.getvalue()


def test_end_leaves_a_clean_line(terminal: Screen) -> None:
    """The last line is wiped before a line of its own, and at the end."""
    terminal.show(COUNT)
    terminal.progress.line("No (more) jobs.")
    assert terminal.out.getvalue().split("\r")[-1] == "[fjd-dispatcher] No (more) jobs.\n"
    terminal.show(COUNT, 1.0)
    terminal.progress.end()
    assert terminal.visible().strip() == ""
