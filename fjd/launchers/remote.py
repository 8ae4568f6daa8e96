"""Other hosts: what is run there, many hosts at once, and what their answers mean.

One login per host runs another recruiter there, with ``--local-only``. A host that fails or hangs
costs one line and holds up nobody else.
"""

from __future__ import annotations

import queue
import re
import shlex
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional

from fjd.launchers.base import command
from fjd.launchers.errand import Answer, Errand, HostError, Reply, Transport
from fjd.launchers.remoteconf import Host

LOGINS = 8  # at a time: sshd refuses some of more than 10 (MaxStartups), and so does a jump host

_LINES = 20  # of what one host says, so that nobody's log-in scripts flood the terminal
_NO_MODULE = re.compile(r"No module named '?([\w.]+)")


class Verdict(NamedTuple):
    """What to print of a host's answer: facts for stdout, talk, and whether all is well."""

    lines: list[str]
    talk: list[str]
    well: bool


def by_ssh(errand: Errand, password: Optional[str] = None) -> Reply:
    """Run an errand over SSH."""
    from fjd.launchers import ssh  # fabric costs 100 ms and is not wanted where there is no host

    return ssh.run(errand, password)


def python_of(host: Host) -> str:
    """Return the interpreter to use over there: this very one, unless remote.conf names another."""
    return host.python or sys.executable


def command_line(host: Host, words: Sequence[str], fjd_home: Optional[str]) -> str:
    """Return the line for the shell over there, whatever shell that is."""
    ahead = ["env", f"FJD_HOME={fjd_home}"] if fjd_home else []
    return shlex.join(ahead + command(python_of(host), "fjd.scripts.fjd_recruiter", words))


class Errands:
    """Errands that are under way, ``LOGINS`` at a time."""

    def __init__(self, errands: Sequence[Errand], transport: Transport) -> None:
        self.waiting = list(errands)
        self._todo: queue.SimpleQueue[Errand] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[Errand, Answer]] = queue.SimpleQueue()
        self._transport = transport
        for errand in errands:
            self._todo.put(errand)
        for _ in range(min(LOGINS, len(errands))):
            # Not a pool: at Ctrl-C that one would wait for hosts that do not answer.
            threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                errand = self._todo.get_nowait()
            except queue.Empty:
                return
            self._done.put((errand, self._ask(errand)))

    def _ask(self, errand: Errand) -> Answer:
        try:
            return self._transport(errand, None)
        except HostError as error:
            return error
        except Exception as error:  # noqa: BLE001  a library's fault costs this host, not the others
            return HostError(f"{type(error).__name__}: {error}")

    def answers(self) -> Iterator[tuple[Errand, Answer]]:
        """Yield each errand with its answer, as they come; ``waiting`` says who is missing."""
        while self.waiting:
            errand, answer = self._done.get()
            self.waiting.remove(errand)
            yield errand, answer


def judge(host: Host, reply: Reply) -> Verdict:
    """Say what a reply means."""
    python = python_of(host)
    remedy = "install fjd there, in the same place as here"
    if host.where:
        remedy = f"install fjd there, or write `python: PATH` into {host.where}"
    missing = _NO_MODULE.search(reply.err)
    if reply.exit in (126, 127):
        return Verdict([], [f"cannot run {python}; {remedy}"], False)
    if reply.exit == 1 and missing:
        return Verdict([], [f"{python} has no module {missing[1]}; {remedy}"], False)
    lines: list[str] = []
    talk: list[str] = []
    for line in reply.out.splitlines():
        (lines if line.startswith("[fjd-") else talk).append(line)
    talk += [line.replace("[fjd-recruiter] ", "", 1) for line in reply.err.splitlines()]
    talk = [line for line in talk if line.strip()]
    if reply.exit not in (0, 2, 3, 4, 6):
        talk = talk[-1:] + [f"fjd-recruiter ended there with exit code {reply.exit}"]
    return Verdict(lines[:_LINES], talk[:_LINES], reply.exit == 0)
