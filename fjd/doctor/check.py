"""One finding, and all findings about one host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

from fjd.errors import FjdError

OK, WARN, FAIL = "ok", "warn", "fail"  # warn: works, and you may want to know

_STATES = (OK, WARN, FAIL)
_MOST = 50  # checks of one host
_LONGEST = 1000  # characters


class Check(NamedTuple):
    """What was looked at, ``OK``, ``WARN`` or ``FAIL``, what was found, and what to type."""

    name: str
    state: str
    fact: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        """Return it for ``--json``."""
        return {"check": self.name, "state": self.state, "fact": self.fact, "remedy": self.remedy}

    @classmethod
    def load(cls, value: object) -> Optional[Check]:
        """Read what ``as_json`` returned; None if it is something else."""
        if not isinstance(value, dict):
            return None
        fields = [value.get(key) for key in ("check", "state", "fact", "remedy")]
        if not all(isinstance(field, str) for field in fields) or fields[1] not in _STATES:
            return None
        return cls(*(str(field)[:_LONGEST] for field in fields))

    @classmethod
    def failed(cls, name: str, error: FjdError) -> Check:
        """Make a finding of an error."""
        what = f"{error.where}: {error.what}" if error.where else error.what
        return cls(name, FAIL, what, error.remedy)


class Latency(NamedTuple):
    """How many seconds late a host sees what another one published, of so many markers."""

    p50: float
    p95: float
    markers: int


class Clock(NamedTuple):
    """By how many seconds another host's clock is ahead of ours, give or take ``within``."""

    ahead: float
    within: float


class Findings(NamedTuple):
    """All that was found out about one host.

    Attributes:
        here: it is this machine.
        facts: what is compared between hosts: the keys of ``machine.facts``.
    """

    host: str
    here: bool
    checks: Sequence[Check]
    facts: Mapping[str, str]
    latency: Optional[Latency] = None
    clock: Optional[Clock] = None

    def as_json(self) -> dict[str, Any]:
        """Return it for ``--json``."""
        return {
            "host": self.host,
            "here": self.here,
            "facts": dict(self.facts),
            "latency": self.latency._asdict() if self.latency else None,
            "clock": self.clock._asdict() if self.clock else None,
            "checks": [check.as_json() for check in self.checks],
        }

    @classmethod
    def load(cls, value: object) -> Optional[Findings]:
        """Read checks and facts of what ``as_json`` returned; None if it is something else."""
        if not isinstance(value, dict):
            return None
        checks, facts = value.get("checks"), value.get("facts")
        if not isinstance(checks, list) or not isinstance(facts, dict):
            return None
        found = [check for check in map(Check.load, checks[:_MOST]) if check]
        return cls(str(value.get("host")), False, found, {str(k): str(v) for k, v in facts.items()})


def count(findings: Sequence[Findings], state: str) -> int:
    """Return how many checks came out so."""
    return sum(check.state == state for found in findings for check in found.checks)
