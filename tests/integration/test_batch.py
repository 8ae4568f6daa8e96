"""fjd-batch with real processes: a run from its first word to its exit code."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from harness import Daemon, Done, FjdEnv, wait_until

from fjd.spool import crew
from fjd.spool.project import Project
from fjd.system.identity import hostname

HOLD = "echo s >> began; until [ -e go ]; do sleep 0.02; done; echo e >> ended"


def tasks(env: FjdEnv, lines: Sequence[str] | str, name: str = "tasks") -> str:
    """Write a task file into the directory where commands are run."""
    path = env.cwd / name
    text = lines if isinstance(lines, str) else "".join(f"{line}\n" for line in lines)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    env.own(path)
    return name


def batch(env: FjdEnv, *words: str, **more: str) -> Done:
    """Run fjd-batch to its end."""
    return env.run("fjd-batch", *words, timeout=60.0, **more)


def begin(env: FjdEnv, *words: str, **more: str) -> Daemon:
    """Start fjd-batch."""
    return env.start("fjd-batch", *words, **more)


def projects(env: FjdEnv) -> list[str]:
    """Return the projects of runs that are there."""
    return sorted(
        path.name for path in env.home.iterdir() if path.name not in ("default", ".staged")
    )


def own_project(env: FjdEnv) -> Project:
    """Return the project of the one run that goes on."""
    (name,) = wait_until(lambda: projects(env), "a run has a project", on_timeout=env.show)
    return Project(name, f"{env.home}/{name}")


def lines_of(env: FjdEnv, name: str) -> list[str]:
    """Return the lines of a file that tasks write (none if there is none)."""
    path = env.cwd / name
    return path.read_text().split() if path.exists() else []


def wait_began(env: FjdEnv, number: int) -> None:
    """Wait until so many tasks have begun."""
    wait_until(lambda: len(lines_of(env, "began")) >= number, "tasks run", on_timeout=env.show)


def go(env: FjdEnv) -> None:
    """Let the tasks that hold go on."""
    (env.cwd / "go").touch()


# -- a run ----------------------------------------------------------------------------------------


def test_run(env: FjdEnv) -> None:
    """Every task is run once, the files have their names, and no project is left."""
    tasks(env, [f"echo {n} >> ran" for n in range(30)])
    done = batch(env, "-p", "run1", "tasks")
    assert done.code == 0, done.err
    assert sorted(map(int, lines_of(env, "ran"))) == list(range(30))
    assert done.out == ""
    assert projects(env) == []
    files = {path.name for path in env.cwd.iterdir() if path.name.startswith("run1_")}
    wanted = {"dbUtil.sh", "driver.log", "local0.context.log"}
    wanted.add(f"local0_{hostname()}_engine_0.log")
    assert files - {"run1_status.txt"} == {f"run1_{name}" for name in wanted}
    assert stat.S_IMODE((env.cwd / "run1_dbUtil.sh").stat().st_mode) == 0o700


def test_names_without_a_prefix(env: FjdEnv) -> None:
    """Without -p the files are called after the tasks, the time and a number."""
    tasks(env, ["true"])
    assert batch(env, "tasks").code == 0
    (script,) = env.cwd.glob("*_dbUtil.sh")
    name, word, stamp, number, _ = script.name.split("_")
    assert (name, word, len(stamp), len(number)) == ("tasks", "disBatch", 12, 3)


def test_empty_file(env: FjdEnv) -> None:
    """Without tasks there is nothing to do, and that is said."""
    tasks(env, "\n# nothing\n#DISBATCH PREFIX x\n#DISBATCH REPEAT 0 true\n")
    done = batch(env, "-p", "run1", "tasks")
    assert done.code == 0
    assert "No tasks to run." in done.err
    assert (env.cwd / "run1_status.txt").read_bytes() == b""
    assert projects(env) == []


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("true\n#DISBATCH NONSENSE\n", "line 2 is no directive that fjd knows"),
        ("touch ran\ntrue\n#DISBATCH PERENGINE START true\n", "line 3 is"),
        ("touch ran\n#DISBATCH REPEAT -5 x\n", "line 2 holds"),
        ("touch ran\na\0b\n", "line 2 holds a NUL byte"),
        ("touch ran\n" + "x" * ((1 << 20) + 1) + "\n", "line 2 is longer than 1048576 bytes"),
    ],
)
def test_wrong_file(env: FjdEnv, text: str, says: str) -> None:
    """A line that cannot be is named before anything runs."""
    tasks(env, text)
    done = batch(env, "-p", "run1", "tasks")
    assert done.code == 6
    assert says in done.err
    assert "tasks" in done.err
    assert lines_of(env, "ran") == []
    assert projects(env) == []
    assert not (env.cwd / "run1_status.txt").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["missing"], "the task file cannot be read: No such file"),
        (["."], "is a directory"),
        (["-p", "nowhere/x", "tasks"], "directory nowhere does not exist;"),
        (["-s", "host", "tasks"], "'host' has no count"),
        (["-c", "1000", "tasks"], "and -c asks for 1000 per task"),
        (["-l", "a b", "tasks"], "cannot name a context"),
        (["-p", "", "tasks"], "an empty path is no prefix"),
        ([], "neither a task file nor a program"),
    ],
)
def test_wrong_words(env: FjdEnv, words: list[str], says: str) -> None:
    """What cannot be meant is refused at once, in one line, with exit code 2."""
    tasks(env, ["touch ran"])
    done = batch(env, *words)
    assert done.code == 2
    assert says in done.err
    assert sum("warning" not in line for line in done.err.splitlines()) == 1
    assert lines_of(env, "ran") == []
    assert projects(env) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--logfile", "fifo"], "fifo: the log cannot be written"),
        (["-r", "run0_status.txt"], "is no status file"),
        (["-r", "missing"], "missing: cannot be read"),
    ],
)
def test_refused(env: FjdEnv, words: list[str], says: str) -> None:
    """What cannot be read or written is said at once; no file is left half-written."""
    tasks(env, ["touch ran"])
    tasks(env, "of something else\n", "run0_status.txt")
    os.mkfifo(env.cwd / "fifo")
    env.own(env.cwd / "fifo")
    done = batch(env, *words, "-p", "run1", "tasks")
    assert (done.code, says in done.err) == (6, True), done.err
    assert lines_of(env, "ran") == []
    assert list(env.cwd.glob("*.tmp")) == []


def test_odd_lines(env: FjdEnv) -> None:
    """Bytes that are no text, tabs, CR LF and a last line without an end are run as they are."""
    text = "printf '%s.' '\udcff\udcc3' >> ran\nprintf '%s.' 'a\tb' >> ran\r\nprintf z. >> ran"
    tasks(env, text)
    done = batch(env, "-p", "run1", "-t", "1", "tasks")
    assert done.code == 0, done.err
    parts = (env.cwd / "ran").read_bytes().split(b".")[:-1]
    assert sorted(parts) == [b"a\tb", b"z", b"\xff\xc3"]


def test_a_line_of_one_mebibyte(env: FjdEnv) -> None:
    """The longest line that may be hinders none of the others."""
    tasks(env, "echo short >> ran\n: " + "x" * ((1 << 20) - 2) + "\necho last >> ran\n")
    done = batch(env, "-p", "run1", "tasks")
    assert done.code == 0, done.err
    assert sorted(lines_of(env, "ran")) == ["last", "short"]


def test_prefix_in_use(env: FjdEnv) -> None:
    """Of two runs with one prefix the second one is refused, and the first one goes on."""
    tasks(env, [HOLD])
    first = begin(env, "-p", "run1", "tasks")
    wait_began(env, 1)
    second = batch(env, "-p", "run1", "tasks")
    assert second.code == 6
    assert f"a run with this prefix is going on: a dispatcher (pid {first.pid} on" in second.err
    go(env)
    assert first.ended() == 0
    assert lines_of(env, "began") == ["s"]


def test_several_at_once(env: FjdEnv) -> None:
    """Of several that start at the same moment one runs; the others say so and touch nothing."""
    tasks(env, [HOLD])
    several = [begin(env, "-p", "run1", "tasks") for _ in range(4)]
    for run in several:
        run.asked = True
    wait_until(
        lambda: sum(run.process.poll() is not None for run in several) == 3, "one is left", 40.0
    )
    go(env)
    assert sorted(run.ended(40.0) for run in several) == [0, 6, 6, 6]
    assert lines_of(env, "began") == ["s"]
    assert projects(env) == []


def test_a_name_that_is_taken(env: FjdEnv) -> None:
    """A project that somebody made is not taken for a run's own, and stays."""
    from fjd.batch.prefix import Prefix

    name = Prefix(f"{env.cwd.resolve()}/run1").project
    job = env.home / name / "jobqueue"
    job.mkdir(parents=True, mode=0o700)
    for path in (job.parent, job):
        path.chmod(0o700)
        env.own(path)
    (job / "mine").write_text("#!/bin/sh\n")
    env.own(job / "mine")
    tasks(env, ["true"])
    done = batch(env, "-p", "run1", "tasks")
    assert done.code == 6
    assert "is not of this run" in done.err
    assert (job / "mine").exists()


# -- interrupted ----------------------------------------------------------------------------------


def test_interrupted_once(env: FjdEnv) -> None:
    """Ctrl-C once: what runs is finished, nothing more is started."""
    tasks(env, [HOLD] * 20)
    run = begin(env, "-p", "run1", "-t", "1", "tasks")
    wait_began(env, 1)
    run.signal(signal.SIGINT)
    run.says("finishing what runs; Ctrl-C again to stop now")
    go(env)
    assert run.ended() == 130
    assert len(lines_of(env, "ended")) == len(lines_of(env, "began")) < 20
    assert "to go on, type the same command with -r" in run.err
    assert projects(env) == []


@pytest.mark.parametrize("signals", [[signal.SIGINT, signal.SIGINT], [signal.SIGTERM]])
def test_stopped_at_once(env: FjdEnv, signals: list[signal.Signals]) -> None:
    """Ctrl-C twice, or SIGTERM: it ends now, with everybody whom it hired."""
    tasks(env, [HOLD] * 20)
    run = begin(env, "-p", "run1", "tasks")
    wait_began(env, 1)
    for number in signals:
        run.signal(number)
        if number == signal.SIGINT and "finishing" not in run.err:
            run.says("finishing what runs")
    assert run.ended() == 130
    assert lines_of(env, "ended") == []
    assert projects(env) == []


def test_killed_and_started_again(env: FjdEnv) -> None:
    """After kill -9 the next run with the prefix ends the workers that were left, and cleans up."""
    tasks(env, [HOLD] * 20)
    run = begin(env, "-p", "run1", "tasks")
    wait_began(env, 1)
    project = own_project(env)
    run.kill()
    run.ended()
    assert crew.sightings(project)
    tasks(env, ["echo again >> ran"], "others")
    done = batch(env, "-p", "run1", "others")
    assert done.code == 0, done.err
    assert "was broken off; bringing what it did to its end first" in done.err
    assert lines_of(env, "ran") == ["again"]
    assert lines_of(env, "ended") == []
    assert projects(env) == []


# -- contexts -------------------------------------------------------------------------------------


def test_startup_only(env: FjdEnv) -> None:
    """-S starts without workers; the script adds a context, which ends with the run."""
    tasks(env, [f"echo {n} >> ran" for n in range(10)])
    run = begin(env, "-S", "-p", "run1", "tasks")
    run.says("Run this script to add compute contexts:\n   ")
    script = Path(run.out.splitlines()[1].strip())
    assert script == env.cwd.resolve() / "run1_dbUtil.sh"
    added = script_run(env, script, "-s", "localhost:2", "-l", "lab")
    assert run.ended() == 0
    assert added.ended() == 0
    assert sorted(map(int, lines_of(env, "ran"))) == list(range(10))
    assert (env.cwd / "run1_lab.context.log").exists()
    assert projects(env) == []


def script_run(env: FjdEnv, script: Path, *words: str) -> Daemon:
    """Call the script of a run, from another directory."""
    before = env.argv
    env.argv = lambda program, *rest: [str(script), *rest]  # type: ignore[method-assign]
    try:
        return env.start("dbUtil", *words)
    finally:
        env.argv = before  # type: ignore[method-assign]


def test_script_after_the_end(env: FjdEnv) -> None:
    """A script whose run has ended says so."""
    tasks(env, ["true"])
    assert batch(env, "-p", "run1", "tasks").code == 0
    for words in (["-s", "localhost:1"], ["--mon"]):
        late = script_run(env, env.cwd / "run1_dbUtil.sh", *words)
        assert late.ended() == 3
        assert "the run has ended" in late.err
    assert projects(env) == []


def test_nobody_left(env: FjdEnv) -> None:
    """When all workers have left and there are tasks, the run says so and ends with 4."""
    tasks(env, [HOLD] * 20)
    run = begin(env, "-p", "run1", "-t", "1", "tasks")
    wait_began(env, 1)
    project = own_project(env)
    fired = env.run("fjd-recruiter", "--project", project.name, "fire")
    assert fired.code == 0, fired.err
    assert run.ended() == 4
    assert "no engine is left, and there are tasks to run" in run.err
    assert "run1_dbUtil.sh" in run.err
    assert projects(env) == []


def test_a_host_that_is_down(env: FjdEnv) -> None:
    """A host that is down costs a line; if it is the only one, the run ends with 4."""
    tasks(env, ["echo x >> ran"])
    done = batch(env, "-p", "run1", "-s", "localhost:1,no-such-host.invalid:2", "tasks")
    assert done.code == 0, done.err
    assert "no-such-host.invalid" in done.err
    done = batch(env, "-p", "run2", "-s", "no-such-host.invalid:2", "tasks")
    assert done.code == 4, done.err
    assert lines_of(env, "ran") == ["x"]
    assert projects(env) == []


def test_retirement(env: FjdEnv) -> None:
    """A host that is not needed any more is retired."""
    tasks(env, ["true"])
    command = 'echo "$NODE/$ACTIVE/$RETIRED/$DRIVER_NODE" >> retired'
    assert batch(env, "-p", "run1", "--retire-cmd", command, "tasks").code == 0
    here = hostname()
    assert lines_of(env, "retired") == [f"{here}//{here}/{here}"]


# -- in somebody's project ------------------------------------------------------------------------


def test_joined(env: FjdEnv) -> None:
    """With --project the list goes to the dispatcher there, and only its own workers are fired."""
    worker = env.worker()
    env.serve()
    tasks(env, [f"echo {n} >> ran" for n in range(30)])
    done = batch(env, "--project", "default", "-p", "run1", "-t", "1", "tasks")
    assert done.code == 0, done.err
    assert sorted(map(int, lines_of(env, "ran"))) == list(range(30))
    assert list(env.sightings()) == [worker.id]
    assert projects(env) == []
    assert len(env.filed()) == 1


def test_joined_without_a_dispatcher(env: FjdEnv) -> None:
    """Nobody serves the project: that is said, with what to type."""
    tasks(env, ["true"])
    done = batch(env, "--project", "default", "-p", "run1", "tasks")
    assert done.code == 6
    assert 'no dispatcher serves project "default"; start one: fjd-dispatcher' in done.err
    assert batch(env, "--project", "nope", "-p", "run1", "tasks").code == 3
    assert os.listdir(env.project.lists) == []


def test_joined_twice_and_resumed(env: FjdEnv) -> None:
    """While a list of a prefix is worked off in a project, nobody else writes its status file."""
    env.worker()
    env.serve()
    tasks(env, [HOLD])
    run = begin(env, "--project", "default", "-p", "run1", "-S", "tasks")
    wait_began(env, 1)
    run.kill()
    run.ended()
    for words in (["-p", "run1"], ["-p", "run2", "-r", "run1_status.txt"]):
        done = batch(env, "--project", "default", *words, "tasks")
        assert done.code == 6, done.err
        assert "still writes it; wait for its end" in done.err
    go(env)
    wait_until(lambda: env.filed(), "the list goes on without us", on_timeout=env.show)
    done = batch(env, "--project", "default", "-p", "run2", "-r", "run1_status.txt", "tasks")
    assert done.code == 0, done.err
    assert "nothing is left to do" in done.err
    assert lines_of(env, "began") == ["s"]


def test_joined_and_interrupted(env: FjdEnv) -> None:
    """Ctrl-C ends the list softly, and what the project has besides goes on."""
    worker = env.worker()
    env.serve()
    tasks(env, [HOLD] * 20)
    run = begin(env, "--project", "default", "-p", "run1", "-t", "1", "tasks")
    wait_began(env, 2)
    run.signal(signal.SIGINT)
    run.says("finishing what runs")
    go(env)
    assert run.ended() == 130
    assert len(lines_of(env, "ended")) == len(lines_of(env, "began")) < 20
    assert list(env.sightings()) == [worker.id]
    env.job("after", "true")
    env.wait_for("after")
