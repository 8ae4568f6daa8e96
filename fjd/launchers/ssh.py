"""SSH by fabric; the only module that imports fabric and paramiko.

Fabric accepts every host key unless it is told otherwise, and retries nothing. Here: only known
keys, on jump hosts too; what failed fast (a server with too many logins) is tried again; every
failure becomes a ``HostError`` that says what to type.
"""

from __future__ import annotations

import logging
import os
import random
import shlex
import socket
import time
from contextlib import suppress
from typing import Any, Optional

import paramiko
from fabric import Config, Connection
from fabric.runners import Remote
from invoke.exceptions import CommandTimedOut
from paramiko.ssh_exception import (
    AuthenticationException,
    BadHostKeyException,
    NoValidConnectionsError,
    PasswordRequiredException,
    SSHException,
)

from fjd.launchers.errand import Errand, HostError, Reply
from fjd.launchers.remoteconf import Host

CONNECT = 10  # s for each step of a login
TRIES = 3

_SLOW = 5.0  # s: what took that long to fail will not be better now
_NO_STATUS = -1  # paramiko: the channel was closed before the command's exit code came
_SYSTEM_KEYS = "/etc/ssh/ssh_known_hosts"  # paramiko itself reads only the user's

logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)  # it prints threads' tracebacks


class UnknownKey(SSHException):  # type: ignore[misc]  # paramiko is not typed
    """The key of ``hostname`` (``[name]:port`` if the port is not 22) is in no known_hosts."""

    def __init__(self, hostname: str) -> None:
        super().__init__(f"unknown key of {hostname}")
        self.hostname = hostname


class Refuse(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Never accept a key by ourselves."""

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        """Refuse the key."""
        raise UnknownKey(hostname)


class _Runner(Remote):  # type: ignore[misc]  # fabric is not typed
    """A command there. Its timer, a thread, would print a traceback on a dead connection."""

    def kill(self) -> None:
        with suppress(SSHException, EOFError, OSError):
            super().kill()


def run(errand: Errand, password: Optional[str] = None) -> Reply:
    """Run the errand's command on its host.

    Raises:
        HostError: it could not be run, or did not end in time.
    """
    connection = connect(errand.host, password)
    began = time.monotonic()
    try:
        done = connection.run(
            errand.command, hide=True, warn=True, in_stream=False, timeout=errand.limit
        )
        if done.exited != _NO_STATUS:
            return Reply(done.exited, done.stdout, done.stderr)
        if time.monotonic() - began >= errand.limit:
            raise _silent(errand)  # RACE: invoke closed the channel and has not noted yet why
        raise HostError("the connection broke", "try again")
    except CommandTimedOut:
        raise _silent(errand) from None
    except (SSHException, EOFError, OSError) as error:
        raise HostError(f"the connection broke ({_why(error)})", "try again") from error
    finally:
        connection.close()


def _silent(errand: Errand) -> HostError:
    return HostError(
        f"it did not answer within {errand.limit:.0f} s after the login",
        "look whether it hangs, for example on its home directory",
    )


def connect(host: Host, password: Optional[str]) -> Connection:
    """Log in, trying again what failed fast; HostError says what to type."""
    for attempt in range(TRIES):
        connection = _prepare(host, password)
        began = time.monotonic()
        try:
            connection.open()
            return connection
        except (SSHException, EOFError, OSError) as error:
            connection.close()
            slow = time.monotonic() - began > _SLOW
            if slow or attempt == TRIES - 1 or not _is_fleeting(error):
                raise explain(host, connection, error, slow) from error
        except BaseException:
            connection.close()
            raise
        time.sleep(random.uniform(0.2, 1.0) * 2**attempt)
    raise AssertionError("unreachable")


def _prepare(host: Host, password: Optional[str]) -> Connection:
    options: dict[str, Any] = {"banner_timeout": CONNECT, "auth_timeout": CONNECT}
    options["channel_timeout"] = CONNECT
    if password is not None:
        options.update(password=password, allow_agent=False, look_for_keys=False)
    connection = Connection(
        host.name,
        user=host.user,
        port=host.port,
        forward_agent=False,
        connect_timeout=CONNECT,
        connect_kwargs=options,
        config=Config(overrides={"runners": {"remote": _Runner}}),
    )
    hop: Any = connection
    while isinstance(hop, Connection):
        _secure(hop)
        hop = hop.gateway
        if isinstance(hop, Connection):
            hop.connect_timeout = CONNECT
            hop.connect_kwargs.update(banner_timeout=CONNECT, auth_timeout=CONNECT)
    return connection


def _secure(connection: Connection) -> None:
    """Load the known host keys from where ssh has them, and accept no other."""
    client = connection.client
    client.set_missing_host_key_policy(Refuse())
    client.load_system_host_keys()
    named = connection.ssh_config.get("userknownhostsfile", "").split()
    for path in [_SYSTEM_KEYS, *map(os.path.expanduser, named)]:
        try:
            client.load_system_host_keys(path)
        except OSError:
            continue  # not every machine has it


def _is_fleeting(error: BaseException) -> bool:
    """Tell whether another try may help."""
    lasting = (UnknownKey, BadHostKeyException, AuthenticationException, NoValidConnectionsError)
    if isinstance(error, lasting + (socket.gaierror, TimeoutError, socket.timeout)):
        return False
    if isinstance(error, OSError):
        return isinstance(error, ConnectionResetError)
    return "authentication methods" not in str(error)


def _why(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _bad_key(error: UnknownKey | BadHostKeyException) -> HostError:
    """Say which host's key is not the known one; it may be the one of a jump host."""
    entry = str(error.hostname)
    name, _, port = entry[1:].rpartition("]:") if entry.startswith("[") else (entry, "", "")
    if isinstance(error, UnknownKey):
        scan = f"ssh-keyscan -H{f' -p {port}' if port else ''} {name} >> ~/.ssh/known_hosts"
        return HostError(
            f"host keys of {name} are unknown", f"check the fingerprint, then type: {scan}"
        )
    return HostError(
        f"the host key of {name} has changed: it was reinstalled, or somebody listens in",
        f"if you are sure that it is right, type: ssh-keygen -R {shlex.quote(entry)}",
    )


def explain(host: Host, connection: Connection, error: BaseException, slow: bool) -> HostError:
    """Say what a failed login means and what to type."""
    name, port = connection.host, int(connection.port)
    flag = "" if port == 22 else f" -p {port}"
    address = f"{connection.user}@{name}"
    change = f"; or change {host.where}" if host.where else ""
    if isinstance(error, (UnknownKey, BadHostKeyException)):
        return _bad_key(error)
    if isinstance(error, AuthenticationException) and "password" in connection.connect_kwargs:
        return HostError(f"it does not accept that password for {address}", "try again")
    if isinstance(error, PasswordRequiredException):
        return HostError(
            f"the private key for {address} is locked by a passphrase", "type: ssh-add", True
        )
    if isinstance(error, AuthenticationException) or "authentication methods" in str(error):
        return HostError(
            f"it does not accept our key for {address}", f"type: ssh-copy-id{flag} {address}", True
        )
    if isinstance(error, socket.gaierror):
        return HostError(f"nobody knows a host named {name}", f"check the name{change}")
    if isinstance(error, NoValidConnectionsError):
        reasons = {e.strerror for e in error.errors.values() if e.strerror}
        why = ", ".join(sorted(reasons)).lower() or "refused"
        remedy = f"look whether it and its SSH server are up{change}"
        return HostError(f"cannot connect to {name} port {port} ({why})", remedy)
    if slow or isinstance(error, (TimeoutError, socket.timeout)):
        remedy = f"look whether it is up and well{change}"
        return HostError(f"no answer from {name} port {port} within {CONNECT} s", remedy)
    return HostError(
        f"cannot log in to {address} port {port} ({_why(error)})", f"try: ssh{flag} {address}"
    )
