"""What a run leaves for others to call, and what it calls itself: the script, the retirement."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from fjd.batch import dbutil
from fjd.batch.dbutil import Run
from fjd.batch.prefix import Prefix
from fjd.batch.retire import SLURM, Retirement


def nothing(text: str) -> None:
    """Take talk that must not come."""
    raise AssertionError(text)


def test_script_finds_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script hands every word on as it is, from any directory and under any name."""
    odd = tmp_path / 'it\'s a "dir" $x\n`y`'
    odd.mkdir()
    monkeypatch.setenv("FJD_HOME", f"{odd}/home")
    run = Run(f"{odd}/p", "proj", "key", str(odd), 2.0, None, ("A",), "host", True)
    show = 'printf "%s\\0" "$PWD" "$FJD_HOME" "$@"'
    path = Prefix(f"{odd}/p")
    dbutil.write(path, run, ["/bin/sh", "-c", show, "sh"])
    assert stat.S_IMODE(os.stat(path.script).st_mode) == 0o700
    said = subprocess.run([path.script, "-s", "h:1 2"], cwd="/", capture_output=True, check=True)
    cwd, home, flag, text, *words = said.stdout.decode().split("\0")[:-1]
    assert (cwd, home, flag, words) == (str(odd), f"{odd}/home", dbutil.FLAG, ["-s", "h:1 2"])
    assert Run.load(text) == run
    assert os.listdir(odd) == ["p_dbUtil.sh"]


def test_retirement(tmp_path: Path) -> None:
    """The command is told who leaves, who stays, who has left, and where the driver is."""
    log = tmp_path / "log"
    command = f'echo "$NODE/$ACTIVE/$RETIRED/${{DRIVER_NODE-none}}" >> {log}'
    crew = Retirement(command, ["a", "b", "c"], "a", nothing)
    for host in ("b", "a", "a", "x", "c"):
        crew.retire(host)
    assert log.read_text().split() == ["b/a,c/b/none", "a/c/b,a/a", "c//b,a,c/a"]


def test_retirement_that_fails() -> None:
    """A command that fails is told, and hinders nobody."""
    said: list[str] = []
    Retirement("echo oh >&2; exit 3", ["a"], "", said.append).retire("a")
    Retirement("exit 3", ["a"], "", said.append).retire("a")
    Retirement("", ["a"], "", nothing).retire("a")
    assert said == [
        "the command that retires a failed: oh",
        "the command that retires a failed: exit code 3",
    ]


def test_retirement_under_slurm(tmp_path: Path) -> None:
    """The default tells Slurm which nodes are still in use; the driver's stays, and is no news."""
    fake = tmp_path / "scontrol"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/said\n')
    fake.chmod(0o755)
    os.environ["SLURM_JOBID"], path = "9", os.environ["PATH"]
    os.environ["PATH"] = f"{tmp_path}:{path}"
    try:
        crew = Retirement(SLURM, ["a", "b", "d"], "d", nothing)
        for host in ("d", "b"):
            crew.retire(host)
        Retirement(SLURM, ["a"], "d", nothing).retire("a")
    finally:
        os.environ["PATH"] = path
        del os.environ["SLURM_JOBID"]
    said = (tmp_path / "said").read_text().splitlines()
    assert said == ["update JobId=9 NodeList=d,a"]
