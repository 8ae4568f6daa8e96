"""A program that hands in tasks through the key-value store, and fetches their results there.

It signs in by putting four texts: its name, the text that means "no more", the key of the results
and the key of the tasks. Then each value under the task key is a record: a line of a task list, or
several, directives too. All lines of the n-th record have the stream index n.

The result of each task is put as JSON under ``<result key> <task id>``, and then its id under
``<result key> done tasks``. If the result key is a format (``result %d``), as older programs give
it, the JSON is put under that name as well.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Mapping
from typing import Callable, Optional

from fjd.batch.kvs import Server
from fjd.batch.kvsclient import Client, StoreGone
from fjd.batch.tether import Tethered
from fjd.errors import FjdError

# The columns of a status file, by the names that results have.
FIELDS = (
    *("Flags", "TaskId", "TaskStreamIndex", "TaskRepIndex", "Host", "PID", "ReturnCode"),
    *("Elapsed", "Start", "End", "OutBytes", "OutData", "ErrBytes", "ErrData", "TaskCmd"),
)
SIGN_IN = ("name", "done task", "result key", "task key")
PATIENCE = 300.0  # s for a program to sign in, and at the end to fetch its results
_LOOK = 0.1  # s between two looks whether the command lives
_QUIET = 0.5  # s without a record after the command's end: there are no more
GRACE = 5.0  # s between TERM and KILL for the command
_FORMAT = re.compile(r"%\d{0,2}[dis]")


class SourceError(FjdError):
    """The program that hands in the tasks does not do its part; no more tasks will come."""


class TaskSource:
    """Reads tasks from a key-value store, and puts their results there.

    ``feed`` and ``result`` may be called in two threads, each in one; ``stop`` in any.

    Args:
        address: host and port of the store.
        command: what is run by ``bash -c``, does not outlive us, and finds the store in
            KVSSTCP_HOST and KVSSTCP_PORT; "" if the program comes by itself.
        server: the store, if it is one of ours.
        patience: seconds to wait for the sign-in, and at the end for the command.
        grace: seconds between TERM and KILL for it.

    Attributes:
        name: what the program calls itself; "" before it has signed in.
    """

    def __init__(
        self,
        address: tuple[str, int],
        command: str = "",
        *,
        server: Optional[Server] = None,
        patience: float = PATIENCE,
        grace: float = GRACE,
        talk: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.name = ""
        self._address, self._server, self._patience, self._talk = address, server, patience, talk
        self._client = Client(
            *address
        )  # before the command: it is started only if there is a store
        self._publisher: Optional[Client] = None
        self._result_key: Optional[str] = None  # None: nobody fetches results
        self._stopped = threading.Event()
        env = {**os.environ, "KVSSTCP_HOST": address[0], "KVSSTCP_PORT": str(address[1])}
        self._command = Tethered(command, env, grace) if command else None

    def feed(self, write: Callable[[bytes], None]) -> int:
        """Write the tasks as lines of a growing list, as they come; return how many records.

        Raises:
            SourceError: the program failed, or never signed in; what came before is written.
            StoreGone: the store is gone.
        """
        count = 0
        try:
            name, done, results, key = (self._sign_in(word) for word in SIGN_IN)
            self.name = name.decode("utf-8", "replace")
            self._result_key = results.decode("utf-8", "surrogateescape")
            while True:
                record = self._take(key, None)
                if record is None or record == done:
                    return count
                count += 1
                if 0 in record:
                    raise SourceError(
                        f"record {count} holds a NUL byte, which no command can",
                        remedy="let the program put text without it",
                    )
                write(b"#FJD LINE %d\n%b\n" % (count, record.rstrip(b"\n")))
        except _Stopped:
            return count
        finally:
            self._client.close()

    def result(self, fields: Mapping[str, object]) -> None:
        """Publish how a task ended: a mapping with the keys ``FIELDS``, numbers as numbers.

        Rows of barriers and of per-engine tasks have no result. A store that is gone or full is
        said once and disturbs nothing.
        """
        flags, key = str(fields["Flags"]), self._result_key
        if key is None or flags[:1] in ("B", "C") or flags[3:4] == "P":
            return
        if self._server and self._server.crowded:
            self._publish_no_more("nobody fetches them and the store is half full")
            return
        number = fields["TaskId"]
        report = json.dumps(dict(fields)).encode()
        try:
            self._publisher = self._publisher or Client(*self._address)
            self._publisher.put(f"{key} {number}", report, b"JSON")
            by_format = _FORMAT.sub(lambda found: found.group() % number, key, count=1)
            if by_format != key:
                self._publisher.put(by_format, report, b"JSON")
            self._publisher.put(f"{key} done tasks", str(number))
        except StoreGone as error:
            self._publish_no_more(str(error))

    def finish(self) -> None:
        """Let the program fetch its last results: wait for the end of the command.

        Without a command: until nobody is connected any more, if the store is ours.

        Raises:
            SourceError: the command failed, or did not end in time and was killed.
        """
        self.finish_publishing()
        if self._command is None:
            if self._server and not self._server.wait_for_leaving(self._patience):
                self._talk("programs are still connected to the key-value store; it ends now")
            return
        try:
            code = self._command.wait(self._patience)
        except subprocess.TimeoutExpired:
            self._command.end()
            raise SourceError(
                f"the task command did not end within {self._patience:g} s after the last task"
            ) from None
        if code:
            raise SourceError(f"the task command {_ended(code)}")

    def finish_publishing(self) -> None:
        """Return when the store has all results."""
        publisher, self._publisher = self._publisher, None
        if publisher:
            publisher.close()

    def stop(self) -> None:
        """Take no more tasks; end the command."""
        self._stopped.set()
        if self._command:
            self._command.end()

    def _sign_in(self, word: str) -> bytes:
        key = f"task source {word}".encode()
        value = self._take(key, time.monotonic() + self._patience)
        if value is None:
            raise SourceError(
                "the task command ended without signing in",
                remedy=f"let it put its {word} under the key {key.decode()!r}",
            )
        return value

    def _take(self, key: bytes, until: Optional[float]) -> Optional[bytes]:
        """Return the next value; None if the command ended well and left nothing."""
        while True:
            ended = self._command is not None and self._command.poll() is not None
            if ended and self._server:
                self._server.settle()
            value = self._client.get(key, _QUIET if ended else _LOOK)
            if value:
                return _plain(key, *value)
            if self._stopped.is_set():
                raise _Stopped
            if ended:
                self._check_end()
                return None
            if until is not None and time.monotonic() >= until:
                raise SourceError(
                    f"nobody signed in within {self._patience:g} s",
                    remedy=f"let the program put its data under {key.decode()!r} and the others",
                )

    def _check_end(self) -> None:
        """The command has ended, and nothing more is there: fine if it had signed in and says so.

        Raises:
            SourceError: its exit code says that it failed.
        """
        code = self._command.returncode if self._command else 0
        signed_in = self._result_key is not None
        if code:
            before = "it said that it was done" if signed_in else "it had signed in"
            raise SourceError(f"the task command {_ended(code)} before {before}")
        if signed_in:
            self._talk("the task command has ended without saying so; there are no more tasks")

    def _publish_no_more(self, why: str) -> None:
        self._result_key = None
        self._talk(f"results are not published any more: {why}")


class _Stopped(Exception):
    """Whoever runs us wants no more tasks."""


def _plain(key: bytes, coding: bytes, data: bytes) -> bytes:
    if coding == b"PYPK":  # reading one runs whatever its writer likes
        raise SourceError(
            f"a pickled value was put under the key {key.decode('utf-8', 'replace')!r}",
            remedy="put plain text (in Python: put(key, text, False))",
        )
    return data


def _ended(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
