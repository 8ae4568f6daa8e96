"""A worker that lives and cannot say so: after a lease it ends its own task, whoever looks or not.

The file system denies it its heartbeat, as one does whose cable is cut. Nobody else is there who
could take the task away: the dispatcher has ended before.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hardship import load
from harness import FAST, FjdEnv, gone, usual_person, wait_until

from fjd.spool.lists import statusfile

# Loaded by every Python that finds it: as long as a file is there, no entry of a worker is renamed.
DENY = r"""
import errno, os, re
rename = os.rename
def denied(source, target, **more):
    entries = r"/(workers|workerqueue)/\S+ \S+/(workers|workerqueue)/"
    if re.search(entries, f"{source} {target}") and os.path.exists(os.environ["STUCK"]):
        raise OSError(errno.EIO, os.strerror(errno.EIO), source)
    return rename(source, target, **more)
os.rename = denied
"""
LEASE = float(FAST["FJD_LEASE"])
TASK = 'echo "$$ $FJD_ATTEMPT" >> tries; test "$FJD_ATTEMPT" -gt 1 || exec sleep 300; true'


@pytest.fixture
def env() -> Iterator[FjdEnv]:
    """A home whose workers load what denies."""
    found = FjdEnv(usual_person())
    load(found, DENY)
    found.env.update(FAST, STUCK=str(found.home / "stuck"))
    try:
        yield found
    finally:
        shutil.rmtree(found.root / "site")
        found.close()


@pytest.mark.parametrize("kind", ["job", "list"])
def test_a_worker_that_cannot_beat(env: FjdEnv, kind: str) -> None:
    """Its task is killed when the lease is over, and counts nothing; it starts over as another."""
    worker, dispatcher = env.worker(), env.serve()
    name = "job" if kind == "job" else "x.tasks"
    if kind == "job":
        env.job(name, f"{TASK}; :")
    else:
        env.put(name, f"{TASK}\ntrue\n")
    pid = int(env.wait_file("tries").split()[0])
    first = worker.id
    dispatcher.stop()
    (env.home / "stuck").touch()
    began = time.monotonic()
    wait_until(lambda: gone([pid]), "the task is killed", 5 * LEASE, env.show)
    assert time.monotonic() - began > LEASE / 2, "nobody had a reason to kill it so early"
    (env.home / "stuck").unlink()
    wait_until(lambda: len(worker.ids) == 2, "the worker starts over", 10.0, env.show)
    assert worker.id != first
    env.serve()
    env.wait_for(name)
    assert env.outcomes() == {name: "ok"}
    tries = (env.cwd / "tries").read_text().split()[1::2]
    assert tries == ["1", "2"]
    if kind == "job":
        ends = [(r["attempt"], r["outcome"], r["worker"]) for r in env.records(name)]
        assert ends == [(1, "lost", first), (2, "ok", worker.id)]
    else:
        lines = Path(f"{env.filed()[name].path}.status.txt").read_bytes().splitlines(True)
        rows = [row for row in map(statusfile.parse, lines) if row]
        assert sorted((row.number, row.code) for row in rows) == [(0, 0), (1, 0)]
