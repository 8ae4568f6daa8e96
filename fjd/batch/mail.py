"""Mail about completed tasks. Whatever the mail server does, the run goes on.

The mails wait in a short queue for a thread of their own. While the queue is full, the rows are
kept for the next mail, which then tells of more tasks than usual.
"""

from __future__ import annotations

import os
import queue
import smtplib
import socket
import threading
import time
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from typing import Callable, Optional

from fjd.errors import UsageError
from fjd.talk import one_line

PORT = 25
TIMEOUT = 30.0  # s that the server may take for one answer
WAITING = 20  # mails that may wait for being sent
LONGEST = 1 << 20  # bytes of rows in one mail
LONGEST_REASON = 120  # characters of what a server says
_LOOK = 0.25  # s between two looks whether it is over


class Mailer:
    """Collects status rows and mails them, each ``every`` completions and at the end.

    Args:
        address: sender and receiver.
        run: what the run is called in the subject.
        talk: is told, once, that the mail cannot be sent.
        server: ``HOST`` or ``HOST:PORT``; ``$FJD_SMTP``, or this machine.

    Raises:
        UsageError: the address is none, or that of the server.
    """

    def __init__(
        self,
        address: str,
        every: int,
        run: str,
        talk: Callable[[str], None],
        server: Optional[str] = None,
        timeout: float = TIMEOUT,
    ) -> None:
        server = os.environ.get("FJD_SMTP", "") if server is None else server
        self._server = server_address(server or "localhost")
        self._address, self._every = check_address(address), every
        self._run, self._talk, self._timeout = one_line(run), talk, timeout
        self._rows: list[str] = []
        self._size = self._omitted = 0
        self._new = self._finished = self._failed = 0
        self._queue: queue.Queue[EmailMessage] = queue.Queue(WAITING)
        self._disabled, self._ending = False, threading.Event()
        self._thread = threading.Thread(target=self._work, name="mail", daemon=True)
        self._thread.start()

    def row(self, row: str, failed: bool = False, counts: bool = True) -> None:
        """Take a row of the status file; a barrier's does not count as a completion."""
        if self._disabled:
            return
        self._keep(row.rstrip("\n"))
        if counts:
            self._new += 1
            self._finished += 1
            self._failed += failed
            if self._new >= self._every:
                self._post()

    def close(self, timeout: float = 10.0) -> None:
        """Send what is left, and wait at most so long until it is sent."""
        until = time.monotonic() + timeout
        if self._new and not self._disabled:
            self._post(timeout)
        self._ending.set()
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive() and not self._disabled:
            self._talk("the mail server is too slow; the last notification may not be sent")

    def _keep(self, row: str) -> None:
        self._size += len(row) + 1
        if self._size > LONGEST:
            self._omitted += 1
        else:
            self._rows.append(row)

    def _post(self, timeout: float = 0.0) -> None:
        if self._queue.full() and not timeout:
            return  # with the next one; composing it each time would cost more with each row
        try:
            self._queue.put(self._message(), timeout > 0, timeout or None)
        except queue.Full:
            return  # the server is slow: ``close`` says so
        self._rows, self._new, self._size, self._omitted = [], 0, 0, 0

    def _message(self) -> EmailMessage:
        message = EmailMessage(SMTP)
        failed = f" ({self._failed} failed)" if self._failed else ""
        message["Subject"] = f"{self._run} has completed {self._finished} tasks{failed}"
        message["From"] = message["To"] = self._address
        message["Date"] = formatdate(localtime=True)
        message["Message-ID"] = make_msgid("fjd", socket.gethostname())
        more = [f"({self._omitted} more rows stand in the status file)"] * bool(self._omitted)
        text = "\n".join([f"Last {self._new}:", "", *self._rows, *more, ""])
        message.set_content(text.encode("utf-8", "replace").decode())
        return message

    def _work(self) -> None:
        while not self._disabled:
            try:
                message = self._queue.get(timeout=_LOOK)
            except queue.Empty:
                if self._ending.is_set():
                    return
                continue
            try:
                self._send(message)
            except (OSError, smtplib.SMTPException, ValueError) as error:
                self._disabled = True
                server = "{}:{}".format(*self._server)
                self._talk(
                    f'Failed to send notification message: "{reason(error)}". Disabling. '
                    f"(The mail server was {server}; FJD_SMTP says which one it is.)"
                )

    def _send(self, message: EmailMessage) -> None:
        name = socket.gethostname()  # smtplib's own way asks the name server, for minutes
        with smtplib.SMTP(*self._server, local_hostname=name, timeout=self._timeout) as server:
            server.send_message(message, self._address, [self._address])


def reason(error: Exception) -> str:
    """Return what a mail server, or the way to it, had against a message, in few words."""
    if isinstance(error, smtplib.SMTPRecipientsRefused) and error.recipients:
        code, said = next(iter(error.recipients.values()))
        error = smtplib.SMTPResponseException(code, said)
    if isinstance(error, smtplib.SMTPResponseException):
        answer = error.smtp_error
        text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
        text = f"{error.smtp_code} {text}" if error.smtp_code > 0 else text
    else:
        text = (isinstance(error, OSError) and error.strerror) or str(error)
    text = one_line(text) or type(error).__name__
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."


def check_address(address: str) -> str:
    """Return a mail address if it can be one.

    Raises:
        UsageError: it would be more than one, or break out of the header.
    """
    fine = address.isascii() and address.isprintable() and address
    if not fine or any(c in address for c in ' <>,;:"()[]\\') or address.startswith(("-", "@")):
        raise UsageError(f"{address!r} is no mail address", remedy="give --mailTo NAME@HOST")
    return address


def server_address(words: str) -> tuple[str, int]:
    """Return host and port of ``HOST`` or ``HOST:PORT``.

    Raises:
        UsageError: it is something else.
    """
    host, colon, port = words.partition(":")
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        host = ""
    if not host or not host.isprintable() or " " in host:
        raise UsageError(f"FJD_SMTP: {words!r} is no mail server", remedy="set it to HOST:PORT")
    return host, int(port or PORT)
