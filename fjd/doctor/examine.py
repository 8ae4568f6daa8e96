"""All checks of one machine: of this one, and what a login runs on another."""

from __future__ import annotations

from typing import Optional

from fjd.doctor import disk, echo, machine
from fjd.doctor.check import FAIL, OK, Check, Findings
from fjd.errors import FjdError
from fjd.spool import samehome
from fjd.spool.project import Project
from fjd.system.identity import hostname


def examine(project: Project) -> list[Check]:
    """Return all checks of this machine and of the project as it is seen from here."""
    return [*machine.checks(), *_disk(project)]


def _disk(project: Project) -> list[Check]:
    try:
        return disk.checks(project)
    except OSError as error:
        return [_trouble(error)]


def _trouble(error: OSError) -> Check:
    where = f" {error.filename}" if error.filename else ""
    return Check("home", FAIL, f"the system refused{where}: {error.strerror}", "look at that file")


def here(name: Optional[str]) -> tuple[Optional[Project], Findings]:
    """Open the project, made if need be, and examine it; None: it cannot be used."""
    project: Optional[Project] = None
    try:
        project = Project.open(name)
        checks = examine(project)
    except FjdError as error:
        checks = [*machine.checks(), Check.failed("home", error)]
    except OSError as error:
        checks = [*machine.checks(), _trouble(error)]
    return project, Findings(hostname(), True, checks, machine.facts())


def visited(name: str, box: str) -> Findings:
    """Answer the markers of who asks from another host, and then examine this one.

    With another home nothing is made in it.
    """
    try:
        samehome.check(name, box)
        project = Project.existing(name)
        echo.answer(echo.box(project, box))
        checks = [Check("same home", OK, f"a marker was seen in {project.root}"), *examine(project)]
    except FjdError as error:
        checks = [Check.failed("same home", error), *machine.checks()]
    except OSError as error:
        checks = [_trouble(error), *machine.checks()]
    return Findings(hostname(), False, checks, machine.facts())
