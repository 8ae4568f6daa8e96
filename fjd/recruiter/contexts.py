"""Hiring a context: an engine on each of its hosts, all at the same time, without a remote.conf.

This machine's workers are started by a launcher, those of other hosts by another recruiter after
one login each, as remote.conf's are. A host that is down costs one line; the others go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional

from fjd.errors import FjdError, NoWorkers
from fjd.launchers import remote
from fjd.launchers.base import Launcher, Place
from fjd.launchers.errand import Transport
from fjd.launchers.hiring import LAUNCHERS
from fjd.launchers.remoteconf import Host
from fjd.recruiter.away import FIRE_LIMIT, HIRE_LIMIT, AskPassword, Away, Say, is_this_machine
from fjd.recruiter.recruiter import Recruiter
from fjd.spool import contexts
from fjd.spool.contexts import Context, Engine
from fjd.spool.crew import Choice
from fjd.spool.project import Project
from fjd.system.identity import hostname


class Report(NamedTuple):
    """What came of one engine: ``up`` of ``slots`` workers; ``why`` it failed ("": it did not)."""

    rank: int
    host: str
    slots: int
    up: int
    why: str


class ContextHiring:
    """The workers of one context that was begun (contexts.begin), from the first to the last.

    Args:
        out: takes a line of facts; ``talk``: a line of talk.
        cwd: where tasks start, on every host.
        resources: the variables whose comma lists the workers of a host share.
        ask_password: asks a person for one; None where there is nobody to ask.
    """

    def __init__(
        self,
        project: Project,
        context: Context,
        out: Say,
        talk: Say,
        *,
        cwd: str,
        resources: Sequence[str] = (),
        nice: Optional[int] = None,
        launchers: Mapping[str, Launcher] = LAUNCHERS,
        transport: Transport = remote.by_ssh,
        ask_password: Optional[AskPassword] = None,
    ) -> None:
        self.project, self.context = project, context
        self._out, self._talk, self._cwd, self._nice = out, talk, cwd, nice
        self._resources, self._launchers = tuple(resources), launchers
        self._away = Away(project, out, talk, transport, ask_password)

    # -- hire ---------------------------------------------------------------------------------

    def hire(self) -> list[Report]:
        """Start all engines and return what came of each.

        Raises:
            NoWorkers: not one worker came up.
        """
        why = self._start()
        crewed = contexts.workers(self.project)
        reports = [
            Report(*engine, len(crewed.get(engine.rank, ())), why.get(engine.rank, ""))
            for engine in self.context.engines
        ]
        if not any(report.up for report in reports):
            raise NoWorkers(
                f'no worker came up in context "{self.context.label}"',
                remedy="see what each of its hosts says, or add another context",
            )
        return reports

    def _start(self) -> dict[int, str]:
        """Start the workers and return why engines failed, by rank."""
        here, away = self._split(self.context.engines)
        with self._away.errands([host for host, _ in away], self._words, HIRE_LIMIT) as errands:
            why = {engine.rank: self._hire_here(engine) for engine in here}
            failed = self._away.hear(errands)
        why.update((engine.rank, failed.get(host.name, "")) for host, engine in away)
        return why

    def _split(self, engines: Sequence[Engine]) -> tuple[list[Engine], list[tuple[Host, Engine]]]:
        """Return the engines of this machine, and those of other hosts."""
        here: list[Engine] = []
        away: list[tuple[Host, Engine]] = []
        for engine in engines:
            host = Host(str(engine.rank), engine.host, engine.slots, None, None, None, None, "")
            if is_this_machine(host, hostname()):
                here.append(engine)
            else:
                away.append((host, engine))
        return here, away

    def _place(self, rank: int) -> Place:
        return Place(self.context.label, rank, 0, self._resources)

    def _hire_here(self, engine: Engine) -> str:
        recruiter = Recruiter(
            self.project,
            self._out,
            self._talk,
            cwd=self._cwd,
            nice=self._nice,
            place=self._place(engine.rank),
            launchers=self._launchers,
        )
        try:
            return "some workers did not come up" if recruiter.hire(engine.slots) else ""
        except FjdError as error:
            self._talk(f"Host {engine.host}: {error}")
            return str(error)

    def _words(self, host: Host) -> list[str]:
        nice = [] if self._nice is None else ["--nice", str(self._nice)]
        words = ["--curdir", self._cwd, *nice, "hire", str(host.workers)]
        words += ["--context", self.context.label, "--engine", host.section]
        return words + (["--env-resource", ",".join(self._resources)] if self._resources else [])

    # -- afterwards ---------------------------------------------------------------------------

    def active(self) -> set[int]:
        """Return the ranks of the engines that still have workers."""
        return contexts.workers(self.project).keys() & set(self.context.ranks)

    def fire(self, gently: bool = False) -> bool:
        """End the workers that are left; False if some could not be reached.

        Those are told by the spool as well, and leave as soon as they see it.
        """
        ranks = self.active()
        left = [engine for engine in self.context.engines if engine.rank in ranks]
        here, away = self._split(left)
        words = ["fire", *(["--gently"] if gently else []), "--context", self.context.label]
        with self._away.errands([host for host, _ in away], lambda _: words, FIRE_LIMIT) as errands:
            well = not here or self._fire_here(gently)
            failed = self._away.hear(errands)
        deaf = [engine.rank for host, engine in away if host.name in failed]
        contexts.dismiss(self.project, deaf, now=not gently)
        return well and not failed

    def _fire_here(self, gently: bool) -> bool:
        recruiter = Recruiter(self.project, self._out, self._talk, local_only=True)
        return recruiter.fire(gently, Choice(self.context.label)) == 0

    def close(self) -> bool:
        """Forget the context, unless somebody still works in it."""
        if self.active():
            return False
        contexts.end(self.project, self.context)
        return True
