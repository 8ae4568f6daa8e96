"""Dismissing workers through the spool, as it is done where no signal reaches."""

from __future__ import annotations

import os
from typing import Callable

from harness import Daemon, FjdEnv, wait_until

from fjd.spool import contexts, crew, pods
from fjd.spool.lists import submission
from fjd.spool.project import Project

HOLD = "echo > began; while ! test -e go; do sleep 0.02; done; :"  # until the test says go
QUICK = {"FJD_HEARTBEAT": "0.4", "FJD_LEASE": "2", "FJD_POLL": "0.2", "FJD_NUDGE": "0.2"}


def engine(env: FjdEnv, rank: int, slots: int = 1, **more: str) -> list[Daemon]:
    """Start the workers of an engine."""
    words = ["--context", "c", "--engine", str(rank)]
    return [env.worker(*words, "--cylinder", str(k), **{**QUICK, **more}) for k in range(slots)]


def left(*workers: Daemon) -> Callable[[], bool]:
    """Tell whether these have ended well."""
    return lambda: all(w.process.poll() == 0 and "withdrawn." in w.out for w in workers)


def expect_end(*workers: Daemon) -> None:
    """It is no accident that they end."""
    for worker in workers:
        worker.asked = True


def test_idle_workers_leave_at_once(env: FjdEnv) -> None:
    """Those of one engine; the others stay."""
    gone, stays = engine(env, 0, slots=2), engine(env, 1)
    expect_end(*gone)
    cards = [card for _, card in crew.cards(env.project).values() if card]
    assert sorted((c.context, c.engine, c.cylinder) for c in cards) == [
        *(("c", 0, 0), ("c", 0, 1), ("c", 1, 0))
    ]
    assert contexts.dismiss(env.project, [0, 7]) == 2
    wait_until(left(*gone), "they have left", 2.0, env.show)
    assert contexts.workers(env.project) == {1: [stays[0].id]}
    assert os.listdir(env.project.jobpods) == [stays[0].id]


def test_who_is_busy_finishes_first(env: FjdEnv) -> None:
    """What it has not begun is done by somebody else, once."""
    (worker,) = engine(env, 0)
    expect_end(worker)
    env.serve(**QUICK)
    env.job("long", HOLD)
    env.wait_file("began")
    assert contexts.dismiss(env.project, [0]) == 1
    env.job("next", "true")
    wait_until(lambda: env.of("next"), "it is there", on_timeout=env.show)
    (env.cwd / "go").touch()
    wait_until(left(worker), "it has left", on_timeout=env.show)
    env.worker(**QUICK)
    env.wait_for("long", "next")
    assert env.outcomes() == {"long": "ok", "next": "ok"}
    assert [len(env.records(job)) for job in ("long", "next")] == [1, 1]


def test_now_ends_what_runs(env: FjdEnv) -> None:
    """As `fire` does: the task is given back and runs elsewhere as the next attempt."""
    (worker,) = engine(env, 0)
    expect_end(worker)
    env.serve(**QUICK)
    env.job("long", HOLD)
    env.wait_file("began")
    assert pods.dismiss(env.project, worker.id)
    assert pods.dismiss(env.project, worker.id, now=True)
    wait_until(left(worker), "it has left", on_timeout=env.show)
    (env.cwd / "go").touch()
    env.worker(**QUICK)
    assert env.wait_for("long")["long"].code == "ok"
    assert [record.get("returned") for record in env.records("long")] == [True, None]


def test_in_the_middle_of_a_piece(env: FjdEnv) -> None:
    """It leaves after the task that runs; each task of the list is done once."""
    (worker,) = engine(env, 0)
    expect_end(worker)
    script = "echo $FJD_TASK >> log; if [ $FJD_TASK = 3 ]; then echo > began; while ! test -e go;"
    script += " do sleep 0.02; done; fi"
    project = Project(env.project.name, env.project.root)
    project.tmp = env.project.lists
    place = submission.submit(project, "x.tasks", [script.encode()] * 20)
    for path in (place.path, *(f"{place.path}/{name}" for name in os.listdir(place.path))):
        env.own(path)
    env.serve(**QUICK)
    env.wait_file("began")
    assert pods.dismiss(env.project, worker.id)
    (env.cwd / "go").touch()
    wait_until(left(worker), "it has left", on_timeout=env.show)
    env.worker(**QUICK)
    env.wait_for("x.tasks")
    assert sorted(map(int, (env.cwd / "log").read_text().split())) == list(range(20))
