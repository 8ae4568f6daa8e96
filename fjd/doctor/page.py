"""Findings as text: a page for a person, tab-separated lines for a pipe, one object for JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from fjd.doctor.check import FAIL, OK, WARN, Check, Findings, count
from fjd.views.terminal import one_line, tabbed

_MARKS = {OK: "ok", WARN: "note", FAIL: "FAIL"}
_NAME = 11
_INDENT = 2 + 4 + 2 + _NAME + 2
_WIDEST = 80


def heading(found: Findings) -> str:
    """Return what stands above the findings of a host."""
    if not found.host:
        return "All hosts"
    return f"{found.host} (here)" if found.here else found.host


def for_terminal(found: Findings, width: int) -> list[str]:
    """Return the lines about one host."""
    lines = [one_line(heading(found))[:width]]
    for check in found.checks:
        lines += _check(check, min(width, _WIDEST))
    return [*lines, ""]


def _check(check: Check, width: int) -> list[str]:
    head = f"  {_MARKS[check.state]:<4}  {one_line(check.name)[:_NAME]:<{_NAME}}  "
    lines = _wrapped(check.fact, width, head, " " * _INDENT)
    if check.remedy and check.state != OK:
        lines += _wrapped(check.remedy, width, " " * _INDENT + "-> ", " " * (_INDENT + 3))
    return lines


def _wrapped(text: str, width: int, first: str, later: str) -> list[str]:
    return textwrap.wrap(
        one_line(text),
        width,
        initial_indent=first,
        subsequent_indent=later,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def for_pipe(found: Findings) -> list[str]:
    """Return a line per check: host, state, check, fact, remedy."""
    return [tabbed(found.host, c.state, c.name, c.fact, c.remedy) for c in found.checks]


def summary(found: Sequence[Findings]) -> str:
    """Return the last line."""
    hosts = sum(bool(one.host) for one in found)
    fails, notes = count(found, FAIL), count(found, WARN)
    noted = f", {notes} note{'' if notes == 1 else 's'}" if notes else ""
    number = f"{hosts} host{'' if hosts == 1 else 's'}"
    if not fails:
        return f"{number}: all well{noted}"
    return f"{number}: {fails} check{'' if fails == 1 else 's'} failed{noted}"


def as_json(found: Sequence[Findings]) -> dict[str, Any]:
    """Return what ``--json`` prints behind the schema."""
    return {
        "ok": count(found, FAIL) == 0,
        "hosts": [one.as_json() for one in found if one.host],
        "all": [check.as_json() for one in found if not one.host for check in one.checks],
    }
