"""The worker: what a job is given, what is recorded of it, and who dies with whom."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from harness import FAST, FjdEnv, gone, wait_until
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fjd.spool import crew

# A job that shows its processes in a file, one of them a daemon of its own session.
FAMILY = "sh family.sh"
HOLD = "echo > began; while ! test -e go; do sleep 0.02; done; :"  # until the test says go
FAMILY_SCRIPT = """\
setsid sleep 1000 &
echo $! > daemon.pid
sleep 1000 &
echo $$ $! $(cat daemon.pid) > pids
wait
"""


def family(env: FjdEnv, job: str = "family") -> list[int]:
    """Start the job with three processes and return their pids."""
    (env.cwd / "family.sh").write_text(FAMILY_SCRIPT)
    env.job(job, FAMILY)
    return [int(word) for word in env.wait_file("pids").split()]


# -- a life ---------------------------------------------------------------------------------------


def test_life(env: FjdEnv) -> None:
    """A worker announces itself idle, is busy while it runs a job, and is announced again."""
    worker = env.worker()
    seen = env.sightings()[worker.id]
    assert not seen.busy
    card = crew.card(env.project, seen)
    assert card is not None
    assert (card.guardian.pid, card.identity.pid) == (worker.pid, worker.worker.pid)
    assert card.cwd == str(env.cwd)
    assert os.listdir(env.project.jobpods) == [worker.id]
    env.serve()
    env.job("first", HOLD)
    env.wait_file("began")
    assert env.sightings()[worker.id].busy
    assert os.listdir(f"{env.project.running}/{worker.id}") == ["first"]
    (env.cwd / "go").touch()
    env.wait_for("first")
    wait_until(lambda: not env.sightings()[worker.id].busy, "it is idle again", on_timeout=env.show)
    env.job("second", "true")
    env.wait_for("second")
    assert env.outcomes() == {"first": "ok", "second": "ok"}
    assert worker.ids == [worker.id]
    assert worker.out.count("I found a job.") == worker.out.count("Finished my job.") >= 1
    assert worker.stop() == 0
    assert "withdrawn." in worker.out
    assert env.sightings() == {}
    assert os.listdir(env.project.jobpods) == []


def test_record(env: FjdEnv) -> None:
    """The record of an attempt says what ran, where, how it ended and what it used."""
    worker = env.worker()
    env.serve()
    before = time.time()
    command = "sleep 0.2; echo out; echo error >&2; exit 3"
    env.job("a job", command)
    found = env.wait_for("a job")["a job"]
    record = env.record("a job")
    assert before <= record["start"] <= record["end"] <= time.time()
    assert 0.2 <= record["seconds"] <= record["end"] - record["start"] + 0.1
    assert 0.0 <= record["cpu"] < record["seconds"]
    assert 100 < record["rss_kib"] < 1 << 20
    assert record["pid"] > 1
    (_, out), (_, err) = record["out"], record["err"]
    assert (out, err) == (4, 6)
    expected = {
        "event": "end",
        "job": "a job",
        "key": found.key,
        "task": 1,
        "attempt": 1,
        "worker": worker.id,
        "host": os.uname().nodename,
        "outcome": "failed",
        "exit": 3,
        "signal": None,
        "cause": "",
        "command": command,
    }
    assert {field: record[field] for field in expected} == expected
    assert found.code == "x3"


def test_start_is_recorded(env: FjdEnv) -> None:
    """An attempt that lasts a second has a start record, and its output is there while it runs."""
    worker = env.worker()
    env.serve()
    env.job("long", "echo early; while ! test -e go; do sleep 0.02; done; echo late; :")
    (start,) = wait_until(lambda: env.records("long", "start"), "it is recorded")
    assert start["worker"] == worker.id
    assert start["attempt"] == 1
    output = Path(env.project.output_file(worker.id, "out"))
    wait_until(lambda: output.read_bytes() == b"early\n", "the output is there")
    (env.cwd / "go").touch()
    env.wait_for("long")
    assert env.output("long") == b"early\nlate\n"
    assert start["out"][0] == env.record("long")["out"][0]


# -- what a job is given --------------------------------------------------------------------------


def test_environment(env: FjdEnv) -> None:
    """A job is told the project, its key, task, attempt, worker and job file."""
    worker = env.worker(KEPT="as it was")
    env.serve()
    env.job("job.conf", "env; cat $FJD_JOBFILE >&2")
    found = env.wait_for("job.conf")["job.conf"]
    told = dict(line.split("=", 1) for line in env.output("job.conf").decode().splitlines())
    expected = {
        "FJD_PROJECT": "default",
        "FJD_JOB": found.key,
        "FJD_TASK": "1",
        "FJD_ATTEMPT": "1",
        "FJD_WORKER": worker.id,
        "FJD_JOBFILE": f"{env.project.running}/{worker.id}/job.conf",
        "KEPT": "as it was",
    }
    assert {name: told.get(name) for name in expected} == expected
    assert env.output("job.conf", "err").startswith(b"[control]\nexecutable: env; ")


def test_argument(env: FjdEnv) -> None:
    """A job's one argument is the absolute path of a readable copy under its own name."""
    env.worker()
    env.serve()
    (env.cwd / "args.sh").write_text('echo $#; echo "$1"; basename "$1"; cat "$1"\n')
    env.job("job0.conf", "sh args.sh", logfile="log")
    env.wait_for("job0.conf")
    count, path, name, content = env.output("job0.conf").decode().split("\n", 3)
    assert (count, name) == ("1", "job0.conf")
    assert os.path.isabs(path)
    assert content == "[control]\nexecutable: sh args.sh\nlogfile: log\n"
    assert not os.path.exists(path), "the copy is gone afterwards"


def test_stdin_is_empty(env: FjdEnv) -> None:
    """A job that reads its input finds its end at once."""
    env.worker()
    env.serve()
    env.job("reader", "readlink /proc/self/fd/0; cat <&0; echo $(ls /proc/self/fd); :")
    env.wait_for("reader")
    null, *descriptors = env.output("reader").decode().split()
    assert null == "/dev/null"
    assert descriptors == ["0", "1", "2", "3"], "nothing of the worker is open in a job"


HOSTILE = [
    "",
    " ",
    "#",
    "echo # no comment",
    "%",
    "%(executable)s",
    "%%",
    '"',
    '"""',
    "'''",
    '"quoted" tail',
    "it's",
    "a,b",
    ",",
    "a=b",
    "a: b",
    "=",
    ":",
    "\\",
    "\\n\\",
    "$HOME `id` $(id) ${x:-y}",
    "é ß 漢字 🦊",
    "\u00a0no-break\u00a0",
    "\u2028\u2029\x85\x1c",
    "\t tab\t",
    "a\rb",
    "[control]",
    "; # ;",
    "*?[a-z]{1,2}~",
    "!history!",
    "&& || ; & |",
    "-n -e --",
    "\x01\x1b[31m\x7f",
    "x" * 5000,
]


def check_values(env: FjdEnv, values: list[str]) -> None:
    """Print each value in a job of its own and compare it with what was meant."""
    for number, value in enumerate(values):
        env.job(f"v{number}", f"printf '<%s>' {shlex.quote(value)}")
    names = [f"v{number}" for number in range(len(values))]
    env.wait_for(*names)
    records = {r["job"]: r for r in env.all_records() if r["event"] == "end"}
    for name, value in zip(names, values):
        assert records[name]["outcome"] == "ok", (value, records[name])
        printed, _, rest = env.output(name).rpartition(b"<")
        assert printed == f"<{value}>".encode(), value
        assert rest.endswith(f"/{name}>".encode())


def test_hostile_values(env: FjdEnv) -> None:
    """Whatever stands behind `executable:` reaches the shell byte for byte."""
    env.workers(2)
    env.serve()
    check_values(env, HOSTILE)


COMMANDS = [
    "printf '%s|' a\\ b 'c  d' \"e\" f#g # h",
    "echo $((6*7)) >&2; exit $((6*7))",
    "x=1; y = 2",
    "for i in 1 2 3; do printf '%s, ' $i; done; :",
    "printf '%s=%s:%s\\n' a b c",
    'echo "unbalanced',
    "(exit 7)",
    "cat <<< nothing",
    "printf %s '[x]: #1' | tr -d '[]'; :",
    "if true; then echo yes; fi; :",
    ": ; : `echo sub >&2`",
]


def test_commands(env: FjdEnv) -> None:
    """A command does what `sh -c` does with it: the same output, errors and exit code."""
    env.workers(2)
    env.serve()
    for number, command in enumerate(COMMANDS):
        env.job(f"c{number}", command)
    env.wait_for(*(f"c{number}" for number in range(len(COMMANDS))))
    for number, command in enumerate(COMMANDS):
        name = f"c{number}"
        record = env.record(name)
        argument = f"{env.project.running}/{record['worker']}/{name}"
        argv = ["sh", "-c", f'{command} "$@"', "sh", argument]
        done = subprocess.run(
            argv,
            capture_output=True,
            check=False,
            cwd=env.cwd,
            env=env.env,
            **env.person.as_user(),
        )
        got = (record["exit"], env.output(name), env.output(name, "err"))
        assert got == (done.returncode, done.stdout, done.stderr), command


def test_any_value(env: FjdEnv) -> None:
    """Any text without line ends and NUL reaches the shell byte for byte."""
    values: list[str] = []
    characters = st.characters(exclude_characters="\0\n", exclude_categories=["Cs"])
    text = st.text(characters, max_size=40)

    @settings(
        max_examples=60,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(text)
    def collect(value: str) -> None:
        values.append(value)

    collect()
    env.workers(2)
    env.serve()
    check_values(env, values)


def test_logfile(env: FjdEnv) -> None:
    """The log file is there when the job starts, and what was in it stays."""
    env.worker()
    env.serve()
    (env.cwd / "old.log").write_text("old\n")
    os.utime(env.cwd / "old.log", (1, 1))
    env.own(env.cwd / "old.log")
    env.job("new", "test -e 'a new.log' && echo found; :", logfile="a new.log")
    env.job("old", "cat old.log", logfile="old.log")
    env.job("home", "ls ~", logfile="~/home.log")
    env.job("impossible", "echo ran", logfile="no/such/directory/log")
    env.wait_for("new", "old", "home", "impossible")
    assert env.output("new") == b"found\n"
    assert (env.cwd / "a new.log").read_text() == ""
    assert env.output("old").startswith(b"old\n")
    assert (env.cwd / "old.log").stat().st_mtime > 1
    assert (env.cwd / "home.log").exists()
    assert env.output("impossible").startswith(b"ran ")
    assert b"cannot touch the logfile" in env.output("impossible", "err")
    assert env.outcomes()["impossible"] == "ok"


def test_cwd(env: FjdEnv) -> None:
    """A job starts where its worker was told to, or where its own file says."""
    elsewhere = env.cwd / "else where"
    below = elsewhere / "below"
    below.mkdir(parents=True)
    env.own(elsewhere)
    env.own(below)
    env.worker("--cwd", str(elsewhere))
    env.serve()
    env.job("plain", "pwd; :")
    env.job("relative", "pwd; :", cwd="below")
    env.job("absolute", "pwd; :", cwd=str(env.tmp))
    env.job("home", "pwd; :", cwd="~")
    env.job("missing", "pwd; :", cwd="no such place")
    env.job("after", "pwd; :")
    env.wait_for("plain", "relative", "absolute", "home", "missing", "after")
    assert env.output("plain") == env.output("after") == f"{elsewhere}\n".encode()
    assert env.output("relative") == f"{below}\n".encode()
    assert env.output("absolute") == f"{env.tmp}\n".encode()
    assert env.output("home") == f"{env.cwd}\n".encode()
    assert env.outcomes()["missing"] == "x126"
    assert "no such place" in env.record("missing")["cause"]
    assert b"no such place" in env.output("missing", "err")


def test_env_option(env: FjdEnv) -> None:
    """`env` adds to a job's environment, and only to its own."""
    env.worker()
    env.serve()
    env.job("one", 'echo "$GREETING $EMPTY."; :', env='GREETING="hello, world" EMPTY=')
    env.job("two", 'echo "$GREETING."; :')
    env.wait_for("one", "two")
    assert env.output("one").startswith(b"hello, world .")
    assert env.output("two").startswith(b".")


def test_nice(env: FjdEnv) -> None:
    """`nice` makes a job nicer than its worker, and not the next one."""
    env.worker("--nice", "2")
    env.serve()
    env.job("nicer", "nice; :", nice=5)
    env.job("other", "nice; :")
    env.wait_for("nicer", "other")
    assert (env.output("nicer"), env.output("other")) == (b"7\n", b"2\n")


def test_script(env: FjdEnv) -> None:
    """A script that may be executed is run as it is, with no argument added."""
    env.worker()
    env.serve()
    script = '#!/bin/sh\necho "$# $(basename "$0")"\ntest "$0" = "$FJD_JOBFILE" && echo same\n'
    env.put("script.sh", script, 0o700)
    env.wait_for("script.sh")
    assert env.outcomes() == {"script.sh": "ok"}
    assert env.output("script.sh") == b"0 script.sh\nsame\n"


def test_started_without_standard_files(env: FjdEnv) -> None:
    """A worker whose standard files were closed gives its jobs theirs all the same."""
    command = f"exec {shlex.join(env.argv('fjd-worker'))} <&- >&- 2>&-"
    worker = subprocess.Popen(
        ["sh", "-c", command], env=env.env, cwd=env.cwd, **env.person.as_user()
    )
    wait_until(env.sightings, "it is announced", on_timeout=env.show)
    env.serve()
    env.job("job", "readlink /proc/$$/fd/0; echo out; echo err >&2; :")
    env.wait_for("job")
    assert env.output("job") == b"/dev/null\nout\n"
    assert env.output("job", "err") == b"err\n"
    worker.terminate()
    assert worker.wait(10.0) == 0


# -- how a job is ended ---------------------------------------------------------------------------


def test_timeout(env: FjdEnv) -> None:
    """A timeout ends the whole group, also children that do not hear a TERM."""
    env.worker()
    env.serve()
    deaf = "trap '' TERM; sleep 1000 & echo $$ $! > pids; while :; do sleep 1000; done; :"
    env.job("deaf", deaf, timeout=0.5)
    pids = [int(word) for word in env.wait_file("pids").split()]
    env.job("next", "true")
    env.wait_for("deaf", "next")
    assert env.outcomes() == {"deaf": "timeout", "next": "ok"}
    record = env.record("deaf")
    assert record["cause"] == "it ran longer than its timeout of 0.5 s"
    assert gone(pids)


def test_timeout_is_polite(env: FjdEnv) -> None:
    """A job that runs too long may clean up before it ends."""
    env.worker()
    env.serve()
    env.job("polite", "trap 'echo cleaned; exit 0' TERM; echo; sleep 1000 & wait; :", timeout=0.3)
    env.wait_for("polite")
    assert env.outcomes() == {"polite": "timeout"}
    assert env.output("polite") == b"\ncleaned\n"


def test_background_process_is_ended(env: FjdEnv) -> None:
    """What a job leaves running in its group ends with it, and the next job is unharmed."""
    env.worker()
    env.serve()
    env.job("1", "sleep 1000 & echo $! > pids; :")
    env.job("2", "echo fine; :")
    env.wait_for("1", "2")
    assert gone([int(env.wait_file("pids"))])
    assert env.outcomes() == {"1": "ok", "2": "ok"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_fired(env: FjdEnv, number: signal.Signals) -> None:
    """A worker that is fired ends its job, gives back what it has, and is gone."""
    worker = env.worker()
    dispatcher = env.serve()
    pids = family(env)
    env.job("waiting", "true")
    worker.signal(number)
    assert worker.ended() == 0
    assert gone(pids)
    assert env.sightings() == {}
    assert os.listdir(env.project.jobpods) == []
    (found,) = env.of("family")
    assert found.token is not None
    assert (found.state, found.token.attempt, found.token.crashes) == ("queued", 2, 0)
    (again,) = env.of("waiting")
    assert again.token is None or again.token.attempt == 1
    (record,) = env.records("family")
    assert (record["outcome"], record["returned"]) == ("cancelled", True)
    dispatcher.stop()


def test_fired_gently(env: FjdEnv) -> None:
    """A worker that is fired gently finishes its job first and takes no other."""
    worker = env.worker()
    dispatcher = env.serve()
    env.job("1", HOLD)
    env.wait_file("began")
    env.job("2", "true")
    wait_until(lambda: env.of("2")[0].state == "assigned", "2 waits in the pod")
    worker.signal(signal.SIGUSR1)
    wait_until(lambda: worker.worker.status() == psutil.STATUS_SLEEPING, "it has heard")
    assert worker.process.poll() is None
    (env.cwd / "go").touch()
    assert worker.ended() == 0
    env.wait_for("1")
    assert env.outcomes() == {"1": "ok"}
    (found,) = env.of("2")
    assert found.token is None or found.token.attempt == 1
    dispatcher.stop()


# -- sudden deaths --------------------------------------------------------------------------------


def test_worker_killed(env: FjdEnv) -> None:
    """A killed worker takes all its descendants with it, and its job runs at once elsewhere."""
    env.env["FJD_LEASE"] = "3600"  # nobody could wait for it here
    worker = env.worker()
    dispatcher = env.serve()
    pids = family(env)
    (env.cwd / "family.sh").write_text("echo survived\n")
    worker.kill_worker()
    wait_until(lambda: gone(pids), "the job's processes have ended", on_timeout=env.show)
    assert worker.ended() == 128 + signal.SIGKILL
    other = env.worker()
    found = env.wait_for("family")["family"]
    assert found.token is not None
    assert (found.code, found.worker) == ("ok", other.id)
    assert (found.token.attempt, found.token.crashes) == (2, 1)
    first, second = env.records("family")
    assert (first["outcome"], first["worker"]) == ("lost", worker.id)
    assert "died" in first["cause"]
    assert (second["outcome"], second["worker"]) == ("ok", other.id)
    assert f"worker {worker.id} on {os.uname().nodename} died; 1 job(s) went back" in dispatcher.err


def test_fifth_crash(env: FjdEnv) -> None:
    """A job that takes down five workers is given up as lost; the others get done."""
    workers = env.workers(6)
    for worker in workers:
        worker.asked = True
    env.serve()
    env.job("killer", "kill -9 $PPID; sleep 1000")
    env.job("other", "true")
    found = env.wait_for("killer", "other")["killer"]
    assert found.token is not None
    assert (found.code, found.token.attempt) == ("lost", 5)
    assert env.outcomes() == {"killer": "lost", "other": "ok"}
    assert [r["outcome"] for r in env.records("killer")] == ["lost"] * 5
    assert sum(worker.process.poll() is None for worker in workers) == 1


def test_guardian_killed(env: FjdEnv) -> None:
    """A worker whose guardian was killed ends its job with all below it; it counts as a crash.

    The job may have killed it on purpose, and would otherwise end one worker after the other.
    """
    worker = env.worker()
    dispatcher = env.serve()
    pids = [*family(env), worker.worker.pid]
    worker.kill()
    wait_until(lambda: gone(pids), "worker and job have ended", 5.0, env.show)
    assert env.sightings() == {}
    (found,) = env.of("family")
    assert found.token is not None
    assert (found.state, found.token.attempt, found.token.crashes) == ("queued", 2, 1)
    dispatcher.stop()


def test_guardians_killed_by_a_job(env: FjdEnv) -> None:
    """The fifth time it counts as lost, and the record of that attempt says so as well."""
    for worker in env.workers(6):
        worker.killed = worker.asked = True
    env.serve()
    find = "read -r _ _ _ guardian _ </proc/$PPID/stat"
    env.job("killer", f"{find}; kill -9 $guardian; sleep 1000; :")
    found = env.wait_for("killer")["killer"]
    assert found.token is not None
    assert (found.code, found.token.attempt, found.token.crashes) == ("lost", 5, 4)
    assert [r["outcome"] for r in env.records("killer")] == ["cancelled"] * 4 + ["lost"]
    assert not env.records("killer")[-1].get("returned")


def test_stopped(env: FjdEnv) -> None:
    """A worker that was stopped for a lease is replaced, and its job runs to one counted end."""
    env.env.update(FJD_LEASE="3", FJD_HEARTBEAT="0.5")
    worker = env.worker()
    env.serve()
    pids = family(env)
    (env.cwd / "family.sh").write_text("echo again\n")
    first = worker.id
    worker.worker.suspend()
    wait_until(lambda: gone(pids), "the guardian ends the job", 5.0, env.show)
    wait_until(lambda: len(worker.ids) == 2, "a new worker appears", 10.0, env.show)
    found = env.wait_for("family")["family"]
    assert found.token is not None
    assert worker.id != first
    assert (found.worker, found.code, found.token.attempt) == (worker.id, "ok", 2)
    assert found.token.crashes == 0, "a lease that ran out does not count against the job"
    assert [r["outcome"] for r in env.records("family")][-1:] == ["ok"]


def test_a_dispatcher_in_more_of_a_hurry(env: FjdEnv) -> None:
    """A worker that beats seldom, as it was told, does not die of a dispatcher with less time."""
    worker = env.worker(FJD_HEARTBEAT="20", FJD_LEASE="80")
    dispatcher = env.serve(FJD_LEASE="4")
    env.job("job", "sleep 9; :")
    found = env.wait_for("job")["job"]
    assert found.token is not None
    assert (found.code, found.token.attempt, worker.ids) == ("ok", 1, [found.worker])
    assert "went back" not in dispatcher.out + dispatcher.err


def test_frozen(env: FjdEnv) -> None:
    """A worker that thaws after its job went elsewhere starts over; its attempt counts nothing."""
    env.env.update(FAST)
    frozen = env.worker()
    dispatcher = env.serve()
    env.job("job", f"echo $FJD_ATTEMPT >> tries; {HOLD}")
    env.wait_file("began")
    # Guardian, worker and the job's shell; what the shell starts are short sleeps.
    processes = [psutil.Process(frozen.pid), frozen.worker, *frozen.worker.children()]
    first = frozen.id
    for process in processes:
        process.suspend()
    try:
        other = env.worker()
        dispatcher.says(f"worker {first} on {os.uname().nodename} gave no sign of life for 2 s")
        (env.cwd / "go").touch()
        found = env.wait_for("job")["job"]
    finally:
        for process in reversed(processes):
            with suppress(psutil.NoSuchProcess):  # what thaws first ends the others
                process.resume()
    assert found.token is not None
    assert (found.worker, found.code, found.token.attempt) == (other.id, "ok", 2)
    assert found.token.crashes == 0
    wait_until(lambda: len(frozen.ids) == 2, "it starts over", 10.0, env.show)
    assert frozen.id != first
    assert len(env.of("job")) == 1
    assert env.wait_file("tries").split() == ["1", "2"]
    lost = [r for r in env.records("job") if r["outcome"] == "lost"]
    assert [r["worker"] for r in lost] == [first]
    env.job("next", "true")
    env.wait_for("next")
