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
from terminal import Terminal

from fjd.batch.prefix import Prefix
from fjd.spool import contexts
from fjd.spool.project import Project
from fjd.system.identity import hostname

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
