"""What a user may drop into the queue and should not: one clear line each, nobody harmed."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
from pathlib import Path
from typing import Callable

import pytest
from hardship import fill, load
from harness import FjdEnv, age, wait_until

GOOD = "[control]\nexecutable: echo ran; :\n"


def check_rejected(env: FjdEnv, name: str, *words: str) -> Path:
    """Check that a file is rejected with these words, and that jobs before and after it run."""
    for good in ("before", "later"):
        env.put(good, GOOD)
    env.wait_for(name, "before", "later")
    assert env.outcomes() == {"before": "ok", "later": "ok", name: "rejected"}
    why = env.why(name)
    assert why.count("\n") == 1
    for word in words:
        assert word in why
    (dispatcher,) = (d for d in env.daemons if d.name.startswith("fjd-dispatcher"))
    dispatcher.says("rejected")
    lines = [line for line in dispatcher.err.splitlines() if "rejected" in line]
    assert len(lines) == 1, lines
    assert why.strip() in lines[0]
    return Path(env.of(name)[0].path)


@pytest.fixture
def served(env: FjdEnv) -> FjdEnv:
    """A home with a worker and a dispatcher."""
    env.worker()
    env.serve()
    return env


BAD = {
    "no section": ("[params]\na: b\n", "it has no section [control]"),
    "only text": ("just some notes\n", "'just some notes' stands before the first section"),
    "no executable": ("[control]\nlogfile: x\n", "the section [control] has no `executable`"),
    "empty executable": ("[control]\nexecutable:\n", "`executable` is empty"),
    "duplicate keys": (
        "[control]\nexecutable: a\nlogfile: b\nexecutable: c\n",
        "the option 'executable' stands here a second time, after line 2",
    ),
    "duplicate sections": ("[control]\nexecutable: a\n[control]\n", "stands here a second time"),
    "NUL": (b"[control]\nexecutable: a\0b\n", "there is a NUL byte (offset 23)"),
    "not UTF-8": (b"[control]\nexecutable: \xff\n", "byte 0xff is not UTF-8 (offset 22)"),
    "UTF-16": (GOOD.encode("utf-16"), "is not UTF-8"),
    "binary": (bytes(range(256)) * 40, "byte"),
    "bad timeout": ("[control]\nexecutable: a\ntimeout: soon\n", "`timeout`"),
    "script without x": ("#!/bin/sh\necho no\n", "chmod +x"),
    "script without program": ("#!\n", "chmod +x"),
    "blank": ("\n \n", "it is empty"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_content(served: FjdEnv, what: str) -> None:
    """A file that is no job is rejected, and the reason names the file and what to do."""
    data, words = BAD[what]
    served.put("bad", data)
    found = check_rejected(served, "bad", "bad", words, "; ")
    assert found.read_bytes() == (data.encode() if isinstance(data, str) else data)


def test_empty_file(served: FjdEnv) -> None:
    """An empty file may be one that is about to be written; after a while it is rejected."""
    served.put("empty", "")
    check_rejected(served, "empty", "it is empty")


def test_huge_file(served: FjdEnv) -> None:
    """A file of 100 MiB is rejected without being read."""
    staged = served.root / "huge"
    with staged.open("wb") as file:
        file.write(GOOD.encode())
        file.truncate(100 << 20)
    age(staged)
    served.own(staged)
    staged.rename(f"{served.project.jobqueue}/huge")
    check_rejected(served, "huge", "104857600 bytes", "1048576")


def test_directory(served: FjdEnv) -> None:
    """A directory is rejected as a whole."""
    staged = served.root / "folder"
    staged.mkdir()
    (staged / "inside").write_text(GOOD)
    served.own(staged)
    staged.rename(f"{served.project.jobqueue}/folder")
    found = check_rejected(served, "folder", "is a directory")
    assert (found / "inside").read_text() == GOOD


@pytest.mark.parametrize("kind", ["dangling", "looping", "outside", "job"])
def test_symlink(served: FjdEnv, kind: str) -> None:
    """A symbolic link is rejected, wherever it points; what it points at is not touched."""
    target = served.cwd / "target"
    target.write_text(GOOD)
    path = f"{served.project.jobqueue}/link"
    where = {"dangling": "/no/such/place", "looping": path, "outside": "/etc/passwd"}
    os.symlink(where.get(kind, str(target)), path)
    check_rejected(served, "link", "is a symbolic link")
    assert target.read_text() == GOOD
    assert os.path.exists("/etc/passwd")


@pytest.mark.parametrize("kind", ["FIFO", "socket"])
def test_special_file(served: FjdEnv, kind: str) -> None:
    """A FIFO or a socket is rejected, and nobody waits for who opens its other end."""
    path = f"{served.project.jobqueue}/special"
    if kind == "FIFO":
        os.mkfifo(path, 0o600)
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
    check_rejected(served, "special", "no regular file")


def test_unreadable_file(plain_env: FjdEnv) -> None:
    """A file that its owner may not read is rejected with the `chmod` that helps."""
    plain_env.worker()
    plain_env.serve()
    plain_env.put("secret", GOOD, mode=0)
    check_rejected(plain_env, "secret", "you may not read it", "type `chmod u+r secret`")


def test_foreign_file(require_root: None, plain_env: FjdEnv) -> None:
    """A file that belongs to somebody else is not run in the user's name."""
    plain_env.worker()
    plain_env.serve()
    staged = plain_env.root / "foreign"
    staged.write_text(GOOD)
    staged.chmod(0o644)
    age(staged)
    staged.rename(f"{plain_env.project.jobqueue}/foreign")
    check_rejected(plain_env, "foreign", "it belongs to user 0")


def test_rejected_again(served: FjdEnv) -> None:
    """A rejected file that is mended and moved back into the queue is run."""
    served.put("job", "[control]\n")
    found = check_rejected(served, "job", "no `executable`")
    found.write_text(GOOD)
    found.rename(f"{served.project.jobqueue}/job")
    wait_until(lambda: served.outcomes().get("job") == "ok", "it has run", on_timeout=served.show)
    assert served.output("job").startswith(b"ran")


# -- half a file ----------------------------------------------------------------------------------

CUTS = {
    "in a name": ("[control]\nexec", "utable: echo whole >> ran; :\n"),
    "in a value": ("[control]\nexecutable: echo who", "le >> ran; :\n"),
    "at the beginning": ("", "[control]\nexecutable: echo whole >> ran; :\n"),
    "before the end": ("[control]\nexecutable: echo whole >> ran; :", "\n"),
}


@pytest.mark.parametrize("cut", CUTS)
def test_slow_writer(served: FjdEnv, cut: str) -> None:
    """A file that takes its writer two seconds is run once, and as a whole."""
    first, second = CUTS[cut]
    served.put("other", GOOD)
    path = f"{served.project.jobqueue}/slow"
    script = f"printf {shlex.quote(first)}; sleep 2; printf {shlex.quote(second)}"
    subprocess.run(
        ["sh", "-c", f"({script}) > {shlex.quote(path)}"],
        check=True,
        **served.person.as_user(),
    )
    served.wait_for("other", "slow")
    assert served.outcomes() == {"other": "ok", "slow": "ok"}
    assert (served.cwd / "ran").read_text() == "whole\n"
    assert len(served.records("slow")) == 1


def test_unfinished_names(served: FjdEnv) -> None:
    """Files with the names of hidden, temporary and backup files are left alone."""
    names = [".hidden", "job~", "job.tmp", ".job.swp", "job.swp", "job.part", ".nfs0001", "#job#"]
    for name in names:
        served.put(name, GOOD)
    served.put("job", GOOD)
    served.wait_for("job")
    assert sorted(os.listdir(served.project.jobqueue)) == sorted(names)
    os.rename(f"{served.project.jobqueue}/job.tmp", f"{served.project.jobqueue}/job2")
    served.wait_for("job2")
    assert served.outcomes() == {"job": "ok", "job2": "ok"}


# -- names ----------------------------------------------------------------------------------------

NAMES = [
    "two words",
    " leading and trailing ",
    "new\nline",
    "tab\tand\rreturn",
    "it's",
    'say "hello"',
    "-rf",
    "--help",
    "*",
    "$(touch pwned)",
    "`touch pwned`; touch pwned",
    "back\\slash\\n",
    "a,b,s1,a1",
    "job,run",
    "job.why",
    "100%",
    "%41%2F..%2F",
    "ümläut 漢字",
    os.fsdecode(b"not\xffutf8"),
    "x.conf",
    "x",
]


def test_names(env: FjdEnv) -> None:
    """Whatever a file is called, it is run, under its own name, and its name is never code."""
    env.workers(2)
    env.serve()
    for name in NAMES:
        env.job(name, 'basename -- "$FJD_JOBFILE"; echo "$FJD_JOBFILE" "$0"; ls "$FJD_JOBFILE"; :')
    env.wait_for(*NAMES)
    assert env.outcomes() == dict.fromkeys(NAMES, "ok")
    for name in NAMES:
        assert env.output(name).startswith(os.fsencode(name) + b"\n")
        assert env.output(name, "err") == b""
    assert not (env.cwd / "pwned").exists()


@pytest.mark.parametrize("length", [100, 140, 141, 255])
def test_long_names(served: FjdEnv, length: int) -> None:
    """Names of up to 255 bytes are run, also when two of them begin alike; 140 are kept whole."""
    names = ["n" * (length - 1) + digit for digit in "12"]
    for name in names:
        served.job(name, 'basename "$FJD_JOBFILE" >> ran; :')
    wait_until(
        lambda: [found.code for found in served.everything()] == ["ok", "ok"],
        "both are filed",
        on_timeout=served.show,
    )
    ran = sorted((served.cwd / "ran").read_text().split())
    assert ran == names if length <= 140 else len(ran) == 2


# -- jobs that vanish -----------------------------------------------------------------------------


def test_removed_while_queued(env: FjdEnv) -> None:
    """A job that is removed before it runs is cancelled, and this is said and recorded."""
    dispatcher = env.serve(FJD_POLL="0.2")
    paths = [env.put(name, GOOD) for name in ("one", "two")]
    dispatcher.says("Found 2 job(s) and 0 worker(s)...")
    os.unlink(paths[0])
    dispatcher.says("one was removed before it ran: cancelled")
    env.worker()
    env.wait_for("two")
    assert env.outcomes() == {"two": "ok"}
    assert env.record("one")["outcome"] == "cancelled"


def test_own_pod_deleted(env: FjdEnv) -> None:
    """A job that deletes its worker's pod harms nobody else; its own end counts."""
    worker, dispatcher = env.worker(), env.serve(FJD_POLL="0.2")
    env.job("vandal", 'rm -rf "$FJD_HOME/default/jobpods/$FJD_WORKER"; :')
    dispatcher.says("vandal was removed while")
    assert env.record("vandal")["outcome"] == "ok"
    env.put("next", GOOD)
    env.wait_for("next")
    assert env.outcomes() == {"next": "ok"}
    assert worker.ids == [worker.id]


def test_own_running_copy_deleted(served: FjdEnv) -> None:
    """A job that deletes its own copy, or the directory of it, harms nobody."""
    served.job("1", 'rm "$FJD_JOBFILE"; :')
    served.job("2", 'rm -r "$FJD_HOME/default/running/$FJD_WORKER"; :')
    served.job("3", 'touch "$FJD_HOME/default/running/$FJD_WORKER/left over"; :')
    served.put("4", GOOD)
    served.wait_for("1", "2", "3", "4")
    assert served.outcomes() == dict.fromkeys("1234", "ok")
    os.unlink(f"{served.project.running}/{served.daemons[0].id}/left over")


# -- commands that fail ---------------------------------------------------------------------------


def test_no_such_executable(served: FjdEnv) -> None:
    """A command that does not exist fails, and the shell's words are kept."""
    served.job("lost", "no-such-program --at-all")
    served.put("script", "#!/no/such/interpreter\n", 0o700)
    served.put("next", GOOD)
    served.wait_for("lost", "script", "next")
    assert served.outcomes() == {"lost": "x127", "script": "x126", "next": "ok"}
    assert b"no-such-program: " in served.output("lost", "err")
    assert "cannot start it" in served.record("script")["cause"]
    assert b"cannot start it" in served.output("script", "err")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGHUP])
def test_killed_by_signal(served: FjdEnv, number: signal.Signals) -> None:
    """A job that a signal ended is filed as killed, with the signal's name."""
    served.job("victim", f"kill -{number.value} $$; :")
    served.put("next", GOOD)
    served.wait_for("victim", "next")
    assert served.outcomes() == {"victim": f"sig{number.value}", "next": "ok"}
    record = served.record("victim")
    assert (record["outcome"], record["exit"], record["signal"]) == ("killed", None, number)
    assert number.name in record["cause"]


# -- project names --------------------------------------------------------------------------------


SMALL = """
import os
import fjd.worker.memory
fjd.worker.memory._LIMITS = (os.environ["LIMIT"],)
"""


def test_killed_for_memory(env: FjdEnv) -> None:
    """A kill of a job that had most of the memory says so, and how much it was at the peak."""
    load(env, SMALL)
    limit = env.root / "limit"
    limit.write_text(f"{256 << 20}\n")
    limit.chmod(0o644)
    env.worker(LIMIT=str(limit))
    env.serve()
    hog = env.cwd / "hog.py"
    hog.write_text("import os\nx = b'x' * (200 << 20)\nos.kill(os.getpid(), 9)\n")
    env.job("hog", f"exec {env.person.python} -S hog.py; :")
    env.job("thin", "kill -9 $$; :")
    env.wait_for("hog", "thin")
    killed = "killed by signal 9 (SIGKILL)"
    causes = [env.record(name)["cause"] for name in ("hog", "thin")]
    assert causes == [f"{killed}, probably out of memory: 0.2 GiB at the peak", killed]
    assert causes[0] in env.run("fjd", "log", "hog").err


@pytest.mark.parametrize("program", ["fjd-worker", "fjd-dispatcher"])
@pytest.mark.parametrize("name", ["..", ".", "a/b", "", "x" * 300, ".hidden", "-x", "a b", "é"])
def test_project_name(env: FjdEnv, program: str, name: str) -> None:
    """What cannot name a project is refused with one line and exit code 2; nothing is made."""
    done = env.run(program, f"--project={name}")
    lines = [line for line in done.err.splitlines() if "running as root" not in line]
    assert done.code == 2, done
    assert len(lines) == 1, lines
    assert "cannot name a project" in lines[0]
    assert len(lines[0]) < 250
    assert os.listdir(env.home) == ["default"]


# -- a full disk ----------------------------------------------------------------------------------


@pytest.fixture
def small_env(small_disk: Path, make_env: Callable[..., FjdEnv]) -> FjdEnv:
    """A home on a small disk."""
    return make_env(home=small_disk)


@pytest.mark.parametrize("output", ["", "head -c 100000 /dev/zero; "])
def test_full_disk(small_env: FjdEnv, output: str) -> None:
    """On a full disk the worker says so, waits, and goes on; there is exactly one record."""
    env = small_env
    worker, dispatcher = env.worker(), env.serve()
    page = ": " + "x" * 5000  # no record of it fits into what is left of a page of the disk
    env.job("job", f"echo > began; while ! test -e go; do sleep 0.02; done; {output}{page}; :")
    env.put("next", GOOD)
    env.wait_file("began")
    fill(env.home / "ballast")
    (env.cwd / "go").touch()
    worker.says("the disk is full; make room")
    assert env.sightings()[worker.id].busy
    os.unlink(env.home / "ballast")
    env.wait_for("job", "next")
    assert env.outcomes() == {"job": "ok", "next": "ok"}
    assert worker.ids == [worker.id]
    assert env.record("job")["out"][1] == (100000 if output else 0)
    if output:
        assert env.output("job") == b"\0" * 100000
    assert dispatcher.process.poll() is None
