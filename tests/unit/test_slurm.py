"""Slurm: what an allocation says, what a node's workers are, and the srun that starts them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from fjd.errors import ConfigError
from fjd.launchers import slurm
from fjd.launchers.base import Place
from fjd.launchers.slurm import Allocation, Node, Step
from fjd.spool.project import Project

BATCH = {
    "SLURM_JOB_ID": "12",
    "SLURM_JOB_NODELIST": "node[1-3]",
    "SLURM_TASKS_PER_NODE": "7,5(x2)",
    "SLURM_JOB_CPUS_PER_NODE": "40,128(x2)",
}


def expand(text: str) -> list[str]:
    """Do what scontrol does, for one example."""
    assert text == "node[1-3]"
    return ["node1", "node2", "node3"]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("4", [4]), ("2(x3)", [2, 2, 2]), ("40,128(x3)", [40, 128, 128, 128]), ("1,2,3", [1, 2, 3])],
)
def test_counts(text: str, numbers: list[int]) -> None:
    """Slurm writes the same number for several nodes once."""
    assert slurm.counts(text) == numbers


@pytest.mark.parametrize("text", ["", "x", "4(x", "4(3)", "-1", "4,,4", "1(x99999999)", "٤"])
def test_counts_that_are_none(text: str) -> None:
    """They are an error that shows them."""
    with pytest.raises(ConfigError, match="no list of counts"):
        slurm.counts(text)


def test_allocation() -> None:
    """The nodes with the tasks that were asked for there, and their cores."""
    found = slurm.allocation(BATCH, expand)
    nodes = (Node("node1", 7, 40), Node("node2", 5, 128), Node("node3", 5, 128))
    assert found == Allocation("12", nodes, 1)
    more = {"SLURM_CPUS_PER_TASK": "4", "SLURM_TASKS_PER_NODE": "2(x3)"}
    assert slurm.allocation({**BATCH, **more}, expand).per_task == 4


def test_allocation_of_one_node_in_old_words() -> None:
    """SLURM_JOBID and SLURM_NODELIST; without counts it is one task, and no scontrol is needed."""
    found = slurm.allocation({"SLURM_JOBID": "3", "SLURM_NODELIST": "a"})
    assert found == Allocation("3", (Node("a", 1, 1),), 1)
    assert slurm.hostnames("a,b") == ["a", "b"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"SLURM_TASKS_PER_NODE": "7,5"}, "there are 3 nodes"),
        ({"SLURM_JOB_CPUS_PER_NODE": "x"}, "SLURM_JOB_CPUS_PER_NODE is 'x'"),
        ({"SLURM_JOB_ID": ""}, "SLURM_JOB_ID is not set"),
        ({"SLURM_JOB_NODELIST": ""}, "SLURM_JOB_NODELIST is not set"),
    ],
)
def test_contradictions(more: dict[str, str], said: str) -> None:
    """They are an error in one line."""
    with pytest.raises(ConfigError, match=said):
        slurm.allocation({**BATCH, **more}, expand)


def test_no_scontrol(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is said what could not be learnt."""

    def run(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "scontrol")

    monkeypatch.setattr(slurm.subprocess, "run", run)
    with pytest.raises(ConfigError, match=r"scontrol does not say what n\[1-2\] are"):
        slurm.hostnames("n[1-2]")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.missing() == "srun is not installed"


@pytest.mark.parametrize(
    ("per_task", "cpus", "most", "fill", "numbers"),
    [
        (1, None, None, False, [7, 5]),  # as asked for
        (1, None, 6, False, [6, 5]),
        (1, 0.5, None, False, [14, 10]),  # more tasks than cores, as -c 0.5 says
        (1, 2, None, False, [3, 2]),
        (1, 8, None, False, [0, 0]),
        (1, None, None, True, [40, 128]),
        (1, 4, None, True, [10, 32]),
        (1, 4, 12, True, [10, 12]),
        (3, None, None, False, [7, 5]),  # -c is what Slurm was told, unless it is given
        (3, 1, None, False, [21, 15]),
        (3, None, None, True, [13, 42]),
        (1, 0.1, None, False, [70, 50]),  # binary fractions must not cost a slot
    ],
)
def test_slots(
    per_task: int, cpus: float | None, most: int | None, fill: bool, numbers: list[int]
) -> None:
    """What -c, -t and --fill make of the allocation."""
    given = Allocation("1", (Node("a", 7, 40), Node("b", 5, 128)), per_task)
    assert slurm.slots(given, cpus, most, fill) == list(zip("ab", numbers))


def test_fill_takes_nothing_away() -> None:
    """Where Slurm says fewer cores than were asked for, those that were asked for count."""
    assert slurm.slots(Allocation("1", (Node("a", 4, 2),), 1), None, None, True) == [("a", 4)]


def test_argv(tmp_path: Path) -> None:
    """One step holds a node's workers; no shell sees a word, and no % of a path is Slurm's."""
    project = Project("p", str(tmp_path / "50%t"))
    place = Place("J12", 3, 0, ("A", "B"))
    argv = slurm.argv(project, Step("node2", 5, place, "/py", "/a b", 7))
    assert argv[:5] == [
        "srun",
        "--nodes=1",
        "--ntasks=5",
        "--ntasks-per-node=5",
        "--nodelist=node2",
    ]
    assert f"--output={tmp_path}/50%%t/screenlogs/J12-3-%t.log" in argv
    assert {"--wait=0", "--kill-on-bad-exit=0"} < set(argv)
    words = argv[argv.index("-c") + 2 :]
    assert argv[argv.index("-c") - 1] == "/py"
    assert shlex.join(words).startswith("--project p --launcher slurm --cwd '/a b' --log ")
    assert words[7] == f"{tmp_path}/50%t/screenlogs/J12-3-%t.log"
    assert words[8:] == [
        "--context",
        "J12",
        "--engine",
        "3",
        "--env-resource",
        "A,B",
        "--nice",
        "7",
    ]
