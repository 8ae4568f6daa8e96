"""Every failure that a user can cause, as one line: where, what happened, what to type.

``FjdError`` is the root; only ``fjd.talk`` turns it into a printed line and an exit code.
Losing a race is a return value and never one of these.
"""

from __future__ import annotations


class FjdError(Exception):
    """Something expected went wrong.

    Attributes:
        what: what happened, lower case, no full stop ("the section [control] is missing").
        where: host, file or file:line ("" where the command line says it already).
        remedy: what to type or change next, an imperative ("add a line `executable: ...`").
        exit_code: what the command ends with (the table stands in README.rst).
    """

    exit_code = 6

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(what)

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line}; {self.remedy}" if self.remedy else line


class UsageError(FjdError):
    """The command line makes no sense."""

    exit_code = 2


class NothingToDo(FjdError):
    """There is no such job, or nothing to do."""

    exit_code = 3


class NoWorkers(FjdError):
    """No worker can run the work, or a host is out of reach."""

    exit_code = 4


class ConfigError(FjdError):
    """The environment or a configuration file is wrong."""

    exit_code = 6


class JobFileError(FjdError):
    """A job file cannot be run as it is; it goes to ``rejected/`` with this line beside it."""

    exit_code = 6
