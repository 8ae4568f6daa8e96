"""fjd-batch on a full disk, where the spool is or where the rows go: it says so, waits, goes on."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import Callable

from batchrun import batch, codes, rows, tasks
from hardship import fill
from harness import Daemon, FjdEnv, wait_until

TASKS = 150
FULL = "the disk is full; make room"


def keep_full(small_disk: Path, run: Daemon, until: Callable[[], object]) -> None:
    """Let the disk be full until something is so, and a moment longer."""
    fill(small_disk / "ballast")
    wait_until(lambda: fill(small_disk / "ballast") or until(), "it is said", 30.0, run.show)
    for _ in range(10):
        time.sleep(0.1)
        fill(small_disk / "ballast")  # what became free is taken, too
    assert run.process.poll() is None
    os.unlink(small_disk / "ballast")


def lines_of(env: FjdEnv) -> list[str]:
    """Return the tasks that have run."""
    path = env.cwd / "ran"
    return path.read_text().split() if path.exists() else []


def begin(env: FjdEnv, prefix: str, *words: str) -> Daemon:
    """Start a run, and return when some of its tasks have ended."""
    tasks(env, *[f"echo {n} >> {env.cwd}/ran; sleep 0.02" for n in range(TASKS)])
    run = env.start("fjd-batch", "-t", "1", "-p", prefix, *words, "tasks")
    wait_until(lambda: len(lines_of(env)) > 10, "tasks run", 30.0, run.show)
    return run


def said_by_workers(env: FjdEnv) -> str:
    """Return what the workers of the run have said."""
    logs = (*env.home.glob("*/screenlogs/*.log"), *env.cwd.glob("run1_*_engine_*.log"))
    return "".join(path.read_text(errors="replace") for path in logs)


def check(env: FjdEnv, run: Daemon) -> None:
    """Every task has run once and has one good row."""
    assert run.ended(60.0) == 0, run.show()
    assert codes(env) == dict.fromkeys(range(TASKS), 0)
    assert Counter(map(int, lines_of(env))) == Counter(range(TASKS))


def test_full_spool(make_env: Callable[..., FjdEnv], small_disk: Path) -> None:
    """Records and progress wait for room; no task runs twice for that, and no row is torn."""
    env = make_env(home=small_disk)
    run = begin(env, "run1")
    keep_full(small_disk, run, lambda: FULL in run.err + said_by_workers(env))
    check(env, run)


def test_full_where_the_rows_go(env: FjdEnv, small_disk: Path) -> None:
    """The rows wait for room, and that is said once; then each is there, whole."""
    run = begin(env, f"{small_disk}/run1")
    keep_full(small_disk, run, lambda: FULL in run.err)
    assert run.ended(60.0) == 0, run.show()
    assert run.err.count(FULL) == 1
    (env.cwd / "run1_status.txt").symlink_to(small_disk / "run1_status.txt")
    check(env, run)
    assert len(rows(env)) == TASKS


def test_full_at_the_start(make_env: Callable[..., FjdEnv], small_disk: Path) -> None:
    """A run that cannot begin says so in one line and ends; with room the same words run it."""
    env = make_env(home=small_disk)
    tasks(env, "echo x >> ran")
    fill(small_disk / "ballast")
    done = batch(env, "-t", "1", "-p", "run1", "tasks")
    assert done.code == 6, done.err
    assert [FULL in line for line in done.err.splitlines() if "warning" not in line] == [True]
    assert lines_of(env) == []
    os.unlink(small_disk / "ballast")
    done = batch(env, "-t", "1", "-p", "run1", "tasks")
    assert done.code == 0, done.err
    assert (codes(env), lines_of(env)) == ({0: 0}, ["x"])
