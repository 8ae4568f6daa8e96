"""Fixtures that give each test a home of its own; see harness.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode does not
from harness import FjdEnv, Person, plain_person, usual_person

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note whether the test itself failed, for the fixtures that show why."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call":
        item.stash[FAILED] = report.failed


def _closed(env: FjdEnv, request: pytest.FixtureRequest) -> Iterator[FjdEnv]:
    try:
        yield env
    finally:
        if request.node.stash.get(FAILED, True):
            print(env.show())
        env.close()


@pytest.fixture
def env(request: pytest.FixtureRequest) -> Iterator[FjdEnv]:
    """An empty home; what was started in it is ended and checked afterwards."""
    yield from _closed(FjdEnv(usual_person()), request)


@pytest.fixture
def plain() -> Person:
    """A plain user, for what root may do and nobody else may."""
    person = plain_person()
    if person is None:
        pytest.skip("root's interpreters are for root only; run the tests as a plain user")
    return person


@pytest.fixture
def plain_env(plain: Person, request: pytest.FixtureRequest) -> Iterator[FjdEnv]:
    """An empty home of a plain user."""
    yield from _closed(FjdEnv(plain), request)


@pytest.fixture
def require_root() -> None:
    """Skip where nothing can be mounted."""
    if os.geteuid():
        pytest.skip("needs root (mount)")
