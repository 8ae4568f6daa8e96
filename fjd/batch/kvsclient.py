"""A client of the key-value store: put a value, take the oldest, look at the newest."""

from __future__ import annotations

import socket
from typing import Optional

from fjd.batch.store import Value
from fjd.batch.wire import LONGEST_VALUE, Text, WrongProtocol, length, text
from fjd.errors import FjdError

_HEAD = 14  # coding and length of a value


class StoreGone(FjdError):
    """The key-value store cannot be reached, or ended."""

    exit_code = 4


class Client:
    """A connection. Use it in one thread; only ``interrupt`` may come from another one.

    Raises:
        StoreGone: (each method) the store cannot be reached, or has ended the connection.
    """

    def __init__(self, host: str, port: int, timeout: float = 10.0) -> None:
        self.where = f"{host}:{port}"
        self._timeout = timeout
        self._asked: Optional[bytes] = None  # what was asked and is not answered yet
        self._arrived = bytearray()
        try:
            self._socket = socket.create_connection((host, port), timeout)
        except OSError as error:
            raise self._gone(error) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def put(self, key: Text, data: Text, coding: bytes = b"ASTR") -> None:
        """Add a value."""
        data = text(data)
        self._send(b"put_" + text(key) + coding + data)

    def get(self, key: Text, timeout: Optional[float] = None) -> Optional[Value]:
        """Take the oldest value; None if there was none for so long.

        The question stands: the next one must be the same again, and gets what came meanwhile.
        """
        return self._ask(b"get_" + text(key), timeout)

    def view(self, key: Text, timeout: Optional[float] = None) -> Optional[Value]:
        """Return the newest value and leave it; else as ``get``."""
        return self._ask(b"view" + text(key), timeout)

    def monitor(self, monitor: Text, spec: Text) -> None:
        """Let events be told under the key ``monitor``; see ``Store.monitor``."""
        self._send(b"mkey" + text(monitor) + text(spec))

    def interrupt(self) -> None:
        """Let whoever waits for an answer find the connection closed."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it is closed

    def close(self) -> None:
        """Say goodbye, and wait until all that was said has been taken in."""
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(b"clos")
            while self._socket.recv(4096):
                pass
        except OSError:
            return  # it was gone before
        finally:
            self._socket.close()

    def _send(self, data: bytes) -> None:
        if self._asked is not None:
            raise ValueError(f"{self._asked!r} was asked and is not answered")
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(data)
        except OSError as error:
            raise self._gone(error) from error

    def _ask(self, question: bytes, timeout: Optional[float]) -> Optional[Value]:
        if self._asked != question:
            self._send(question)
            self._asked = question
        if not self._more(timeout):
            return None
        while len(self._arrived) < _HEAD:
            self._more(self._timeout, needed=True)
        size = self._size(bytes(self._arrived[4:_HEAD]))
        while len(self._arrived) < _HEAD + size:
            self._more(self._timeout, needed=True)
        value = Value(bytes(self._arrived[:4]), bytes(self._arrived[_HEAD:]))
        self._arrived.clear()
        self._asked = None
        return value

    def _size(self, head: bytes) -> int:
        try:
            size = length(head)
        except WrongProtocol as error:
            raise StoreGone(str(error), where=self.where) from error
        if size > LONGEST_VALUE:
            raise StoreGone(f"a value of {size} bytes", where=self.where)
        return size

    def _more(self, timeout: Optional[float], needed: bool = False) -> bool:
        """Wait for more of the answer; False if nothing came in time."""
        try:
            self._socket.settimeout(timeout)
            data = self._socket.recv(1 << 18)
        except (TimeoutError, socket.timeout, BlockingIOError) as error:
            if needed:
                raise self._gone(error) from error
            return False
        except OSError as error:
            raise self._gone(error) from error
        if not data:
            raise StoreGone("the key-value store has ended the connection", where=self.where)
        self._arrived += data
        return True

    def _gone(self, error: OSError) -> StoreGone:
        why = error.strerror or str(error)
        return StoreGone(
            f"the key-value store does not answer ({why})",
            where=self.where,
            remedy="see that it runs there",
        )
