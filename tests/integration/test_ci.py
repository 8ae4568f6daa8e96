"""What the tests do where something is missing: skip at home, fail in CI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
TESTS = """
import pytest

@pytest.fixture
def tool():
    pytest.skip("no tool in the fixture")

def test_fixture(tool): pass

def test_call(): pytest.skip("no tool in the test")

@pytest.mark.skipif(True, reason="no tool at the mark")
def test_mark(): pass

@pytest.mark.xfail(reason="known", strict=True)
def test_known(): assert False

def test_nothing_to_do(): pytest.skip("fjd is installed for everybody here")
"""
FILE = 'import pytest\npytest.importorskip("no_such_module")\n'


@pytest.mark.parametrize(
    ("ci", "code", "counts"),
    [("", 0, "5 skipped, 1 xfailed"), ("true", 1, "1 failed, 1 skipped, 1 xfailed, 3 errors")],
)
def test_a_skip_is_a_failure_in_ci(tmp_path: Path, ci: str, code: int, counts: str) -> None:
    """However a test skips, in CI it has failed and says why; what is expected stays so."""
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "test_x.py").write_text(TESTS)
    (tmp_path / "test_y.py").write_text(FILE)
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    words = ["-p", "no:cacheprovider", "-p", "no:xdist", "-ra", "--continue-on-collection-errors"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "."],
        cwd=tmp_path,
        env={**env, "CI": ci},
        capture_output=True,
        text=True,
    )
    assert counts in done.stdout, done.stdout + done.stderr
    assert done.returncode == code
    for where in ("in the fixture", "in the test", "at the mark"):
        assert f"no tool {where}" in done.stdout
        assert (f"no tool {where}; in CI this must not be skipped" in done.stdout) is bool(ci)
