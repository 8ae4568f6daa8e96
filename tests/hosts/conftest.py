"""Fixtures that give tests real hosts; see bed.py for what those are.

With ``FJD_BED=nfs4`` or ``FJD_BED=nfs3`` in the environment the hosts have kernels of their own and
their home is on NFS (nfs_bed.py). Then test_nfs.py runs, and of the other tests those that ask for
nothing that only the usual hosts can do; without it test_nfs.py is none of the tests.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Callable

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode does not
import nfs_bed
from bed import Bed, missing

KIND = os.environ.get("FJD_BED", "")
collect_ignore = ["test_bed.py"] if KIND else ["test_nfs.py"]


def pytest_configure(config: pytest.Config) -> None:
    # Known already where pytest-xdist is; without it, --strict-markers would refuse it.
    config.addinivalue_line("markers", "xdist_group(name): run on the same worker")
    config.addinivalue_line("markers", "one_kernel: freezes hosts, or believes in one clock")
    reason = KIND and nfs_bed.missing(KIND)
    if reason:
        raise pytest.UsageError(reason)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the hosts with kernels of their own cannot do."""

    def fits(item: pytest.Item) -> bool:
        usual = item.get_closest_marker("one_kernel") or "make_bed" in getattr(
            item, "fixturenames", ()
        )
        return not usual or Path(__file__).parent not in item.path.parents

    if KIND:
        config.hook.pytest_deselected(items=[item for item in items if not fits(item)])
        items[:] = filter(fits, items)


@pytest.fixture(scope="session")
def require_root() -> None:
    """Skip where no host can be made."""
    reason = missing()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def bed(require_root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """Three hosts that share a home, for all tests of a worker: leave them as they were."""
    root = tmp_path_factory.mktemp("bed") / "root"
    with nfs_bed.NfsBed(root, kind=KIND) if KIND else Bed(root) as session_bed:
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
