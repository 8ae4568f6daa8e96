"""Fixtures that give tests real hosts; see bed.py for what those are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Callable

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode does not
from bed import Bed, missing


def pytest_configure(config: pytest.Config) -> None:
    # Known already where pytest-xdist is; without it, --strict-markers would refuse it.
    config.addinivalue_line("markers", "xdist_group(name): run on the same worker")


@pytest.fixture(scope="session")
def require_root() -> None:
    """Skip where no host can be made."""
    reason = missing()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def bed(require_root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """Three hosts that share a home, for all tests of a worker: leave them as they were."""
    with Bed(tmp_path_factory.mktemp("bed") / "root") as session_bed:
        yield session_bed


@pytest.fixture
def fresh_bed(bed: Bed) -> Iterator[Bed]:
    """The same three hosts with an empty home and nothing running, and reset afterwards."""
    bed.reset()
    yield bed
    bed.reset()


@pytest.fixture
def make_bed(require_root: None, tmp_path: Path) -> Iterator[Callable[..., Bed]]:
    """A function that brings up a bed of the test's own, with the arguments of Bed but root."""
    with ExitStack() as beds:

        def make(*args: object, **kwargs: object) -> Bed:
            root = tmp_path / f"bed{len(list(tmp_path.glob('bed*')))}"
            return beds.enter_context(Bed(root, *args, **kwargs))  # type: ignore[arg-type]

        yield make
