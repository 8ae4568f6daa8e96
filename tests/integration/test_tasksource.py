"""Programs that hand in tasks through the key-value store, as those written for disBatch do."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable

import psutil
import pytest
from harness import CHECKOUT, wait_until

from fjd.batch.kvs import Server
from fjd.batch.kvsclient import Client, StoreGone
from fjd.batch.store import Value
from fjd.batch.tasksource import FIELDS, SourceError, TaskSource

Make = Callable[..., TaskSource]
ROW = dict(zip(FIELDS, ["R   ", 0, 1, -1, "h", 7, 3, 1.5, 10.0, 11.5, 0, "", 0, "", "false\udcff"]))
SIGN_IN = """
import os, sys
from fjd.batch.kvsclient import Client
def put(key, text):
    client.put(key, text)
client = Client(os.environ["KVSSTCP_HOST"], int(os.environ["KVSSTCP_PORT"]))
put("task source name", "prog")
put("task source done task", "prog done!")
put("task source result key", "prog result")
put("task source task key", "prog task")
"""


@pytest.fixture
def said() -> list[str]:
    """What is said about the source."""
    return []


@pytest.fixture
def server(said: list[str]) -> Iterator[Server]:
    """A store."""
    server = Server(talk=said.append)
    server.start()
    yield server
    server.close()


@pytest.fixture
def source(server: Server, said: list[str]) -> Iterator[Make]:
    """A function that makes sources; their commands are ended."""
    made: list[TaskSource] = []

    def make(command: str = "", **options: float) -> TaskSource:
        made.append(TaskSource(server.address, command, server=server, talk=said.append, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """A function that returns the command of a program which signs in and goes on."""
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))

    def write(code: str) -> str:
        (tmp_path / "program.py").write_text(SIGN_IN + code)
        return f"exec {sys.executable} {tmp_path}/program.py"

    return write


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A program that comes by itself."""
    client = Client(*server.address)
    yield client
    client.close()


def sign_in(client: Client, result_key: str = "prog result") -> None:
    """Say who comes."""
    client.put("task source name", "prog")
    client.put("task source done task", "done!")
    client.put("task source result key", result_key)
    client.put("task source task key", "tasks")


def fed(source: TaskSource) -> bytes:
    """Return all that a source writes."""
    lines: list[bytes] = []
    count = source.feed(lines.append)
    assert count == len(lines)
    return b"".join(lines)


def test_records_and_their_indices(client: Client, source: Make) -> None:
    """All lines of a record have its index; the done text is the end, and no task."""
    sign_in(client)
    client.put("tasks", "echo one")
    client.put("tasks", "#DISBATCH PREFIX nice \na\nb\n")
    client.put("tasks", b"\xff\xfe")
    client.put("tasks", "done!")
    client.put("tasks", "too late")
    one = source()
    assert fed(one) == (
        b"#FJD LINE 1\necho one\n#FJD LINE 2\n#DISBATCH PREFIX nice \na\nb\n#FJD LINE 3\n\xff\xfe\n"
    )
    assert one.name == "prog"


def test_tasks_are_written_as_they_come(client: Client, source: Make) -> None:
    """And not when there are more."""
    lines: list[bytes] = []
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(source().feed, lines.append)
        sign_in(client)
        for number in range(3):
            client.put("tasks", str(number))
            wait_until(lambda n=number: len(lines) == n + 1, "it is written")  # type: ignore[misc]
        client.put("tasks", "done!")
        assert done.result(20.0) == 3


@pytest.mark.parametrize("key", ["task source name", "tasks"])
def test_a_pickle_is_refused(client: Client, source: Make, key: str) -> None:
    """Wherever it comes; the reason says what to do."""
    if key == "tasks":
        sign_in(client)
    client.put(key, b"\x80\x04N.", b"PYPK")
    with pytest.raises(SourceError, match=f"a pickled value was put under the key '{key}'; put pl"):
        source().feed(print)


def test_results(client: Client, source: Make) -> None:
    """JSON by the task's number, and the number to those who wait for any."""
    one = source()
    client.put("tasks", "done!")
    sign_in(client)
    one.feed(print)
    one.result(ROW)
    assert client.get("prog result done tasks", 20.0) == Value(b"ASTR", b"0")
    value = client.get("prog result 0", 20.0)
    assert value
    assert value.coding == b"JSON"
    assert json.loads(value.data) == ROW


def test_results_under_a_format(client: Client, source: Make) -> None:
    """As older programs name them: the number goes into the name; a per cent sign is no format."""
    client.put("tasks", "done!")
    sign_in(client, "100% of %05d")
    one = source()
    one.feed(print)
    one.result({**ROW, "TaskId": 12})
    for key in ("100% of 00012", "100% of %05d 12"):
        value = client.get(key, 20.0)
        assert value
        assert json.loads(value.data)["TaskId"] == 12


def test_no_results_of_what_is_no_task(client: Client, source: Make) -> None:
    """Barriers and per-engine tasks have numbers that programs would mistake."""
    client.put("tasks", "done!")
    sign_in(client)
    one = source()
    one.feed(print)
    for flags in ("B    ", "C    ", "R  P", "    "):
        one.result({**ROW, "Flags": flags})
    assert client.get("prog result done tasks", 20.0)
    one.finish_publishing()
    assert client.get("prog result done tasks", 0.0) is None


def test_results_that_nobody_fetches(said: list[str]) -> None:
    """They take half of the store at most; the tasks go on."""
    server = Server(room=100_000)
    server.start()
    client = Client(*server.address)
    one = TaskSource(server.address, server=server, talk=said.append)
    client.put("tasks", "done!")
    sign_in(client)
    one.feed(print)
    for number in range(1000):
        one.result({**ROW, "TaskId": number})
        server.settle()
    client.put("tasks", "x" * 20_000)
    assert client.get("tasks", 20.0)
    client.close()
    one.finish()
    server.close()
    assert len(said) == 1
    assert "nobody fetches them" in said[0]


def test_the_store_goes_away(server: Server, client: Client, source: Make, said: list[str]) -> None:
    """The tasks end with a reason; the results are given up, and that is said once."""
    one = source()
    sign_in(client)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(one.feed, print)
        wait_until(lambda: one.name, "it has signed in")
        server.close()
        with pytest.raises(StoreGone, match=r"has ended the connection|does not answer"):
            done.result(20.0)
    for number in range(100):
        one.result({**ROW, "TaskId": number})
    (line,) = said
    assert "results are not published any more" in line


def test_a_command(source: Make, program: Callable[[str], str]) -> None:
    """It finds the store in its environment, hands in tasks and fetches a result."""
    one = source(
        program(
            "put('prog task', 'echo hi')\nput('prog task', 'prog done!')\n"
            "assert b'false' in client.get('prog result 0').data\n"
        )
    )
    assert fed(one) == b"#FJD LINE 1\necho hi\n"
    one.result(ROW)
    one.finish()


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("exit 3", "ended with exit code 3 before it had signed in"),
        ("kill -9 $$", "was killed by signal 9 before it had signed in"),
        ("true", "ended without signing in"),
        ("no-such-command 2>/dev/null", "exit code 127"),
    ],
)
def test_a_command_that_never_signs_in(source: Make, command: str, reason: str) -> None:
    """That it has ended is noticed at once, whatever the patience is."""
    with pytest.raises(SourceError, match=reason):
        source(command).feed(print)


def test_a_command_that_signs_in_half(
    source: Make, tmp_path: Path, program: Callable[[str], str]
) -> None:
    """It says what is missing."""
    command = program("")
    script = tmp_path / "program.py"
    script.write_text(script.read_text().replace('put("task source task key"', 'str("")#'))
    with pytest.raises(SourceError, match="let it put its task key under"):
        source(command).feed(print)


def test_a_command_that_waits_for_ever(source: Make) -> None:
    """It is given so much time to sign in."""
    one = source("exec sleep 1000", patience=0.2)
    with pytest.raises(SourceError, match=r"nobody signed in within 0\.2 s"):
        one.feed(print)


def test_a_command_that_fails_later(source: Make, program: Callable[[str], str]) -> None:
    """What it had handed in is written; then the reason."""
    one = source(program("put('prog task', 'a')\nsys.exit(5)\n"))
    lines: list[bytes] = []
    with pytest.raises(SourceError, match="exit code 5 before it said that it was done"):
        one.feed(lines.append)
    assert lines == [b"#FJD LINE 1\na\n"]


def test_a_record_that_no_command_can_be(source: Make, program: Callable[[str], str]) -> None:
    """It is refused with its number at once; what came before is written."""
    one = source(program("put('prog task', 'a')\nput('prog task', 'b\\0c')\n"))
    lines: list[bytes] = []
    with pytest.raises(SourceError, match="record 2 holds a NUL byte"):
        one.feed(lines.append)
    assert lines == [b"#FJD LINE 1\na\n"]


def test_a_command_that_forgets_the_end(
    source: Make, said: list[str], program: Callable[[str], str]
) -> None:
    """Its success is the end; all it had put is taken, however much that is."""
    one = source(program("for n in range(5000): put('prog task', str(n))\n"))
    assert fed(one).endswith(b"#FJD LINE 5000\n4999\n")
    assert said == ["the task command has ended without saying so; there are no more tasks"]
    one.finish()


def test_a_command_that_fails_after_the_end(source: Make, program: Callable[[str], str]) -> None:
    """The tasks run; its failure is told at the end."""
    one = source(program("put('prog task', 'prog done!')\nsys.exit(2)\n"))
    assert fed(one) == b""
    with pytest.raises(SourceError, match="the task command ended with exit code 2"):
        one.finish()


def test_a_command_that_does_not_end(source: Make, program: Callable[[str], str]) -> None:
    """It is given time to fetch its results, and then killed with all its children."""
    one = source(
        program(
            "put('prog task', str(os.getpid()))\nput('prog task', 'prog done!')\n"
            "os.fork()\nclient.get('never')\n"
        ),
        patience=10.0,
    )
    pid = int(fed(one).split()[-1])
    family = [psutil.Process(pid), *psutil.Process(pid).children()]
    one._patience = 0.1
    with pytest.raises(SourceError, match=r"did not end within 0\.1 s"):
        one.finish()
    psutil.wait_procs(family, 20.0)
    assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_stop(source: Make, program: Callable[[str], str]) -> None:
    """The feeding ends without a complaint, and the command with it."""
    one = source(program("put('prog task', str(os.getpid()))\nclient.get('never')\n"))
    lines: list[bytes] = []
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(one.feed, lines.append)
        wait_until(lambda: lines, "a task has come")
        one.stop()
        assert done.result(20.0) == 1
    assert not psutil.pid_exists(int(lines[0].split()[-1]))


def test_a_command_that_ignores_term(source: Make, program: Callable[[str], str]) -> None:
    """It is killed."""
    one = source(
        program(
            "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "put('prog task', str(os.getpid()))\nclient.get('never')\n"
        ),
        grace=0.1,
    )
    lines: list[bytes] = []
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(one.feed, lines.append)
        wait_until(lambda: lines, "a task has come")
        one.stop()
        assert done.result(20.0) == 1
    assert not psutil.pid_exists(int(lines[0].split()[-1]))


def test_programs_fetch_their_last_results(server: Server, client: Client, source: Make) -> None:
    """The end waits until those who came by themselves have left."""
    client.put("tasks", "done!")
    sign_in(client)
    one = source()
    one.feed(print)
    one.result(ROW)
    ending = threading.Thread(target=one.finish)
    ending.start()
    assert client.get("prog result 0", 20.0)
    assert ending.is_alive()
    client.close()
    ending.join(20.0)
    assert not ending.is_alive()


def test_a_signal_for_us_is_none_for_the_command(
    source: Make, program: Callable[[str], str]
) -> None:
    """Ctrl-C drains the run: the command is in a session of its own."""
    one = source(program("put('prog task', str(os.getsid(0)))\nput('prog task', 'prog done!')\n"))
    assert int(fed(one).split()[-1]) != os.getsid(0)
    one.finish()
    assert signal.getsignal(signal.SIGINT) is not None
