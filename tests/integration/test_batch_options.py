"""Options of fjd-batch, each in a run: mail, logs, hosts, shares, resume, stops, exit codes."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator

import pytest
from batchrun import HOLD, batch, codes, lines_of, rows, status, tasks, wait_lines
from harness import Daemon, FjdEnv, wait_until
from smtpsink import Sink, texts

from fjd.batch import board
from fjd.batch.prefix import Prefix
from fjd.spool import contexts, crew
from fjd.spool.lists import shelf, statusfile
from fjd.spool.project import Project
from fjd.system.identity import hostname

FREE = ("-c", "0.1", "-t")  # so many slots, however few cores there are


# -- mail and logs --------------------------------------------------------------------------------


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A mail server."""
    server = Sink({})
    yield server
    server.close()


def test_mail(env: FjdEnv, sink: Sink) -> None:
    """--mailFreq tasks make a mail, with their rows; what is left comes at the end."""
    tasks(env, "true", "false", "#DISBATCH BARRIER", "true", "true", "true", "exit 4")
    words = ["--mailTo", "ada@example.org", "--mailFreq", "4", "-t", "1", "-p", "run1", "tasks"]
    done = batch(env, *words, FJD_SMTP=sink.address)
    assert done.code == 0, done.err
    (first, lines), (last, more) = texts(sink)
    assert first == "run1 has completed 4 tasks (1 failed)"
    assert last == "run1 has completed 6 tasks (2 failed)"
    assert (lines[:2], more[:2]) == (["Last 4:", ""], ["Last 2:", ""])
    assert lines[2:] + more[2:] == status(env).read_text().splitlines()
    assert sink.envelopes == [("from:<ada@example.org>", "to:<ada@example.org>")] * 2


def test_mail_of_each_task(env: FjdEnv, sink: Sink) -> None:
    """Without --mailFreq each task makes one; what was done before makes none."""
    tasks(env, "true")
    assert batch(env, "-p", "run1", "tasks").code == 0
    tasks(env, "true", "true", "true")
    words = ["--mailTo", "ada@example.org", "-r", "run1_status.txt", "-p", "run2", "tasks"]
    assert batch(env, *words, FJD_SMTP=sink.address).code == 0
    assert [subject for subject, _ in texts(sink)] == [
        "run2 has completed 1 tasks",
        "run2 has completed 2 tasks",
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--mailFreq", "2"], "--mailFreq needs --mailTo"),
        (["--mailTo", "a b"], "no mail address"),
        (["--mailTo", "a@b", "--mailFreq", "0"], "0"),
    ],
)
def test_mail_that_cannot_be(env: FjdEnv, words: list[str], says: str) -> None:
    """Words that make no mail are refused before anything is touched."""
    tasks(env, "touch ran")
    done = batch(env, *words, "-p", "run1", "tasks")
    assert done.code == 2, done.err
    assert says in done.err
    assert not (env.cwd / "ran").exists()
    assert not status(env).exists()


def test_logfile(env: FjdEnv) -> None:
    """--logfile is where the log is, and it says the words of the run and how it ended."""
    tasks(env, "false")
    done = batch(env, "--logfile", "my.log", "-e", "-p", "run1", "tasks")
    assert done.code == 1, done.err
    said = (env.cwd / "my.log").read_text()
    assert "exit_code=True" in said
    assert said.endswith("ended with exit code 1\n")
    assert not (env.cwd / "run1_driver.log").exists()
    done = batch(env, "--logfile", "nowhere/my.log", "-p", "run2", "tasks")
    assert done.code == 6, done.err
    assert "the log cannot be written" in done.err
    assert not status(env, "run2").exists()


# -- hosts and shares -----------------------------------------------------------------------------

MEET = "touch up_$DISBATCH_CYLINDER_RANK; until [ -e up_0 -a -e up_1 ]; do sleep 0.02; done"


@pytest.mark.parametrize(
    "words", [["-s", "localhost:1", "-s", "localhost:1"], ["-s", "localhost:1,localhost:1"]]
)
def test_same_host_twice(env: FjdEnv, words: list[str]) -> None:
    """A host that is named twice is one engine with both counts, and that is said."""
    tasks(env, MEET, MEET)
    done = batch(env, *words, "-p", "run1", "tasks")
    assert done.code == 0, done.err
    assert f"-s: {hostname()} is named twice or more; its counts are added up" in done.err
    engines = [path.name for path in env.cwd.glob("run1_*_engine_*.log")]
    assert engines == [f"run1_ssh0_{hostname()}_engine_0.log"]


@pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"])
def test_gpus(env: FjdEnv, name: str) -> None:
    """-g with two GPUs and three slots: two slots, each with one of them."""
    tasks(env, *[f'{MEET}; echo "${name}/$DISBATCH_CYLINDER_RANK" >> ran'] * 6)
    done = batch(env, "-g", *FREE, "3", "-p", "run1", "tasks", **{name: "3,5"})
    assert done.code == 0, done.err
    assert set(lines_of(env, "ran")) == {"3/0", "5/1"}
    assert len(lines_of(env, "ran")) == 6
    assert f"{name} has 2 for 3 slots: 2 will be used" in done.err


def test_more_gpus_than_slots(env: FjdEnv) -> None:
    """What is left over is said, and not used; engines' own commands find the first."""
    tasks(env, "#DISBATCH PERENGINE START echo p$CUDA_VISIBLE_DEVICES >> ran",
          "echo $CUDA_VISIBLE_DEVICES >> ran")  # fmt: skip
    done = batch(env, "-g", "-t", "1", "-p", "run1", "tasks", CUDA_VISIBLE_DEVICES="7,8,9")
    assert done.code == 0, done.err
    assert lines_of(env, "ran") == ["p7", "7"]
    assert "CUDA_VISIBLE_DEVICES has 3 for 1 slots: 2 not used" in done.err


# -- what counts as a failure ---------------------------------------------------------------------


def test_failures_of_an_earlier_run(env: FjdEnv) -> None:
    """With -e a failure that is not run again counts, also when nothing is left to do."""
    tasks(env, "false", "true")
    assert batch(env, "-p", "run1", "tasks").code == 0
    nothing = batch(env, "-e", "-p", "run2", "-r", "run1_status.txt", "tasks")
    assert nothing.code == 1
    assert "nothing is left to do" in nothing.err
    tasks(env, "false", "true", "true")
    for words, code in (([], 0), (["-e"], 1)):
        done = batch(env, *words, "-p", "run3", "-r", "run1_status.txt", "tasks")
        assert done.code == code, done.err
    assert codes(env, "run3") == {0: 1, 1: 0, 2: 0}


@pytest.mark.parametrize("which", ["START", "STOP"])
def test_failures_of_engines(env: FjdEnv, which: str) -> None:
    """With -e an engine's own command that fails makes the run fail; tasks are run all the same."""
    tasks(env, f"#DISBATCH PERENGINE {which} exit 9", "echo x >> ran")
    for words, code in (([], 0), (["-e"], 1)):
        done = batch(env, *words, "-p", "run1", "tasks")
        assert done.code == code, done.err
    assert lines_of(env, "ran") == ["x", "x"]
    assert ("P", 0, 9) in [(row.kind, row.number, row.code) for row in rows(env)]


def test_an_engine_fails_fast(env: FjdEnv) -> None:
    """--fail-fast stops a run at an engine's own command as well; its number says nothing."""
    tasks(env, "#DISBATCH PERENGINE START exit 9", HOLD)
    done = batch(env, "-f", "-p", "run1", "tasks")
    assert done.code == 1, done.err
    assert "stopped: a command of PERENGINE did not end well" in done.err
    assert lines_of(env, "began") == []


# -- resume ---------------------------------------------------------------------------------------


def test_header_once(env: FjdEnv) -> None:
    """--status-header begins the file, also that of a resumed run, and stands there once."""
    tasks(env, "true")
    assert batch(env, "--status-header", "-p", "run1", "tasks").code == 0
    tasks(env, "true", "true")
    words = ["--status-header", "-p", "run1", "-r", "run1_status.txt", "tasks"]
    assert batch(env, *words).code == 0
    data = status(env).read_bytes()
    assert data.startswith(statusfile.HEADER)
    assert data.count(b"TaskID") == 1
    assert codes(env) == {0: 0, 1: 0}


def test_resume_from_several(env: FjdEnv) -> None:
    """What any of several status files says is done is not run again."""
    lines = [f"echo {n} >> ran" for n in range(6)]
    for prefix, chosen in (("run1", (0, 1)), ("run2", (2, 4))):
        padded = [line if n in chosen else "exit 5" for n, line in enumerate(lines)]
        tasks(env, *padded)
        assert batch(env, "-p", prefix, "tasks").code == 0
        kept = [
            row for row in status(env, prefix).read_bytes().splitlines(True) if b"exit" not in row
        ]
        status(env, prefix).write_bytes(b"".join(kept))
    tasks(env, *lines)
    words = ["-r", "run1_status.txt", "--resume-from", "run2_status.txt", "-p", "run3", "tasks"]
    done = batch(env, *words)
    assert done.code == 0, done.err
    assert "done already: 4; to be run: 2" in done.err
    assert Counter(lines_of(env, "ran")) == Counter("012345")
    assert codes(env, "run3") == dict.fromkeys(range(6), 0)


def old_row(number: int, command: str) -> str:
    """Return a row as disBatch has written it."""
    times = "1.004\t10.000\t11.004"
    return f"    \t{number}\t{number + 1}\t-1\tvm\t8016\t0\t{times}\t0\t''\t0\t''\t{command}\n"


def test_quotings_of_disbatch(env: FjdEnv) -> None:
    """Status files of every disBatch there was are understood: quoted, raw, as bytes."""
    lines = ["echo 'a' >> ran", 'echo "b\tb" >> ran', "echo \udcff >> ran", "echo d >> ran"]
    text = "".join(f"{line}\n" for line in lines)
    (env.cwd / "tasks").write_bytes(text.encode("utf-8", "surrogateescape"))
    old = old_row(0, repr(lines[0])) + old_row(1, lines[1]) + old_row(2, r"b'echo \xff >> ran'")
    (env.cwd / "old_status.txt").write_text(old)
    done = batch(env, "-p", "run1", "-r", "old_status.txt", "tasks")
    assert done.code == 0, done.err
    assert lines_of(env, "ran") == ["d"]
    assert {row.number: row.kind for row in rows(env)} == {0: "S", 1: "S", 2: "S", 3: " "}


def test_forced(env: FjdEnv) -> None:
    """Other lines: without force the first that differs is named; with it the numbers count."""
    tasks(env, "echo 0 >> ran", "echo 1 >> ran")
    assert batch(env, "-p", "run1", "tasks").code == 0
    tasks(env, "# only a comment", "echo 0 >> ran", "echo 1 >> ran")
    assert batch(env, "-p", "run2", "-r", "run1_status.txt", "tasks").code == 0
    tasks(env, "echo new >> ran", "echo 0 >> ran", "echo 1 >> ran")
    done = batch(env, "-p", "run3", "-r", "run1_status.txt", "tasks")
    assert done.code == 6
    assert "task 0 (line 1) is 'echo new >> ran', and was 'echo 0 >> ran' (line 1)" in done.err
    assert lines_of(env, "ran").count("new") == 0
    done = batch(env, "-p", "run3", "--force-resume", "-r", "run1_status.txt", "tasks")
    assert done.code == 0, done.err
    assert Counter(lines_of(env, "ran")) == Counter("0011"[1:])


# -- engines that are told to leave ---------------------------------------------------------------

STOP = "#DISBATCH PERENGINE STOP echo stop$DISBATCH_ENGINE_RANK >> log"


def of_run(env: FjdEnv) -> Project:
    """Return the project of the run."""
    name = Prefix(f"{env.cwd.resolve()}/run1").project
    return Project(name, f"{env.home}/{name}")


def assigned(env: FjdEnv) -> list[int]:
    """Return how many tasks each engine has been given, by rank."""
    seen = [board.read(of_run(env), key) for key in shelf.keys(of_run(env))]
    return [engine.assigned for one in seen if one for engine in one.engines]


def ask_to_stop(env: FjdEnv, *ranks: int) -> None:
    """Ask as the monitor does."""
    project = of_run(env)
    contexts.ask_to_stop(project, ranks)
    for path in os.listdir(project.contexts):
        env.own(f"{project.contexts}/{path}")


def script(env: FjdEnv, *words: str) -> Daemon:
    """Call the script of the run."""
    before = env.argv
    env.argv = lambda program, *rest: [f"{env.cwd}/run1_dbUtil.sh", *rest]  # type: ignore[method-assign]
    try:
        return env.start("dbUtil", *words)
    finally:
        env.argv = before  # type: ignore[method-assign]


def test_the_only_engine_stops(env: FjdEnv) -> None:
    """What runs is finished, STOP is run, and with nobody left the run ends with 4; -r goes on."""
    tasks(env, STOP, *[HOLD] * 6)
    run = env.start("fjd-batch", "-t", "1", "-p", "run1", "tasks")
    wait_lines(env, "began", 1)
    ask_to_stop(env, 0)
    wait_until(lambda: assigned(env) == [1], "what waits is taken back", on_timeout=env.show)
    (env.cwd / "go").touch()
    assert run.ended(60.0) == 4
    assert "no engine is left, and there are tasks to run" in run.err
    ended = len(lines_of(env, "ended"))
    assert len(lines_of(env, "began")) == ended == len(codes(env)) < 6
    assert lines_of(env, "log") == ["stop0"]
    again = batch(env, "-t", "1", "-p", "run1", "-r", "run1_status.txt", "tasks")
    assert again.code == 0, again.err
    assert len(lines_of(env, "ended")) == 6


def test_one_of_two_engines_stops(env: FjdEnv) -> None:
    """The run goes on elsewhere, and nothing is lost or run twice."""
    tasks(env, STOP, *[f"echo $DISBATCH_ENGINE_RANK >> ranks; {HOLD}"] * 8)
    run = env.start("fjd-batch", "-S", "-p", "run1", "tasks")
    run.says("Run this script")
    one = script(env, "-s", "localhost:1", "-l", "one")
    wait_lines(env, "began", 1)
    two = script(env, "-s", "localhost:1", "-l", "two")
    wait_lines(env, "began", 2)
    ask_to_stop(env, 0)
    wait_until(lambda: assigned(env)[0] == 1, "what waits is taken back", on_timeout=env.show)
    (env.cwd / "go").touch()
    assert run.ended(60.0) == 0
    assert (one.ended(60.0), two.ended(60.0)) == (0, 0)
    assert len(lines_of(env, "ended")) == len(codes(env)) == 8
    assert sorted(lines_of(env, "log")) == ["stop0", "stop1"]
    assert lines_of(env, "ranks").count("1") >= 1


def test_the_only_engine_dies(env: FjdEnv) -> None:
    """Workers that are killed leave nobody: the run says so and ends with 4, and -r goes on."""
    tasks(env, *[HOLD] * 3)
    run = env.start("fjd-batch", "-t", "1", "-p", "run1", "tasks", FJD_LEASE="2")
    wait_lines(env, "began", 1)
    (worker,) = crew.cards(of_run(env)).values()
    assert worker[1] is not None
    os.kill(worker[1].identity.pid, signal.SIGKILL)
    assert run.ended(60.0) == 4
    env.known_litter = True
    assert "no engine is left, and there are tasks to run" in run.err
    assert f"{env.cwd.resolve()}/run1_dbUtil.sh -s host:4" in run.err
    assert codes(env) == {}
    (env.cwd / "go").touch()
    again = batch(env, "-p", "run1", "-r", "run1_status.txt", "tasks")
    assert again.code == 0, again.err
    assert (codes(env), len(lines_of(env, "ended"))) == ({0: 0, 1: 0, 2: 0}, 3)


def test_used_up_while_waiting(env: FjdEnv) -> None:
    """With -S a run whose contexts are all used up waits for another one."""
    tasks(env, *[f"echo {n} >> ran" for n in range(6)])
    run = env.start("fjd-batch", "-S", "-p", "run1", "tasks")
    run.says("Run this script")
    one = script(env, "-s", "localhost:1", "-l", "one", "-C", "2")
    assert one.ended(60.0) == 0
    assert len(lines_of(env, "ran")) == 2
    assert run.process.poll() is None
    two = script(env, "-s", "localhost:1", "-l", "two")
    assert run.ended(60.0) == 0
    assert two.ended(60.0) == 0
    assert sorted(lines_of(env, "ran")) == list("012345")


# -- a list that stops -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "lines", "says"),
    [
        (["-f"], ("false", HOLD), "--fail-fast"),
        ([], ("false", "#DISBATCH BARRIER CHECK", "touch ran"), "barrier check: 1 task failed"),
    ],
)
def test_stopped_in_a_project(
    env: FjdEnv, words: list[str], lines: tuple[str, ...], says: str
) -> None:
    """A list that somebody else's dispatcher stops ends the run as its own one would."""
    env.workers(2)
    env.serve()
    tasks(env, *lines)
    done = batch(env, *words, "--project", "default", "-S", "-p", "run1", "tasks")
    assert done.code == 1, done.err
    assert says in done.err
    assert not (env.cwd / "ran").exists()
    assert not (env.cwd / "ended").exists()


def test_script_of_a_joined_run(env: FjdEnv) -> None:
    """In somebody's project, too, the script adds workers to a run, which leave with it."""
    worker = env.worker()
    env.serve()
    tasks(env, *[f"echo $DISBATCH_ENGINE_RANK >> ranks; {HOLD}"] * 4)
    run = env.start("fjd-batch", "--project", "default", "-S", "-p", "run1", "tasks")
    run.says("Run this script")
    added = script(env, "-s", "localhost:1", "-l", "lab")
    wait_lines(env, "began", 2)
    (env.cwd / "go").touch()
    assert run.ended(60.0) == 0
    assert added.ended(60.0) == 0
    assert set(lines_of(env, "ranks")) == {"-1", "0"}
    assert list(env.sightings()) == [worker.id]


def test_cores_of_each_context(env: FjdEnv) -> None:
    """Tasks are told the -c of the context that runs them, and else that of the run."""
    shown = "echo $DISBATCH_ENGINE_RANK=$DISBATCH_CORES_PER_TASK >> cores"
    tasks(env, *[f"{shown}; {HOLD}"] * 3)
    run = env.start("fjd-batch", "-S", "-c", "0.5", "-p", "run1", "tasks")
    run.says("Run this script")
    added = [
        script(env, "-s", f"localhost:{cores}", "-l", f"lab{cores}", *words)
        for cores, words in ((2, ["-c", "2"]), (1, ["-t", "1"]))
    ]
    wait_lines(env, "began", 2)
    (project,) = (path.name for path in env.home.iterdir() if path.name.startswith("run1-"))
    by_hand = env.worker("--project", project)
    wait_lines(env, "began", 3)
    (env.cwd / "go").touch()
    assert run.ended(60.0) == 0
    assert [one.ended(60.0) for one in added] == [0, 0]
    assert by_hand.fired()
    found = dict(word.split("=") for word in lines_of(env, "cores"))
    assert found.pop("-1") == "0.5"
    assert sorted(found.values()) == ["0.5", "2"]


def test_check_of_earlier_failures(env: FjdEnv) -> None:
    """What failed before stops a CHECK again, unless it is run again and ends well."""
    tasks(env, "test -e fixed", "#DISBATCH BARRIER CHECK", "echo x >> ran")
    assert batch(env, "-p", "run1", "tasks").code == 1
    (env.cwd / "fixed").touch()
    done = batch(env, "-p", "run2", "-r", "run1_status.txt", "tasks")
    assert done.code == 1, done.err
    assert "barrier check" in done.err
    assert lines_of(env, "ran") == []
    done = batch(env, "-R", "-p", "run3", "-r", "run2_status.txt", "tasks")
    assert done.code == 0, done.err
    assert lines_of(env, "ran") == ["x"]
    assert codes(env, "run3") == {0: 0, 2: 0}


# -- exit codes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "line", "code"),
    [
        ([], "false", 0),
        (["-e"], "true", 0),
        (["--version"], "true", 0),
        (["-e"], "false", 1),
        (["-f"], "false", 1),
        ([], "false\n#DISBATCH BARRIER CHECK\ntrue", 1),
        (["--nonsense"], "true", 2),
        (["-s", "no-such-host.invalid:1"], "true", 4),
        ([], "true\n#DISBATCH NONSENSE", 6),
        ([], "kill -INT $(cat driver); until [ -e go ]; do sleep 0.02; done", 130),
    ],
)
def test_exit_codes(env: FjdEnv, words: list[str], line: str, code: int) -> None:
    """As they are documented."""
    tasks(env, line)
    run = env.start("fjd-batch", *words, "-p", "run1", "tasks")
    (env.cwd / "driver.new").write_text(str(run.pid))
    os.replace(env.cwd / "driver.new", env.cwd / "driver")
    if code == 130:
        run.says("finishing what runs")
        (env.cwd / "go").touch()
    assert run.ended(60.0) == code
    assert run.err.count("[fjd-batch]") >= (code != 0)
