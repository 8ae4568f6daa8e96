"""One client of the key-value store: its requests, its answers, and what it leaves unread."""

from __future__ import annotations

import selectors
import socket
from collections import deque
from typing import Callable, Optional

from fjd.batch.store import Store, Value, Waiter
from fjd.batch.wire import Request, WrongProtocol, take_request, text

CHUNK = 256 << 10  # bytes that are read or written at once
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Desk:
    """What the connections of a server share; all of it is used by one thread.

    Attributes:
        left: is told of a connection that has ended.
        buffered: bytes of requests that have not arrived as a whole; at most ``sending``.
        held: those whose put found no room.
    """

    def __init__(
        self,
        room: int,
        sending: int,
        talk: Callable[[str], None],
        left: Callable[[Connection], None],
    ) -> None:
        self.store, self.selector = Store(room), selectors.DefaultSelector()
        self.sending, self.talk, self.left = sending, talk, left
        self.buffered = 0
        self.held: list[Connection] = []

    def let_go_on(self) -> None:
        """Let those who were held try again, if there is room now."""
        if self.held and self.store.size < self.store.room:
            held, self.held = self.held, []
            for client in held:
                client.go_on()


class Connection:
    """One client: what it has sent and not said whole, and what it has asked and not got."""

    def __init__(self, desk: Desk, connection: socket.socket, name: str) -> None:
        self._desk, self._socket, self._name = desk, connection, name
        self._buffer = bytearray()
        self._out: deque[memoryview] = deque()
        self._waiter: Optional[Waiter] = None
        self._lent: Optional[tuple[bytes, Value]] = None  # taken, and maybe not read yet
        self._held: Optional[Request] = None  # a put for which there is no room
        self._open = True
        self._events = READ
        desk.selector.register(connection, READ, self)

    def attend(self, events: int) -> None:
        """Do what its socket is ready for."""
        try:
            if self._open and events & WRITE:
                self._flush()
            if self._open and events & READ:
                self._read()
            self._obey()
        except WrongProtocol as error:
            self._desk.talk(f"key-value store: {self._name} disconnected: {error}")
            self.close()
        except BlockingIOError:
            return
        except OSError:  # it died; with bytes of ours that it had not read
            self.close()

    def close(self) -> None:
        """Disconnect, and put back what did not arrive."""
        if not self._open:
            return
        self._open = False
        self._cancel()
        self._desk.buffered -= len(self._buffer)
        self._watch(0)
        self._socket.close()
        if self._lent:
            self._desk.store.put_back(*self._lent)
        self._desk.left(self)

    def go_on(self) -> None:
        """Try again to put what found no room."""
        request, self._held = self._held, None
        if self._open and request:
            self._watch(READ)
            self._do(request)
            self.attend(0)  # what it has sent behind that

    def _read(self) -> None:
        data = self._socket.recv(CHUNK)
        if not data:
            self._lent = None  # it closed in good order: that it had read all
            self.close()
            return
        self._buffer += data
        self._desk.buffered += len(data)
        if self._desk.buffered > self._desk.sending:
            raise WrongProtocol("too much is being sent at the same time")

    def _obey(self) -> None:
        """Do what was asked, as long as the answers are taken."""
        while self._open and not self._out and not self._held:
            before = len(self._buffer)
            request = take_request(self._buffer)
            if request is None:
                return
            self._desk.buffered -= before - len(self._buffer)
            self._lent = None  # it asks for the next thing, so the last one has arrived
            self._do(request)

    def _do(self, request: Request) -> None:
        op, store = request.op, self._desk.store
        if op in (b"get_", b"view"):
            self._cancel()
            waiter = Waiter(request.key, op == b"get_", self._deliverer(request))
            self._waiter = None if store.wait(waiter) else waiter
        elif op == b"put_":
            if not store.put(request.key, request.value):
                self._held = request
                self._watch(0)
                self._desk.held.append(self)
        elif op == b"mkey":
            if not store.monitor(request.key, request.spec):
                raise WrongProtocol("there are too many monitors")
        elif op == b"dump":
            self._send(text(store.dump()))
        else:
            if op == b"down":
                self._desk.talk(
                    f"key-value store: {self._name} asked it to end; it stays as long as the run"
                )
            self.close()

    def _deliverer(self, request: Request) -> Callable[[Value], bool]:
        def deliver(value: Value) -> bool:
            waited, self._waiter = self._waiter is not None, None
            if waited and self._has_more_to_say():
                return False
            if request.op == b"get_":
                self._lent = (request.key, value)
            try:
                self._send(value.coding + text(value.data))
            except OSError:
                self._lent = None  # the store keeps it
                self.close()
                return False
            return True

        return deliver

    def _has_more_to_say(self) -> bool:
        """Tell whether it has gone, or has asked for something else: then it waits no more."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def _send(self, data: bytes) -> None:
        self._out.append(memoryview(data))
        self._flush()

    def _flush(self) -> None:
        while self._out:
            try:
                sent = self._socket.send(self._out[0][:CHUNK])
            except BlockingIOError:
                break  # it is asked nothing new before it has read that
            rest = self._out.popleft()[sent:]
            if rest:
                self._out.appendleft(rest)
        self._watch(WRITE if self._out else READ)

    def _watch(self, events: int) -> None:
        """Wait for these events of the socket; for none if it is 0."""
        if events == self._events:
            return
        if not events:
            self._desk.selector.unregister(self._socket)
        elif self._events:
            self._desk.selector.modify(self._socket, events, self)
        else:
            self._desk.selector.register(self._socket, events, self)
        self._events = events

    def _cancel(self) -> None:
        if self._waiter:
            self._desk.store.cancel(self._waiter)
            self._waiter = None
