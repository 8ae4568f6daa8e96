"""What an attack on fjd found: each of these once ended a worker, a dispatcher or a CPU."""

from __future__ import annotations

import os
import time

import pytest
from harness import FjdEnv, wait_until

from fjd.spool import crew
from fjd.system import bell
from fjd.system.watch import Watch


def test_a_bell_during_a_task_costs_no_cpu(env: FjdEnv) -> None:
    """A worker that is rung while it works goes on waiting, and its task can be followed."""
    worker = env.worker()
    env.serve()
    env.job("long", "echo begun; exec sleep 60; :")
    env.wait_running("long")
    (found,) = crew.cards(env.project).values()
    assert found[1] is not None
    assert bell.ring(found[1].bell)
    before, began = worker.worker.cpu_times(), time.monotonic()
    wait_until(lambda: env.records("long", "start"), "the start is recorded")
    wait_until(lambda: time.monotonic() - began > 1.5, "a while has passed")
    after = worker.worker.cpu_times()
    used = after.user + after.system - before.user - before.system
    assert used < 0.5 * (time.monotonic() - began)


@pytest.mark.parametrize(
    "trick",
    [
        'rm -f "$FJD_JOBFILE"; mkdir "$FJD_JOBFILE"; :',
        'D=$(dirname "$FJD_JOBFILE"); rm -rf "$D"; echo z > "$D"; :',
        'rm -rf "$(dirname "$(dirname "$FJD_JOBFILE")")"; :',
    ],
    ids=["a directory for its copy", "a file for its directory", "no directory at all"],
)
def test_a_job_that_spoils_the_place_of_its_copy(env: FjdEnv, trick: str) -> None:
    """It ends well, its worker lives on, and so does the next dispatcher."""
    env.known_litter = True  # what the job left is moved out of the way into tmp/
    env.worker()
    env.job("a", trick)
    env.job("b", "true")
    env.serve()
    assert [found.code for found in env.wait_for("a", "b").values()] == ["ok", "ok"]
    env.job("c", "true")
    assert env.wait_for("c")["c"].code == "ok"


def test_no_inotify_instances_left(
    tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel gives no watch there are no events, and no error."""

    def refuse(**_: object) -> None:
        raise OSError(24, "inotify instance limit reached")

    monkeypatch.setattr("fjd.system.watch.Observer", refuse)
    watch = Watch(os.fspath(tmp_path), lambda: None)
    assert watch.arm() is False
    assert watch.armed is False


def test_a_removed_pod_is_told(env: FjdEnv) -> None:
    """``rm -r`` of all pods while jobs wait in them: each job is told, none silently forgotten."""
    env.worker()
    dispatcher = env.serve()
    env.job("a", 'rm -rf "$(dirname "$(dirname "$(dirname "$FJD_JOBFILE")")")"/jobpods; sleep 1; :')
    env.job("b", "true")
    dispatcher.says("a was removed while", 30)
    dispatcher.says("b was removed from the pod", 30)
    env.strict = False
