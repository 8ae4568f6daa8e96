"""The dispatcher: who runs what, in which order, what it says, and that nothing is ever lost."""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import subprocess
import time
from typing import Optional

import psutil
import pytest
from harness import FjdEnv, wait_until

HOLD = "echo > began; while ! test -e go; do sleep 0.02; done; :"  # until the test says go
LOG = "echo $FJD_JOB >> order; :"
MANY = 100  # jobs, while somebody is killed all the time


def order(env: FjdEnv) -> list[str]:
    """Return in which order the jobs that ran LOG have run."""
    path = env.cwd / "order"
    words = path.read_text().split() if path.exists() else []
    return [word.rpartition(".")[0] for word in words]


def found_lines(text: str) -> list[tuple[int, int]]:
    """Return the numbers of jobs and workers in all lines of status."""
    pattern = r"^\[fjd-dispatcher\] Found (\d+) job\(s\) and (\d+) worker\(s\)\.\.\.$"
    return [(int(jobs), int(workers)) for jobs, workers in re.findall(pattern, text, re.MULTILINE)]


def go(env: FjdEnv) -> None:
    """Let the job end that holds."""
    (env.cwd / "go").touch()


# -- order and words ------------------------------------------------------------------------------


def test_natural_order_at_the_start(env: FjdEnv) -> None:
    """What lies in the queue at the start is run in the natural order of the names."""
    names = ["a", "a1", "a2", "a10", "a10b", "a11", "b1x2", "b1x10", "c09", "c10", "z"]
    for name in reversed(names):
        env.job(name, LOG)
    env.worker()
    done = env.dispatch()
    assert done.code == 0
    assert order(env) == names


def test_first_come_first_served(env: FjdEnv) -> None:
    """What comes later is run later, whatever its name."""
    env.worker()
    dispatcher = env.dispatcher("--keep-running", "--interval", "0", FJD_POLL="0.1")
    env.job("m", HOLD)
    env.wait_file("began")
    names = ["z", "y", "x", "a"]
    for seen, name in enumerate(names, 1):
        env.job(name, LOG)
        dispatcher.says(f"Found {seen} job(s) and 0 worker(s)...")
    go(env)
    env.wait_for("m", *names)
    assert order(env) == names


def test_what_comes_back_goes_first(env: FjdEnv) -> None:
    """A job whose worker was fired is the next one to be run."""
    worker = env.worker()
    env.serve()
    env.job("1", f"echo $FJD_JOB >> order; {HOLD}")
    env.wait_file("began")
    for name in ("2", "3", "4"):
        env.job(name, LOG)
    worker.stop()
    go(env)
    env.worker()
    env.wait_for("1", "2", "3", "4")
    assert order(env) == ["1", "1", "2", "3", "4"]


def test_words_and_exit_code(env: FjdEnv) -> None:
    """The classic lines are said; the workers are fired; all good is exit code 0."""
    workers = env.workers(2)
    for number in range(5):
        env.job(f"job{number}", "sleep 0.1; :")
    done = env.dispatch()
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == '[fjd-dispatcher] Started on project "default"'
    assert found_lines(done.out)[0] == (5, 2)
    assert "[fjd-dispatcher] No (more) jobs." in lines
    assert done.out.count("No (more) jobs.") == 1
    for worker in workers:
        assert worker.fired()
    assert env.sightings() == {}
    assert sorted(env.outcomes().values()) == ["ok"] * 5


def test_nothing_to_do(env: FjdEnv) -> None:
    """Without any job and worker the dispatcher says so and ends well."""
    done = env.dispatch()
    assert done.code == 0
    assert "[fjd-dispatcher] No (more) jobs." in done.out.splitlines()
    assert found_lines(done.out) == []


@pytest.mark.parametrize("bad", ["false", "kill -9 $$; :", "sleep 100"])
def test_some_failed(env: FjdEnv, bad: str) -> None:
    """If a job failed, all others are run all the same; exit code 1, and what to type."""
    env.worker()
    env.job("1", bad, timeout=0.5)
    env.job("2", "true")
    done = env.dispatch()
    assert done.code == 1
    assert "1 done, 1 failed; type: fjd status --project default" in done.err
    assert env.outcomes()["2"] == "ok"


def test_rejected_counts(env: FjdEnv) -> None:
    """A rejected job is one that did not end well: exit code 1."""
    env.worker()
    env.put("bad", "[control]\n")
    env.job("good", "true")
    done = env.dispatch()
    assert done.code == 1
    assert "1 done, 1 rejected" in done.err


def test_does_not_end_while_a_job_runs(env: FjdEnv) -> None:
    """As long as one job runs nobody is fired, and what is dropped meanwhile is run."""
    first, second = env.workers(2)
    for worker in (first, second):
        worker.asked = True  # of them to end at last
    env.job("long", HOLD)
    dispatcher = env.dispatcher()
    dispatcher.asked = True
    env.wait_running("long")
    env.job("late", "true")
    env.wait_for("late")
    wait_until(lambda: len(env.sightings()) == 2, "both are there", on_timeout=env.show)
    assert dispatcher.process.poll() is None
    assert "No (more) jobs." not in dispatcher.out
    go(env)
    assert dispatcher.ended() == 0
    assert env.outcomes() == {"long": "ok", "late": "ok"}
    assert first.fired()
    assert second.fired()


def test_keep_running(env: FjdEnv) -> None:
    """With --keep-running a job that is dropped after a while is served at once."""
    worker = env.worker()
    dispatcher = env.serve()
    env.job("1", "true")
    env.wait_for("1")
    wait_until(lambda: not env.sightings()[worker.id].busy, "it is idle", on_timeout=env.show)
    for name in ("2", "3"):
        env.job(name, "true")
        env.wait_for(name)
    assert dispatcher.process.poll() is None
    assert worker.process.poll() is None


def test_no_wait(env: FjdEnv) -> None:
    """With --no-wait jobs without workers end it with exit code 4, and it says what to type."""
    env.job("job", "true")
    done = env.dispatch("--no-wait")
    assert done.code == 4
    assert "1 job(s) and no workers" in done.err
    assert "fjd-recruiter --project default hire" in done.err
    assert env.of("job")[0].state == "queued"


def test_jobs_and_no_workers(env: FjdEnv) -> None:
    """Jobs without workers are told within five seconds, once, and run when a worker comes."""
    env.job("job", "true")
    dispatcher = env.serve()
    dispatcher.says("1 job(s) and no workers, so nobody can run them", 5.0)
    assert "type: fjd-recruiter --project default hire" in dispatcher.err
    env.worker()
    env.wait_for("job")
    assert dispatcher.err.count("no workers") == 1


def test_status_only(env: FjdEnv) -> None:
    """--status-only prints one line, touches nothing, and needs no lease."""
    for name in ("1", "2", "3"):
        env.job(name, "true")
    env.workers(2)
    done = env.run("fjd-dispatcher", "--status-only")
    assert (done.code, done.out) == (0, "[fjd-dispatcher] Found 3 job(s) and 2 worker(s)...\n")
    assert {found.state for found in env.everything()} == {"queued"}
    assert os.listdir(env.project.dispatcher) == []


def test_interval(env: FjdEnv) -> None:
    """At most one line of status is printed in an interval."""
    env.worker()
    for number in range(30):
        env.job(f"job{number}", "sleep 0.02; :")
    done = env.dispatch("--interval", "60")
    assert done.code == 0
    assert found_lines(done.out) == [(30, 1)]


@pytest.mark.parametrize("pipe", ["| head -1", "2>&1 | head -1", ">&- 2>&-"])
def test_nobody_reads(env: FjdEnv, pipe: str) -> None:
    """That nobody reads what it says does not keep the dispatcher from its work."""
    env.worker().asked = True
    for name in ("1", "2", "bad"):
        env.job(name, "sleep 0.2; exit 3;" if name == "bad" else "sleep 0.2; :")
    command = f"{shlex.join(env.argv('fjd-dispatcher'))} {pipe}; echo ${{PIPESTATUS[0]}} > code"
    subprocess.run(
        ["bash", "-c", command], env=env.env, cwd=env.cwd, check=True, **env.person.as_user()
    )
    assert env.outcomes()["1"] == env.outcomes()["2"] == "ok"
    assert len(env.filed()) == 3
    assert (env.cwd / "code").read_text() == "1\n"


@pytest.mark.parametrize("words", [["--retries", "x"], ["--interval", "-1"], ["--what"], ["now"]])
def test_usage(env: FjdEnv, words: list[str]) -> None:
    """A command line that makes no sense ends with exit code 2 and says which part of it."""
    done = env.run("fjd-dispatcher", *words)
    assert (done.code, done.out) == (2, "")
    assert words[-1] in done.err


def test_callback(env: FjdEnv) -> None:
    """The callback is run when all is done."""
    env.worker()
    env.job("1", LOG)
    done = env.dispatch("--callback", "cat order > called; echo called")
    assert done.code == 0
    assert (env.cwd / "called").read_text().startswith("1.")


# -- retries and removals -------------------------------------------------------------------------


def test_retries_in_the_job_file(env: FjdEnv) -> None:
    """A job is tried again as often as its file says, and each attempt has its record."""
    env.worker()
    env.job("lucky", "echo $FJD_ATTEMPT >> tries; test $FJD_ATTEMPT = 3; exit $?; ", retries=5)
    env.job("unlucky", "false", retries=2)
    env.job("single", "false")
    env.put("script", "#!/bin/sh\nexit 4\n", 0o700)
    done = env.dispatch()
    assert done.code == 1
    assert (env.cwd / "tries").read_text().split() == ["1", "2", "3"]
    outcomes = {"lucky": "ok", "unlucky": "x1", "single": "x1", "script": "x4"}
    assert env.outcomes() == outcomes
    assert [r["outcome"] for r in env.records("lucky")] == ["failed", "failed", "ok"]
    assert [r["attempt"] for r in env.records("unlucky")] == [1, 2, 3]
    assert len(env.records("single")) == len(env.records("script")) == 1


def test_retries_option(env: FjdEnv) -> None:
    """--retries is for all jobs that do not allow more themselves."""
    env.worker()
    env.job("bad", "false")
    env.job("worse", "false", retries=2)
    env.job("slow", "sleep 100", timeout=0.1)
    assert env.dispatch("--retries", "1").code == 1
    counts = {name: len(env.records(name)) for name in ("bad", "worse", "slow")}
    assert counts == {"bad": 2, "worse": 3, "slow": 2}


def test_removed_from_a_pod(env: FjdEnv) -> None:
    """A job that is removed from a pod before it ran is cancelled: told, recorded, not run."""
    env.worker()
    dispatcher = env.serve(FJD_POLL="0.2")
    env.job("1", HOLD)
    env.wait_file("began")
    env.job("2", LOG)
    found = wait_until(
        lambda: next((f for f in env.of("2") if f.state == "assigned"), None), "2 is assigned"
    )
    assert found
    os.unlink(found.path)
    dispatcher.says("2 was removed from the pod of")
    go(env)
    env.job("3", LOG)
    env.wait_for("1", "3")
    assert order(env) == ["3"]
    assert env.record("2")["outcome"] == "cancelled"
    assert env.outcomes() == {"1": "ok", "3": "ok"}


def test_removed_while_running(env: FjdEnv) -> None:
    """A job whose file is removed while it runs is told, and its end is recorded and counts."""
    worker = env.worker()
    dispatcher = env.serve(FJD_POLL="0.2")
    env.job("job", f"{HOLD}; exit 3; :")
    env.wait_file("began")
    os.unlink(env.wait_running("job").path)
    go(env)
    dispatcher.says("job was removed while")
    assert env.record("job")["exit"] == 3
    assert [record["event"] for record in env.records("job", "removed")] == ["removed"]
    env.job("next", "true")
    env.wait_for("next")
    assert worker.ids == [worker.id]


@pytest.mark.parametrize("tool", ["mv", "cp", "cp -p", "install -m 700", "sh -c 'cat $0 > $1'"])
def test_dropped_with(env: FjdEnv, tool: str) -> None:
    """A file that is dropped with any tool is run exactly once."""
    env.worker()
    env.serve()
    source = env.home / "dropped"
    source.write_text(f"[control]\nexecutable: {LOG}\n" + "# padding\n" * 50_000)
    env.own(source)
    target = f"{env.project.jobqueue}/dropped"
    subprocess.run([*shlex.split(tool), str(source), target], check=True, **env.person.as_user())
    env.wait_for("dropped")
    env.job("next", LOG)
    env.wait_for("next")
    assert order(env) == ["dropped", "next"]
    assert env.outcomes() == {"dropped": "ok", "next": "ok"}


def test_same_name_again(env: FjdEnv) -> None:
    """A job of the same name as one before is another job."""
    env.worker()
    env.serve()
    for number in (1, 2, 3):
        env.job("job", f"echo {number} >> runs; :")
        wait_until(lambda: len(env.of("job")) == number, "it is there")  # noqa: B023
        wait_until(
            lambda: [found.code for found in env.of("job")] == ["ok"] * number,  # noqa: B023
            "it is filed",
            on_timeout=env.show,
        )
    assert (env.cwd / "runs").read_text().split() == ["1", "2", "3"]


def test_failed_job_moved_back(env: FjdEnv) -> None:
    """A failed job that is moved back into the queue by hand is run as a new one."""
    env.worker()
    env.serve()
    env.job("job", "test -e there; exit $?;")
    found = env.wait_for("job")["job"]
    assert found.code.startswith("x")
    (env.cwd / "there").touch()
    os.rename(found.path, f"{env.project.jobqueue}/{os.path.basename(found.path)}")
    wait_until(lambda: env.outcomes().get("job") == "ok", "it has run again", on_timeout=env.show)
    assert len(env.of("job")) == 1


# -- the lease ------------------------------------------------------------------------------------


def test_second_dispatcher(env: FjdEnv) -> None:
    """A second dispatcher ends with exit code 6 and says who is the first."""
    first = env.serve()
    done = env.run("fjd-dispatcher")
    assert done.code == 6
    assert f"(pid {first.pid} on {os.uname().nodename})" in done.err
    assert 'serves project "default" already' in done.err
    env.worker()
    env.job("job", "true")
    env.wait_for("job")


def test_successor(env: FjdEnv) -> None:
    """After the death of a dispatcher the next one takes over at once; nothing is lost."""
    env.env["FJD_LEASE"] = "3600"  # nobody could wait for it here
    workers = env.workers(2)
    first = env.serve()
    for number in range(20):
        env.job(f"job{number}", f"sleep 0.1; echo job{number} >> runs; :")
    wait_until(lambda: len(env.filed()) >= 4, "some are done", on_timeout=env.show)
    first.kill()
    first.ended()
    for worker in workers:
        worker.asked = True
    second = env.dispatcher()
    assert second.ended() == 0
    assert env.outcomes() == {f"job{number}": "ok" for number in range(20)}
    runs = (env.cwd / "runs").read_text().split()
    assert sorted(runs) == sorted(f"job{number}" for number in range(20)), "each ran once"


# -- Ctrl-C ---------------------------------------------------------------------------------------


def test_interrupted_once(env: FjdEnv) -> None:
    """Ctrl-C once: what runs is finished, what waits goes back, exit code 130, nobody fired."""
    worker = env.worker()
    dispatcher = env.serve()
    env.job("1", HOLD)
    env.wait_file("began")
    env.job("2", LOG)
    env.job("3", LOG)
    wait_until(lambda: {f.state for f in env.of("2")} == {"assigned"}, "2 is assigned")
    dispatcher.signal(signal.SIGINT)
    dispatcher.says("Ctrl-C again to stop now")
    wait_until(
        lambda: [found.state for name in "23" for found in env.of(name)] == ["queued"] * 2,
        "both are back",
        on_timeout=env.show,
    )
    assert dispatcher.process.poll() is None
    go(env)
    assert dispatcher.ended() == 130
    assert "go on with: fjd-dispatcher --project default" in dispatcher.err
    assert env.outcomes() == {"1": "ok"}
    assert worker.process.poll() is None
    assert os.listdir(env.project.dispatcher) == []
    assert env.dispatch().code == 0
    assert order(env) == ["2", "3"]


def test_interrupted_twice(env: FjdEnv) -> None:
    """Ctrl-C twice: it ends at once; the job runs on, and the next dispatcher files it."""
    worker = env.worker()
    dispatcher = env.serve()
    env.job("1", HOLD)
    env.wait_file("began")
    dispatcher.signal(signal.SIGINT)
    dispatcher.says("Ctrl-C again to stop now")
    dispatcher.signal(signal.SIGINT)
    assert dispatcher.ended(5.0) == 130
    assert env.of("1")[0].state == "running"
    go(env)
    wait_until(lambda: env.of("1")[0].state == "ended", "it has ended", on_timeout=env.show)
    assert env.dispatch().code == 0
    assert env.outcomes() == {"1": "ok"}
    assert len(env.records("1")) == 1
    assert worker.fired()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_told_to_end(env: FjdEnv, number: signal.Signals) -> None:
    """A dispatcher that is told to end does so at once and gives up its lease."""
    env.worker()
    dispatcher = env.serve()
    env.job("1", HOLD)
    env.wait_file("began")
    dispatcher.signal(number)
    assert dispatcher.ended(5.0) == 130
    assert os.listdir(env.project.dispatcher) == []
    go(env)
    assert env.dispatch().code == 0
    assert env.outcomes() == {"1": "ok"}


# -- many jobs, many deaths -----------------------------------------------------------------------


def drop(env: FjdEnv, number: int) -> list[str]:
    """Drop so many jobs; each leaves a file that says how often it was started."""
    ran = env.cwd / "ran"
    ran.mkdir()
    env.own(ran)
    names = [f"job{n}" for n in range(number)]
    for name in names:
        env.job(name, "echo >> ran/${FJD_JOB%.*}; sleep 0.01; :")
    return names


def check_all_filed(env: FjdEnv, names: list[str], kills: int) -> None:
    """Check that each job was filed once, and ran again only for a kill."""
    filed = env.filed()
    assert sorted(filed) == sorted(names)
    assert {found.code for found in filed.values()} == {"ok"}
    assert len(env.everything()) == len(names)
    starts = sum((env.cwd / "ran" / name).read_text().count("\n") for name in names)
    attempts = sum(found.token.attempt for found in filed.values() if found.token)
    assert len(names) <= starts <= len(names) + kills
    assert attempts <= len(names) + kills
    assert starts <= attempts


@pytest.mark.parametrize("seed", [1, 2])
def test_workers_killed_at_random(env: FjdEnv, seed: int) -> None:
    """Many jobs on workers that are killed all the time: each is filed exactly once."""
    chance = random.Random(seed)
    names = drop(env, MANY)
    crew = env.workers(3)
    env.serve()
    kills = 0
    filed = 0
    until = time.monotonic() + 60.0
    while filed < MANY and time.monotonic() < until:
        target = min(MANY, filed + chance.randint(5, 25))
        filed = wait_until(lambda: _reached(env, target), "it goes on", 30.0, env.show)  # noqa: B023
        if filed < MANY and kills < 8:
            victim = chance.choice(crew)
            crew.remove(victim)
            victim.says("Started with ID ")
            if chance.random() < 0.7:
                victim.kill_worker()
            else:
                victim.kill()
            kills += 1
            crew.append(env.start("fjd-worker"))
    assert kills >= 4
    check_all_filed(env, names, kills)


def _reached(env: FjdEnv, number: int) -> Optional[int]:
    count = sum(len(files) for _, _, files in os.walk(env.project.done))
    return count if count >= number else None


def test_dispatchers_killed_at_random(env: FjdEnv) -> None:
    """Many jobs under dispatchers that are killed: each runs and is filed once."""
    chance = random.Random(3)
    names = drop(env, MANY)
    env.workers(3)
    dispatcher = env.serve()
    for target in (7, 23, 30, 50, 73, 87):
        wait_until(lambda: _reached(env, target), "it goes on", 30.0, env.show)  # noqa: B023
        if chance.random() < 0.8:
            dispatcher.kill()
        else:
            dispatcher.signal(signal.SIGINT)
            dispatcher.signal(signal.SIGTERM)
        dispatcher.ended()
        dispatcher = env.serve()
    wait_until(lambda: _reached(env, MANY), "all are filed", 30.0, env.show)
    check_all_filed(env, names, 0)


def test_everybody_killed(env: FjdEnv) -> None:
    """After the death of everybody at once a new crew loses nothing."""
    names = drop(env, 60)
    crew = env.workers(2)
    dispatcher = env.serve()
    wait_until(lambda: _reached(env, 10), "it goes on", on_timeout=env.show)
    for daemon in (dispatcher, *crew):
        daemon.kill()
    for daemon in (dispatcher, *crew):
        daemon.ended()
    env.workers(2)
    done = env.dispatch()
    assert done.code == 0, done
    check_all_filed(env, names, 2)


# -- speed ----------------------------------------------------------------------------------------


def test_long_job_does_not_hold_up_others(env: FjdEnv) -> None:
    """What waits in the pod behind a long job is handed to a worker that has nothing to do."""
    first = env.worker()
    env.serve()
    env.job("1", HOLD)
    env.wait_file("began")
    env.job("2", "true")
    wait_until(lambda: env.of("2")[0].state == "assigned", "2 waits behind it")
    second = env.worker()
    found = env.wait_for("2")["2"]
    assert found.worker == second.id
    go(env)
    assert env.wait_for("1")["1"].worker == first.id


def test_idle_dispatcher_is_quiet(env: FjdEnv) -> None:
    """With nothing to do neither dispatcher nor worker uses the processor to speak of."""
    worker = env.worker()
    dispatcher = env.serve()
    env.job("job", "true")
    env.wait_for("job")
    processes = [psutil.Process(dispatcher.pid), worker.worker, psutil.Process(worker.pid)]
    until = time.monotonic() + 4.0
    wait_until(lambda: time.monotonic() > until - 2.5, "the excitement is over")
    before = [sum(process.cpu_times()[:2]) for process in processes]
    wait_until(lambda: time.monotonic() > until, "some time has passed")
    used = [sum(process.cpu_times()[:2]) - old for process, old in zip(processes, before)]
    assert max(used) < 0.15, used
