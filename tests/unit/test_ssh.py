"""Logging in with a fake connection: what is tried again, when, and what is not."""

from __future__ import annotations

import socket
from typing import Optional

import pytest
from paramiko.ssh_exception import AuthenticationException, SSHException

from fjd.launchers import ssh
from fjd.launchers.errand import HostError
from fjd.launchers.remoteconf import Host

HOST = Host("host1", "node1", 1, None, None, None, None, "remote.conf:1")
CROWDED = SSHException("Error reading SSH protocol banner")


class Line:
    """A connection that cannot be opened."""

    host, port, user, connect_kwargs = "node1", 22, "ada", dict[str, str]()

    def __init__(self, server: Server) -> None:
        self._server = server
        self.closed = False

    def open(self) -> None:
        """Try to log in."""
        self._server.now += self._server.seconds
        fault = self._server.faults.pop(0)
        if fault:
            raise fault

    def close(self) -> None:
        """Hang up."""
        self.closed = True


class Server:
    """What happens at each login, and the clock by which it happens."""

    def __init__(self, *faults: Optional[Exception], seconds: float = 0.1) -> None:
        self.faults, self.seconds = list(faults), seconds
        self.now = 0.0
        self.lines: list[Line] = []
        self.pauses: list[float] = []

    def prepare(self, host: Host, password: Optional[str]) -> Line:
        """Make a connection that is not open yet."""
        self.lines.append(Line(self))
        return self.lines[-1]

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.pauses.append(seconds)
        self.now += seconds

    def login(self, monkeypatch: pytest.MonkeyPatch) -> Line:
        """Log in."""
        monkeypatch.setattr(ssh, "_prepare", self.prepare)
        monkeypatch.setattr(ssh.time, "sleep", self.sleep)
        monkeypatch.setattr(ssh.time, "monotonic", lambda: self.now)
        line = ssh.connect(HOST, None)
        assert isinstance(line, Line)
        return line


@pytest.mark.parametrize("fault", [CROWDED, EOFError(), ConnectionResetError("reset by peer")])
def test_a_crowded_server_is_tried_again(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    """A login that fails at once is tried three times, on a new connection each time."""
    server = Server(fault, fault, None)
    line = server.login(monkeypatch)
    assert [one.closed for one in server.lines] == [True, True, False]
    assert line is server.lines[-1]


def test_three_times_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is told what to type, and nothing stays open."""
    server = Server(*[CROWDED] * 9)
    with pytest.raises(HostError, match=r"cannot log in .* port 22 .*; try: ssh ada@node1"):
        server.login(monkeypatch)
    assert [one.closed for one in server.lines] == [True] * 3
    assert len(server.pauses) == 2  # and none after the last try


def test_pauses_differ_and_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight logins that were refused together do not come back together."""
    firsts, seconds = set(), set()
    for _ in range(8):
        server = Server(CROWDED, CROWDED, None)
        server.login(monkeypatch)
        first, second = server.pauses
        assert 0.2 <= first <= 1.0
        assert 0.4 <= second <= 2.0
        firsts.add(first)
        seconds.add(second)
    assert len(firsts) == len(seconds) == 8
    assert max(firsts) - min(firsts) > 0.01


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (AuthenticationException("no"), "does not accept our key"),
        (ssh.UnknownKey("node1"), "host keys of node1 are unknown"),
        (socket.gaierror("?"), "nobody knows a host named node1"),
        (TimeoutError(), "no answer from node1"),
        (PermissionError(13, "no"), "cannot log in"),
    ],
)
def test_what_lasts_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, fault: Exception, said: str
) -> None:
    """A wrong key or name will be as wrong in a second; guessing again may lock an account."""
    server = Server(fault, None)
    with pytest.raises(HostError, match=said):
        server.login(monkeypatch)
    assert [one.closed for one in server.lines] == [True]
    assert server.pauses == []


def test_what_failed_slowly_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that took its time to fail costs its time once."""
    server = Server(CROWDED, None, seconds=6.0)
    with pytest.raises(HostError, match="no answer from node1 port 22"):
        server.login(monkeypatch)
    assert len(server.lines) == 1
