"""Fixtures of the tests that break things on purpose."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode does not


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory of one's own, in memory where there is such a place."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = tempfile.mkdtemp(prefix="fjd-fault-", dir=base)
    yield Path(path)
    shutil.rmtree(path, ignore_errors=True)
