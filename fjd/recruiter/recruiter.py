"""The recruiter: hires workers on this machine and on others, ends them, and calls the roll.

On this machine a launcher starts them. On every other host one login runs another recruiter, with
``--local-only``. Which hosts those are stands in the project's ``remote.conf``; without one it is
this machine alone. Facts go to ``out``, talk to ``talk``; both take one line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Callable, Optional

from fjd.errors import ConfigError, FjdError
from fjd.launchers import remote, remoteconf
from fjd.launchers.base import Launcher, Place
from fjd.launchers.errand import Transport
from fjd.launchers.hiring import LAUNCHERS, Batch, Hiring, default_number
from fjd.launchers.remote import Errands
from fjd.launchers.remoteconf import Host
from fjd.recruiter import dismissal, roster
from fjd.recruiter.away import FIRE_LIMIT, HIRE_LIMIT, AskPassword, Away, Say, is_this_machine
from fjd.spool import contexts, crew, names
from fjd.spool.crew import EVERYBODY, Choice
from fjd.spool.project import Project
from fjd.system import shares
from fjd.system.identity import hostname

_UNREACHABLE = 4


def _chosen(choice: Choice) -> list[str]:
    words = ["--context", choice.context] if choice.context else []
    return words + (["--engine", str(choice.engine)] if choice.engine >= 0 else [])


def workers(number: int) -> str:
    """Return ``1 worker``, ``4 workers``."""
    return f"{number} worker{'' if number == 1 else 's'}"


class Recruiter:
    """Hires, fires and calls the roll for one project.

    Args:
        out: prints a line of data; ``talk``: a line of talk.
        local_only: leave remote.conf and other hosts alone.
        cwd: where tasks start, on every host.
        place: of the first worker that is hired, if they are an engine of a context: all here.
        ask_password: asks a person for one; None where there is nobody to ask.
    """

    def __init__(
        self,
        project: Project,
        out: Say,
        talk: Say,
        *,
        local_only: bool = False,
        cwd: str = "",
        nice: Optional[int] = None,
        place: Optional[Place] = None,
        launchers: Mapping[str, Launcher] = LAUNCHERS,
        transport: Transport = remote.by_ssh,
        ask_password: Optional[AskPassword] = None,
    ) -> None:
        self.project = project
        self._out, self._talk = out, talk
        self._local_only, self._cwd, self._nice = local_only or place is not None, cwd, nice
        self._place, self._launchers = place, launchers
        self._away = Away(project, out, talk, transport, ask_password)

    # -- hire ---------------------------------------------------------------------------------

    def hire(self, number: Optional[int] = None) -> int:
        """Hire ``number`` workers here, or what remote.conf says; return the exit code."""
        hosts = self._hosts()
        batches, away = self._plan(number, hosts)
        with self._away.errands(away, self._hire_words, HIRE_LIMIT) as errands:
            try:
                well = self._shielded(lambda: self._hire_here(batches)) if batches else True
                return 0 if not self._away.hear(errands) and well else _UNREACHABLE
            except KeyboardInterrupt:
                self._interrupted(errands)
                raise

    def _plan(
        self, number: Optional[int], hosts: Optional[Sequence[Host]]
    ) -> tuple[list[Batch], list[Host]]:
        """Return what to start here, and the other hosts."""
        if hosts is None:
            return [self._batch(number or default_number())], []
        if number is not None:
            self._talk(
                f"{self.project.remote_conf} says how many, and {number} is ignored;"
                " --local-only makes it count"
            )
        here = [host for host in hosts if is_this_machine(host, hostname())]
        batches = [Batch(h.workers, remote.python_of(h), self._niceness(h)) for h in here]
        return batches, [host for host in hosts if host not in here]

    def _batch(self, number: int) -> Batch:
        """Return what to start here without a remote.conf."""
        if self._place is not None:
            if self._place.engine >= 0:
                contexts.keep(self.project, self._place.engine)
            number, remark = shares.slots(os.environ, self._place.resources, number)
            if remark:
                self._talk(remark)
        return Batch(number, sys.executable, self._nice, self._place)

    def _niceness(self, host: Host) -> Optional[int]:
        return self._nice if host.nice is None else host.nice

    def _hire_words(self, host: Host) -> list[str]:
        nice = self._niceness(host)
        flags = [] if nice is None else ["--nice", str(nice)]
        return ["--curdir", self._cwd, *flags, "hire", str(host.workers)]

    def _hire_here(self, batches: Sequence[Batch]) -> bool:
        wanted = sum(batch.number for batch in batches)
        hiring = Hiring(self.project, self._cwd, self._talk, self._launchers)
        try:
            hiring.start(batches)
            hiring.wait()
        finally:
            if hiring.up or not hiring.failed:
                self._out(f'Hired {workers(len(hiring.up))} in project "{self.project.name}".')
        if hiring.failed:
            self._talk(f"{len(hiring.failed)} of {workers(wanted)} did not come up")
        return not hiring.failed

    def _interrupted(self, errands: Errands) -> None:
        names_ = ", ".join(errand.host.name for errand in errands.waiting)
        if names_:
            self._talk(f"not heard from: {names_}; workers may come up there all the same")
        self._talk(f"to end all: fjd-recruiter --project {self.project.name} fire")

    # -- fire ---------------------------------------------------------------------------------

    def fire(self, gently: bool = False, choice: Choice = EVERYBODY) -> int:
        """Fire this project's workers on all its hosts, or some; return the exit code."""
        words = ["fire", *(["--gently"] if gently else []), *_chosen(choice)]
        wrong = 0
        try:
            hosts = self._hosts() or []
        except ConfigError as error:  # no reason to let anybody work on
            self._talk(str(error))
            hosts, wrong = [], error.exit_code
        away = [host for host in hosts if not is_this_machine(host, hostname())]
        if choice != EVERYBODY:  # only hosts where somebody of them is known to be
            away = []
        with self._away.errands(away, lambda _: words, FIRE_LIMIT) as errands:
            well = self._shielded(lambda: self._fire_here(gently, choice))
            well = not self._away.hear(errands) and well
        if not self._local_only:
            others, known = self._others(away, choice, self._dismiss(gently, choice))
            with self._away.errands(others, lambda _: words, FIRE_LIMIT) as errands:
                well = not self._away.hear(errands) and well and known
        return wrong if well else _UNREACHABLE

    def _fire_here(self, gently: bool, choice: Choice) -> bool:
        from fjd.launchers import firing  # needs psutil, 16 ms that hiring can do without

        fired = firing.fire(self.project, gently, self._talk, choice)
        where = self._where(choice)
        if fired.ended:
            self._out(f"Fired {workers(fired.ended - fired.stuck)} {where}.")
        else:
            self._out(f"No workers to fire {where}.")
        if fired.finishing:
            self._out(f"{fired.finishing} of them will finish the task at hand first.")
        return not fired.stuck

    def _where(self, choice: Choice) -> str:
        of = f'of context "{choice.context}" ' if choice.context else ""
        return f'{of}in project "{self.project.name}"'

    def _dismiss(self, gently: bool, choice: Choice) -> set[str]:
        """Fire the workers in Slurm's steps on other hosts; return who leaves by and by."""
        told, left = dismissal.steps(self.project, choice, gently)
        if told:
            number = len(told) if gently else len(told - left)
            self._out(f"Slurm's nodes: Fired {workers(number)} {self._where(choice)}.")
        return left if gently else set()

    def _others(
        self, asked: Sequence[Host], choice: Choice, leaving: set[str]
    ) -> tuple[list[Host], bool]:
        """Return the hosts that nobody asked and that still have workers; False: some are lost."""
        covered = {names.short_host(host.name).lower() for host in asked}
        found: dict[str, Host] = {}
        known = True
        for worker, (_, card) in crew.cards(self.project).items():
            if card is None:
                self._talk(f"worker {worker}: its entry cannot be read; end it on its host by hand")
                known = False
            elif worker in leaving or not choice.holds(card):
                continue
            elif card.identity.host == hostname():
                if not card.identity.is_here():
                    self._talk(f"worker {worker} runs in another container here; fire it there")
                    known = False
            elif names.short_host(card.identity.host).lower() not in covered:
                name = card.identity.host
                found[name] = Host("", name, 0, None, None, None, None, "")
        return list(found.values()), known

    # -- roster -------------------------------------------------------------------------------

    def roster(self) -> list[roster.Row]:
        """Return every worker of the project, wherever it is."""
        return roster.rows(self.project)

    # -- other hosts --------------------------------------------------------------------------

    def _hosts(self) -> Optional[list[Host]]:
        """Return the hosts of remote.conf; None if there is none or it shall not count."""
        if self._local_only:
            return None
        path = self.project.remote_conf
        try:
            hosts, remarks = remoteconf.load(path)
        except FileNotFoundError:
            return None
        if not hosts:
            raise ConfigError(
                "there is no host in it",
                where=path,
                remedy="add a section [host1] with `name` and `workers`, or use --local-only",
            )
        for remark in remarks:
            self._talk(remark)
        return hosts

    def _shielded(self, verb: Callable[[], bool]) -> bool:
        """What fails on this machine must not keep us from hearing the others out."""
        try:
            return verb()
        except FjdError as error:
            self._talk(str(error))
            return False
