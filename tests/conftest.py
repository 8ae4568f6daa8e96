"""In CI nothing may be left out: there a test that skips has failed.

Who runs the tests at home may lack root, screen or sshfs, and skips what needs them. In CI
(``CI`` is set) a missing tool is a hole that nobody would see.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# Reasons that are good in CI too: not a hole in the machine, but nothing to test on it.
ALLOWED = {
    "fjd is installed for everybody here": "the test is about a PATH without fjd",
    "zsh is not installed": "INSTALL is bash's; that other shells survive it is a courtesy",
    "shellcheck is not installed": "a second opinion on INSTALL, and large to fetch",
}


def not_in_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure, unless it was expected (xfail) or nothing is lost by it."""
    if not os.environ.get("CI") or not report.skipped or hasattr(report, "wasxfail"):
        return
    where = report.longrepr
    reason = where[2] if isinstance(where, tuple) else str(where)
    if reason.removeprefix("Skipped: ") not in ALLOWED:
        report.outcome = "failed"
        report.longrepr = f"{reason}; in CI this must not be skipped"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Look at each test's report."""
    outcome = yield
    not_in_ci(outcome.get_result())  # type: ignore[attr-defined]


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """Look at each file's report: a whole file may skip."""
    outcome = yield
    not_in_ci(outcome.get_result())  # type: ignore[attr-defined]
