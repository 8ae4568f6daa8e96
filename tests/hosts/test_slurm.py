"""Contexts in a real allocation: Slurm on three hosts, with steps that hold the workers."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import slurm
from bed import wait_for

if TYPE_CHECKING:
    from bed import Bed

pytestmark = pytest.mark.xdist_group("hosts at work")
RECRUITER = [sys.executable, "-m", "fjd.scripts.fjd_recruiter", "--project", "p"]

# Hires all nodes of its allocation, says so, does what it is told by files, and says what is left.
DRIVER = """\
import json, os, sys, time
from fjd.launchers import slurm
from fjd.recruiter.steps import StepHiring
from fjd.spool import contexts
from fjd.spool.project import Project

def say(name, **what):
    with open(name + ".new", "w") as file:
        json.dump(what, file)
    os.rename(name + ".new", name)

def wait(name):
    while not os.path.exists(name):
        time.sleep(0.02)

os.environ["THINGS"] = "7,8"
project, given = Project.open("p"), slurm.allocation(os.environ)
slots = slurm.slots(given, None, None, False)
context = contexts.begin(project, "J" + given.job, slots, contexts.SLURM)
talk = []
hiring = StepHiring(
    project, context, talk.append, talk.append, cwd=os.getcwd(), resources=["THINGS"]
)
say("hired", nodes=given.nodes, reports=hiring.hire(), talk=talk)
wait("stop")
contexts.dismiss(project, [0])
while 0 in hiring.active():
    time.sleep(0.02)
say("stopped", active=sorted(hiring.active()))
wait("fire")
say("fired", well=hiring.fire(), active=sorted(hiring.active()), closed=hiring.close(), talk=talk)
"""


@pytest.fixture
def cluster(fresh_bed: Bed) -> Iterator[Bed]:
    """Three hosts under Slurm, and the driver in the home."""
    reason = slurm.missing()
    if reason:
        pytest.skip(reason)
    slurm.start(fresh_bed)
    (fresh_bed.home / "driver.py").write_text(DRIVER)
    yield fresh_bed
    for path in sorted(fresh_bed.home.glob("*.out")):
        print(f"--- {path.name}\n{path.read_text()}")


def submit(bed: Bed, *words: str) -> str:
    """Submit the driver and return the number of its Slurm job."""
    script = f"#!/bin/sh\nexec {sys.executable} driver.py\n"
    argv = ["sbatch", "--parsable", "--output=%j.out", *words]
    return bed.run("node1", argv, stdin=script).stdout.strip()


def told(bed: Bed, name: str) -> dict[str, Any]:
    """Return what the driver says under that name, as soon as it does."""
    path = bed.home / name
    wait_for(path.exists, f"the driver says {name}", 60)
    found = json.loads(path.read_text())
    assert isinstance(found, dict)
    return found


def workers(bed: Bed) -> list[tuple[str, int, int, str]]:
    """Return (host, engine, cylinder, launcher) of all workers."""
    rows = json.loads(bed.run("node1", [*RECRUITER, "roster", "--json"]).stdout)["workers"]
    return sorted((r["host"], r["engine"], r["cylinder"], r["launcher"]) for r in rows)


def processes(bed: Bed) -> list[str]:
    """Return the command lines of all workers and their tasks."""
    lines = [line for node in bed.nodes for line in bed.hosts[node].command_lines()]
    return [line for line in lines if "fjd_worker" in line and not line.startswith("srun")]


def over(bed: Bed, job: str) -> bool:
    """Tell whether a Slurm job has ended."""
    words = ["squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}"]
    state = bed.run("node1", words, check=False).stdout.strip()
    return state not in ("PENDING", "RUNNING", "COMPLETING")


def test_a_context_from_hiring_to_firing(cluster: Bed) -> None:
    """Each node is an engine; one leaves softly, the others are fired; the allocation ends well."""
    job = submit(cluster, "--nodes=3", "--ntasks-per-node=2")
    hired = told(cluster, "hired")
    assert hired["nodes"] == [[f"node{n}", 2, 2] for n in (1, 2, 3)]
    assert hired["reports"] == [[n - 1, f"node{n}", 2, 2, ""] for n in (1, 2, 3)]
    assert hired["talk"] == []
    assert workers(cluster) == [
        (f"node{n}", n - 1, cylinder, "slurm") for n in (1, 2, 3) for cylinder in (0, 1)
    ]
    (cluster.home / "stop").touch()
    assert told(cluster, "stopped") == {"active": [1, 2]}
    (cluster.home / "fire").touch()
    assert told(cluster, "fired") == {"well": True, "active": [], "closed": True, "talk": []}
    wait_for(lambda: over(cluster, job), "the allocation has ended")
    assert processes(cluster) == []
    left = sorted(path.name for path in (cluster.home / ".fjd/p/contexts").iterdir())
    assert left == [f"rank,{n}" for n in range(3)]
    logs = sorted(path.name for path in (cluster.home / ".fjd/p/screenlogs").iterdir())
    assert logs == sorted(f"J{job}-{r}-{k}.log" for r in range(3) for k in (0, 1, "srun"))


def test_fewer_things_than_slots(cluster: Bed) -> None:
    """Who gets no share of the resource says so and is not there; the others work."""
    submit(cluster, "--nodes=1", "--ntasks=3", "--cpus-per-task=1")
    hired = told(cluster, "hired")
    ((rank, host, slots, up, why),) = hired["reports"]
    assert (rank, slots, up) == (0, 3, 2)
    assert why.startswith("2 of 3 workers came up: ")
    assert "THINGS has 2, and nothing of it is left for cylinder 2" in why
    assert hired["talk"] == [f"Host {host}: {why}"]
    (cluster.home / "stop").touch()
    (cluster.home / "fire").touch()
    assert told(cluster, "fired")["closed"]


def test_fire_from_outside(cluster: Bed) -> None:
    """fjd-recruiter ends workers of an allocation without logging in to its nodes."""
    job = submit(cluster, "--nodelist=node2,node3", "--nodes=2", "--ntasks-per-node=2")
    told(cluster, "hired")
    for node in ("node2", "node3"):
        cluster.refuse_key(node)
    done = cluster.run("node1", [*RECRUITER, "fire"], check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert 'Slurm\'s nodes: Fired 4 workers in project "p".' in done.stdout
    assert workers(cluster) == []
    for name in ("stop", "fire"):
        (cluster.home / name).touch()
    assert told(cluster, "fired") == {"well": True, "active": [], "closed": True, "talk": []}
    wait_for(lambda: over(cluster, job), "the allocation has ended")
    assert processes(cluster) == []


def test_the_end_of_the_allocation(cluster: Bed) -> None:
    """scancel takes everybody along; whoever looks next buries them."""
    job = submit(cluster, "--nodes=2", "--ntasks-per-node=2")
    told(cluster, "hired")
    assert len(workers(cluster)) == 4
    cluster.run("node1", ["scancel", f"--signal={signal.Signals.SIGKILL.name}", job], check=False)
    cluster.run("node1", ["scancel", job])
    wait_for(lambda: over(cluster, job), "the allocation has ended", 60)
    wait_for(lambda: not processes(cluster), "no worker is left")
    done = cluster.run("node1", [*RECRUITER, "fire"], check=False)
    assert done.returncode == 0, done
    assert workers(cluster) == []
