"""Fixtures that give each test a home of its own; see harness.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Callable, Optional

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode does not
from hardship import small_disk as mounted
from harness import FjdEnv, Person, plain_person, usual_person

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note whether the test itself failed, for the fixtures that show why."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call":
        item.stash[FAILED] = report.failed


@pytest.fixture
def person() -> Person:
    """Who runs the daemons."""
    return usual_person()


@pytest.fixture
def make_env(request: pytest.FixtureRequest, person: Person) -> Iterator[Callable[..., FjdEnv]]:
    """A function that makes homes, which are ended and checked afterwards."""
    with ExitStack() as envs:

        def make(who: Person = person, home: Optional[Path] = None) -> FjdEnv:
            env = FjdEnv(who, home)
            envs.callback(env.close)
            envs.callback(_show, env, request.node)
            return env

        yield make


def _show(env: FjdEnv, test: pytest.Item) -> None:
    if test.stash.get(FAILED, True):
        print(env.show())


@pytest.fixture
def env(make_env: Callable[..., FjdEnv]) -> FjdEnv:
    """An empty home; what was started in it is ended and checked afterwards."""
    return make_env()


@pytest.fixture
def plain_env(make_env: Callable[..., FjdEnv]) -> FjdEnv:
    """A home of a plain user, for what root may do and nobody else may."""
    plain = plain_person()
    if plain is None:
        pytest.skip("root's interpreters are for root only; run the tests as a plain user")
    return make_env(plain)


@pytest.fixture
def small_disk(person: Person) -> Iterator[Path]:
    """A disk of two megabytes."""
    with mounted(person) as place:
        yield place


@pytest.fixture
def require_root() -> None:
    """Skip where nothing can be mounted and nobody else's file can be made."""
    if os.geteuid():
        pytest.skip("needs root")
