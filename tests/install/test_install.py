"""INSTALL as people meet it: at a home of its own, executed, sourced, twice, and failing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
INSTALL = CHECKOUT / "INSTALL"
pytestmark = pytest.mark.timeout(500)  # pip fetches and compiles, beside all other tests
COMMANDS = sorted(re.findall(r'"(fjd[\w-]*) = fjd\.', (CHECKOUT / "setup.py").read_text()))

# Everything a sourced file could change in a shell, but for what every command changes.
SNAPSHOT = r"""
snapshot() {
    declare -p | grep -vE '^declare -[^ ]+ (_|PATH|PIPESTATUS|FUNCNAME|BASH_\w+)(=|$)' |
        grep -vE '^declare -[^ ]+ (LINENO|RANDOM|SRANDOM|SECONDS|EPOCH\w+)(=|$)'
    declare -f; set -o; shopt; trap -p; alias; umask; pwd; echo "$#:$*"
}
"""


class Done(NamedTuple):
    """How a command ended and what it said."""

    status: int
    out: str
    err: str


def run(home: Path, *argv: object, cwd: Path = CHECKOUT, **settings: str) -> Done:
    """Run a command at that home with this Python, and with what the machine tells pip."""
    real = Path(os.environ.get("HOME", "/"))
    env = {
        k: v
        for k, v in os.environ.items()
        if k.startswith(("PIP_", "SSL_")) or "proxy" in k.lower()
    }
    env["XDG_CONFIG_HOME"] = os.environ.get("XDG_CONFIG_HOME", str(real / ".config"))
    env["XDG_CACHE_HOME"] = os.environ.get("XDG_CACHE_HOME", str(real / ".cache"))
    env.update(HOME=str(home), PATH="/usr/local/bin:/usr/bin:/bin", LC_ALL="C")
    env.update({"FJD_PYTHON": sys.executable, **settings})
    done = subprocess.run(
        list(map(str, argv)),
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def changes(done: Done) -> tuple[str, str]:
    """The two snapshots that a script printed between lines "=== before" and "=== after"."""
    before, _, after = done.out.partition("=== before\n")[2].partition("=== after\n")
    return before, after


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("install") / "my home"


@pytest.fixture(scope="session")
def sourced(home: Path) -> Done:
    """What happens to a strict shell in which somebody types the line of the README."""
    home.mkdir()
    script = f"""{SNAPSHOT}
        set -euo pipefail
        echo === before; snapshot
        source INSTALL --user
        echo === after; snapshot
        echo "=== PATH=$PATH"; type -p {" ".join(COMMANDS)}
    """
    return run(home, "bash", "-c", script)


# -- quick ones ------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["INSTALL", ".ci/run"])
def test_scripts_parse(script: str) -> None:
    assert subprocess.run(["bash", "-n", CHECKOUT / script]).returncode == 0
    assert os.access(CHECKOUT / script, os.X_OK)


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_is_content() -> None:
    done = subprocess.run(
        ["shellcheck", INSTALL, CHECKOUT / ".ci/run"], capture_output=True, text=True
    )
    assert done.stdout == ""


def test_help_names_both_commands(tmp_path: Path) -> None:
    done = run(tmp_path, INSTALL, "--help")
    assert (done.status, done.err) == (0, "")
    assert "./INSTALL --example" in done.out
    assert "./INSTALL --test" in done.out


@pytest.mark.parametrize("arguments", [["--bogus"], ["--user", "more"], ["--example", "x"]])
@pytest.mark.parametrize("shell", [[], ["sh"]], ids=["itself", "sh"])
def test_nonsense_is_a_usage_error_and_does_nothing(
    tmp_path: Path, shell: list[str], arguments: list[str]
) -> None:
    done = run(tmp_path, *shell, INSTALL, *arguments)
    assert (done.status, done.out) == (2, "")
    assert re.fullmatch(r"\[INSTALL\] .*type \./INSTALL --help\n", done.err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"FJD_PYTHON": "/nowhere/python3"}, "is no Python 3.9 or newer"),
        ({"FJD_PYTHON": "/bin/sh"}, "is no Python 3.9 or newer"),
        ({"HOME": "/proc/nowhere"}, "cannot make /proc/nowhere/"),
    ],
)
def test_what_is_lacking_is_one_line(tmp_path: Path, settings: dict[str, str], line: str) -> None:
    home = Path(settings.pop("HOME", tmp_path))
    done = run(home, INSTALL, **settings)
    assert (done.status, done.out) == (6, "")
    assert done.err.count("\n") == 1
    assert line in done.err


def test_a_file_alone_says_what_is_missing(tmp_path: Path) -> None:
    shutil.copy(INSTALL, tmp_path)
    done = run(tmp_path, "./INSTALL", cwd=tmp_path)
    assert done.status == 6
    assert "no setup.py" in done.err


@pytest.mark.parametrize(("arguments", "status"), [("--bogus", 2), ("--user", 6)])
def test_failing_leaves_the_callers_shell_alive_and_as_it_was(
    tmp_path: Path, arguments: str, status: int
) -> None:
    script = f"""{SNAPSHOT}
        trap 'echo not mine' USR1
        echo === before; snapshot
        source INSTALL {arguments}; status=$?
        echo === after; (unset status; snapshot); echo "=== alive $status $PATH"
    """
    done = run(tmp_path, "bash", "-c", script, FJD_PYTHON="/nowhere/python3")
    before, after = changes(done)
    assert f"=== alive {status} /usr/local/bin:/usr/bin:/bin\n" in after
    assert before == after.partition("=== alive")[0]


@pytest.mark.parametrize(("shell", "status"), [("zsh", 2), ("dash", 6)])
def test_other_shells_live_on_too(tmp_path: Path, shell: str, status: int) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    done = run(tmp_path, shell, "-c", '. ./INSTALL --bogus; echo "alive $?"')
    assert (done.status, done.err.count("\n")) == (0, 1)
    assert re.fullmatch(rf"alive ({status}|2)\n", done.out)  # a dash is given no arguments


def test_ci_runs_the_command_of_the_readme_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(CHECKOUT / ".ci/run", tmp_path / ".ci")
    (tmp_path / "INSTALL").write_text('#!/bin/sh\necho "$* in $PWD"\nexit 7\n')
    (tmp_path / "INSTALL").chmod(0o755)
    done = run(tmp_path, tmp_path / ".ci/run", cwd=Path("/"))
    assert done == (7, f"--test in {tmp_path}\n", "")


def test_repeating_the_test_command_installs_nothing(tmp_path: Path) -> None:
    made_from = Path(sys.prefix) / "installed-from"  # beside an older setup.py it is out of date
    if not made_from.exists() or (CHECKOUT / "setup.py").read_text() not in made_from.read_text():
        pytest.skip("these tests were not started by ./INSTALL --test")
    done = run(tmp_path, INSTALL, "--test", "--version")
    assert done.status == 0
    assert "pytest " in done.out + done.err
    assert "making" not in done.err
    assert "installing this checkout" not in done.err
    assert list(tmp_path.iterdir()) == []


# -- one real installation -------------------------------------------------------------------------


@pytest.mark.xdist_group("install")
def test_sourcing_sets_path_and_nothing_else(home: Path, sourced: Done) -> None:
    assert sourced.status == 0, sourced.err
    before, after = changes(sourced)
    assert before == after.partition("=== PATH")[0]
    bin_ = home / ".local/bin"
    assert f"=== PATH={bin_}:/usr/local/bin:/usr/bin:/bin\n" in after
    assert "".join(f"{bin_ / name}\n" for name in COMMANDS) in after


@pytest.mark.xdist_group("install")
def test_it_talks_on_stderr_and_ends_with_what_to_type(sourced: Done) -> None:
    assert all(line.startswith("[INSTALL] ") for line in sourced.err.splitlines())
    assert "next, type:  fjd --help" in sourced.err


@pytest.mark.xdist_group("install")
def test_the_home_holds_only_what_the_help_names(home: Path, sourced: Done) -> None:
    assert sourced.status == 0, sourced.err
    assert [p.name for p in home.iterdir()] == [".local"]
    assert sorted(p.name for p in (home / ".local/bin").iterdir()) == COMMANDS
    assert sorted(p.name for p in (home / ".local/share").iterdir()) == ["fjd"]


@pytest.mark.xdist_group("install")
def test_again_from_a_newer_checkout_with_the_example(
    home: Path, sourced: Done, tmp_path: Path
) -> None:
    """The same version with other files replaces what is there; the example's status passes."""
    assert sourced.status == 0, sourced.err
    newer = tmp_path / "a newer checkout"
    (newer / "example").mkdir(parents=True)
    for name in ("INSTALL", "setup.py", "pyproject.toml"):
        shutil.copy(CHECKOUT / name, newer)
    shutil.copytree(CHECKOUT / "fjd", newer / "fjd", ignore=shutil.ignore_patterns("__pycache__"))
    (newer / "fjd/newer.py").write_text('WORD = "newer"\n')
    (newer / "example/run-example.sh").write_text(
        'python -c "import fjd.newer; print(fjd.newer.WORD)" && basename "$PWD"\n'
        "type -p fjd\nexit 5\n"
    )
    bin_ = home / ".local/bin"
    (bin_ / "fjd-gone").symlink_to(home / ".local/share/fjd/venv/bin/fjd-gone")
    (bin_ / "mine").symlink_to("nowhere")
    (bin_ / "fjd-worker").unlink()
    (bin_ / "fjd-worker").write_text("from elsewhere\n")
    seen = sorted(p.relative_to(newer) for p in newer.rglob("*"))

    done = run(home, newer / "INSTALL", "--example", cwd=tmp_path)

    assert (done.status, done.out) == (5, f"newer\nexample\n{home}/.local/share/fjd/venv/bin/fjd\n")
    assert "the example failed (exit status 5)" in done.err
    assert "making" not in done.err
    assert sorted(p.name for p in bin_.iterdir()) == sorted([*COMMANDS, "fjd-worker.old", "mine"])
    assert (bin_ / "fjd-worker.old").read_text() == "from elsewhere\n"
    assert os.access(bin_ / "fjd-worker", os.X_OK)
    assert sorted(p.relative_to(newer) for p in newer.rglob("*")) == seen

    for path in (bin_ / "fjd-worker.old", bin_ / "mine"):
        path.unlink()
