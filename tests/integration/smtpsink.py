"""A mail server for tests: it speaks the protocol, badly too, and keeps what it gets."""

from __future__ import annotations

import email
import email.policy
import socket
import threading
from contextlib import suppress
from email.message import EmailMessage
from typing import Optional


def address(listener: socket.socket) -> str:
    """Return host and port."""
    return ":".join(map(str, listener.getsockname()))


USUAL = {"EHLO": "250 sink", "DATA": "354 go on", "QUIT": "221 bye"}


class Sink:
    """A mail server that keeps what it gets.

    Args:
        answers: what it answers to a word (``RCPT``) instead of what is usual; None: nothing.
    """

    def __init__(self, answers: dict[str, Optional[str]]) -> None:
        self.answers: dict[str, Optional[str]] = {**USUAL, **answers}
        self.envelopes: list[tuple[str, str]] = []
        self.mails: list[EmailMessage] = []
        self.visits = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = address(self._listener)
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """End, and let nobody hang."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):  # it has ended by itself
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20.0)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # it is closed
            self.visits += 1
            self._open.append(connection)
            self._threads.append(threading.Thread(target=self._talk, args=(connection,)))
            self._threads[-1].start()

    def _talk(self, connection: socket.socket) -> None:
        sender = receiver = ""
        try:
            with connection, connection.makefile("rwb") as stream:

                def say(line: Optional[str]) -> None:
                    if line is not None:
                        stream.write(line.encode() + b"\r\n")
                        stream.flush()

                say(self.answers.get("HELLO", "220 sink"))
                for line in stream:
                    words = line.decode().split()
                    words[0] = words[0].upper()
                    say(self.answers.get(words[0], "250 fine"))
                    sender = words[1].lower() if words[0] == "MAIL" else sender
                    receiver = words[1].lower() if words[0] == "RCPT" else receiver
                    if words[0] == "DATA":
                        self._keep(list(iter(stream.readline, b".\r\n")))
                        self.envelopes.append((sender, receiver))
                        say(self.answers.get("END", "250 queued"))
                    if words[0] == "QUIT":
                        return
        except (OSError, ValueError):
            return  # the client is gone, or the test is over

    def _keep(self, lines: list[bytes]) -> None:
        assert all(line.endswith(b"\r\n") and len(line) <= 1000 for line in lines)
        data = b"".join(line[line.startswith(b".") :] for line in lines)
        self.mails.append(email.message_from_bytes(data, policy=email.policy.default))


def texts(sink: Sink) -> list[tuple[str, list[str]]]:
    """Return subject and lines of each mail."""
    return [(m["Subject"], m.get_content().splitlines()) for m in sink.mails]
