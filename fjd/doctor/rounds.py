"""The doctor's rounds: this machine, then all hosts of remote.conf, and what follows from it.

One login per host runs the same examination there, and its home is measured meanwhile. A host that
fails or hangs costs its own findings and holds up nobody.
"""

from __future__ import annotations

import json
import queue
import shlex
import threading
import time
from collections.abc import Sequence
from typing import Callable, NamedTuple, Optional, TypeVar

from fjd.doctor import echo, examine, machine, verdict
from fjd.doctor.check import FAIL, OK, WARN, Check, Findings
from fjd.errors import ConfigError, FjdError
from fjd.launchers import base, remote, remoteconf
from fjd.launchers.errand import Answer, Errand, HostError, Reply, Transport
from fjd.launchers.remoteconf import Host
from fjd.recruiter.away import is_this_machine
from fjd.spool import timings
from fjd.spool.project import Project, carried_home
from fjd.system import files
from fjd.system.identity import hostname

LIMIT = 30.0  # s until a host must have answered after the login, and this one altogether

_AFTER = 2.0  # s for the measurement to end when the host has answered

T = TypeVar("T")
Say = Callable[[str], None]
Tell = Callable[[Findings], None]


class Visit(NamedTuple):
    """One host that is asked: the path of its markers, and its measurement."""

    box: str
    stop: threading.Event
    rounds: list[echo.Round]


class Doctor:
    """Examines one project.

    Args:
        tell: is given the findings of each host, as they come.
        talk: prints a line of talk.
        local_only: leave remote.conf and other hosts alone.
    """

    def __init__(
        self,
        name: Optional[str],
        tell: Tell,
        talk: Say,
        *,
        local_only: bool = False,
        transport: Transport = remote.by_ssh,
        limit: float = LIMIT,
    ) -> None:
        self._name, self._tell, self._talk = name, tell, talk
        self._local_only, self._transport, self._limit = local_only, transport, limit
        self._visits: dict[Host, Visit] = {}
        self._own: dict[str, str] = {}

    def run(self) -> list[Findings]:
        """Examine everything and return all findings, this machine's first."""
        project, first = self._here()
        self._own = dict(first.facts)
        hosts, more = self._hosts(project)
        first = first._replace(checks=[*first.checks, *more])
        self._tell(first)
        found = [first]
        if project:
            away = [host for host in hosts if not is_this_machine(host, hostname())]
            try:
                others = self._others(project, away)
            finally:
                for visit in self._visits.values():
                    visit.stop.set()
                    echo.close_box(visit.box)
            found += others
            rest = Findings("", True, [self._timings(project, away, others)], {})
            self._tell(rest)
            found.append(rest)
        return found

    # -- this machine -------------------------------------------------------------------------

    def _here(self) -> tuple[Optional[Project], Findings]:
        try:
            return within(self._limit, lambda: examine.here(self._name))
        except HostError as error:
            return None, Findings(hostname(), True, [Check.failed("home", error)], {})

    def _hosts(self, project: Optional[Project]) -> tuple[Sequence[Host], list[Check]]:
        """Return the hosts of remote.conf, and the findings about it."""
        if self._local_only:
            return [], []
        if project is None:
            what = "other hosts are not asked before `home` is right here"
            return [], [Check("remote.conf", WARN, what, "type: fjd doctor, then")]
        try:
            hosts, remarks = remoteconf.load(project.remote_conf)
            if not hosts:
                remedy = "add a section [host1] with `name` and `workers`, or remove the file"
                raise ConfigError("there is no host in it", remedy=remedy)
        except FileNotFoundError:
            return [], [Check("remote.conf", OK, "there is none: this machine alone")]
        except FjdError as error:
            return [], [Check.failed("remote.conf", error)]
        for remark in remarks:
            self._talk(remark)
        own = [host for host in hosts if is_this_machine(host, hostname()) and host.python]
        wrong = [machine.interpreter(str(host.python), host.where) for host in own]
        number = f"{len(hosts)} host{'' if len(hosts) == 1 else 's'}"
        return hosts, [Check("remote.conf", OK, number), *filter(None, wrong)]

    # -- the others ---------------------------------------------------------------------------

    def _others(self, project: Project, hosts: Sequence[Host]) -> list[Findings]:
        errands = []
        for host in hosts:
            name = echo.open_box(project)
            self._visits[host] = Visit(echo.box(project, name), threading.Event(), [])
            errands.append(Errand(host, self._line(project, host, name), self._limit))
        found = {}
        for errand, answer in remote.Errands(errands, self._visit).answers():
            found[errand.host] = self._judge(errand.host, answer)
            self._tell(found[errand.host])
        return [found[host] for host in hosts]

    @staticmethod
    def _line(project: Project, host: Host, box: str) -> str:
        home = carried_home()
        words = ["doctor", "--project", project.name, "--local-only", "--json", "--box", box]
        ahead = ["env", f"FJD_HOME={home}"] if home else []
        return shlex.join(ahead + base.command(remote.python_of(host), "fjd.scripts.fjd", words))

    def _visit(self, errand: Errand, password: Optional[str]) -> Reply:
        """Run the errand, and measure meanwhile."""
        visit = self._visits[errand.host]
        measuring = threading.Thread(
            target=lambda: visit.rounds.extend(echo.ask(visit.box, visit.stop)), daemon=True
        )
        measuring.start()
        try:
            return self._transport(errand, password)
        finally:
            visit.stop.set()
            measuring.join(_AFTER)

    def _judge(self, host: Host, answer: Answer) -> Findings:
        if isinstance(answer, HostError):
            return Findings(host.name, False, [Check.failed("login", answer)], {})
        login = Check("login", OK, "no password asked")
        theirs = verdict.read(answer.out)
        if theirs is None:
            return Findings(host.name, False, [login, verdict.no_findings(host, answer)], {})
        rounds = self._visits[host].rounds
        late, lead = echo.latency(rounds), echo.clock(rounds)
        where = host.where or "remote.conf"
        compared = {
            "python": machine.same_python(self._own, dict(theirs.facts), where),
            "fjd": machine.same_fjd(self._own, dict(theirs.facts)),
        }
        checks = [login]
        for check in theirs.checks:
            checks.append(compared.get(check.name, check))
            if check.name == "same home" and check.state == OK:
                checks.append(verdict.latency(late))
        if lead:
            checks.append(verdict.clock(lead))
        return Findings(host.name, False, checks, theirs.facts, late, lead)

    # -- what follows -------------------------------------------------------------------------

    def _timings(self, project: Project, hosts: Sequence[Host], found: Sequence[Findings]) -> Check:
        """Let the slowest host set the timings, and tell them."""
        known = {f.host: f.latency for f in found if f.latency}
        before = timings.measured(project.root)
        slowest = verdict.slowest(known, before, {host.name for host in hosts})
        try:
            if slowest:
                fields = {**slowest._asdict(), "by": hostname(), "at": time.time()}
                data = json.dumps(fields, indent=1) + "\n"
                files.publish(project.staging(), project.timings, data.encode())
            pace = timings.for_home(project.root)
        except FjdError as error:
            return Check.failed("timings", error)
        except OSError as error:
            return Check("timings", FAIL, f"cannot write: {error.strerror}", "look at home")
        fact = (
            f"lease {pace.lease:g} s ({pace.far_lease:g} s on other hosts), looks every"
            f" {pace.poll:.3g} s, job files settle in {pace.settle:.3g} s"
        )
        now = timings.measured(project.root)
        if now:
            fact += f"; {now.host} is {verdict.milliseconds(now.p95)} late"
        return Check("timings", OK, fact)


def within(limit: float, action: Callable[[], T]) -> T:
    """Return what the action returns; HostError if that takes longer than the limit."""
    done: queue.SimpleQueue[tuple[Optional[T], Optional[BaseException]]] = queue.SimpleQueue()

    def act() -> None:
        try:
            done.put((action(), None))
        except BaseException as error:  # noqa: BLE001  raised again below, where somebody waits
            done.put((None, error))

    threading.Thread(target=act, daemon=True).start()
    try:
        value, error = done.get(timeout=limit)
    except queue.Empty:
        raise HostError(
            f"this machine did not end the examination within {limit:.0f} s",
            "look whether the home or /tmp hangs: df -h",
        ) from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]  # None is what the action returned then
