"""``fjd doctor`` on this machine, with what can be wrong with it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest
from hardship import fill
from harness import Done, FjdEnv

MIB = 1 << 20


def doctor(env: FjdEnv, *words: str, **more: str) -> Done:
    """Run it."""
    return env.run("fjd", "doctor", *words, **more)


def examined(env: FjdEnv, *words: str, **more: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code and the checks of this machine."""
    done = doctor(env, "--json", *words, **more)
    said = json.loads(done.out)
    assert said["schema"] == "fjd.doctor/1"
    return done.code, {check["check"]: check for check in said["hosts"][0]["checks"]}


def test_all_well(env: FjdEnv) -> None:
    """Exit code 0, a line per check in a pipe, and nothing left in the spool."""
    done = doctor(env)
    assert (done.code, done.err) == (0, ""), done
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert {len(row) for row in rows} == {5}
    assert "fail" not in {row[1] for row in rows}
    assert {row[2] for row in rows} >= {"python", "fjd", "home", "rename", "room", "temp", "cpus"}
    assert os.listdir(env.project.tmp) == []
    assert not os.path.exists(env.project.timings)  # nothing was measured


@pytest.mark.parametrize(
    ("mode", "code", "state", "remedy"),
    [(0o755, 0, "warn", "chmod 700"), (0o777, 6, "fail", "chmod go-w")],
)
def test_mode(env: FjdEnv, mode: int, code: int, state: str, remedy: str) -> None:
    """Others may read, which is worth a note; where they can write nothing is run."""
    assert doctor(env).code == 0
    os.chmod(env.project.root, mode)
    ended, checks = examined(env)
    os.chmod(env.project.root, 0o700)
    assert (ended, checks["home"]["state"]) == (code, state)
    assert remedy in checks["home"]["remedy"]


def test_no_screen(env: FjdEnv, tmp_path: Path) -> None:
    """A note: workers work without."""
    tmp_path.chmod(0o755)
    code, checks = examined(env, PATH=str(tmp_path))
    assert (code, checks["screen"]["state"]) == (0, "warn")
    assert checks["screen"]["remedy"]


def test_no_temporary_space(env: FjdEnv) -> None:
    """A directory that is not there is told."""
    code, checks = examined(env, TMPDIR="/nowhere")
    assert (code, checks["temp"]["state"]) == (6, "fail")
    assert "nothing can be written in /nowhere" in checks["temp"]["fact"]


def test_host_that_is_not_there(env: FjdEnv) -> None:
    """One failed check, exit code 6, and no markers left."""
    assert doctor(env).code == 0
    conf = Path(env.project.remote_conf)
    conf.write_text("[host1]\nname: 127.0.0.1\nport: 1\nworkers: 1\n")
    env.own(conf)
    done = doctor(env)
    assert done.code == 6
    (line,) = [line for line in done.out.splitlines() if "\tfail\t" in line]
    assert line.startswith("127.0.0.1\tfail\tlogin\tcannot connect to 127.0.0.1 port 1")
    assert doctor(env, "--local-only").code == 0
    assert [name for name in os.listdir(f"{env.project.root}/tmp") if "doctor" in name] == []


@pytest.mark.parametrize(
    ("words", "code"), [(["--project", "a b"], 2), (["x"], 2), (["--help"], 0), (["--js"], 2)]
)
def test_usage(env: FjdEnv, words: list[str], code: int) -> None:
    """As every verb."""
    assert doctor(env, *words).code == code


def test_nobody_reads(env: FjdEnv) -> None:
    """A closed pipe is no fault of ours."""
    line = f"{env.person.python} -m fjd.scripts.fjd doctor | true"
    done = subprocess.run(
        ["bash", "-c", line], env=env.env, cwd=env.cwd, capture_output=True, text=True,
        check=False, timeout=60, **env.person.as_user(),
    )  # fmt: skip
    assert "Traceback" not in done.stderr


def test_full_disk(make_env: Callable[..., FjdEnv], small_disk: Path) -> None:
    """Little room is a note; no room at all is a fault, with a remedy."""
    small = make_env(home=small_disk)
    code, checks = examined(small)
    assert (code, checks["room"]["state"], checks["rename"]["state"]) == (0, "warn", "ok")
    fill(small_disk / "ballast")
    code, checks = examined(small)
    assert (code, checks["room"]["state"]) == (6, "fail")
    assert "the disk is full" in checks["room"]["fact"]
    assert "make room" in checks["room"]["remedy"]
