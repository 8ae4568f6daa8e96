"""What a person sees on a terminal, and what a pipe gets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from harness import FjdEnv
from terminal import Terminal

PROGRAM = "[fjd-dispatcher] "


def on_a_terminal(env: FjdEnv, columns: int, *words: str, **more: str) -> Terminal:
    """Run a command of ours on a terminal."""
    argv = env.argv(words[0], *words[1:])
    return Terminal(argv, {**env.env, **more}, env.cwd, columns, env.person.as_user())


@pytest.mark.parametrize("columns", [80, 40])
@pytest.mark.parametrize("colour", ["NO_COLOR", "FORCE_COLOR"])
def test_one_line_is_rewritten_and_fits(env: FjdEnv, columns: int, colour: str) -> None:
    """The dispatcher's line stays one line, whatever happens, and in the end it is gone."""
    for number in range(120):
        env.job(f"job{number}", f"sleep 0.05; exit {number % 2}")
    for worker in env.workers(10):
        worker.asked = True  # they are fired
    with on_a_terminal(env, columns, "fjd_dispatcher", **{colour: "1"}) as terminal:
        assert terminal.ended() == 1
        seen = [line for line in terminal.screen() if "warning: running as root" not in line]
        printed = terminal.printed.decode()
    live = [part for part in printed.replace("\n", "\r").split("\r") if " waiting, " in part]
    assert len(live) >= 3, printed
    assert max(len(part.rstrip()) for part in live) >= columns - 2, "no line was too long"
    assert [line for line in seen if " waiting, " in line] == []
    assert seen[0] == f'{PROGRAM}Started on project "default"'
    assert seen[-1] == ""
    assert f"{PROGRAM}No (more) jobs." in seen
    assert "" not in seen[:-1]


def test_a_pipe_gets_no_escapes(env: FjdEnv) -> None:
    """Whatever the environment promises about colours, a pipe gets plain text."""
    (worker,) = env.workers(1)
    worker.asked = True
    env.job("one", "false")
    wish = {"TERM": "xterm-256color", "FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"}
    commands = [
        ("fjd_dispatcher", "--help"),
        ("fjd_recruiter", "roster"),
        ("fjd", "status"),
        ("fjd_dispatcher",),
        ("fjd", "status"),
        ("fjd", "log", "one"),
        ("fjd", "retry"),
        ("fjd", "what"),
        ("fjd_recruiter", "fire"),
    ]
    for words in commands:
        for colour in ({}, {"NO_COLOR": "1"}):
            if words == ("fjd_dispatcher",) and colour:
                continue  # there is one job, and it is done
            done = env.run(words[0], *words[1:], **wish, **colour)
            assert "\x1b" not in done.out + done.err, words
            assert "\r" not in done.out + done.err, words


@pytest.mark.parametrize(
    "words", [("fjd", "status"), ("fjd_recruiter", "roster"), ("fjd", "log", "one")]
)
def test_no_color_on_a_terminal(env: FjdEnv, words: tuple[str, ...]) -> None:
    """With NO_COLOR nothing but text and line ends reaches the terminal, and it fits."""
    (worker,) = env.workers(1)
    worker.asked = True
    env.job("one", "echo out; false")
    assert env.dispatch().code == 1
    with on_a_terminal(env, 80, *words, NO_COLOR="1") as terminal:
        assert terminal.ended() in (0, 1)
        assert len(terminal.screen()) > 1


# -- passwords ------------------------------------------------------------------------------------

# fjd-recruiter with other hosts that accept no key, and one of them a password.
HOSTS = """
import sys, threading, types
from fjd.launchers.errand import HostError, Reply
lock = threading.Lock()

def run(errand, password=None):
    name = errand.host.name
    with lock, open("asked", "a") as file:
        print(name, password or "-", file=file)
    if password is None and name != "open":
        raise HostError(f"it does not accept our key for ada@{name}", "type: ssh-copy-id", True)
    if password not in (None, "sesame"):
        raise HostError("it does not accept that password", "try again")
    return Reply(0, f"[fjd-recruiter] {name} is well\\n", "")

sys.modules["fjd.launchers.ssh"] = types.SimpleNamespace(run=run)
from fjd.scripts.fjd_recruiter import main
raise SystemExit(main(["fire"]))
"""


@pytest.fixture
def hosts(env: FjdEnv) -> FjdEnv:
    """A home whose remote.conf names four other hosts, three of which accept no key."""
    names = ("open", "shut1", "shut2", "shut3")
    text = "".join(f"[host{k}]\nname: {n}\nworkers: 1\n" for k, n in enumerate(names, 1))
    path = Path(env.project.remote_conf)
    path.write_text(text)
    env.own(path)
    return env


def asked(env: FjdEnv) -> list[str]:
    """Return which host was asked with which password, in that order."""
    return (env.cwd / "asked").read_text().splitlines()


def test_passwords_are_asked_for_one_at_a_time(hosts: FjdEnv) -> None:
    """On a terminal: after all others have answered, host by host, and never shown."""
    argv = [sys.executable, "-c", HOSTS]
    with Terminal(argv, hosts.env, hosts.cwd, 200, hosts.person.as_user()) as terminal:
        answers = ["sesame", "wrong", ""]
        order = []
        for number, answer in enumerate(answers, 1):
            terminal.says("(empty: leave it out): ", times=number)
            assert terminal.printed.count(b"Password for ") == number  # and no other meanwhile
            order.append(terminal.printed.decode().rpartition("Password for ")[2].split()[0])
            terminal.type(f"{answer}\n")
        assert terminal.ended() == 4
        printed = terminal.printed.decode()
    assert sorted(order) == ["shut1", "shut2", "shut3"]
    assert sorted(asked(hosts)[:4]) == ["open -", "shut1 -", "shut2 -", "shut3 -"]
    assert asked(hosts)[4:] == [f"{order[0]} sesame", f"{order[1]} wrong"]
    assert printed.index("open is well") < printed.index("Password for ")
    assert f"{order[0]} is well" in printed
    assert f"Host {order[1]}: it does not accept that password" in printed
    assert "sesame" not in printed


def test_nobody_is_asked_without_a_terminal(hosts: FjdEnv) -> None:
    """In a pipe or at night: each host that wants a password costs one line, and nothing waits."""
    done = subprocess.run(
        [sys.executable, "-c", HOSTS],
        cwd=hosts.cwd,
        env=hosts.env,
        input="sesame\n" * 9,
        capture_output=True,
        text=True,
        timeout=20,
        start_new_session=True,
        **hosts.person.as_user(),
    )
    assert done.returncode == 4
    assert sorted(asked(hosts)) == ["open -", "shut1 -", "shut2 -", "shut3 -"]
    assert "Password" not in done.stdout + done.stderr
    for host in ("shut1", "shut2", "shut3"):
        assert done.stderr.count(f"Host {host}: ") == 1
