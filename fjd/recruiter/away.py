"""Away: another recruiter's words, said on other hosts by one login each, and what they answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Callable, Optional

from fjd.launchers import remote
from fjd.launchers.errand import Answer, Errand, HostError, Reply, Transport
from fjd.launchers.remote import Errands
from fjd.launchers.remoteconf import Host
from fjd.spool import samehome
from fjd.spool.project import Project, carried_home

HIRE_LIMIT = 30.0  # s until a host must have answered; workers there have 20 s to come up
FIRE_LIMIT = 20.0

_HERE = frozenset(("localhost", "127.0.0.1", "::1"))

Say = Callable[[str], None]
AskPassword = Callable[[str], Optional[str]]


def is_this_machine(host: Host, own: str) -> bool:
    """Tell whether a host is this machine; a port always means SSH."""
    if host.port is not None:
        return False
    name = host.name.lower().rstrip(".")
    return name in _HERE or name in (own.lower(), own.lower().split(".")[0])


class Away:
    """The other hosts of one recruiter. Facts go to ``out``, talk to ``talk``, line by line.

    Args:
        ask_password: asks a person for one; None where there is nobody to ask.
    """

    def __init__(
        self,
        project: Project,
        out: Say,
        talk: Say,
        transport: Transport = remote.by_ssh,
        ask_password: Optional[AskPassword] = None,
    ) -> None:
        self._project, self._out, self._talk = project, out, talk
        self._transport, self._ask = transport, ask_password

    @contextmanager
    def errands(
        self, hosts: Sequence[Host], words: Callable[[Host], Sequence[str]], limit: float
    ) -> Iterator[Errands]:
        """Send another recruiter's words to each host; those with another home will refuse."""
        if not hosts:
            yield Errands([], self._transport)
            return
        marker, home = samehome.leave(self._project), carried_home()
        ahead = ["--project", self._project.name, "--local-only", "--marker", marker]
        lines = [remote.command_line(host, [*ahead, *words(host)], home) for host in hosts]
        errands = [Errand(host, line, limit) for host, line in zip(hosts, lines)]
        try:
            yield Errands(errands, self._transport)
        finally:
            samehome.remove(self._project, marker)

    def hear(self, errands: Errands) -> dict[str, str]:
        """Tell what each host answers, as the answers come; return who failed, and why."""
        failed: dict[str, str] = {}
        shy: list[tuple[Errand, HostError]] = []
        for errand, answer in errands.answers():
            if isinstance(answer, HostError) and answer.password and self._ask is not None:
                shy.append((errand, answer))
            else:
                failed[errand.host.name] = self._tell(errand.host, answer)
        for errand, error in shy:  # one person cannot answer two questions at once
            failed[errand.host.name] = self._with_password(errand, error)
        return {host: why for host, why in failed.items() if why}

    def _with_password(self, errand: Errand, error: HostError) -> str:
        why = self._tell(errand.host, error)
        password = self._ask(errand.host.name) if self._ask else None
        if not password:
            return why
        try:
            return self._tell(errand.host, self._transport(errand, password))
        except HostError as again:
            return self._tell(errand.host, again)

    def _tell(self, host: Host, answer: Answer) -> str:
        """Say it, and return what is wrong ("": nothing)."""
        if not isinstance(answer, Reply):
            self._talk(f"Host {host.name}: {answer}")
            return str(answer)
        verdict = remote.judge(host, answer)
        for line in verdict.lines:
            self._out(f"Host {host.name}: {line}")
        for line in verdict.talk:
            self._talk(f"Host {host.name}: {line}")
        if verdict.well:
            return ""
        return next(iter(verdict.talk), f"fjd-recruiter ended there with {answer.exit}")
