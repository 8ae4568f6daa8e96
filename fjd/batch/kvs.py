"""The server of the key-value store through which programs hand in tasks and fetch results.

One thread, any number of clients; it listens on this machine only, unless told otherwise. The
protocol knows no password: who may connect may hand in commands. Nothing that a client sends is
decoded, and nobody can make it hold more than so many bytes and connections: while it is full, who
puts something waits. What a client took and never got is put back: it disconnected while it
waited, or died before it had read it.

A client's ``down`` ends only its own connection: the store belongs to the run, not to one of those
who use it.
"""

from __future__ import annotations

import itertools
import socket
import threading
from selectors import SelectorKey
from typing import Callable, cast

from fjd.batch.connection import CHUNK, READ, Connection, Desk
from fjd.batch.store import ROOM

CONNECTIONS = 256
LINES = 20  # about clients that were turned away
_RETRY = 1.0  # s until connections are taken again after the system had no more of them


def _sparing(talk: Callable[[str], None]) -> Callable[[str], None]:
    """Say the first lines only: who knocks all the time shall fill neither a terminal nor a log."""
    left = itertools.count(LINES, -1)

    def say(line: str) -> None:
        number = next(left)
        if number > 0:
            talk(line)
        elif number == 0:
            talk("key-value store: more clients were turned away; that is not said any more")

    return say


class Server:
    """A store and its listening socket. ``start``, then ``close``.

    Args:
        talk: is told, in the server's thread, whom it has turned away and why.
        room: bytes that it keeps; ``sending``: bytes of what has not arrived as a whole.
        connections: clients at the same time.

    Raises:
        OSError: it cannot listen there.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        talk: Callable[[str], None] = lambda line: None,
        room: int = ROOM,
        sending: int = ROOM,
        connections: int = CONNECTIONS,
    ) -> None:
        self._desk = Desk(room, sending, _sparing(talk), self._left)
        self._most = connections
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=128)
        self._listener.setblocking(False)
        self._bell, self._ear = socket.socketpair()
        self._ear.setblocking(False)
        self._desk.selector.register(self._ear, READ)
        self._desk.selector.register(self._listener, READ)
        self._clients: set[Connection] = set()
        self._deaf = self._closing = False
        self._change = threading.Condition()
        self._settling: list[threading.Event] = []
        self._thread = threading.Thread(target=self._serve, name="kvs", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._listener.getsockname()[:2]
        return host, port

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    @property
    def crowded(self) -> bool:
        """Whether so much lies here that nothing should be put that nobody may ever fetch."""
        return self._desk.store.size > self._desk.store.room // 2

    def settle(self, timeout: float = 10.0) -> bool:
        """Wait until all that clients had sent before this call has been taken in."""
        done = threading.Event()
        self._settling.append(done)
        self._bell.send(b".")
        return done.wait(timeout)

    def wait_for_leaving(self, timeout: float) -> bool:
        """Wait until no client is connected any more; False if some still are."""
        with self._change:
            return self._change.wait_for(lambda: not self._clients, timeout)

    def close(self) -> None:
        """End, and disconnect everybody; a second time it does nothing."""
        if self._closing:
            return
        self._closing = True
        if self._thread.ident is not None:
            self._bell.send(b".")
            self._thread.join()
        for client in list(self._clients):
            client.close()
        self._desk.selector.close()
        for end in (self._bell, self._ear, self._listener):
            end.close()

    def _left(self, client: Connection) -> None:
        """Take note that a client is gone."""
        with self._change:
            self._clients.discard(client)
            self._change.notify_all()

    def _serve(self) -> None:
        while not self._closing:
            settling = list(self._settling)
            timeout = 0 if settling else _RETRY if self._deaf else None
            ready = self._desk.selector.select(timeout)
            for key, events in ready:
                self._attend(key, events)
            self._desk.let_go_on()
            if not ready:
                self._listen_again()
                for done in settling:
                    self._settling.remove(done)
                    done.set()

    def _attend(self, key: SelectorKey, events: int) -> None:
        if key.fileobj is self._ear:
            self._ear.recv(CHUNK)
        elif key.fileobj is self._listener:
            self._accept()
        else:
            cast(Connection, key.data).attend(events)

    def _accept(self) -> None:
        try:
            connection, peer = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # no more file descriptors: it would come back at once
            self._desk.talk(f"key-value store: no connection can be accepted: {error.strerror}")
            self._desk.selector.unregister(self._listener)
            self._deaf = True
            return
        if len(self._clients) >= self._most:
            self._desk.talk(
                f"key-value store: {peer[0]} refused: {self._most} clients are connected"
            )
            connection.close()
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._change:
            self._clients.add(Connection(self._desk, connection, f"{peer[0]}:{peer[1]}"))

    def _listen_again(self) -> None:
        if self._deaf:
            self._deaf = False
            self._desk.selector.register(self._listener, READ)
