"""fjd-batch on a terminal: the progress bar, and the monitor with its keys."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest
from harness import Daemon, FjdEnv, wait_until
from terminal import Terminal, picture

from fjd.batch.prefix import Prefix
from fjd.spool import contexts
from fjd.spool.project import Project
from fjd.system.identity import hostname

LINES, COLUMNS = 24, 100
FREE = ("-c", "0.1", "-t")
HOLD = "echo s >> began; until [ -e go ]; do sleep 0.02; done"


def tasks(env: FjdEnv, *lines: str) -> None:
    """Write a task file."""
    (env.cwd / "tasks").write_text("".join(f"{line}\n" for line in lines))


@contextmanager
def going_on(env: FjdEnv) -> Iterator[tuple[Daemon, Project, Path]]:
    """Have a run of which two tasks hold; afterwards it is let go on."""
    tasks(env, HOLD, HOLD)
    run = env.start("fjd-batch", "-p", "run1", "-c", "0.1", "-t", "2", "tasks")
    began = env.cwd / "began"
    wait_until(lambda: began.exists() and len(began.read_text()) == 4, "tasks run", 30.0, env.show)
    prefix = Prefix(f"{env.cwd.resolve()}/run1")
    try:
        yield run, Project(prefix.project, f"{env.home}/{prefix.project}"), Path(prefix.script)
    finally:
        (env.cwd / "go").touch()
    assert run.ended() == 0


def terminal(env: FjdEnv, argv: list[str], columns: int, lines: int = 24) -> Terminal:
    """Open a terminal and start a command on it."""
    size = f"stty rows {lines} cols {columns} && "
    words = ["sh", "-c", f'{size}exec "$@"', "sh", *argv]
    return Terminal(words, env.env, env.cwd, columns, env.person.as_user())


@contextmanager
def monitored(env: FjdEnv, columns: int, lines: int = 24) -> Iterator[tuple[Terminal, Project]]:
    """Have a run that is watched; afterwards the monitor is left."""
    with ExitStack() as stack:
        _, project, script = stack.enter_context(going_on(env))
        screen = stack.enter_context(terminal(env, [str(script), "--mon"], columns, lines))
        yield screen, project
        screen.type("q")
        assert screen.ended() == 0


def test_bar(env: FjdEnv) -> None:
    """On a terminal one line shows how far it is; nothing of it is left at the end."""
    tasks(env, *["sleep 0.2"] * 8)
    argv = env.argv("fjd-batch", "-p", "run1", "-c", "0.1", "-t", "2", "tasks")
    with terminal(env, argv, 80) as screen:
        screen.says("/8")
        screen.says("  ETA ")
        assert screen.ended() == 0
        assert not any("###" in line for line in screen.screen())
    assert b"\x1b" not in screen.printed


def test_monitor(env: FjdEnv) -> None:
    """The monitor shows the engines, asks before it stops one, and can be left."""
    with monitored(env, 100) as (screen, project):
        for text in ("run1", "Status: ", "Slots ", "Rank Context", "local0"):
            screen.says(text)
        screen.type("h")
        screen.says("C: Shutdown context; E: Shutdown engine; q: quit")
        screen.type("x")
        screen.says("Got unrecognized key: 120")
        screen.type("E")
        screen.says("[Y]es/[N]o/[C]ancel")
        screen.type("n")
        screen.type("h")
        screen.says("Shutdown engine; q: quit", 2)
        assert contexts.look(project).stops == set()


@pytest.mark.parametrize(
    ("key", "asks", "says"),
    [
        ("C", "Stopping context local0 (1 engine(s))", "Asking controller to stop context local0"),
        ("E", f"Stopping engine 0 ({hostname()}", "Asking controller to stop engine 0"),
    ],
)
def test_monitor_stops_an_engine(env: FjdEnv, key: str, asks: str, says: str) -> None:
    """After a confirmation the engine, or all of its context, is asked to stop."""
    with monitored(env, 100) as (screen, project):
        screen.says("local0")
        screen.type(key)
        screen.says(asks)
        screen.type("y")
        screen.says(says)
        assert contexts.look(project).stops == {0}


def seen(screen: Terminal) -> list[list[str]]:
    """Return the words of each line of a monitor's screen, as it is now."""
    screen.watch()
    return [line.split() for line in picture(screen.printed, LINES, COLUMNS)]


def wait_seen(screen: Terminal, text: str) -> None:
    """Wait until a line of the screen has exactly these words, but for its frame."""

    def there() -> bool:
        return any(" ".join(line).strip("| ") == text for line in seen(screen))

    wait_until(there, f"{text} is seen", 30.0, lambda: repr(seen(screen)))


def test_monitor_counts(env: FjdEnv) -> None:
    """Each engine has its line: who it is, what it was given, what of it has ended and how."""
    tasks(env, "true", "false", "true", HOLD, HOLD)
    env.env["TERM"] = "vt100"
    run = env.start("fjd-batch", "-p", "run1", *FREE, "2", "tasks")
    began = env.cwd / "began"
    wait_until(lambda: began.exists() and len(began.read_text()) == 4, "tasks run", 30.0, env.show)
    with terminal(env, [str(env.cwd / "run1_dbUtil.sh"), "--mon"], COLUMNS, LINES) as screen:
        wait_seen(screen, "Slots 2 Tasks: Finished 3 Failed 1 Barrier -")
        wanted = ["0", "local0", hostname()]

        def line() -> list[str]:
            found = [[w for w in words if w not in "|`+"] for words in seen(screen)]
            return next((words for words in found if words[:3] == wanted), [])

        wait_until(lambda: line()[4:] == ["0", "5", "3", "1"], "the counts", 30.0, lambda: line())
        (env.cwd / "go").touch()
        assert run.ended() == 0
        wait_seen(screen, "[disBatch controller has exited]")
        screen.type("q")
        assert screen.ended() == 0


UP, DOWN = "\x1bOA", "\x1bOB"  # what the keys send once curses has asked for them


def test_monitor_keys(env: FjdEnv) -> None:
    """Keys choose an engine, and whatever is not a yes stops nothing."""
    tasks(env, HOLD, HOLD)
    env.env["TERM"] = "vt100"
    run = env.start("fjd-batch", "-S", "-p", "run1", "tasks")
    run.says("Run this script")
    script = str(env.cwd / "run1_dbUtil.sh")
    before = env.argv
    env.argv = lambda program, *words: [script, *words]  # type: ignore[method-assign]
    for label in ("one", "two"):
        env.start("dbUtil", "-s", "localhost:1", "-l", label).asked = True
    env.argv = before  # type: ignore[method-assign]
    began = env.cwd / "began"
    wait_until(lambda: began.exists() and len(began.read_text()) == 4, "tasks run", 30.0, env.show)
    prefix = Prefix(f"{env.cwd.resolve()}/run1")
    project = Project(prefix.project, f"{env.home}/{prefix.project}")
    labels = [context.label for context in contexts.everyone(project)]
    with terminal(env, [script, "--mon"], COLUMNS, LINES) as screen:
        for label in labels:
            screen.says(label)

        def asks(keys: str, rank: int, answer: str) -> None:
            screen.type(keys)
            text = f"Stopping engine {rank} ({hostname()}, {labels[rank]})"
            wait_until(lambda: text in drawn(screen), text, 30.0, lambda: drawn(screen))
            screen.type(answer)
            wait_until(lambda: text not in drawn(screen), "it is answered", 30.0)

        asks("E", 0, "n")
        asks("dE", 1, "c")
        asks("uE", 0, "N")
        asks(f"{DOWN}E", 1, "C")
        asks(f"{UP}E", 0, "\x1b")
        screen.type(f"?{DOWN}")
        screen.says("C: Shutdown context; E: Shutdown engine; q: quit")
        assert contexts.look(project).stops == set()
        asks("E", 1, "Y")
        wait_until(lambda: contexts.look(project).stops == {1}, "it is asked to stop")
        (env.cwd / "go").touch()
        screen.type("q")
        assert screen.ended() == 0
    assert run.ended() == 0


def drawn(screen: Terminal) -> str:
    """Return the whole screen as it is now."""
    screen.watch()
    return "\n".join(picture(screen.printed, LINES, COLUMNS))


@pytest.mark.parametrize(("columns", "lines"), [(86, 30), (120, 16)])
def test_monitor_on_a_small_screen(env: FjdEnv, columns: int, lines: int) -> None:
    """A screen that is too small is told so, and one that becomes larger is used."""
    with monitored(env, columns, lines) as (screen, _):
        screen.says("Screen must be at least 17X87")
        ioctl(screen._master, TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
        screen.says("local0")


def test_monitor_without_a_terminal(env: FjdEnv) -> None:
    """Without a terminal the monitor says so."""
    with going_on(env) as (_, _, script):
        before = env.argv
        env.argv = lambda program, *words: [str(script), *words]  # type: ignore[method-assign]
        done = env.run("dbUtil", "--mon")
        env.argv = before  # type: ignore[method-assign]
        assert done.code == 6
        assert "--mon needs a terminal" in done.err
    assert os.path.lexists(script)
