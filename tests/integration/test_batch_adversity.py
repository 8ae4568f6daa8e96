"""fjd-batch where something is wrong with its words, with the terminal, or with the limits."""

from __future__ import annotations

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from batchrun import HOLD, batch, codes, lines_of, status, tasks, wait_lines
from harness import Daemon, Done, FjdEnv
from terminal import Terminal

from fjd.batch import options
from fjd.batch.driver import Driver
from fjd.scripts import batch_words

HERE = ("-p", "run1", "tasks")


def piped(env: FjdEnv, text: str, *words: str) -> Done:
    """Run fjd-batch with something on its stdin."""
    done = subprocess.run(
        env.argv("fjd-batch", *words),
        input=text.encode(),
        capture_output=True,
        cwd=env.cwd,
        env=env.env,
        timeout=60.0,
        check=False,
        **env.person.as_user(),
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def nohup(env: FjdEnv, program: str, *words: str) -> Daemon:
    """Start something that shall outlive its terminal: it inherits that SIGHUP is ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        return env.start(program, *words)
    finally:
        signal.signal(signal.SIGHUP, before)


# -- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--mailTo", "", *HERE], "--mailTo: there is nothing behind it"),
        (["--taskcommand", "", "-p", "run1"], "--taskcommand: there is nothing behind it"),
        (["-S", "-g", *HERE], "-g does not go with -S"),
        (["-S", "-E", "X", *HERE], "-E does not go with -S"),
        (["-p", 216 * "x", "tasks"], "names of more than 215 bytes"),
        (["-s", "host", *HERE], "has no count"),
        (["--project", "nowhere", *HERE], 'no project "nowhere"'),
        (["-r", "missing", *HERE], "give -r the status file of a run"),
    ],
)
def test_nothing_is_left_of_what_was_refused(env: FjdEnv, words: list[str], says: str) -> None:
    """A command line that is refused leaves no file and no project, and nothing was run."""
    tasks(env, "touch ran")
    done = batch(env, *words)
    assert done.code in (2, 3, 6)
    assert says in done.err
    assert [path.name for path in env.cwd.iterdir()] == ["tasks"]
    assert list(env.home.glob("run1-*")) == []


def test_a_log_that_was_there_stays(env: FjdEnv) -> None:
    """What is refused adds to the log of an earlier run."""
    tasks(env, "true")
    assert batch(env, *HERE).code == 0
    assert batch(env, "-r", "missing", *HERE).code == 6
    log = (env.cwd / "run1_driver.log").read_text()
    assert "ended with exit code 0" in log
    assert "cannot be read" in log


def test_a_long_prefix(env: FjdEnv) -> None:
    """The longest prefix works, with all files of the run."""
    tasks(env, "true")
    prefix = 215 * "x"
    assert batch(env, "-p", prefix, "tasks").code == 0
    assert codes(env, prefix) == {0: 0}


def test_retry_without_a_file(env: FjdEnv) -> None:
    """-R without -r has nothing to go by; that is said, and all tasks are run."""
    tasks(env, "true", "false")
    done = batch(env, "-R", *HERE)
    assert done.code == 0
    assert "say nothing without -r: all tasks are run" in done.err
    assert codes(env) == {0: 0, 1: 1}


def test_many_that_begin_in_one_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without -p each of them has a name of its own, also if chance gives it a taken number."""
    numbers = iter([7, 7, 7, 8, 8, 9])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(random.SystemRandom, "randrange", lambda _self, _stop: next(numbers))
    monkeypatch.setattr(time, "strftime", lambda *_: "260101000000")
    told = options.read(batch_words.parser("").parse_args(["tasks"]))
    names = [Driver(told).prefix.name[-3:] for _ in range(3)]
    assert names == ["007", "008", "009"]


@pytest.mark.parametrize("words", [[], ["-r", "run1_status.txt"]])
def test_a_wrong_line_of_stdin(env: FjdEnv, words: list[str]) -> None:
    """It is called stdin, not by the name of a file that fjd has made of it."""
    tasks(env, "true")
    assert batch(env, *HERE).code == 0
    done = piped(env, "true\n#DISBATCH NONSENSE\n", "-p", "run1", *words, "-")
    assert done.code == 6
    assert "stdin: line 2 is no directive" in done.err


def test_what_is_to_be_typed_can_be_typed(env: FjdEnv) -> None:
    """Names with blanks stand in the messages as the shell wants them."""
    tasks(env, "false", "true")
    done = batch(env, "-f", "-t", "1", "-p", "a run", "tasks")
    assert done.code == 1
    assert f"-r '{status(env, 'a run').resolve()}'" in done.err


# -- streams and terminals ------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["/dev/full", "a closed pipe"])
def test_nobody_reads_where_the_script_is(env: FjdEnv, where: str) -> None:
    """With -S the run goes on, and says it on stderr."""
    tasks(env, "true")
    if where == "/dev/full":
        out = os.open(where, os.O_WRONLY)
    else:
        end, out = os.pipe()
        os.close(end)
    try:
        run = subprocess.Popen(
            env.argv("fjd-batch", "-S", *HERE),
            stdout=out,
            stderr=subprocess.PIPE,
            cwd=env.cwd,
            env=env.env,
            **env.person.as_user(),
        )
    finally:
        os.close(out)
    assert run.stderr is not None
    with run.stderr:
        for line in run.stderr:
            if b"run1_dbUtil.sh" in line:
                break
        run.send_signal(signal.SIGINT)
        rest = run.stderr.read()
    assert run.wait(60.0) == 130, rest


@pytest.mark.parametrize("words", [HERE, ("--project", "mine", *HERE)])
def test_nohup(env: FjdEnv, words: tuple[str, ...]) -> None:
    """With nohup the end of the terminal is not the end of the run, nor of a dispatcher."""
    tasks(env, HOLD, "true")
    if "--project" in words:
        env.run("fjd-recruiter", "--project", "mine", "hire", "1")
        server = nohup(env, "fjd-dispatcher", "--project", "mine", "--keep-running")
        server.says("Started on project")
        server.signal(signal.SIGHUP)
    run = nohup(env, "fjd-batch", *words)
    wait_lines(env, "began", 1)
    run.signal(signal.SIGHUP)
    (env.cwd / "go").touch()
    assert run.ended(60.0) == 0, run.err
    assert codes(env) == {0: 0, 1: 0}
    if "--project" in words:
        assert server.process.poll() is None
        env.run("fjd-recruiter", "--project", "mine", "fire")
        server.signal(signal.SIGTERM)
        server.ended()


def test_bar_of_a_run_that_is_stopped(env: FjdEnv) -> None:
    """After Ctrl-C what was not run counts neither as done nor as failed."""
    tasks(env, *[HOLD] * 40)
    argv = env.argv("fjd-batch", "-c", "0.1", "-t", "2", *HERE)
    with Terminal(argv, env.env, env.cwd, 80, env.person.as_user()) as screen:
        screen.says("2 running")
        wait_lines(env, "began", 2)
        screen.type("\x03")
        screen.says("finishing what runs")
        before = screen.printed.count(b"running")
        screen.says("running", before + 10)
        (env.cwd / "go").touch()
        assert screen.ended() == 130
    assert b"failed" not in screen.printed
    assert len(lines_of(env, "ended")) == len(lines_of(env, "began"))


# -- what is removed meanwhile --------------------------------------------------------------------


def test_the_status_file_is_removed(env: FjdEnv) -> None:
    """It is there again at the end, with all rows."""
    tasks(env, "true", "#DISBATCH BARRIER", HOLD, "true", "exit 3")
    run = env.start("fjd-batch", "-e", "-t", "1", *HERE)
    wait_lines(env, "began", 1)
    assert codes(env) == {0: 0}
    status(env).unlink()
    (env.cwd / "go").touch()
    assert run.ended(60.0) == 1
    assert codes(env) == {0: 0, 2: 0, 3: 0, 4: 3}


def test_the_directory_is_removed(env: FjdEnv) -> None:
    """Its rows are gone, which is no success; the records are kept, and their place is said."""
    tasks(env, HOLD)
    (env.cwd / "d").mkdir()
    env.own(env.cwd / "d")
    run = env.start("fjd-batch", "-p", "d/run1", "tasks")
    wait_lines(env, "began", 1)
    shutil.rmtree(env.cwd / "d")
    (env.cwd / "go").touch()
    assert run.ended(60.0) == 6
    assert "the status file is gone" in run.err
    (place,) = re.findall(r"recorded in (\S+)", run.err)
    assert any(HOLD in file.read_text() for file in Path(place).iterdir())


# -- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [40, 60, 80])
def test_no_room_for_threads(env: FjdEnv, limit: int) -> None:
    """Where the system gives no memory it ends in one line, and never with a traceback."""
    tasks(env, "touch ran")

    def short() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit << 20, limit << 20))

    done = subprocess.run(
        env.argv("fjd-batch", *HERE),
        preexec_fn=short,
        capture_output=True,
        cwd=env.cwd,
        env=env.env,
        timeout=60.0,
        check=False,
        **env.person.as_user(),
    )
    said = done.stderr.decode()
    if Path(env.cwd, "ran").exists():
        assert done.returncode == 0, said
    else:
        assert done.returncode > 0
        assert said
    if "fjd-batch" in said:  # Python itself has come up
        assert "Traceback" not in said, said
    batch(env, *HERE)
