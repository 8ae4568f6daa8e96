"""Commands that cannot do what they are told: one line, a fitting exit code, nothing left."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from harness import Done, FjdEnv, wait_until

ROOT = "warning: running as root; other hosts may see another home"


def run_in_shell(env: FjdEnv, script: str, *argv: str, **more: str) -> Done:
    """Run a command by way of a shell script, in which it is called "$@"."""
    done = subprocess.run(
        ["sh", "-c", script, "sh", *argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=env.cwd,
        env={**env.env, **more},
        timeout=60,
        **env.person.as_user(),
    )
    assert "Traceback" not in done.stdout + done.stderr, done
    assert "Exception ignored" not in done.stderr, done
    return Done(done.returncode, done.stdout, done.stderr)


def the_line(done: Done) -> str:
    """Return the one line that a command said in vain."""
    (line,) = [line for line in done.err.splitlines() if ROOT not in line]
    assert done.out == ""
    return line


# -- what cannot be meant -------------------------------------------------------------------------

BAD_NAMES = ["..", "a/b", "", "x" * 300]
WITH_PROJECT = [
    ("fjd_recruiter", "hire", "1"),
    ("fjd_recruiter", "fire"),
    ("fjd_recruiter", "roster"),
    ("fjd", "submit", "good.conf"),
    ("fjd", "status"),
    ("fjd", "log", "job"),
    ("fjd", "retry"),
]


@pytest.mark.parametrize("words", WITH_PROJECT, ids=lambda words: "-".join(words[:2]))
@pytest.mark.parametrize("by", ["option", "environment"])
def test_no_project_name(env: FjdEnv, words: tuple[str, ...], by: str) -> None:
    """What cannot name a project is refused by every verb with one line; nothing is made."""
    (env.cwd / "good.conf").write_text("[control]\nexecutable: true\n")
    for name in BAD_NAMES:
        option = [f"--project={name}"] if by == "option" else []
        more = {"FJD_PROJECT": name} if by == "environment" else {}
        done = env.run(*words, *option, **more)
        assert done.code == 2, (name, done)
        line = the_line(done)
        assert "cannot name a project" in line
        assert len(line) < 250
        assert os.listdir(env.home) == ["default"]
        assert os.listdir(env.root / "h" / "default") == ["jobqueue"]


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        (("fjd_worker", "--id", "../../x"), {2}),
        (("fjd_worker", "--nice", "20"), {2}),
        (("fjd_worker", "--nice", "-21"), {2}),
        (("fjd_worker", "--nice", "x"), {2}),
        (("fjd_worker", "--cwd", "/no/dir"), {2, 6}),
        (("fjd_recruiter", "--nice", "20", "hire", "1"), {2}),
        (("fjd_recruiter", "--nice", "-21", "hire", "1"), {2}),
        (("fjd_recruiter", "--nice", "x", "hire", "1"), {2}),
        (("fjd_recruiter", "--curdir", "/no/dir", "hire", "1"), {2, 6}),
    ],
    ids=lambda value: "-".join(value[:3]) if isinstance(value, tuple) else "",
)
def test_impossible_terms(env: FjdEnv, words: tuple[str, ...], codes: set[int]) -> None:
    """Nobody is hired on terms that cannot be kept, and one line says which."""
    done = env.run(*words)
    assert done.code in codes, done
    assert the_line(done)
    assert env.sightings() == {}
    assert not list(env.root.rglob("x"))


# -- where nothing can be done --------------------------------------------------------------------


def test_no_scratch_space(env: FjdEnv) -> None:
    """A worker and a dispatcher that cannot make their scratch files say so in one line."""
    for program in ("fjd-worker", "fjd-dispatcher"):
        done = env.run(program, TMPDIR="/proc")
        assert done.code == 6, done
        assert "/proc" in the_line(done)
    assert env.sightings() == {}
    assert not os.listdir(env.project.dispatcher)


@pytest.mark.parametrize(
    "words", [("fjd_worker",), ("fjd_recruiter", "hire", "1")], ids=lambda words: words[0]
)
def test_the_directory_was_deleted(env: FjdEnv, words: tuple[str, ...]) -> None:
    """Who stands in a directory that is no more is told so; tasks would start nowhere."""
    script = 'mkdir d && cd d && rmdir ../d && exec "$@"'
    done = run_in_shell(env, script, *env.argv(*words))
    assert done.code == 6, done
    assert "deleted" in the_line(done)
    assert env.sightings() == {}


@pytest.mark.parametrize(
    "words", [("fjd_dispatcher",), ("fjd", "doctor", "--local-only")], ids=lambda words: words[0]
)
def test_no_threads(plain_env: FjdEnv, words: tuple[str, ...]) -> None:
    """Where the system gives no more threads, one line says with what to look."""
    script = 'ulimit -p 1 2>/dev/null || ulimit -u 1; exec "$@"'
    done = run_in_shell(plain_env, script, *plain_env.argv(*words))
    assert done.code == 6, done
    assert "no more memory or threads; see what ulimit -a allows" in done.err
    assert not list(plain_env.home.glob("default/dispatcher/*")), "the lease was given up"


def test_a_detached_dispatcher_that_cannot_start(env: FjdEnv) -> None:
    """A mistake that only the detached dispatcher would notice is told in the foreground."""
    done = env.run("fjd_dispatcher", "--detach", FJD_LEASE="abc")
    assert done.code == 6, done
    assert "FJD_LEASE" in the_line(done)
    wait_until(lambda: not env.processes(), "nothing is left of it")


COMMANDS = [
    ("fjd",),
    ("fjd", "--version"),
    ("fjd", "status"),
    ("fjd", "status", "--json"),
    ("fjd", "submit", "good.conf"),
    ("fjd", "log", "none"),
    ("fjd", "retry"),
    ("fjd_worker", "--help"),
    ("fjd_worker", "--version"),
    ("fjd_worker", "--what"),
    ("fjd_dispatcher", "--help"),
    ("fjd_dispatcher", "--status-only"),
    ("fjd_dispatcher", "--no-wait"),
    ("fjd_recruiter", "--help"),
    ("fjd_recruiter", "--version"),
    ("fjd_recruiter", "roster"),
    ("fjd_recruiter", "roster", "--json"),
    ("fjd_recruiter", "hire", "1"),
    ("fjd_recruiter", "fire"),
]


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(env: FjdEnv, closed: str) -> None:
    """No command needs the streams that it was not given, nor writes into files in their place."""
    (env.cwd / "good.conf").write_text("[control]\nexecutable: true\n")
    for words in COMMANDS:
        done = run_in_shell(env, f'exec "$@" {closed}', *env.argv(*words))
        assert done.code in (0, 2, 3, 4), (words, done)
        assert env.sightings().keys() == set() or words[1:] == ("hire", "1"), (words, done)
    said = [
        path for path in env.home.rglob("*") if path.is_file() and "screenlogs" not in str(path)
    ]
    assert [path for path in said if b"[fjd" in path.read_bytes()] == []


WITH_ANSWERS = [
    words for words in COMMANDS if words not in (("fjd", "log", "none"), ("fjd", "retry"))
]


def test_help_without_docstrings(env: FjdEnv) -> None:
    """Who lets Python leave all docstrings out is helped all the same."""
    for words in (("fjd",), ("fjd", "submit"), ("fjd_worker",), ("fjd_dispatcher",)):
        done = env.run(*words, "--help", PYTHONOPTIMIZE="2")
        assert done.code == 0
        assert done.out.startswith("usage: " + words[0].replace("_", "-"))


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_full_stdout(env: FjdEnv, unbuffered: str) -> None:
    """Who cannot say what was asked for says so, and does not end with 0; what is done is done."""
    (env.cwd / "good.conf").write_text("[control]\nexecutable: true\n")
    for words in WITH_ANSWERS:
        argv = env.argv(*words)
        done = run_in_shell(env, 'exec "$@" > /dev/full', *argv, PYTHONUNBUFFERED=unbuffered)
        if words[1:] in (("--what",), ("--no-wait",)):  # these end with a code of their own
            assert done.code in (2, 4), (words, done)
            continue
        assert done.code == 6, (words, done)
        assert "No space left" in done.err, (words, done)
    assert env.sightings() == {}


def test_nobody_reads_what_was_done(env: FjdEnv) -> None:
    """A reader that is gone keeps no recruiter from its work, and from telling that it failed."""
    assert env.run("fjd_recruiter", "hire", "1").code == 0
    conf = env.home / "default" / "remote.conf"
    conf.write_text("[host1]\nname: nowhere.invalid\nworkers: 1\n")
    fire = env.argv("fjd_recruiter", "fire")
    done = run_in_shell(env, '{ "$@"; echo $? > code; } | true', *fire)
    assert "Host nowhere.invalid" in done.err
    assert (env.cwd / "code").read_text() == "4\n"
    assert env.sightings() == {}


# -- FJD_HOME -------------------------------------------------------------------------------------


def test_a_relative_home_in_a_deleted_directory(env: FjdEnv) -> None:
    """It means nothing any more, and one line says so."""
    for words in (("fjd", "status"), ("fjd_recruiter", "fire"), ("fjd_worker",)):
        script = 'mkdir d && cd d && rmdir ../d && exec "$@"'
        done = run_in_shell(env, script, *env.argv(*words), FJD_HOME="h")
        assert done.code == 6, (words, done)
        assert "deleted; cd into another" in the_line(done)


def test_a_relative_home(env: FjdEnv) -> None:
    """FJD_HOME may be relative: it is taken from where the command was typed, by all it starts."""
    relative = {"FJD_HOME": os.path.relpath(env.home, env.cwd)}
    done = env.run("fjd_recruiter", "hire", "1", **relative)
    assert done.code == 0, done
    assert len(env.sightings()) == 1
    env.job("one", "echo $FJD_HOME; :")
    done = env.run("fjd_dispatcher", "--detach", **relative)
    assert done.code == 0, done
    env.wait_for("one")
    wait_until(lambda: not env.sightings(), "the detached dispatcher has fired the worker")
    wait_until(lambda: not env.processes(), "everybody has ended")
    env.job("two", "true")
    assert env.run("fjd_recruiter", "hire", "2", **relative).code == 0
    assert env.run("fjd_recruiter", "roster", **relative).out.count("\n") == 3
    assert env.run("fjd_dispatcher", **relative).code == 0
    assert env.outcomes() == {"one": "ok", "two": "ok"}
    assert env.run("fjd_recruiter", "hire", "1", **relative).code == 0
    assert "Fired 1 worker" in env.run("fjd_recruiter", "fire", **relative).out
    assert env.output("one") == f"{env.home}\n".encode()
    assert os.listdir(env.home) == ["default"]
    assert list(env.root.rglob("jobqueue")) == [Path(env.project.jobqueue)]


# -- root -----------------------------------------------------------------------------------------

AS = """
import os, sys
import fjd.talk

class Os:
    geteuid = staticmethod(lambda: {uid})

    def __getattr__(self, name):
        return getattr(os, name)

fjd.talk.os = Os()
from fjd.scripts.{command} import main
raise SystemExit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("uid", "times"), [(0, 1), (1000, 0)])
def test_root_is_warned_once(env: FjdEnv, uid: int, times: int) -> None:
    """Who is root is told once by each command what that may mean; nobody else is."""

    def command(name: str) -> list[str]:
        return [env.person.python, "-c", AS.format(uid=uid, command=name)]

    worker = env.python(AS.format(uid=uid, command="fjd_worker"))
    try:
        wait_until(env.sightings, "the worker is announced")
        env.job("one", "true")
        env.job("two", "true")
        for words in (
            ("fjd_dispatcher", "--status-only"),
            ("fjd_recruiter", "hire", "1"),
            ("fjd_dispatcher",),
        ):
            done = run_in_shell(env, 'exec "$@"', *command(words[0]), *words[1:])
            assert done.code == 0, done
            assert done.err.count(ROOT) == times, done
            lines = [line for line in done.err.splitlines() if "running as root" in line]
            name = words[0].replace("_", "-")
            assert lines == [f"[{name}] {ROOT}"] * times
        out, _ = worker.communicate(timeout=20)
        assert out.count(ROOT) == times, out
    finally:
        worker.kill()
        worker.wait()
