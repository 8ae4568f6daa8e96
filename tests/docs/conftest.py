"""A shell for each test, and nothing left of it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode does not
from readme_shell import Shell


@pytest.fixture
def new_shell(tmp_path: Path) -> Iterator[Callable[..., Shell]]:
    """Return a maker of shells."""
    made: list[Shell] = []
    screens = tempfile.mkdtemp(prefix="fjd-", dir="/tmp")  # a socket's path must be short

    def make(path: str = "") -> Shell:
        base = tmp_path / str(len(made))
        base.mkdir()
        made.append(Shell(base, screens, path))
        return made[-1]

    yield make
    for shell in made:
        shell.clean_up()
    shutil.rmtree(screens)


@pytest.fixture
def shell(new_shell: Callable[..., Shell]) -> Shell:
    """Return a shell."""
    return new_shell()
