"""Programs that hand tasks to fjd-batch, as those written for disBatch do: byte by byte, by TCP."""

from __future__ import annotations

import json
import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from batchrun import batch, codes, lines_of, tasks
from harness import Daemon, Done, FjdEnv, gone, wait_until

from fjd.batch.kvs import Server
from fjd.batch.tasksource import FIELDS


def text(data: str) -> bytes:
    """Return text as kvsstcp sends it."""
    return b"%10d%b" % (len(data.encode()), data.encode())


class Wire:
    """A client of its own: what stands in the inventory of disBatch, and nothing else."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), 30.0)
        self._socket.settimeout(60.0)
        self._answers = self._socket.makefile("rb")

    def put(self, key: str, value: str) -> None:
        """Add a value."""
        self._socket.sendall(b"put_" + text(key) + b"ASTR" + text(value))

    def get(self, key: str) -> tuple[bytes, bytes]:
        """Take the oldest value, and wait for it; return coding and value."""
        self._socket.sendall(b"get_" + text(key))
        coding, size = self._answers.read(4), int(self._answers.read(10))
        return coding, self._answers.read(size)

    def report(self, key: str) -> dict[str, object]:
        """Take the report of a task."""
        coding, value = self.get(key)
        assert coding == b"JSON"
        found = json.loads(value)
        assert isinstance(found, dict)
        return found

    def close(self) -> None:
        """Say goodbye."""
        self._socket.sendall(b"clos")
        self._answers.close()
        self._socket.close()

    def sign_in(self, results: str) -> None:
        """Say who comes, and under which keys."""
        words = {"name": "prog", "done task": "END", "result key": results, "task key": "work"}
        for word, value in words.items():
            self.put(f"task source {word}", value)


@pytest.fixture
def store() -> Iterator[str]:
    """Somebody's key-value server; its address."""
    server = Server()
    server.start()
    yield "{}:{}".format(*server.address)
    server.close()


def published(env: FjdEnv, run: Daemon) -> str:
    """Return the address that a run has published."""
    path = env.cwd / "run1_kvsinfo.txt"
    wait_until(path.exists, "an address is published", 30.0, lambda: run.show())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return path.read_text()


def said(done: Done) -> list[str]:
    """Return what a run has said, but for a warning to root."""
    return [line for line in done.err.splitlines() if "warning: running as root" not in line]


def work(client: Wire, results: str) -> None:
    """Hand in tasks, and look at what comes back."""
    client.sign_in(results)
    client.put("work", "printf leak; exit 3")
    client.put(
        "work", "#DISBATCH REPEAT 2 start 7 echo $DISBATCH_REPEAT_INDEX >> ran\necho l >> ran"
    )
    done = sorted(int(client.get(f"{results} done tasks")[1]) for _ in range(4))
    assert done == [0, 1, 2, 3]
    found = [client.report(f"{results} {number}") for number in done]
    assert [tuple(report) for report in found] == [FIELDS] * 4
    shown = ("Flags", "TaskId", "TaskStreamIndex", "TaskRepIndex", "ReturnCode", "OutBytes")
    assert [found[0][name] for name in shown] == ["RO  ", 0, 1, -1, 3, 4]
    assert (found[0]["OutData"], found[0]["TaskCmd"]) == ("leak", "printf leak; exit 3")
    assert [found[n][name] for n in (1, 3) for name in shown[2:5]] == [2, 7, 0, 2, -1, 0]
    assert isinstance(found[0]["Elapsed"], float)
    client.put("work", "#DISBATCH BARRIER passed\n: after")
    assert client.get("passed") == (b"ASTR", b"4")
    assert client.report(f"{results} 5")["TaskId"] == 5
    client.put("work", "END")
    client.close()


# -- a server of the run's own --------------------------------------------------------------------


def test_task_server(env: FjdEnv) -> None:
    """A program finds the address in a file, signs in, hands in tasks, and gets what they did."""
    run = env.start("fjd-batch", "--taskserver", "-p", "run1")
    address = published(env, run)
    assert re.fullmatch(r"127\.0\.0\.1:\d+", address)
    work(Wire(address), "res")
    assert run.ended(60.0) == 0
    assert not (env.cwd / "run1_kvsinfo.txt").exists()
    assert sorted(lines_of(env, "ran")) == ["7", "8", "l"]
    assert codes(env) == {0: 3, 1: 0, 2: 0, 3: 0, 5: 0}
    with pytest.raises(OSError, match="refused"):
        Wire(address)


def test_older_programs(env: FjdEnv) -> None:
    """A result key with a format is where older programs look."""
    run = env.start("fjd-batch", "--taskserver", "-p", "run1")
    client = Wire(published(env, run))
    client.sign_in("result %d")
    for number in range(3):
        client.put("work", f"exit {number}")
    assert [client.report(f"result {n}")["ReturnCode"] for n in range(3)] == [0, 1, 2]
    client.put("work", "END")
    client.close()
    assert run.ended(60.0) == 0


def test_environment(env: FjdEnv) -> None:
    """Every name that disBatch documents is in the environment of a task, and no other."""
    run = env.start("fjd-batch", "--taskserver", "-p", "run1", "-c", "0.5", "-t", "2")
    address = published(env, run)
    client = Wire(address)
    client.sign_in("res")
    meet = 'touch up_$DISBATCH_TASKID; until [ -e "up_0" -a -e "up_1" ]; do sleep 0.02; done; '
    for _ in range(2):  # both slots have one of them
        client.put("work", f"{meet}env | grep ^DISBATCH_ | sort > env_$DISBATCH_TASKID")
    client.put("work", "END")
    client.close()
    assert run.ended(60.0) == 0
    shown = [(env.cwd / f"env_{n}").read_text().splitlines() for n in range(2)]
    slots = set[str]()
    for number, lines in enumerate(shown):
        (slot,) = (line for line in lines if line.startswith("DISBATCH_CYLINDER_RANK="))
        slots.add(slot.partition("=")[2])
        lines.remove(slot)
        assert lines == [
            "DISBATCH_CORES_PER_TASK=0.5",
            "DISBATCH_ENGINE_RANK=0",
            "DISBATCH_JOBID=run1",
            f"DISBATCH_KVSSTCP_HOST={address}",
            "DISBATCH_NAMETASKS=STREAM",
            "DISBATCH_REPEAT_INDEX=-1",
            "DISBATCH_REPEAT_INDEX_ZP=-00001",
            f"DISBATCH_STREAM_INDEX={number + 1}",
            f"DISBATCH_STREAM_INDEX_ZP=00000{number + 1}",
            f"DISBATCH_TASKID={number}",
            f"DISBATCH_TASKID_ZP=00000{number}",
        ]
    assert slots == {"0", "1"}


def test_where_it_listens(env: FjdEnv) -> None:
    """FJD_KVS says where; what is no address there is told, and nothing runs."""
    run = env.start("fjd-batch", "--taskserver", "-p", "run1", FJD_KVS="127.0.0.2")
    address = published(env, run)
    assert address.startswith("127.0.0.2:")
    client = Wire(address)
    client.sign_in("res")
    client.put("work", "END")
    client.close()
    assert run.ended(60.0) == 0
    for words, code in (("host:x", 2), (":1", 2), ("no-such-host.invalid", 6)):
        done = batch(env, "--taskserver", "-p", "run2", FJD_KVS=words)
        assert (done.code, len(said(done))) == (code, 1), done.err
    assert not (env.cwd / "run2_status.txt").exists()


# -- somebody's server ----------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--taskserver={}"], ["--kvsserver={}", "--taskserver={}"],
                                   ["--kvsserver={}", "--taskserver"]])  # fmt: skip
def test_server_that_runs(env: FjdEnv, store: str, words: list[str]) -> None:
    """Tasks come by a server that was there before, and is there afterwards."""
    run = env.start("fjd-batch", *(word.format(store) for word in words), "-p", "run1")
    work(Wire(store), "res")
    assert run.ended(60.0) == 0
    assert not (env.cwd / "run1_kvsinfo.txt").exists()
    Wire(store).close()


def test_server_of_the_environment(env: FjdEnv, store: str) -> None:
    """--kvsserver alone is that of the environment; tasks of a file find it, and hear barriers."""
    host, _, port = store.rpartition(":")
    tasks(env, "echo $DISBATCH_KVSSTCP_HOST >> env", "#DISBATCH BARRIER CHECK passed", "true")
    server = {"KVSSTCP_HOST": host, "KVSSTCP_PORT": port}
    done = batch(env, "-p", "run1", "tasks", "--kvsserver", **server)
    assert done.code == 0, done.err
    assert lines_of(env, "env") == [store]
    client = Wire(store)
    assert client.get("passed") == (b"ASTR", b"1")
    client.close()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--taskserver", "127.0.0.1:1"], 4, "127.0.0.1:1"),
        (["--taskserver", "127.0.0.1"], 2, "no HOST:PORT"),
        (
            ["--taskserver", "h:1", "--kvsserver", "h:2"],
            2,
            "different --kvsserver and --taskserver",
        ),
        (["--kvsserver", "--", "x"], 2, "no key-value server in the environment"),
        (["--taskserver", "-r", "x"], 2, "-r needs a task file"),
    ],
)
def test_no_server(env: FjdEnv, words: list[str], code: int, says: str) -> None:
    """A server that is not there, or is no address, ends the run at once with one line."""
    tasks(env, "touch ran", name="x")
    done = batch(env, "-p", "run1", *words)
    assert done.code == code, done.err
    assert says in done.err
    assert len(said(done)) == 1
    assert not (env.cwd / "ran").exists()
    assert not (env.cwd / "run1_status.txt").exists()


def test_server_that_ends(env: FjdEnv) -> None:
    """Its end is that of the run, with the reason; what was handed in before is done."""
    server = Server()
    server.start()
    address = "{}:{}".format(*server.address)
    run = env.start("fjd-batch", "--taskserver", address, "-p", "run1")
    run.asked = True
    client = Wire(address)
    client.sign_in("res")
    client.put("work", "echo x >> ran")
    assert client.report("res 0")["ReturnCode"] == 0
    server.close()
    assert run.ended(60.0) == 4
    assert "the key-value store has ended the connection" in run.err
    assert lines_of(env, "ran") == ["x"]
    assert codes(env) == {0: 0}


# -- a command that brings its tasks --------------------------------------------------------------


def test_address_while_it_runs(env: FjdEnv) -> None:
    """The server of a command stands in the file too, and is the one of its environment."""
    program = Path(env.cwd / "program")
    program.write_text(
        "cat run1_kvsinfo.txt > seen; echo $KVSSTCP_HOST:$KVSSTCP_PORT >> seen; exit 9"
    )
    done = batch(env, "-p", "run1", "--taskcommand", "bash program")
    assert done.code == 6, done.err
    assert "exit code 9" in done.err
    address = (env.cwd / "seen").read_text().strip()
    assert re.fullmatch(r"(127\.0\.0\.1:\d+)\1", address)
    assert not (env.cwd / "run1_kvsinfo.txt").exists()


def test_killed_with_its_command(env: FjdEnv) -> None:
    """After kill -9 of the run its command ends, whatever it is at; the next run begins anew."""
    program = Path(env.cwd / "program")
    program.write_text("echo $$ > pid.new; mv pid.new pid; sleep 1000")
    run = env.start("fjd-batch", "-t", "1", "-p", "run1", "--taskcommand", "bash program")
    pid = int(env.wait_file("pid"))
    run.kill()
    run.ended()
    wait_until(lambda: gone([pid]), "the command has ended", on_timeout=env.show)
    done = batch(env, "-t", "1", "-p", "run1", "--taskcommand", "exit 9")
    assert done.code == 6, done.err
    assert "the run before was broken off" in done.err
