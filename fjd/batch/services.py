"""What a run has to do with programs, mail servers and browsers: opened, told of rows, closed."""

from __future__ import annotations

import ast
import os
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable, Optional

from fjd.batch.kvs import Server
from fjd.batch.kvsclient import Client, StoreGone
from fjd.batch.options import Options, listening_address, server_address
from fjd.batch.prefix import Prefix
from fjd.batch.tasksource import FIELDS, TaskSource
from fjd.batch.webpage import SHOWN
from fjd.errors import ConfigError, FjdError
from fjd.spool.lists.statusfile import unquote
from fjd.system import files

if TYPE_CHECKING:
    from fjd.batch.mail import Mailer
    from fjd.batch.web import Web

Say = Callable[[str], None]

_INTEGERS = frozenset(
    ("TaskId", "TaskStreamIndex", "TaskRepIndex", "PID", "ReturnCode", "OutBytes", "ErrBytes")
)
_TIMES = frozenset(("Elapsed", "Start", "End"))
_SNIPPETS = frozenset(("OutData", "ErrData"))


def fields(row: bytes) -> dict[str, object]:
    """Return a row of a status file by the names that results have; {} if it is none."""
    cells = row.rstrip(b"\n").split(b"\t", len(FIELDS) - 1)
    if len(cells) != len(FIELDS):
        return {}
    cells[-1] = unquote(cells[-1])
    try:
        return {n: _value(n, c.decode("utf-8", "surrogateescape")) for n, c in zip(FIELDS, cells)}
    except ValueError:
        return {}  # the header


def _value(name: str, cell: str) -> object:
    if name in _INTEGERS:
        return int(cell)
    if name in _TIMES:
        return float(cell)
    if name in _SNIPPETS:
        try:
            return str(ast.literal_eval(cell))
        except (ValueError, SyntaxError):
            return cell
    return cell


class Services:
    """All of it for one run; what was not asked for is not there.

    Attributes:
        store: host and port of the key-value store; None without one.
        source: what brings the tasks; None if they come from a file or stdin.
    """

    def __init__(self, options: Options, prefix: Prefix, say: Say) -> None:
        self._prefix, self._say = prefix, say
        self._server: Optional[Server] = None
        self._web: Optional[Web] = None
        self._mailer: Optional[Mailer] = None
        self._announcer: Optional[Client] = None
        self.store: Optional[tuple[str, int]] = None
        self.source: Optional[TaskSource] = None
        self._status: Callable[[], Mapping[str, Any]] = dict
        self._failures: deque[str] = deque(maxlen=SHOWN)
        try:
            self._open(options)
        except BaseException:
            self.close()
            raise

    def _open(self, options: Options) -> None:
        if options.mail_to:
            from fjd.batch.mail import Mailer  # smtplib costs 15 ms, and few want mail

            self._mailer = Mailer(options.mail_to, options.mail_every, self._prefix.name, self._say)
        programs = options.task_command or options.task_server is not None
        if options.kvs_server is not None or options.task_server:
            self.store = server_address(options.task_server or options.kvs_server or "")
        elif programs:
            self._server = _listen(self._say)
            self.store = self._server.address
            self._publish(self._prefix.kvsinfo, "{}:{}".format(*self.store))
        if programs and self.store:
            self.source = TaskSource(
                self.store, options.task_command, server=self._server, talk=self._say
            )
        if options.web:
            from fjd.batch.web import Web  # and as few a page

            self._web = Web(self._page)
            self._publish(self._prefix.url, self._web.url)
            self._say(f"see {self._web.url}")

    def _publish(self, path: str, text: str) -> None:
        """Let an address appear for its owner, whole."""
        staging = f"{os.path.dirname(path)}/.{os.getpid()}.{os.urandom(4).hex()}"
        files.create(staging, os.fsencode(text))
        os.replace(staging, path)

    @property
    def listening(self) -> bool:
        """Whether anybody here wants to hear of rows: reading a million of them takes a while."""
        return any((self._mailer, self._web, self.source, self.store))

    def show(self, status: Callable[[], Mapping[str, Any]]) -> None:
        """Let the web page show what that returns."""
        self._status = status

    def _page(self) -> Mapping[str, Any]:
        return {**self._status(), "run": self._prefix.name, "failures": list(self._failures)}

    def hear(self, row: bytes) -> None:
        """Take note of a new row of the status file."""
        found = fields(row)
        if not found:
            return
        flags = str(found["Flags"])
        barrier = flags[:1] in ("B", "C")
        failed = not barrier and flags[:1] == "R"
        text = row.decode("utf-8", "replace")
        if failed:
            self._failures.append(text)
        if self._mailer:
            self._mailer.row(text, failed, counts=not barrier and flags[3:4] not in ("P", "S"))
        if barrier:
            self._announce(found)
        elif self.source:
            self.source.result(found)

    def _announce(self, barrier: Mapping[str, object]) -> None:
        """Put the number of a barrier that was passed under the key that it names."""
        words = str(barrier["TaskCmd"]).split(" ", 2)[2:]
        key = words[0].removeprefix("CHECK").strip() if words else ""
        if not key or not self.store:
            return
        try:
            self._announcer = self._announcer or Client(*self.store)
            self._announcer.put(key, str(barrier["TaskId"]))
        except StoreGone as error:
            self._say(f"barrier {barrier['TaskId']} is not announced: {error}")

    def finish(self) -> Optional[FjdError]:
        """Let a program fetch its last results; return why it failed, if it did."""
        self._leave()  # first: the store waits until nobody is connected any more
        try:
            if self.source:
                self.source.finish()
        except FjdError as error:
            return error
        return None

    def close(self) -> None:
        """End everything; what was published is taken away."""
        self._leave()
        if self._mailer:
            self._mailer.close()
        if self._web:
            self._web.close()
            files.remove(self._prefix.url)
        if self.source:
            self.source.stop()
        if self._server:
            self._server.close()
            files.remove(self._prefix.kvsinfo)

    def _leave(self) -> None:
        """Be no client of the store any more."""
        announcer, self._announcer = self._announcer, None
        if announcer:
            announcer.close()


def _listen(say: Say) -> Server:
    """Start a server; who can reach it can run commands, so that is nobody else unless told."""
    host, port = listening_address(os.environ.get("FJD_KVS", ""))
    try:
        server = Server(host, port, say)
    except OSError as error:
        raise ConfigError(
            f"no key-value server can be started: {error.strerror}", where=f"{host}:{port}"
        ) from None
    server.start()
    return server
