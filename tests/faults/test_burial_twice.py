"""Who buries a worker may be killed between the record of a loss and the rename."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fjd.spool import burial, records
from fjd.spool.filing import Cabinet
from fjd.spool.project import Project
from fjd.system import files

WORKER = "h-0-00ff00ff"
JOB = "job.abcdefghijkl"


class Killed(Exception):
    """The end of the first one."""


def test_a_loss_is_recorded_once(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one finds the record of the first, and the fifth crash counts once."""
    monkeypatch.setenv("FJD_HOME", str(memory / "home"))
    project = Project.open("p")
    os.mkdir(project.pod(WORKER))
    Path(project.pod(WORKER), f"{JOB},s1,a5,c4,run").write_text("x")

    def bury(nonce: int) -> None:
        ledger = records.Ledger(project, f"dispatcher-{nonce:08x}")
        burial.bury(project, WORKER, None, "it died", ledger.write, crashed=True)

    def die(source: str, target: str) -> bool:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(files, "move", die)
        with pytest.raises(Killed):
            bury(1)
    bury(2)
    cabinet = Cabinet(project)
    (result,) = cabinet.results()
    assert cabinet.file(result)
    ends = [r for w in records.writers(project) for r in records.of_worker(project, w)]
    assert [(r["attempt"], r["worker"], r["outcome"]) for r in ends] == [(5, WORKER, "lost")]
