"""What the measurements rest on: they leave nothing behind, and say clearly what was missed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = f"1000.{os.getpid()}"  # tests may run beside each other

LEAVES_THINGS = """
import os, sys
from bench.common import Bed, Failed
with Bed() as bed:
    print(bed.path, flush=True)
    bed.start(["setsid", "-f", "sleep", "{seconds}"])
    bed.start(["sh", "-c", "sleep {seconds}"])
    {end}
"""


def run(code: str) -> subprocess.Popen[str]:
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    return subprocess.Popen([sys.executable, "-c", code], env=env, stdout=-1, stderr=-3, text=True)


def sleepers() -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if words == b"sleep\0%s\0" % SECONDS.encode():
            found.append(pid)
    return found


@pytest.mark.parametrize("end", ["pass", "raise Failed('x')", "sys.exit(3)", "time.sleep(60)"])
def test_nothing_is_left_behind(end: str) -> None:
    process = run("import time\n" + LEAVES_THINGS.format(end=end, seconds=SECONDS))
    assert process.stdout is not None
    path = process.stdout.readline().strip()
    assert path
    if "sleep" in end:
        time.sleep(0.2)
        process.terminate()
    process.wait(30)
    assert not os.path.exists(path)
    assert not sleepers()


def test_a_missed_target_is_said_and_counted() -> None:
    code = (
        "from bench.common import report, verdict\n"
        "assert report('good', [verdict('a', 0.6, '>=', 0.6), verdict('b', 1, '<', 2)])\n"
        "assert not report('bad', [verdict('c', 1, '>', 1)])\n"
    )
    process = run(code)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert [line.split()[-1] for line in out.splitlines() if "target" in line] == [
        "holds",
        "holds",
        "MISSED",
    ]


def test_no_variable_of_python_reaches_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from bench.common import environment\nprint(sorted(environment(FJD_POLL='1')))\n"
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("FJD_LEASE", "5")
    out, _ = run(code).communicate(timeout=30)
    assert "PYTHON" not in out
    assert "FJD_LEASE" not in out
    assert "FJD_POLL" in out
