"""fjd-batch, killed at any moment, with its workers or without, and resumed to its end."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress

import psutil
import pytest
from batchrun import HOLD, batch, codes, lines_of, rows, status, tasks, wait_lines
from harness import Daemon, FjdEnv, wait_until

from fjd.spool import contexts, crew
from fjd.spool.project import Project

LIST = """\
#FJD PERENGINE START echo start >> log
#FJD PERENGINE STOP echo stop >> log
#FJD PREFIX echo "b $DISBATCH_TASKID" >> log; sleep 0.05;
#FJD SUFFIX ; c=$?; echo "e $DISBATCH_TASKID" >> log; exit $c
#FJD REPEAT 8 true
false
#FJD BARRIER
true
#FJD REPEAT 6 start 5 step 2 [ $((DISBATCH_REPEAT_INDEX % 3)) != 0 ]
#DISBATCH BARRIER
#FJD REPEAT 6 true
(exit 7)
#FJD BARRIER
true
""".splitlines()
BARRIERS = (9, 17, 25)
TASKS = sorted(set(range(27)) - set(BARRIERS))
FAILED = {8: 1, 13: 1, 16: 1, 24: 7}
WORKERS = 2


def log(env: FjdEnv) -> list[tuple[str, int]]:
    """Return what the tasks wrote: ``b`` or ``e``, and their number."""
    path = env.cwd / "log"
    words = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [(word[0], int(word[1])) for word in words if len(word) == 2]


def kill(env: FjdEnv, run: Daemon, everything: bool) -> None:
    """Kill a run (and whatever belongs to it, until nothing does)."""
    if run.process.poll() is None:
        run.kill()
    run.ended()
    while everything and (left := env.processes()):
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.mark.parametrize("seed", range(4))
def test_killed_and_resumed(env: FjdEnv, seed: int) -> None:
    """However often it is killed: each task counts once, and none starts before its barrier."""
    chance = random.Random(seed)
    tasks(env, *LIST)
    words = ("-t", str(WORKERS), "-p", "run1", "tasks")
    massacres = 0
    for _ in range(2):
        resumed = ("-r", "run1_status.txt") if status(env).exists() else ()
        run = env.start("fjd-batch", *resumed, *words)
        lines = len(log(env)) + chance.randrange(25)
        wait_until(
            lambda run=run, lines=lines: len(log(env)) >= lines or run.process.poll() is not None,
            "tasks run",
            60.0,
            env.show,
        )
        everything = chance.random() < 0.6
        massacres += everything
        kill(env, run, everything)
    resumed = ("-r", "run1_status.txt") if status(env).exists() else ()
    done = batch(env, *resumed, *words)
    assert done.code == 0, done.err

    found = [row for row in rows(env) if row.kind in " S"]
    assert sorted(row.number for row in found) == TASKS
    assert {row.number: row.code for row in found if row.code} == FAILED
    ran = Counter[int]()
    for path in env.cwd.glob("run1_status.txt*"):
        for line in path.read_text().splitlines():
            flags, number = line.split("\t")[:2]
            ran.update([int(number)] * (flags[3:] == " "))  # no zeros: Python 3.9 compares them
    assert ran == Counter(TASKS), "each task has been run for one row, in whichever file"

    events = log(env)
    ended = Counter(number for what, number in events if what == "e")
    assert sorted(ended) == TASKS
    assert sum(ended.values()) - len(TASKS) <= massacres * WORKERS, (
        "only what ran at a massacre runs twice"
    )
    for barrier in BARRIERS:
        first = next(at for at, (_, number) in enumerate(events) if number > barrier)
        before = {number for what, number in events[:first] if what == "e"}
        assert {number for number in TASKS if number < barrier} <= before


def test_workers_of_a_killed_run(env: FjdEnv) -> None:
    """Of whom it had hired nobody stays; -r then does what is left, each task once."""
    tasks(env, *[HOLD] * 12)
    run = env.start("fjd-batch", "-t", "2", "-p", "run1", "tasks")
    wait_lines(env, "began", 2)
    (name,) = (path.name for path in env.home.iterdir() if path.name.startswith("run1-"))
    project = Project(name, f"{env.home}/{name}")
    by_hand = env.worker("--project", name)
    run.kill()
    run.ended()
    (env.cwd / "go").touch()
    wait_until(lambda: list(crew.sightings(project)) == [by_hand.id], "they leave", 30, env.show)
    ended = len(lines_of(env, "ended"))
    assert 2 <= ended == len(lines_of(env, "began")) <= 12
    done = batch(env, "-p", "run1", "-r", "run1_status.txt", "tasks")
    assert done.code == 0, done.err
    assert by_hand.fired()
    assert codes(env) == dict.fromkeys(range(12), 0)
    assert len(lines_of(env, "began")) == 12


# -- in a project that somebody else serves -------------------------------------------------------


def test_killed_in_a_project(env: FjdEnv) -> None:
    """Its list goes on; then those whom it had hired leave, and those hired by hand stay."""
    worker = env.worker()
    env.serve()
    tasks(env, *[HOLD] * 6)
    words = ("--project", "default", "-t", "2", "-l", "mine", "-p", "run1")
    run = env.start("fjd-batch", *words, "tasks")
    wait_lines(env, "began", 3)
    run.kill()
    run.ended()
    (env.cwd / "go").touch()
    wait_until(lambda: list(env.sightings()) == [worker.id], "they leave", 20.0, env.show)
    wait_until(lambda: not contexts.everyone(env.project), "and are forgotten", 20.0, env.show)
    assert len(lines_of(env, "ended")) == 6 == len(codes(env))
    tasks(env, "true", "true")
    done = batch(env, *words[:-1], "run2", "tasks")
    assert done.code == 0, done.err


def test_killed_with_the_dispatcher(env: FjdEnv) -> None:
    """Who serves the project next lets them leave, as soon as their list is over."""
    worker = env.worker()
    serving = env.serve()
    tasks(env, *[HOLD] * 4)
    run = env.start("fjd-batch", "--project", "default", "-t", "2", "-p", "run1", "tasks")
    wait_lines(env, "began", 3)
    for daemon in (run, serving):
        daemon.kill()
        daemon.ended()
    (env.cwd / "go").touch()
    env.serve()
    wait_until(lambda: list(env.sightings()) == [worker.id], "they leave", 20.0, env.show)
    assert len(lines_of(env, "ended")) == 4 == len(codes(env))
