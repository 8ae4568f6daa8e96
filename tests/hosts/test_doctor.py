"""The doctor on hosts that work, and on hosts that do not."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Callable

import pytest

if TYPE_CHECKING:
    import subprocess

    from bed import Bed

pytestmark = pytest.mark.xdist_group("hosts at work")
DOCTOR = [sys.executable, "-m", "fjd.scripts.fjd", "doctor", "--project", "p"]


def conf(bed: Bed, *hosts: str, **more: str) -> None:
    """Write remote.conf."""
    sections = [
        f"[host{k}]\nname: {host}\nworkers: 1\n{more.get(host, '')}\n"
        for k, host in enumerate(hosts, 1)
    ]
    script = "umask 077; mkdir -p ~/.fjd/p && cat > ~/.fjd/p/remote.conf"
    bed.run("node1", ["sh", "-c", script], stdin="".join(sections))


def doctor(bed: Bed, *words: str) -> subprocess.CompletedProcess[str]:
    """Run it as the test user."""
    done = bed.run("node1", [*DOCTOR, *words], check=False, timeout=100)
    assert "Traceback" not in done.stdout + done.stderr, done
    return done


def examined(bed: Bed) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code, and what --json says of each host."""
    done = doctor(bed, "--json")
    said = json.loads(done.stdout)
    assert said["schema"] == "fjd.doctor/1"
    assert said["ok"] == (done.returncode == 0)
    return done.returncode, {host["host"]: host for host in said["hosts"]}


def states(host: dict[str, Any]) -> dict[str, str]:
    """Return the state of each check."""
    return {check["check"]: check["state"] for check in host["checks"]}


def failed(host: dict[str, Any]) -> dict[str, str]:
    """Return what failed, as one text each."""
    return {c["check"]: f"{c['fact']} -> {c['remedy']}" for c in host["checks"]
            if c["state"] == "fail"}  # fmt: skip


def left_in_tmp(bed: Bed) -> list[str]:
    """Return the markers that are left."""
    return [path.name for path in (bed.home / ".fjd/p/tmp").iterdir() if "doctor" in path.name]


@pytest.mark.one_kernel  # and one clock
def test_three_hosts(fresh_bed: Bed) -> None:
    """All is well everywhere, and how late the home is is told and written down."""
    bed = fresh_bed
    conf(bed, "node1", "10.77.0.2", "node3")
    code, hosts = examined(bed)
    assert code == 0, [failed(host) for host in hosts.values()]
    assert list(hosts) == ["node1", "10.77.0.2", "node3"]
    for name in ("10.77.0.2", "node3"):
        host = hosts[name]
        assert states(host).keys() >= {
            "login", "same home", "latency", "python", "fjd", "screen", "logout", "sshd", "cpus",
            "inotify", "home", "rename", "link", "room", "temp", "clock",
        }  # fmt: skip
        assert host["latency"]["markers"] >= 3
        assert 0 < host["latency"]["p50"] <= host["latency"]["p95"] < 1
        # One kernel, one clock. Half a round is what can be known.
        assert abs(host["clock"]["ahead"]) <= host["clock"]["within"] + 0.005
    written = json.loads((bed.home / ".fjd/p/timings").read_text())
    slowest = max(("10.77.0.2", "node3"), key=lambda name: hosts[name]["latency"]["p95"])
    assert (written["host"], written["by"]) == (slowest, "node1")
    assert written["p95"] == hosts[slowest]["latency"]["p95"]
    assert left_in_tmp(bed) == []
    done = doctor(bed)
    print(done.stdout)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert {len(row) for row in rows} == {5}
    assert {row[1] for row in rows} == {"ok"}


def test_faults(make_bed: Callable[..., Bed]) -> None:
    """Each fault is found, says what to type, and holds up nobody else."""
    bed = make_bed([f"node{n}" for n in range(1, 9)], alone=["alone"])
    bed.run("node1", ["sh", "-c", "cat > slow; chmod 755 slow"], stdin="#!/bin/sh\nsleep 300\n")
    more = {
        "node6": "python: /opt/nowhere/python",
        "node8": "python: /home/fjdtest/slow",
    }
    conf(bed, *(f"node{n}" for n in range(1, 9)), "alone", "nosuchhost", **more)
    bed.power_cut("node3")
    bed.refuse_key("node4")
    bed.know("node5", "missing")
    bed.path("node7", "/etc/systemd").mkdir(exist_ok=True)
    bed.path("node7", "/etc/systemd/logind.conf").write_text("[Login]\nKillUserProcesses=yes\n")
    began = time.monotonic()
    code, hosts = examined(bed)
    took = time.monotonic() - began
    found = {name: failed(host) for name, host in hosts.items()}
    print(f"{took:.1f} s", json.dumps(found, indent=1))
    assert code == 6
    assert found["node1"] == found["node2"] == {}
    expected = {
        "node3": ("login", "look whether it"),
        "node4": ("login", "type: ssh-copy-id fjdtest@node4"),
        "node5": ("login", "ssh-keyscan -H node5 >> ~/.ssh/known_hosts"),
        "node6": ("fjd", "cannot run /opt/nowhere/python -> install fjd there, or write `python:"),
        "node7": ("logout", "loginctl enable-linger"),
        "node8": ("login", "it did not answer within 30 s after the login"),
        "alone": ("same home", "mount the same home there"),
        "nosuchhost": ("login", "nobody knows a host named nosuchhost"),
    }
    for name, (check, text) in expected.items():
        assert list(found[name]) == [check], (name, found[name])
        assert text in found[name][check]
    assert not (bed.root / "home-alone/.fjd").exists()
    assert left_in_tmp(bed) == []


def test_home_over_sshfs(make_bed: Callable[..., Bed]) -> None:
    """The way over the network is seen, although listings there lie for 20 seconds."""
    bed = make_bed(["node1", "node2"], home="sshfs")
    conf(bed, "node1", "node2")
    code, hosts = examined(bed)
    assert code == 0, [failed(host) for host in hosts.values()]
    late = hosts["node2"]["latency"]
    print(late, hosts["node2"]["clock"])
    assert late["markers"] >= 3
    assert 0.0005 < late["p50"] <= late["p95"] < 5
    kinds = {name: next(c["fact"] for c in host["checks"] if c["check"] == "home")
             for name, host in hosts.items()}  # fmt: skip
    assert "fuse.sshfs" in kinds["node2"]
    assert "fuse.sshfs" not in kinds["node1"]
