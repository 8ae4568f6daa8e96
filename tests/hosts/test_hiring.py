"""Hiring and firing over SSH, on hosts that work and on hosts that do not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING, Callable

import pytest

if TYPE_CHECKING:
    import subprocess

    from bed import Bed

pytestmark = pytest.mark.xdist_group("hosts at work")
RECRUITER = [sys.executable, "-m", "fjd.scripts.fjd_recruiter", "--project", "p"]
WORKING = ("node1", "node2", "node3")


def recruit(bed: Bed, *words: str, node: str = "node1") -> subprocess.CompletedProcess[str]:
    """Run the recruiter as the test user."""
    return bed.run(node, [*RECRUITER, *words], check=False, timeout=90)


def conf(bed: Bed, *hosts: str, **more: str) -> None:
    """Write remote.conf: one worker on the first host, two on the second and so on."""
    sections = [
        f"[host{k}]\nname: {host}\nworkers: {k}\n{more.get(host, '')}\n"
        for k, host in enumerate(hosts, 1)
    ]
    script = "umask 077; mkdir -p ~/.fjd/p && cat > ~/.fjd/p/remote.conf"
    bed.run("node1", ["sh", "-c", script], stdin="".join(sections))


def workers(bed: Bed, node: str = "node1") -> list[dict[str, object]]:
    """Return the roster."""
    found = json.loads(recruit(bed, "roster", "--json", node=node).stdout)["workers"]
    assert isinstance(found, list)
    return found


def living(bed: Bed, *nodes: str) -> dict[str, int]:
    """Return how many workers' processes run on each host."""
    count = {}
    for node in nodes:
        # A guardian and a worker each; screen has the same words in its own command line.
        count[node] = sum(
            "fjd_worker" in line and not line.lower().startswith("screen")
            for line in bed.command_lines(node)
        )
    return {node: number // 2 for node, number in count.items()}


def test_three_hosts(fresh_bed: Bed) -> None:
    """Each host gets its workers by one login, and `fire` ends them all."""
    bed = fresh_bed
    conf(bed, "node1", "10.77.0.2", "node3")
    done = recruit(bed, "hire")
    assert done.returncode == 0, done
    said = '[fjd-recruiter] Hired {} in project "p".'
    assert sorted(done.stdout.splitlines()) == [
        said.format("1 worker"),
        f"[fjd-recruiter] Host 10.77.0.2: {said.format('2 workers')}",
        f"[fjd-recruiter] Host node3: {said.format('3 workers')}",
    ]
    assert living(bed, *WORKING) == {"node1": 1, "node2": 2, "node3": 3}
    rows = workers(bed, node="node2")
    assert [row["host"] for row in rows] == ["node1"] + 2 * ["node2"] + 3 * ["node3"]
    assert {row["cwd"] for row in rows} == {"/home/fjdtest"}
    assert {row["launcher"] for row in rows} == {"screen"}

    done = recruit(bed, "fire")
    assert done.returncode == 0, done
    assert sorted(line.rpartition("] ")[2] for line in done.stdout.splitlines()) == [
        'Fired 1 worker in project "p".',
        'Fired 2 workers in project "p".',
        'Fired 3 workers in project "p".',
    ]
    assert living(bed, *WORKING) == dict.fromkeys(WORKING, 0)
    assert workers(bed) == []
    assert list((bed.home / ".fjd/p/screenrcs").iterdir()) == []


def test_fire_finds_hosts_that_have_left_the_file(fresh_bed: Bed) -> None:
    """Workers hired on a host itself are fired from another one."""
    bed = fresh_bed
    for node in ("node2", "node3"):
        assert recruit(bed, "hire", "2", node=node).returncode == 0
    done = recruit(bed, "fire")
    assert done.returncode == 0, done
    assert 'Host node3: [fjd-recruiter] Fired 2 workers in project "p".' in done.stdout
    assert living(bed, *WORKING) == dict.fromkeys(WORKING, 0)


def test_hosts_that_do_not_work(make_bed: Callable[..., Bed]) -> None:
    """Each fault costs one line that says what to do, and holds up nobody else."""
    bed = make_bed([f"node{n}" for n in range(1, 10)], alone=["alone"])
    slow = "#!/bin/sh\nsleep 300\n"
    bed.run("node1", ["sh", "-c", "cat > slow; chmod 755 slow"], stdin=slow)
    more = {"node6": "python: /opt/nowhere/python", "node9": "python: /home/fjdtest/slow"}
    conf(bed, *(f"node{n}" for n in range(1, 10)), "alone", "nosuchhost", **more)
    bed.power_cut("node3")
    bed.refuse_key("node4")
    bed.know("node5", "missing")
    bed.know("node7", "wrong")
    bed.freeze("node8")
    proc = bed.popen("node1", [*RECRUITER, "hire"])
    began = time.monotonic()
    assert proc.stdout
    first = [proc.stdout.readline() for _ in range(2)]
    waited = time.monotonic() - began
    assert proc.poll() is None, "they waited for those that do not work"
    out, err = proc.communicate(timeout=90)
    took = time.monotonic() - began
    print(f"first two hosts after {waited:.1f} s, all after {took:.1f} s\n", *first, out, err)
    assert sorted(first) == [
        '[fjd-recruiter] Hired 1 worker in project "p".\n',
        '[fjd-recruiter] Host node2: [fjd-recruiter] Hired 2 workers in project "p".\n',
    ]
    assert (proc.returncode, out) == (4, "")
    expected = {
        "node3": "look whether it",
        "node4": "type: ssh-copy-id fjdtest@node4",
        "node5": "host keys of node5 are unknown; check the fingerprint, then type: ssh-keyscan -H"
        " node5 >> ~/.ssh/known_hosts",
        "node6": "cannot run /opt/nowhere/python; install fjd there, or write `python: PATH` into",
        "node7": "ssh-keygen -R node7",
        "node8": "no answer from node8 port 22 within 10 s",
        "node9": "it did not answer within 30 s after the login",
        "alone": "has another home",
        "nosuchhost": "nobody knows a host named nosuchhost; check the name; or change",
    }
    for host, said in expected.items():
        told = [line for line in err.splitlines() if f" Host {host}: " in line]
        assert len(told) == 1, (host, err)
        assert said in told[0]
    assert not (bed.hosts["alone"].home / ".fjd").exists()
    bed.thaw("node8")
    assert living(bed, "node1", "node2") == {"node1": 1, "node2": 2}


def test_fire_while_a_host_is_down(fresh_bed: Bed) -> None:
    """Its workers cannot be fired, and that is said once; after its boot they are cleaned up."""
    bed = fresh_bed
    conf(bed, "node1", "node2", "node3")
    assert recruit(bed, "hire").returncode == 0
    bed.power_cut("node3")
    done = recruit(bed, "fire")
    assert done.returncode == 4
    assert done.stderr.count("Host node3") == 1, done.stderr
    assert {row["host"] for row in workers(bed)} == {"node3"}
    bed.boot("node3")
    done = recruit(bed, "fire")
    assert done.returncode == 0, done
    assert "Host node3: Cleaned up after 3 dead workers." in done.stderr
    assert workers(bed) == []


def test_remote_fire_kills_orphans(fresh_bed: Bed) -> None:
    """A worker killed on another host, with its guardian, leaves nothing after `fire`."""
    bed = fresh_bed
    conf(bed, "node2")
    assert recruit(bed, "hire").returncode == 0
    pid = str(workers(bed)[0]["pid"])
    bed.run("node2", ["kill", f"-{signal.SIGKILL:d}", pid])
    done = recruit(bed, "fire")
    assert done.returncode == 0, done
    assert workers(bed) == []
    assert living(bed, "node2") == {"node2": 0}


NO_SSHFS = shutil.which("sshfs") is None or not os.path.exists("/dev/fuse")


@pytest.mark.skipif(NO_SSHFS, reason="needs sshfs and /dev/fuse")
def test_home_over_sshfs(make_bed: Callable[..., Bed]) -> None:
    """Where each host caches what lies in a directory, nobody is overlooked or shown too long."""
    bed = make_bed(WORKING, home="sshfs")
    conf(bed, *WORKING)
    assert recruit(bed, "hire", node="node2").returncode == 0
    assert len(workers(bed, node="node2")) == 6
    done = recruit(bed, "fire", node="node2")
    assert (done.returncode, done.stderr) == (0, "")
    assert living(bed, *WORKING) == dict.fromkeys(WORKING, 0)
    assert workers(bed, node="node2") == []


def test_ssh_config(fresh_bed: Bed) -> None:
    """Aliases, users and jump hosts of ~/.ssh/config count; a jump host's key must be known too."""
    bed = fresh_bed
    text = "Host far\n  HostName 10.77.0.3\n  ProxyJump node2\n"
    bed.run("node1", ["sh", "-c", "cat > .ssh/config"], stdin=text)
    conf(bed, "far")
    done = recruit(bed, "hire")
    assert done.returncode == 0, done
    assert {row["host"] for row in workers(bed)} == {"node3"}
    bed.know("node2", "missing")
    done = recruit(bed, "fire")
    assert done.returncode == 4
    assert "Host far: host keys of node2 are unknown; check" in done.stderr
    # The worker's own host is known by its entry, and needs no jump.
    assert "Host node3: [fjd-recruiter] Fired 1 worker" in done.stdout
    assert workers(bed) == []
