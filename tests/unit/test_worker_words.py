"""What fjd-worker makes of the words that say with whom it was hired."""

from __future__ import annotations

import os

import pytest

from fjd.errors import ConfigError, UsageError
from fjd.scripts import fjd_worker
from fjd.worker.employment import Terms


def test_a_place_in_a_context() -> None:
    """The label, the engine's rank and the cylinder; without them it belongs to none."""
    words = ["--context", "c", "--engine=2", "--cylinder", "0", "--id", "n-1-00000000"]
    found = fjd_worker._terms(fjd_worker._parse(words))
    assert found == Terms("n-1-00000000", context="c", engine=2, cylinder=0)
    assert fjd_worker._terms({}) == Terms()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--context", "a b"], "'a b' cannot name a context"),
        (["--engine", "-1"], "--engine: '-1' is not a number"),
        (["--cylinder", "٤"], "is not a number"),
        (["--cylinders", "4"], "unknown argument '--cylinders'"),
    ],
)
def test_words_that_make_no_sense(words: list[str], said: str) -> None:
    """They are one line."""
    with pytest.raises(UsageError, match=said):
        fjd_worker._terms(fjd_worker._parse(words))


def test_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment keeps its own value; without one it does not start."""
    monkeypatch.setenv("A", "7,8")
    monkeypatch.setenv("B", "x,y,z")
    fjd_worker._terms({"cylinder": "1", "env-resource": "A,B,NOWHERE"})
    assert (os.environ["A"], os.environ["B"]) == ("8", "y")
    with pytest.raises(ConfigError, match="A has 1, and nothing of it is left for cylinder 2"):
        fjd_worker._terms({"cylinder": "2", "env-resource": "A"})


def test_under_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    """One command line is for all tasks of a step; Slurm says which one it is."""
    slurm = {"SLURM_LOCALID": "3", "SLURM_JOB_ID": "12", "SLURM_STEP_ID": "0", "A": "a,b,c,d"}
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    words = {"launcher": "slurm", "log": "/50%t/c-0-%t.log", "env-resource": "A"}
    found = fjd_worker._terms({**words, "context": "c", "engine": "0"})
    assert found == Terms("", "slurm", "12.0", "/50%t/c-0-3.log", "", "c", 0, 3)
    assert os.environ["A"] == "d"
