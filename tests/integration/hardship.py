"""What a home has to bear in the tests: a disk without room, a file system that denies."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import FjdEnv, Person


@contextmanager
def small_disk(person: Person, size: str = "2m") -> Iterator[Path]:
    """Mount a disk of that size that is the person's own; skip where nobody may."""
    if os.geteuid():
        pytest.skip("nothing can be mounted here: needs root")
    place = Path(tempfile.mkdtemp(prefix="fjd-disk-"))
    options = f"size={size},mode=0700,uid={person.uid},gid={person.gid}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "fjd-test", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        try:
            yield place
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)
    finally:
        place.rmdir()


def fill(path: Path) -> None:
    """Take all the room that is left, to the last byte."""
    with path.open("ab", buffering=0) as file:
        size = 1 << 16
        while size:
            try:
                file.write(b"x" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 2


def load(env: FjdEnv, code: str) -> None:
    """Let every Python of this home load that before all else."""
    place = env.root / "site"
    place.mkdir(mode=0o755)
    (place / "sitecustomize.py").write_text(code)
    env.env["PYTHONPATH"] = os.pathsep.join((str(place), env.env["PYTHONPATH"]))
