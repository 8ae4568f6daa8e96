"""The key-value store over real sockets: well-behaved clients, dying ones, and hostile ones."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable

import pytest
from harness import CHECKOUT, wait_until

from fjd.batch.connection import READ, Connection, Desk
from fjd.batch.kvs import LINES, Server
from fjd.batch.kvsclient import Client, StoreGone
from fjd.batch.store import ROOM, Value
from fjd.batch.wire import LONGEST_VALUE

Said = list[str]
WAITS = "from fjd.batch.kvsclient import Client; Client({!r}, {}).get('k')"


@pytest.fixture
def said() -> Said:
    """What the server says."""
    return []


@pytest.fixture
def serve(said: Said) -> Iterator[Callable[..., Server]]:
    """A function that starts servers."""
    servers: list[Server] = []

    def start(**options: int) -> Server:
        servers.append(Server(talk=said.append, **options))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    """A server."""
    return serve()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A client of it."""
    client = Client(*server.address)
    yield client
    client.close()


def raw(server: Server, data: bytes = b"") -> socket.socket:
    """Connect and say something."""
    connection = socket.create_connection(server.address, 20)
    connection.sendall(data)
    return connection


def waiting(server: Server, client: Client) -> Callable[[], bool]:
    """Return what tells whether somebody waits for ``k``, as a monitor says."""
    return lambda: client.get("M", 0.01) == Value(b"ASTR", b"wait k")


def test_the_bytes_of_the_protocol(server: Server) -> None:
    """Those that programs were written for."""
    with raw(server, b"put_         3abcASTR         3xyzview         3abc") as connection:
        assert connection.recv(100) == b"ASTR         3xyz"
        connection.sendall(b"get_         3abcclos")
        assert connection.recv(100) == b"ASTR         3xyz"
        assert connection.recv(100) == b""


def test_it_listens_here_only(server: Server) -> None:
    """Who is not on this machine reaches nothing."""
    assert server.address[0] == "127.0.0.1"


def test_values_in_their_order(client: Client) -> None:
    """Whatever the bytes and the coding are."""
    values = [Value(b"ASTR", bytes(range(256))), Value(b"PYPK", b""), Value(b"JSON", b"{}")]
    for value in values:
        client.put("k\n\xff", value.data, value.coding)
    assert client.view("k\n\xff") == values[-1]
    assert [client.get("k\n\xff") for _ in values] == values


def test_who_waits_gets_what_comes(server: Server, client: Client) -> None:
    """Also after having been told that there was nothing yet."""
    assert client.get("k", 0.0) is None
    other = Client(*server.address)
    other.put("k", b"late")
    other.close()
    assert client.get("k", 20.0) == Value(b"ASTR", b"late")


def test_a_question_stands(client: Client) -> None:
    """Something else may not be asked before it is answered: the answer would be mistaken."""
    assert client.get("k", 0.0) is None
    with pytest.raises(ValueError, match="is not answered"):
        client.put("x", b"")


def test_a_large_value(client: Client) -> None:
    """It is more than any buffer of a socket holds."""
    data = os.urandom(1 << 20) * 16
    client.put("k", data)
    assert client.view("k") == client.get("k") == Value(b"ASTR", data)
    assert len(data) == LONGEST_VALUE


def test_who_has_asked_for_something_else_unnoticed(said: Said) -> None:
    """It waits no more for the first, also if nobody has read its second question yet."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    desk = Desk(ROOM, ROOM, said.append, lambda _: None)
    connection = Connection(desk, ours, "somebody")
    theirs.sendall(b"get_         1k")
    connection.attend(READ)
    theirs.sendall(b"get_         1o")
    desk.store.put(b"k", Value(b"ASTR", b"1"))
    connection.attend(READ)
    desk.store.put(b"o", Value(b"ASTR", b"2"))
    assert theirs.recv(100) == b"ASTR         12"
    assert desk.store.size
    connection.close()
    desk.selector.close()
    theirs.close()


def test_many_at_once(serve: Callable[..., Server]) -> None:
    """Each of 2000 values reaches exactly one of ten clients."""
    server = serve()

    def take(_: int) -> list[bytes]:
        client = Client(*server.address)
        found = []
        while (value := client.get("k", 20.0)) and value.data != b"end":
            found.append(value.data)
        client.close()
        return found

    with ThreadPoolExecutor(10) as pool:
        takers = pool.map(take, range(10))
        client = Client(*server.address)
        for number in range(2000):
            client.put("k", b"%d" % number)
        for _ in range(10):
            client.put("k", b"end")
        client.close()
        assert sorted(int(data) for found in takers for data in found) == list(range(2000))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_waiter_costs_nothing(server: Server, client: Client, number: int) -> None:
    """What is put after its death goes to somebody who lives."""
    client.monitor("M", "k:w")
    code = WAITS.format(*server.address)
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdout=subprocess.DEVNULL
    ) as dying:
        wait_until(waiting(server, client), "it waits")
        client = Client(*server.address)
        dying.send_signal(number)
    client.put("k", b"x")
    assert client.get("k", 20.0) == Value(b"ASTR", b"x")
    client.close()


def test_who_dies_before_reading_gives_back(server: Server, client: Client) -> None:
    """Its system says so, as it does when a process is killed with something unread."""
    client.put("k", b"one")
    client.put("k", b"two")
    dying = raw(server, b"get_         1k")
    dying.recv(1, socket.MSG_PEEK)
    dying.close()  # unread: this resets the connection
    found = [client.get("k", 20.0) for _ in range(2)]
    assert {value.data for value in found if value} == {b"one", b"two"}


def test_half_of_a_large_value_read(server: Server, client: Client) -> None:
    """The value is put back as a whole."""
    data = b"x" * LONGEST_VALUE
    client.put("k", data)
    with raw(server, b"get_         1k") as dying:
        dying.recv(1000)
    assert client.get("k", 20.0) == Value(b"ASTR", data)


def test_who_asks_for_something_else_waits_no_more(server: Server, client: Client) -> None:
    """The first question is withdrawn: its answer could not be told from the second's."""
    with raw(server, b"get_         1aget_         1b") as connection:
        assert server.settle()
        client.put("a", b"1")
        client.put("b", b"2")
        assert connection.recv(100) == b"ASTR         12"
        assert client.get("a", 20.0) == Value(b"ASTR", b"1")


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"get_xxxxxxxxxx", b"put_9999999999"])
def test_nonsense_ends_the_connection(server: Server, said: Said, data: bytes) -> None:
    """Only that one, and it is said."""
    with raw(server) as good, raw(server, data) as bad:
        wait_until(lambda: said, "it is said")
        bad.settimeout(20)
        try:
            assert bad.recv(100) == b""
        except ConnectionResetError:
            assert said  # with something that it had not read
        good.sendall(b"put_         1kASTR         1xget_         1k")
        assert good.recv(100) == b"ASTR         1x"
    assert "disconnected" in said[0]


def test_a_client_cannot_end_the_store(server: Server, client: Client, said: Said) -> None:
    """It belongs to the run; the client is disconnected."""
    with raw(server, b"down") as connection:
        assert connection.recv(100) == b""
    client.put("k", b"x")
    assert client.get("k") == Value(b"ASTR", b"x")
    assert "asked it to end" in said[0]


def test_who_puts_waits_for_room(serve: Callable[..., Server]) -> None:
    """Ten times as much as there is room for goes through, and nothing is lost or reordered."""
    server = serve(room=100_000)
    reader, writer = Client(*server.address), Client(*server.address, timeout=60.0)
    values = [b"%06d" % number * 500 for number in range(300)]
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(lambda: [writer.put("k", value) for value in values])
        wait_until(lambda: server.crowded, "it is crowded")
        assert [reader.get("k", 20.0) for _ in values] == [Value(b"ASTR", v) for v in values]
        done.result()
    writer.close()
    reader.close()


def test_what_is_half_sent_is_bounded(serve: Callable[..., Server], said: Said) -> None:
    """Ten clients that begin a large value and stop: there is room for three."""
    server = serve(sending=3 << 20)
    begun = b"put_         1kASTR  10000000" + b"x" * (1 << 20)
    clients = []
    for _ in range(10):
        clients.append(raw(server))
        try:
            clients[-1].sendall(begun)
        except (ConnectionResetError, BrokenPipeError):
            assert said
    wait_until(lambda: len(said) >= 7, "seven are disconnected")
    for connection in clients:
        connection.close()
    assert all("too much" in line for line in said)


def test_too_many_clients(serve: Callable[..., Server], said: Said) -> None:
    """One more than there may be is turned away; after one has left there is a place."""
    server = serve(connections=2)
    with raw(server) as first, raw(server):
        assert server.settle()
        with raw(server) as third:
            assert third.recv(1) == b""
        first.sendall(b"clos")
        assert first.recv(1) == b""
        with raw(server, b"put_         1kASTR         1xview         1k") as fourth:
            assert fourth.recv(100) == b"ASTR         1x"
    assert "refused" in said[0]


def test_who_knocks_all_the_time(serve: Callable[..., Server], said: Said) -> None:
    """A thousand clients that are turned away are no thousand lines; the others are served."""
    server = serve(connections=1)
    client = Client(*server.address)
    client.put("a", "1")
    assert client.get("a") is not None
    for _ in range(1000):
        with raw(server) as other:
            assert other.recv(1) == b""
    assert len(said) == LINES + 1
    assert "not said any more" in said[-1]
    client.put("a", "2")
    assert client.get("a") is not None
    client.close()


def test_who_reads_nothing_blocks_nobody(server: Server, client: Client) -> None:
    """It is asked nothing new before it has read what it got."""
    client.put("k", b"x" * LONGEST_VALUE)
    with raw(server, b"view         1k" * 1000):
        client.put("a", b"1")
        assert client.get("a", 20.0) == Value(b"ASTR", b"1")


def test_no_more_file_descriptors(tmp_path: Path) -> None:
    """Who comes then waits; the others are served, and nobody burns the CPU meanwhile."""
    code = """
import resource, socket, time
from fjd.batch.connection import READ, Connection, Desk
from fjd.batch.kvs import Server
said = []
server = Server(talk=said.append)
server.start()
ends = [socket.create_connection(server.address, 60) for _ in range(3)]
assert server.settle()
late = socket.socket()
resource.setrlimit(resource.RLIMIT_NOFILE, (late.fileno() + 1, late.fileno() + 1))
late.connect(server.address)
late.sendall(b'put_         1kASTR         1x')
while not said:
    time.sleep(0.01)
ends[0].sendall(b'put_         1aASTR         1yget_         1a')
assert ends[0].recv(100) == b'ASTR         1y'
before = time.process_time()
ends[1].close()
ends[0].sendall(b'get_         1k')
assert ends[0].recv(100) == b'ASTR         1x'
assert time.process_time() - before < 0.5
server.close()
print('fine', said[0])
"""
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.startswith("fine key-value store: no connection can be accepted"), done


def test_an_abrupt_end_is_no_news(server: Server, client: Client, said: Said) -> None:
    """A connection that is reset in the middle of a request."""
    dying = raw(server, b"put_         1kASTR         9xyz")
    assert server.settle()
    dying.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    dying.close()
    client.put("a", b"1")
    assert client.get("a", 20.0) == Value(b"ASTR", b"1")
    assert client.get("k", 0.0) is None
    assert said == []


def test_settled_means_read(server: Server) -> None:
    """What a client that has gone had sent is there."""
    for number in range(100):
        with raw(server, b"put_         1kASTR         1%d" % (number % 10)):
            pass
        assert server.settle()
        with raw(server, b"get_         1k") as connection:
            assert connection.recv(100) == b"ASTR         1%d" % (number % 10)


def test_the_end_of_the_store(serve: Callable[..., Server]) -> None:
    """Whoever waits is told in one line, at once."""
    server = serve()
    client = Client(*server.address)
    closing = threading.Thread(target=server.close)
    closing.start()
    with pytest.raises(StoreGone, match="key-value store"):
        client.get("k", 20.0)
    closing.join()


def test_nobody_there() -> None:
    """A port where nobody listens is one line."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(StoreGone, match="does not answer"):
            Client(*taken.getsockname())
