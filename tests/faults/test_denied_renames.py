"""A file server that lists a name and denies it: whoever meets it says so, waits, and goes on."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from hardship import load
from harness import FjdEnv, usual_person

# Loaded by every Python that finds it: renames of such names fail as long as a file is there.
DENY = r"""
import os, re
rename = os.rename
def denied(source, target, **more):
    pattern = os.environ.get("DENIED", "")
    if pattern and re.search(pattern, f"{source} {target}") and os.path.exists(os.environ["STUCK"]):
        raise FileNotFoundError(2, "No such file or directory", source)
    return rename(source, target, **more)
os.rename = denied
import fjd.system.files
fjd.system.files.PATIENCE = 0.1
"""

VERBS = {
    "assign": r"jobqueue/\S+ \S+/jobpods/",
    "accept": r"jobpods/\S+ \S+,run$",
    "commit": r"jobpods/\S+ \S+/results/",
    "file": r"results/\S+ \S+/done/",
}


@pytest.fixture
def env() -> Iterator[FjdEnv]:
    """A home whose daemons load what denies."""
    found = FjdEnv(usual_person())
    load(found, DENY)
    found.env["STUCK"] = str(found.home / "stuck")
    try:
        yield found
    finally:
        shutil.rmtree(found.root / "site")
        found.close()


@pytest.mark.parametrize("verb", VERBS)
def test_goes_on(env: FjdEnv, verb: str) -> None:
    """One line while it lasts, nobody ends, and the job is run once and filed."""
    stuck = env.home / "stuck"
    stuck.touch()
    daemons = [env.worker(DENIED=VERBS[verb]), env.serve(DENIED=VERBS[verb])]
    env.job("job", "echo $FJD_ATTEMPT >> runs; :")
    who = daemons[verb in ("assign", "file")]
    who.says("is listed, and cannot be moved")
    env.check_daemons()
    assert env.filed() == {}
    stuck.unlink()
    assert env.wait_for("job")["job"].code == "ok"
    assert env.wait_file("runs") == "1\n"
    assert (who.out + who.err).count("waiting") == 1
    assert len(env.records("job")) == 1
