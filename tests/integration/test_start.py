"""How a command starts: with what it needs and nothing more, wherever its user stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fjd.launchers import base

HEAVY = "fabric paramiko psutil watchdog argparse asyncio"


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("fjd.scripts.fjd_worker", HEAVY),
        ("fjd.scripts.fjd", f"{HEAVY} json re configobj subprocess"),
        ("fjd.scripts.fjd_dispatcher", "fabric paramiko psutil asyncio"),
        ("fjd.scripts.fjd_recruiter", "fabric paramiko psutil watchdog rich asyncio"),
    ],
)
def test_a_command_loads_only_what_it_needs(module: str, unwanted: str) -> None:
    """Tens of workers start at once on a network home; nobody waits for what he does not use."""
    code = f"""
import sys
sys.path[:] = {sys.path!r}
import {module}
print(*set({unwanted.split()!r}) & sys.modules.keys())
"""
    words = [sys.executable, "-S", "-c", code]
    found = subprocess.run(words, capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_a_command_is_safe_from_the_working_directory(tmp_path: Path) -> None:
    """A json.py where the user stands is not taken for Python's own, nor an fjd for ours."""
    (tmp_path / "json.py").write_text("raise SystemExit('wrong json')")
    (tmp_path / "fjd").mkdir()
    argv = base.command(sys.executable, "fjd.scripts.fjd_recruiter", ["--version"])
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:14]) == (0, "fjd-recruiter "), done.stderr
