"""fjd-batch on three hosts that share a home, by SSH and in a Slurm allocation."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Optional

import pytest
import slurm
from bed import wait_for

from fjd.spool.lists import statusfile
from fjd.spool.lists.statusfile import Row

if TYPE_CHECKING:
    from bed import Bed

pytestmark = pytest.mark.xdist_group("hosts at work")
BATCH = [sys.executable, "-m", "fjd.scripts.fjd_batch"]
HOSTS = "localhost:2,node2:2,node3:1"

TASKS = r"""# three hosts
#DISBATCH PERENGINE START echo start $DISBATCH_ENGINE_RANK >> engines
#DISBATCH PERENGINE STOP echo stop $DISBATCH_ENGINE_RANK >> engines
#DISBATCH PREFIX ( sleep 0.4 ; echo@
#DISBATCH SUFFIX  ) >> out_${DISBATCH_TASKID_ZP}.log 2>&1
#DISBATCH REPEAT 40 start 100 step 5 $DISBATCH_REPEAT_INDEX
#DISBATCH BARRIER CHECK
last $(ls out_*.log | wc -l)
#DISBATCH SUFFIX  ; exit 3 )
fails
""".replace("@", " ")
STOPPED = "\nfails\n#DISBATCH BARRIER CHECK\nnever\n"


def rows(bed: Bed, prefix: str) -> list[Row]:
    """Return the rows of a run; every line must be one."""
    lines = (bed.home / f"{prefix}_status.txt").read_bytes().splitlines(keepends=True)
    found = [statusfile.parse(line) for line in lines]
    assert None not in found
    return [row for row in found if row]


def test_three_hosts(fresh_bed: Bed) -> None:
    """All directives in one run give the rows that disBatch's documents say."""
    (fresh_bed.home / "tasks").write_text(TASKS)
    done = fresh_bed.run("node1", [*BATCH, "-s", HOSTS, "-p", "run1", "tasks"], check=False)
    assert done.returncode == 0, done.stderr
    found = rows(fresh_bed, "run1")
    plain = {row.number: row for row in found if row.kind == " "}
    assert sorted(plain) == [*range(40), 41, 42]
    assert [plain[n].repeat for n in range(40)] == list(range(100, 300, 5))
    assert {plain[n].line for n in range(40)} == {6}
    assert {row.host for row in plain.values()} <= {b"node1", b"node2", b"node3"}
    assert len({row.host for row in plain.values()}) > 1
    assert {n: row.code for n, row in plain.items() if row.code} == {42: 3}
    assert (plain[42].line, plain[42].out) == (10, len("fails\n"))
    (barrier,) = [row for row in found if row.kind == "C"]
    assert (barrier.number, barrier.line, barrier.command) == (40, 7, b"#DISBATCH BARRIER CHECK")
    at = found.index(barrier)
    assert sorted(row.number for row in found[at:] if row.kind == " ") == [41, 42]
    texts = {n: (fresh_bed.home / f"out_{n:06}.log").read_text() for n in range(40)}
    assert texts == {n: f"{100 + 5 * n}\n" for n in range(40)}
    assert (fresh_bed.home / "out_000041.log").read_text() == "last 41\n"
    engines = Counter((fresh_bed.home / "engines").read_text().splitlines())
    assert engines == Counter(f"{word} {rank}" for word in ("start", "stop") for rank in range(3))
    per_engine = Counter((row.host, row.number, row.code) for row in found if row.kind == "P")
    assert per_engine == {(node, 0, 0): 2 for node in (b"node1", b"node2", b"node3")}
    assert not any("fjd_worker" in line for line in command_lines(fresh_bed))


def test_check_on_three_hosts(fresh_bed: Bed) -> None:
    """A CHECK after a failure ends the run on all hosts, with its reason."""
    (fresh_bed.home / "tasks").write_text(TASKS + STOPPED)
    done = fresh_bed.run("node1", [*BATCH, "-s", HOSTS, "-p", "run1", "tasks"], check=False)
    assert done.returncode == 1, done.stderr
    assert "barrier check: 2 tasks failed before line 13" in done.stderr
    found = [row for row in rows(fresh_bed, "run1") if row.kind == " "]
    assert sorted(row.number for row in found) == [*range(40), 41, 42, 43]
    assert not any("fjd_worker" in line for line in command_lines(fresh_bed))


def command_lines(bed: Bed) -> list[str]:
    """Return what runs on all hosts."""
    return [line for node in bed.nodes for line in bed.hosts[node].command_lines()]


def test_driver_that_loses_its_power(fresh_bed: Bed) -> None:
    """From another host -r ends the workers that are left, and completes the run."""
    count = 60
    lines = [f"echo {n} >> ran_$(hostname); sleep 0.2" for n in range(count)]
    (fresh_bed.home / "tasks").write_text("".join(f"{line}\n" for line in lines))
    env = {"FJD_LEASE": "4", "FJD_HEARTBEAT": "0.5"}
    words = ["env", *(f"{k}={v}" for k, v in env.items()), *BATCH]
    fresh_bed.popen("node1", [*words, "-s", "node2:2,node3:2", "-p", "run1", "tasks"])
    wait_for(lambda: len(ran(fresh_bed)) > 8, "tasks run", 60)
    fresh_bed.power_cut("node1")
    again = [*words, "-s", "localhost:2,node3:2", "-p", "run2", "-r", "run1_status.txt", "tasks"]
    done = fresh_bed.run("node2", again, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    codes = {row.number: row.code for row in rows(fresh_bed, "run2")}
    assert codes == dict.fromkeys(range(count), 0)
    twice = Counter(ran(fresh_bed))
    assert set(map(int, twice)) == set(range(count))
    assert sum(twice.values()) - count <= 8  # what ran when its workers were ended
    assert not any("fjd_worker" in line for line in command_lines(fresh_bed))


def test_stream_that_loses_its_host(fresh_bed: Bed) -> None:
    """A list that is still being written waits for its writer as long as that host lives.

    Then those leave who were hired for it, and who was hired by hand stays.
    """
    serving = [sys.executable, "-m", "fjd.scripts.fjd_dispatcher", "--keep-running"]
    hiring = [sys.executable, "-m", "fjd.scripts.fjd_recruiter", "hire", "1"]
    env = {"FJD_FAR_LEASE": "4", "FJD_HEARTBEAT": "0.5"}
    fresh_bed.run("node2", hiring)
    fresh_bed.popen("node2", serving, env=env)
    words = ["--project", "default", "-s", "node3:2", "-p", "run1", "-"]
    place = fresh_bed.home / ".fjd" / "default"
    wait_for(lambda: list(place.glob("dispatcher/e*")), "somebody serves", 60)
    run = fresh_bed.popen("node1", [*BATCH, *words], stdin=subprocess.PIPE)
    assert run.stdin
    run.stdin.write("echo $DISBATCH_ENGINE_RANK >> ran_$(hostname)\n")
    run.stdin.flush()
    wait_for(lambda: ran(fresh_bed), "a task has run", 60)

    def beats() -> int:
        return max(
            (int(path.name.split(",")[2]) for path in place.glob("contexts/writer,*")), default=0
        )

    wait_for(lambda: beats() > 16, "two leases have passed", 60)
    assert run.poll() is None
    assert list(place.glob("lists/*"))
    fresh_bed.power_cut("node1")
    wait_for(lambda: list(place.glob("failed/*/stdin*,x1")), "the list has failed", 60)
    wait_for(
        lambda: not any("fjd_worker" in line for line in fresh_bed.command_lines("node3")),
        "those who were hired for it have left",
        60,
    )
    assert any("fjd_worker" in line for line in fresh_bed.command_lines("node2"))


def ran(bed: Bed) -> list[str]:
    """Return the tasks that have begun, on all hosts."""
    return [word for path in bed.home.glob("ran_*") for word in path.read_text().split()]


@pytest.fixture
def cluster(fresh_bed: Bed) -> Bed:
    """Three hosts under Slurm, and a list of tasks that say where they are run."""
    reason = slurm.missing()
    if reason:
        pytest.skip(reason)
    slurm.start(fresh_bed)
    lines = ["sleep 0.2; hostname >> hosts"] * 30
    (fresh_bed.home / "tasks").write_text("".join(f"{line}\n" for line in lines))
    return fresh_bed


def submit(bed: Bed, words: list[str], stdin: Optional[str] = None) -> str:
    """Submit a Slurm job and return its number."""
    argv = ["sbatch", "--parsable", "--output=%j.out", *words]
    return bed.run("node1", argv, stdin=stdin).stdout.strip()


def wait_over(bed: Bed, job: str) -> str:
    """Wait for the end of a Slurm job; return what it said."""

    def over() -> bool:
        state = ["squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}"]
        found = bed.run("node1", state, check=False).stdout.strip()
        return found not in ("PENDING", "RUNNING", "COMPLETING")

    wait_for(over, "the allocation has ended", 120)
    return (bed.home / f"{job}.out").read_text()


def test_allocation(cluster: Bed) -> None:
    """In a Slurm allocation its nodes are used."""
    script = f"#!/bin/sh\nexec {' '.join(BATCH)} -p run1 tasks\n"
    job = submit(cluster, ["-N2", "--ntasks-per-node=2"], script)
    said = wait_over(cluster, job)
    assert {r.number: r.code for r in rows(cluster, "run1")} == dict.fromkeys(range(30), 0), said
    assert len(set((cluster.home / "hosts").read_text().split())) == 2
    assert "30 tasks" in said
    assert "failed" not in said
    log = (cluster.home / f"run1_J{job}.context.log").read_text()
    assert log.count("has left") == 2
    assert "the command that retires" not in log, log
    assert not any("fjd_worker" in line for line in command_lines(cluster))


def test_allocation_that_joins(cluster: Bed) -> None:
    """The script of a run that has no workers is submitted, and ends with the run."""
    run = cluster.popen("node1", [*BATCH, "-S", "-p", "run1", "tasks"])
    script = cluster.home / "run1_dbUtil.sh"
    wait_for(script.exists, "the script is there", 60)
    job = submit(cluster, ["-N1", "--nodelist=node3", "--ntasks-per-node=2", "run1_dbUtil.sh"])
    _, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    said = wait_over(cluster, job)
    assert (cluster.home / "hosts").read_text().split() == ["node3"] * 30
    assert "failed" not in said
    assert not any("fjd_worker" in line for line in command_lines(cluster))


@pytest.mark.parametrize(("words", "slots"), [("", 1), ("--fill", slurm.CORES), ("--fill -t 2", 2)])
def test_fill(cluster: Bed, words: str, slots: int) -> None:
    """With --fill all cores of ours on the nodes count, also those that nobody asked for."""
    script = f"#!/bin/sh\nexec {' '.join(BATCH)} {words} -p run1 tasks\n"
    job = submit(cluster, ["-N1", "--exclusive", "--ntasks-per-node=1"], script)
    said = wait_over(cluster, job)
    assert {r.number: r.code for r in rows(cluster, "run1")} == dict.fromkeys(range(30), 0), said
    context = (cluster.home / f"run1_J{job}.context.log").read_text()
    assert f": {slots} of {slots} up" in context, context
