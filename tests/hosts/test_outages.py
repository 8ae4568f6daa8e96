"""Ten jobs over three hosts, and hosts that vanish, hang and come back while they work."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Callable

import pytest
from bed import wait_for

if TYPE_CHECKING:
    from bed import Bed

pytestmark = pytest.mark.xdist_group("hosts in trouble")
EXAMPLE = Path(__file__).parents[2] / "example"
LEASE = {"FJD_LEASE": "3", "FJD_HEARTBEAT": "0.5", "FJD_POLL": "0.2"}
CONF = "".join(f"[host{k}]\nname: node{k}\nworkers: 2\n" for k in (1, 2, 3))


def fjd(command: str, *words: str) -> list[str]:
    """Return the argv of one of the commands."""
    return [sys.executable, "-m", f"fjd.scripts.{command}", *words]


class Run:
    """Jobs in the default project of a bed, hired from node1."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.spool = bed.home / ".fjd" / "default"
        bed.run("node1", ["mkdir", "-p", "-m", "700", ".fjd", ".fjd/default"])
        bed.run("node1", ["mkdir", "-m", "700", ".fjd/default/jobqueue"])
        bed.run("node1", ["sh", "-c", "cat > .fjd/default/remote.conf"], stdin=CONF)

    def hire(self, env: Mapping[str, str] = LEASE) -> None:
        """Hire two workers on each host."""
        self.bed.run("node1", fjd("fjd_recruiter", "hire"), env=env)

    def drop(self, count: int, command: str, **options: object) -> None:
        """Queue some jobs."""
        more = "".join(f"{name}: {value}\n" for name, value in options.items())
        for number in range(count):
            text = f"[control]\nexecutable: {command}\n{more}"
            target = f".fjd/default/jobqueue/job{number}.conf"
            self.bed.run("node1", ["sh", "-c", f"cat > .x && mv .x {target}"], stdin=text)

    def records(self) -> list[dict[str, object]]:
        """Return all records of ended attempts."""
        found = []
        for path in self.spool.glob("records/*.jsonl"):
            found += [json.loads(line) for line in path.read_text().splitlines()]
        return [record for record in found if record["event"] == "end"]

    def filed(self, place: str = "done") -> list[str]:
        """Return the job names in done/ or failed/; the rows of a list are no job."""
        names = (path.name for path in self.spool.glob(f"{place}/*/*"))
        return sorted(name.split(".")[0] for name in names if not name.endswith(".status.txt"))

    def running(self, node: str) -> bool:
        """Tell whether a worker of that host has accepted something."""
        return any(self.spool.glob(f"jobpods/{node}-*/*,run"))

    def left(self) -> list[str]:
        """Return what still lies where nothing may lie after the end."""
        places = ("jobqueue", "jobpods", "requeue", "results", "workerqueue", "workers")
        return [str(path) for place in places for path in self.spool.glob(f"{place}/*")]


def everybody(count: int) -> list[str]:
    """Return the names of all jobs, sorted as ``filed`` sorts them."""
    return sorted(f"job{number}" for number in range(count))


def test_the_remote_example_gives_ten_results_from_several_hosts(fresh_bed: Bed) -> None:
    """The same ten jobs run over three hosts, and afterwards nothing is left behind."""
    run = Run(fresh_bed)
    place = fresh_bed.home / "example"
    shutil.copytree(EXAMPLE, place, ignore=shutil.ignore_patterns("logfiles"))
    fresh_bed.run(
        "node1",
        ["chown", "-R", str(fresh_bed.uid), f"/home/{fresh_bed.user}/example"],
        as_root=True,
    )
    fresh_bed.run("node1", ["sh", "-c", f"cd example && {sys.executable} create_jobs.py"])
    fresh_bed.run(
        "node1", ["sh", "-c", 'cd example && "$@"', "sh", *fjd("fjd_recruiter", "hire")], env=LEASE
    )
    done = fresh_bed.run("node1", fjd("fjd_dispatcher"), env=LEASE)
    assert "No (more) jobs." in done.stdout
    assert everybody(10) == sorted(path.stem for path in (place / "logfiles").iterdir())
    assert len({record["host"] for record in run.records()}) >= 2
    assert run.left() == []


COMMAND = """#!/bin/sh
exec {python} -m fjd.scripts.{module} "$@"
"""


def test_the_remote_example_as_a_user_types_it(fresh_bed: Bed) -> None:
    """Its script gives ten results from several hosts and leaves no session and no job behind."""
    bed = fresh_bed
    place = bed.home / "example"
    shutil.copytree(EXAMPLE, place, ignore=shutil.ignore_patterns("logfiles"))
    for command in ("fjd-recruiter", "fjd-dispatcher"):
        path = bed.home / "bin" / command
        path.parent.mkdir(exist_ok=True)
        path.write_text(COMMAND.format(python=sys.executable, module=command.replace("-", "_")))
        path.chmod(0o755)
    theirs = [f"/home/{bed.user}/{name}" for name in ("example", "bin")]
    bed.run("node1", ["chown", "-R", str(bed.uid), *theirs], as_root=True)
    spool = bed.home / ".fjd" / "remote-example"
    script = "umask 077; mkdir -p .fjd/remote-example && cat > .fjd/remote-example/remote.conf"
    bed.run("node1", ["sh", "-c", script], stdin=CONF)

    done = bed.run("node1", ["sh", "-c", "PATH=~/bin:$PATH example/run-remote-example.sh"])
    assert "[fjd-dispatcher] No (more) jobs." in done.stdout
    assert "The hosts are those in" in done.stderr
    texts = [path.read_text() for path in (place / "logfiles").iterdir()]
    assert sorted(int(text.split()[0]) for text in texts) == list(range(10))
    assert all(int(n) ** 2 == int(square) for n, _, _, square, *_ in map(str.split, texts))
    assert len({text.split("(on ")[1].split(",")[0] for text in texts}) >= 2
    for node in bed.nodes:
        assert "No Sockets" in bed.run(node, ["screen", "-ls"], check=False).stdout
    assert list(spool.glob("jobqueue/*")) == list(spool.glob("jobpods/*")) == []
    assert len(list(spool.glob("done/*/*"))) == 10


@pytest.mark.parametrize(
    "outage", ["power cut", pytest.param("freeze", marks=pytest.mark.one_kernel)]
)
def test_a_dispatcher_on_another_host_takes_over_after_the_lease(
    fresh_bed: Bed, outage: str
) -> None:
    """While the first one lives the second is refused; when its host is gone nothing is lost."""
    bed, run = fresh_bed, Run(fresh_bed)
    run.hire()
    run.drop(18, "sleep 1; true")
    first = bed.popen("node1", fjd("fjd_dispatcher", "--keep-running"), env=LEASE)
    wait_for(lambda: run.running("node1") and run.running("node3"), "jobs run", timeout=30)

    refused = bed.run("node2", fjd("fjd_dispatcher"), env=LEASE, check=False)
    assert (refused.returncode, refused.stdout) == (6, "")
    named = re.search(r"a dispatcher \(pid (\d+) on node1\) serves project", refused.stderr)
    assert named, refused.stderr
    words = bed.run("node1", ["ps", "-o", "args=", "-p", named[1]]).stdout
    assert "fjd_dispatcher" in words

    (bed.power_cut if outage == "power cut" else bed.freeze)("node1")
    began = time.monotonic()
    second = bed.popen("node2", fjd("fjd_dispatcher"), env=LEASE)
    assert second.stdout
    assert "Started on project" in second.stdout.readline()
    assert time.monotonic() - began >= float(LEASE["FJD_LEASE"])
    out, err = second.communicate(timeout=90)
    assert "No (more) jobs." in out, err
    assert run.filed() == everybody(18)

    if outage == "freeze":
        bed.thaw("node1")
        out, err = first.communicate(timeout=30)
        assert first.returncode == 6, (out, err)
        assert "another dispatcher took over" in err
        bed.run("node1", fjd("fjd_recruiter", "fire"), env=LEASE)
    assert run.filed() == everybody(18)
    assert run.left() == []


def test_a_power_cut_of_one_host_costs_a_second_attempt_and_no_job(fresh_bed: Bed) -> None:
    """What ran on the dead host runs elsewhere once its lease is over; everything ends once."""
    run = Run(fresh_bed)
    run.hire()
    run.drop(18, "sleep 1; true")
    dispatcher = fresh_bed.popen("node1", fjd("fjd_dispatcher"), env=LEASE)
    wait_for(lambda: run.running("node3"), "node3 runs something")
    fresh_bed.power_cut("node3")
    out, err = dispatcher.communicate(timeout=60)
    print(out, err)
    assert everybody(18) == run.filed()
    assert "gave no sign of life" in err
    ended = [path.name for path in run.spool.glob("done/*/*")]
    assert any(",a2" in name for name in ended), "nothing was running on the dead host"
    assert not any("node3" in name for name in ended if ",a2" in name)


@pytest.mark.one_kernel
def test_a_host_that_froze_for_longer_than_the_lease_counts_nothing_twice(fresh_bed: Bed) -> None:
    """Its jobs run elsewhere; thawed, it starts over under new names and its late ends are void."""
    run = Run(fresh_bed)
    run.hire()
    run.drop(12, "sleep 1; true")
    dispatcher = fresh_bed.popen("node1", fjd("fjd_dispatcher", "--keep-running"), env=LEASE)
    wait_for(lambda: run.running("node2"), "node2 runs something")
    before = {path.name for path in run.spool.glob("jobpods/node2-*")}
    fresh_bed.freeze("node2")
    wait_for(lambda: run.filed() == everybody(12), "all jobs done without node2", timeout=40)
    fresh_bed.thaw("node2")

    def reborn() -> bool:
        now = {path.name for path in run.spool.glob("jobpods/node2-*")}
        return len(now) == 2 and not now & before

    wait_for(reborn, "two workers of node2 under new names", timeout=30)
    assert run.filed() == everybody(12)
    fresh_bed.run("node1", fjd("fjd_recruiter", "fire"), env=LEASE)
    dispatcher.terminate()
    dispatcher.communicate(timeout=20)


def slept(bed: Bed, node: str) -> list[str]:
    """Return which long tasks run on a host."""
    return [line for line in bed.hosts[node].command_lines() if line.startswith("sleep 300")]


def beats(run: Run, node: str) -> dict[str, int]:
    """Return how often the workers of a host have given a sign of life."""
    names = (path.name for path in run.spool.glob(f"worker*/{node}-*"))
    return {worker: int(n) for worker, n in (name.split(",") for name in names)}


def test_a_cut_cable_leaves_the_other_hosts_at_work(make_bed: Callable[..., Bed]) -> None:
    """With the home on SSHFS a host without its cable loses home and lease, the others go on.

    It cannot beat, and so it ends its own tasks, while nobody can reach it.
    """
    bed = make_bed(home="sshfs")
    run = Run(bed)
    run.hire()
    dispatcher = bed.popen("node1", fjd("fjd_dispatcher", "--keep-running"), env=LEASE)
    # Its lease is known there once they beat as it says, although listings lie for 20 seconds.
    wait_for(lambda: len(beats(run, "node3")) == 2, "both are there", timeout=60)
    before = beats(run, "node3")
    began = time.monotonic()
    wait_for(
        lambda: any(n > before.get(worker, 0) + 10 for worker, n in beats(run, "node3").items()),
        "they beat fast",
        timeout=30,
    )
    print(f"they beat fast after {time.monotonic() - began:.1f} s")
    run.drop(18, "test $(hostname) = node3 && exec sleep 300; sleep 3; true")
    wait_for(lambda: len(slept(bed, "node3")) == 2, "node3 runs something", timeout=60)
    bed.cut("node3")
    began = time.monotonic()
    wait_for(lambda: not slept(bed, "node3"), "its own tasks are killed", timeout=15)
    print(f"its own tasks were killed after {time.monotonic() - began:.1f} s")
    wait_for(lambda: run.filed() == everybody(18), "all jobs done without node3", timeout=90)
    bed.heal("node3")
    assert run.filed() == everybody(18)
    dispatcher.terminate()
    dispatcher.communicate(timeout=20)


def test_a_host_that_eats_tasks_is_benched(fresh_bed: Bed) -> None:
    """What fails at once on one host and passes on the others is that host's fault."""
    run = Run(fresh_bed)
    run.hire()
    for node in ("node1", "node2"):
        fresh_bed.run(node, ["touch", "/tmp/library"])
    run.drop(60, "sleep 0.1; test -e /tmp/library; exit $?; :", retries=1)
    dispatcher = fresh_bed.popen("node1", fjd("fjd_dispatcher", "--keep-running"), env=LEASE)
    wait_for(lambda: run.filed() == everybody(60), "all jobs are done", timeout=60)
    status = fresh_bed.run("node2", fjd("fjd", "status")).stdout
    dispatcher.terminate()
    _, err = dispatcher.communicate(timeout=20)
    assert "node3 is benched for 300 s" in err
    assert "benched\tnode3\t" in status
    assert run.filed("failed") == []
    late = [record for record in run.records() if record["host"] == "node3"]
    assert len(late) < 30
    fresh_bed.run("node1", fjd("fjd_recruiter", "fire"), env=LEASE)
