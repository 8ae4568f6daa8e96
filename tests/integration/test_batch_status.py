"""What a run of fjd-batch leaves behind: its rows, its exit code, and what -r makes of them."""

from __future__ import annotations

import os
import signal
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import psutil
import pytest
from batchrun import HOLD, batch, codes, lines_of, rows, status, tasks, wait_lines
from harness import FjdEnv, wait_until

from fjd.spool.lists import statusfile

# -- rows and exit codes --------------------------------------------------------------------------


def test_rows(env: FjdEnv) -> None:
    """Every task has one row, with its code, its line, what it printed, and what it was."""
    tasks(env, "# first", "true", "exit 3", "", "echo hello; kill -9 $$", "printf err >&2")
    done = batch(env, "-p", "run1", "--status-header", "tasks")
    assert done.code == 0, done.err
    assert status(env).read_bytes().startswith(statusfile.HEADER)
    assert codes(env) == {0: 0, 1: 3, 2: -9, 3: 0}
    found = {row.number: row for row in rows(env)}
    assert [found[n].line for n in range(4)] == [2, 3, 5, 6]
    assert (found[2].out, found[3].err) == (6, 3)
    assert found[2].command == b"echo hello; kill -9 $$"
    assert "4 tasks, 2 failed" in done.err


def test_rows_do_not_wait(env: FjdEnv) -> None:
    """What has ended has its row while a long task, which was handed out with it, still runs."""
    tasks(env, *["true"] * 150, HOLD, *["true"] * 49)
    run = env.start("fjd-batch", "-t", "1", "-p", "run1", "tasks")
    wait_lines(env, "began", 1)
    wait_until(lambda: len(rows(env)) == 150, "the rows of all before it", 20.0, env.show)
    (env.cwd / "go").touch()
    assert run.ended(60.0) == 0
    assert codes(env) == dict.fromkeys(range(200), 0)


@pytest.mark.parametrize(("words", "code"), [([], 0), (["-e"], 1)])
def test_failures(env: FjdEnv, words: Sequence[str], code: int) -> None:
    """Tasks that fail make the run fail only with -e."""
    tasks(env, "true", "false")
    done = batch(env, *words, "-p", "run1", "tasks")
    assert done.code == code
    assert ("Some tasks failed with non-zero exit codes" in done.err) == bool(code)


def test_barrier_check(env: FjdEnv) -> None:
    """A CHECK after a failure ends the run there, with exit code 1 and the reason."""
    tasks(env, "true", "#DISBATCH BARRIER CHECK", "false", "#DISBATCH BARRIER CHECK", "touch ran")
    done = batch(env, "-p", "run1", "tasks")
    assert done.code == 1, done.err
    assert "barrier check" in done.err.lower()
    assert codes(env) == {0: 0, 2: 1}
    assert lines_of(env, "ran") == []


def test_fail_fast(env: FjdEnv) -> None:
    """With -f the first failure ends the run, and what else runs."""
    tasks(env, HOLD, "until [ -e began ]; do sleep 0.02; done; exit 7", *["touch ran"] * 200)
    done = batch(env, "-f", "-p", "run1", "-c", "0.1", "-t", "2", "tasks")
    assert done.code == 1, done.err
    assert "--fail-fast" in done.err
    assert codes(env).get(1) == 7
    assert lines_of(env, "ended") == []


def test_environment_of_tasks(env: FjdEnv) -> None:
    """Tasks find the names of the run and of the list, and their numbers."""
    names = ("JOBID", "NAMETASKS", "TASKID", "TASKID_ZP", "STREAM_INDEX", "REPEAT_INDEX")
    shown = ",".join(f"$DISBATCH_{name}" for name in (*names, "ENGINE_RANK"))
    tasks(env, "# comment", f"echo {shown} $DISBATCH_CORES_PER_TASK > env")
    assert batch(env, "-p", "run1", "tasks").code == 0
    assert lines_of(env, "env") == ["run1,tasks,0,000000,2,-1,0", "1"]


def test_context_limit(env: FjdEnv) -> None:
    """After -C tasks the context ends; what is left is said, with exit code 4."""
    tasks(env, *[f"echo {n} >> ran" for n in range(10)])
    done = batch(env, "-C", "4", "-t", "1", "-p", "run1", "tasks")
    assert done.code == 4, done.err
    assert "no engine is left" in done.err
    assert lines_of(env, "ran") == ["0", "1", "2", "3"]
    again = batch(env, "-p", "run2", "-r", "run1_status.txt", "tasks")
    assert again.code == 0, again.err
    assert sorted(map(int, lines_of(env, "ran"))) == list(range(10))


def test_shares_of_a_host(env: FjdEnv) -> None:
    """-E gives each slot its value of the list; more slots than values are not used."""
    tasks(env, *['echo "$THINGS" >> ran; sleep 0.1'] * 12)
    words = ["-E", "THINGS", "-c", "0.1", "-t", "3", "-p", "run1", "tasks"]
    done = batch(env, *words, THINGS="3,5")
    assert done.code == 0, done.err
    assert set(lines_of(env, "ran")) == {"3", "5"}
    assert "THINGS has 2 for 3 slots: 2 will be used" in done.err


def test_hosts_of_the_environment(env: FjdEnv) -> None:
    """DISBATCH_SSH_NODELIST says the hosts where -s does not."""
    tasks(env, "true")
    done = batch(env, "-p", "run1", "tasks", DISBATCH_SSH_NODELIST="localhost:1")
    assert done.code == 0, done.err
    assert (env.cwd / "run1_ssh0.context.log").exists()
    assert batch(env, "-p", "run1", "tasks", DISBATCH_SSH_NODELIST="localhost").code == 2


def test_ten_thousand_barriers(env: FjdEnv) -> None:
    """Barriers in a row are passed at once, and each has its row."""
    tasks(env, "true", *["#DISBATCH BARRIER"] * 10_000, "echo x >> ran")
    done = batch(env, "-p", "run1", "tasks")
    assert done.code == 0, done.err
    assert lines_of(env, "ran") == ["x"]
    assert sum(row.kind == "B" for row in rows(env)) == 10_000


def test_repeat_of_ten_million(env: FjdEnv) -> None:
    """A REPEAT is not written out: it begins at once, and ends when told to."""
    tasks(env, "#DISBATCH REPEAT 10000000 echo >> began")
    run = env.start("fjd-batch", "-p", "run1", "tasks")
    began = env.cwd / "began"
    wait_until(lambda: began.exists() and began.stat().st_size > 50, "tasks run", 30.0, env.show)
    run.signal(signal.SIGINT)
    assert run.ended(30.0) == 130
    assert len(codes(env)) == began.stat().st_size < 10**6


# -- streams --------------------------------------------------------------------------------------


def stream(env: FjdEnv, *words: str) -> subprocess.Popen[bytes]:
    """Start fjd-batch on a pipe."""
    return subprocess.Popen(
        env.argv("fjd-batch", *words, "-"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=env.cwd,
        env=env.env,
        **env.person.as_user(),
    )


def test_stream(env: FjdEnv) -> None:
    """Tasks that come as they come are run as they come."""
    run = stream(env, "-p", "run1")
    assert run.stdin
    run.stdin.write(b"echo $DISBATCH_NAMETASKS >> ran\n")
    run.stdin.flush()
    wait_lines(env, "ran", 1)
    _, err = run.communicate(b"echo two >> ran\necho three >> ran", timeout=60)
    assert run.returncode == 0, err
    assert sorted(lines_of(env, "ran")) == ["stdin", "three", "two"]
    assert codes(env) == {0: 0, 1: 0, 2: 0}


def test_wrong_line_in_a_stream(env: FjdEnv) -> None:
    """A line that cannot be ends the run there, with its number; what came before is run."""
    run = stream(env, "-p", "run1")
    _, err = run.communicate(b"echo one >> ran\n#DISBATCH WHAT\ntouch late\n", timeout=60)
    assert run.returncode == 6, err
    assert b"line 2" in err
    assert lines_of(env, "ran") == ["one"]
    assert not (env.cwd / "late").exists()


def test_a_nul_byte_in_a_stream(env: FjdEnv) -> None:
    """It ends the run at once, with its line; what came before is run."""
    run = stream(env, "-p", "run1")
    _, err = run.communicate(b"echo one >> ran\n\necho two >> ran\na\0b\ntouch late\n", timeout=30)
    assert run.returncode == 6, err
    assert b"stdin: line 4 holds a NUL byte" in err
    assert b"give the same tasks to the same command with -r" in err
    assert sorted(lines_of(env, "ran")) == ["one", "two"]
    assert not (env.cwd / "late").exists()


def test_empty_stream(env: FjdEnv) -> None:
    """No tasks in a stream are no tasks."""
    run = stream(env, "-p", "run1")
    _, err = run.communicate(b"", timeout=60)
    assert run.returncode == 0
    assert b"No tasks to run." in err


# -- resume ---------------------------------------------------------------------------------------


def test_resume(env: FjdEnv) -> None:
    """-r runs what has not ended, -R what failed as well, and both from their own product."""
    tasks(env, *[f"echo {n} >> ran; [ $(({n} % 3)) != 0 -o -e fixed ]" for n in range(6)])
    assert batch(env, "-p", "run1", "tasks").code == 0
    tasks(env, *[f"echo {n} >> ran; [ $(({n} % 3)) != 0 -o -e fixed ]" for n in range(8)])
    done = batch(env, "-p", "run2", "-r", "run1_status.txt", "tasks")
    assert done.code == 0, done.err
    assert sorted(lines_of(env, "ran")) == sorted("01234567")
    assert codes(env, "run2") == {0: 1, 1: 0, 2: 0, 3: 1, 4: 0, 5: 0, 6: 1, 7: 0}
    assert {row.number for row in rows(env, "run2") if row.kind == "S"} == set(range(6))
    (env.cwd / "fixed").touch()
    done = batch(env, "-p", "run3", "-R", "-r", "run2_status.txt", "tasks")
    assert done.code == 0, done.err
    assert Counter(lines_of(env, "ran")) == Counter("01234567" + "036")
    assert set(codes(env, "run3").values()) == {0}


def test_nothing_left(env: FjdEnv) -> None:
    """A resume with nothing to do says so and ends well, also over its own status file."""
    tasks(env, "echo x >> ran", "#FJD BARRIER", "echo x >> ran")
    assert batch(env, "-p", "run1", "tasks").code == 0
    for _ in range(2):
        done = batch(env, "-p", "run1", "-r", "run1_status.txt", "tasks")
        assert done.code == 0, done.err
        assert "nothing is left to do: all 2 tasks are done" in done.err
    assert lines_of(env, "ran") == ["x", "x"]
    assert codes(env) == {0: 0, 2: 0}
    assert (env.cwd / "run1_status.txt.1").exists()


def test_nothing_left_but_barriers(env: FjdEnv) -> None:
    """The file of such a resume has all barriers, and no row of an engine: nobody was hired."""
    tasks(env, "#FJD PERENGINE START true", "true", "#FJD BARRIER", "true", "#FJD BARRIER CHECK")
    assert batch(env, "-p", "run1", "tasks").code == 0
    for words in (["run2", "-r", "run1_status.txt"], ["run3", "-r", "run2_status.txt", "-S"]):
        done = batch(env, "-p", *words, "tasks")
        assert done.code == 0, done.err
        assert "nothing is left to do: all 2 tasks are done" in done.err
        assert done.out == ""
        kinds = [(row.kind, row.number) for row in rows(env, words[0])]
        assert kinds == [("S", 0), ("S", 2), ("B", 1), ("C", 3)]
        assert not list(env.cwd.glob(f"{words[0]}*.context.log"))


def test_nothing_left_behind_a_check(env: FjdEnv) -> None:
    """What failed before a CHECK at the end of the list fails the resume as it failed the run."""
    tasks(env, "false", "true", "#FJD BARRIER CHECK")
    assert batch(env, "-p", "run1", "tasks").code == 1
    done = batch(env, "-p", "run2", "-r", "run1_status.txt", "tasks")
    assert done.code == 1
    assert "nothing is left to do" in done.err
    assert "barrier check: 1 task failed before line 3" in done.err
    assert codes(env, "run2") == {0: 1, 1: 0}


def test_mismatch(env: FjdEnv) -> None:
    """Another task of the same number is refused, with the way out."""
    tasks(env, "echo 0 >> ran", "echo 1 >> ran")
    assert batch(env, "-p", "run1", "tasks").code == 0
    before = status(env).read_bytes()
    tasks(env, "echo 0 >> ran", "echo other >> ran", "echo 2 >> ran")
    done = batch(env, "-p", "run1", "-r", "run1_status.txt", "tasks")
    assert done.code == 6
    assert "task 1 (line 2)" in done.err
    assert "--force-resume" in done.err
    assert status(env).read_bytes() == before
    done = batch(env, "-p", "run1", "--force-resume", "-r", "run1_status.txt", "tasks")
    assert done.code == 0, done.err
    assert sorted(lines_of(env, "ran")) == ["0", "1", "2"]


def test_resume_from_something_else(env: FjdEnv) -> None:
    """What is no status file is refused, and nothing runs."""
    tasks(env, "touch ran")
    for path in ("tasks", "missing", "."):
        done = batch(env, "-p", "run1", "-r", path, "tasks")
        assert done.code == 6, done.err
    assert not (env.cwd / "ran").exists()


def test_resume_from_a_torn_file(env: FjdEnv) -> None:
    """A last row that was cut is as none: its task runs again."""
    tasks(env, *[f"echo {n} >> ran" for n in range(3)])
    assert batch(env, "-t", "1", "-p", "run1", "tasks").code == 0
    last = str(rows(env)[-1].number)
    data = status(env).read_bytes()
    status(env).write_bytes(data[:-5])
    done = batch(env, "-p", "run2", "-r", "run1_status.txt", "tasks")
    assert done.code == 0, done.err
    assert Counter(lines_of(env, "ran")) == Counter("012" + last)
    assert set(codes(env, "run2")) == {0, 1, 2}


def test_resume_a_stream(env: FjdEnv) -> None:
    """Tasks from a pipe are resumed as those of a file."""
    tasks(env, "echo 0 >> ran")
    assert batch(env, "-p", "run1", "tasks").code == 0
    run = stream(env, "-p", "run2", "-r", "run1_status.txt")
    _, err = run.communicate(b"echo 0 >> ran\necho 1 >> ran\n", timeout=60)
    assert run.returncode == 0, err
    assert lines_of(env, "ran") == ["0", "1"]


@pytest.mark.parametrize("prefix", ["run1", "run2"])
def test_killed_and_resumed(env: FjdEnv, prefix: str) -> None:
    """After kill -9 of everything -r completes the run: each task is done once."""
    count = 60
    tasks(env, *[f"echo {n} >> ran; sleep 0.02" for n in range(count)])
    for kill in range(3):
        words = ["-r", "run1_status.txt"] if kill else []
        run = env.start("fjd-batch", "-p", "run1", *words, "tasks")
        wait_until(lambda kill=kill: len(lines_of(env, "ran")) > 10 * (kill + 1), "tasks run", 30.0)
        run.kill()
        for process in env.processes():
            with suppress(psutil.NoSuchProcess):  # its parent took it along
                process.kill()
        run.ended()
    env.known_litter = True
    done = batch(env, "-p", prefix, "-r", "run1_status.txt", "tasks")
    assert done.code == 0, done.err
    assert codes(env, prefix) == dict.fromkeys(range(count), 0)
    ran = Counter(lines_of(env, "ran"))
    assert set(map(int, ran)) == set(range(count))
    assert sum(ran.values()) - count <= 3 * os.cpu_count() * 2  # what ran when it was killed


def test_interrupted_and_resumed(env: FjdEnv) -> None:
    """What had ended when it was interrupted has its row, and nothing runs twice."""
    tasks(env, *[HOLD.replace("echo s", f"echo {n}") for n in range(10)])
    run = env.start("fjd-batch", "-p", "run1", "-t", "1", "tasks")
    wait_lines(env, "began", 1)
    run.signal(signal.SIGINT)
    run.says("finishing what runs")
    (env.cwd / "go").touch()
    assert run.ended() == 130
    before = len(lines_of(env, "ended"))
    assert len(codes(env)) == before < 10
    done = batch(env, "-p", "run1", "-r", "run1_status.txt", "tasks")
    assert done.code == 0, done.err
    assert sorted(map(int, lines_of(env, "began"))) == list(range(10))


# -- programs, mail, browsers ---------------------------------------------------------------------

PROGRAM = """
import json, os
from fjd.batch.kvsclient import Client
client = Client(os.environ["KVSSTCP_HOST"], int(os.environ["KVSSTCP_PORT"]))
for word, value in (("name", "prog"), ("done task", "END"), ("result key", "res"),
                    ("task key", "work")):
    client.put("task source " + word, value)
client.put("work", "echo a >> ran")
client.put("work", "echo b >> ran; exit 4")
number = client.get("res done tasks")[1]
report = json.loads(client.get("res " + number.decode())[1])
client.put("work", "#DISBATCH BARRIER passed")
barrier = client.get("passed")[1].decode()
client.put("work", "END")
open("barrier", "w").write(barrier)
open("said", "w").write(f"{report['TaskId']} {report['ReturnCode']}\\n")
client.close()
"""


def test_task_command(env: FjdEnv) -> None:
    """Tasks come from a program by the key-value store, and their results go there."""
    (env.cwd / "program.py").write_text(PROGRAM)
    command = f"{env.person.python} program.py"
    done = batch(env, "-p", "run1", "--taskcommand", command)
    assert done.code == 0, done.err
    assert sorted(lines_of(env, "ran")) == ["a", "b"]
    assert codes(env) == {0: 0, 1: 4}
    assert lines_of(env, "said") in (["0", "0"], ["1", "4"])
    assert lines_of(env, "barrier") == ["2"]
    assert not (env.cwd / "run1_kvsinfo.txt").exists()


@pytest.mark.parametrize(("command", "says"), [("exit 5", "exit code 5"), ("true", "signing in")])
def test_task_command_that_fails(env: FjdEnv, command: str, says: str) -> None:
    """A command that fails, or ends without a word, ends the run with its reason."""
    done = batch(env, "-p", "run1", "--taskcommand", command)
    assert done.code == 6, done.err
    assert says in done.err


def test_mail_server_that_is_not_there(env: FjdEnv) -> None:
    """A mail server that fails costs one line."""
    tasks(env, *["true"] * 5)
    done = batch(env, "-p", "run1", "--mailTo", "ada@example.org", "tasks", FJD_SMTP="127.0.0.1:1")
    assert done.code == 0, done.err
    assert done.err.count("Failed to send notification message") == 1
    assert len(codes(env)) == 5


def test_web(env: FjdEnv) -> None:
    """-w shows the run under an address that stands in a file of its own, until its end."""
    tasks(env, HOLD, HOLD)
    run = env.start("fjd-batch", "-w", "-p", "run1", "-t", "1", "tasks")
    wait_lines(env, "began", 1)
    url = env.cwd / "run1_url"
    assert url.stat().st_mode & 0o777 == 0o600
    with urllib.request.urlopen(url.read_text(), timeout=20) as page:
        assert b"run1" in page.read()
    (env.cwd / "go").touch()
    assert run.ended() == 0
    assert not url.exists()


# -- fjd.Batch ------------------------------------------------------------------------------------

USE = """
from fjd import Batch
with Batch("-c", "0.1", "-t", "2") as batch:
    first = batch.submit("echo one; exit 3")
    print(batch.wait([first])[first].code, batch.wait([first])[first].out_text.strip())
    ids = [batch.submit(f"exit {n}") for n in range(5)]
    print(sorted(done.code for done in batch.as_completed(ids)))
    late = batch.submit("printf 'a\\nb' | wc -l")
print(len(ids), late)
"""


def test_class(env: FjdEnv) -> None:
    """A program hands in commands as it goes, and hears how each of them ended."""
    out, _ = env.python(USE).communicate(timeout=60)
    assert out.splitlines() == ["3 one", "[0, 1, 2, 3, 4]", "5 6"]


def test_class_that_cannot_run(env: FjdEnv) -> None:
    """What keeps fjd-batch from running is what the program is told."""
    program = """
from fjd import Batch
from fjd.errors import FjdError
try:
    with Batch("-s", "host") as batch:
        batch.wait([batch.submit("true")])
except FjdError as error:
    print(error)
"""
    out, _ = env.python(program).communicate(timeout=60)
    assert "fjd-batch has ended with exit code 2: " in out
    assert "'host' has no count" in out
