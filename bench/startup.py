"""How soon `fjd-worker` is ready and `fjd --help` has ended, beside `python -c pass`.

Ready means announced in ``workerqueue/``. All three are run in turns by the same interpreter. A
first run that does not count lets Python store its compiled modules.

An editable installation makes *every* start of its interpreter slower, `python -c pass` as well,
and so flatters the ratios. There, the same is measured once more in a new environment, where fjd
is installed as users have it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

import fjd
from bench.common import Bed, Failed, idle_workers, main, report, spread, verdict
from fjd.spool.project import Project

WORKER_TARGET, HELP_TARGET = 3.0, 2.0  # times `python -c pass`
_SCRIPT = """\
#!{python}
import sys
from fjd.scripts.{module} import main
if __name__ == '__main__':
    sys.argv[0] = sys.argv[0].removesuffix('.exe')
    sys.exit(main())
"""
_OLD_SCRIPT = """\
#!{python}
# -*- coding: utf-8 -*-
import re
import sys
from fjd.scripts.{module} import main
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit(main())
"""


def editable() -> bool:
    """Tell whether fjd is imported from its sources and not from where packages lie."""
    return not Path(str(fjd.__file__)).is_relative_to(sysconfig.get_path("purelib"))


def install(place: str) -> str:
    """Make an environment with a copy of fjd, and return its directory of programs.

    The commands are what pip writes: this environment's own pip if it wrote some.
    """
    venv.create(place, with_pip=False, symlinks=True)
    home = Path(sysconfig.get_path("purelib", vars={"base": place}))
    (home / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    shutil.copytree(
        Path(str(fjd.__file__)).parent, home / "fjd", ignore=shutil.ignore_patterns("__pycache__")
    )
    python = f"{place}/bin/python"
    for name in ("fjd", "fjd-worker"):
        there = Path(sys.executable).with_name(name)
        old = there.exists() and "import re" in there.read_text(encoding="utf-8")
        text = _OLD_SCRIPT if old else _SCRIPT
        script = Path(place, "bin", name)
        script.write_text(text.format(python=python, module=name.replace("-", "_")))
        script.chmod(0o755)
    return f"{place}/bin"


def _run(bed: Bed, *argv: str) -> float:
    began = time.perf_counter()
    code = bed.start(argv).wait(60)
    if code:
        raise Failed(f"{argv[0]} ended with exit code {code}")
    return 1000 * (time.perf_counter() - began)


def _ready(bed: Bed, project: Project, worker: str) -> float:
    began = time.perf_counter()
    process = bed.start([worker, "--project", project.name])
    try:
        while not idle_workers(project):
            if time.perf_counter() - began > 60:
                raise Failed("no worker within a minute")
            time.sleep(0.0002)
        seconds = time.perf_counter() - began
    finally:
        process.terminate()
        process.wait(60)
    return 1000 * seconds


def _series(bed: Bed, programs: str, rounds: int, name: str) -> list[str]:
    project = bed.project(name)
    python = f"{programs}/{os.path.basename(sys.executable)}"
    python = python if os.path.exists(python) else f"{programs}/python"
    worker, front = f"{programs}/fjd-worker", f"{programs}/fjd"
    found: dict[str, list[float]] = {"python -c pass": [], "fjd --help": [], "fjd-worker ready": []}
    for i in range(rounds + 1):
        times = (
            _run(bed, python, "-c", "pass"),
            _run(bed, front, "--help"),
            _ready(bed, project, worker),
        )
        if i:  # the first one compiles
            for values, value in zip(found.values(), times):
                values.append(value)
    base, shown, ready = (statistics.median(values) for values in found.values())
    return [
        *(f"  {what:<44} {spread(values, ' ms')}" for what, values in found.items()),
        verdict("fjd-worker ready / python -c pass", ready / base, "<=", WORKER_TARGET),
        verdict("fjd --help / python -c pass", shown / base, "<=", HELP_TARGET),
    ]


def measure(rounds: int) -> bool:
    """Measure what is installed here; True if the targets hold."""
    with Bed() as bed:
        lines = _series(bed, os.path.dirname(sys.executable), rounds, "here")
        kind = "editable" if editable() else "as installed"
        fine = report(f"start-up, {kind}, {rounds} rounds", lines)
        if not editable():
            return fine
        try:
            programs = install(f"{bed.path}/venv")
        except (OSError, subprocess.CalledProcessError) as error:
            raise Failed(f"cannot make an environment: {error}") from error
        lines = _series(bed, programs, rounds, "there")
    return report(f"start-up, in a new environment, {rounds} rounds", lines) and fine


if __name__ == "__main__":
    options = argparse.ArgumentParser("bench.startup", description=__doc__)
    options.add_argument("--rounds", type=int, default=21)
    given = options.parse_args()
    sys.exit(main(lambda: measure(given.rounds)))
