"""The hosts of the test bed do what real ones do, and leave nothing behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Callable

import pytest

if TYPE_CHECKING:
    from bed import Bed

pytestmark = pytest.mark.xdist_group("hosts in trouble")
BOOT_ID = "/proc/sys/kernel/random/boot_id"
ECHO = "while read -r line; do echo $line; done"


def on_all(bed: Bed, *argv: str) -> list[str]:
    return [bed.run(node, argv).stdout.strip() for node in bed.hosts]


def answers(proc: subprocess.Popen[str], text: str, timeout: float) -> bool:
    """Send a line to an echoing process; whether it comes back in time."""
    assert proc.stdin
    assert proc.stdout
    proc.stdin.write(f"{text}\n")
    proc.stdin.flush()
    ready, _, _ = select.select([proc.stdout], [], [], timeout)
    return bool(ready) and proc.stdout.readline() == f"{text}\n"


def traces(bed: Bed) -> list[str]:
    """What of a bed can be found from outside."""
    spaces = {os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "net", "mnt")}
    root = os.fsencode(bed.root)
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            own = {os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("pid", "net", "mnt")}
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if own != spaces and (root in environment or own & namespaces(bed)):
            found.append(f"process {pid}")
    mounts = Path("/proc/self/mountinfo").read_text()
    found += [f"mount: {line}" for line in mounts.splitlines() if str(bed.root) in line]
    return found + [f"file: {path}" for path in bed.root.parent.glob(f"{bed.root.name}*")]


SEEN: dict[Path, set[str]] = {}


def namespaces(bed: Bed) -> set[str]:
    """All namespaces that the processes of a bed were ever seen in."""
    pids = [pid for node in bed.hosts for pid in bed.pids(node)]
    kinds = ("pid", "net", "mnt", "uts", "ipc")
    seen = SEEN.setdefault(bed.root, set())
    seen |= {os.readlink(f"/proc/{pid}/ns/{kind}") for pid in pids for kind in kinds}
    return seen


def test_hosts_differ(bed: Bed) -> None:
    assert on_all(bed, "uname", "-n") == ["node1", "node2", "node3"]
    assert len(set(on_all(bed, "cat", BOOT_ID))) == 3
    assert len(set(on_all(bed, "cat", "/etc/machine-id"))) == 3
    for node in bed.hosts:
        seen = bed.run(node, ["ps", "-e", "-o", "comm="]).stdout.split()
        assert sorted(seen) == sorted([seen[0], "sshd", "ps"])
        clock = "import time; print(time.monotonic())"
        # It began at the boot of the host, which was after that of the machine.
        assert float(bed.run(node, [sys.executable, "-c", clock]).stdout) < time.monotonic() - 1
    assert not set(bed.pids("node1")) & set(bed.pids("node2"))


def test_home_is_shared_and_tmp_is_not(bed: Bed) -> None:
    bed.run("node1", ["sh", "-c", "echo 1 >shared; echo 2 >/tmp/private"])
    assert bed.run("node2", ["cat", "shared"]).stdout == "1\n"
    assert bed.run("node2", ["cat", "/tmp/private"], check=False).returncode == 1
    (bed.home / "shared").unlink()
    bed.path("node1", "/tmp/private").unlink()


def test_plain_user_with_this_python(bed: Bed) -> None:
    code = "import os, sys, bed; print(os.getuid(), sys.prefix)"
    env = {"PYTHONPATH": str(Path(__file__).parent)}
    done = bed.run("node1", [sys.executable, "-c", code], env=env)
    assert done.stdout.split() == [str(bed.uid), sys.prefix]
    assert bed.run("node1", ["id", "-u"], as_root=True).stdout == "0\n"
    assert bed.run("node1", ["cat"], stdin="text").stdout == "text"
    with pytest.raises(subprocess.CalledProcessError, match="No such file"):
        bed.run("node1", ["ls", "/nowhere"])


@pytest.mark.parametrize(("ci", "code", "says"), [("", 0, "1 skipped"), ("true", 1, "1 error")])
def test_without_root_tests_skip_but_not_in_ci(bed: Bed, ci: str, code: int, says: str) -> None:
    # The test user of a host is the plain user that is needed here.
    one = f"{Path(__file__)}::test_hosts_differ"
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", one]
    done = bed.run("node1", argv, env={"CI": ci}, check=False)
    assert done.returncode == code, done.stdout
    assert says in done.stdout
    assert "needs root (namespaces, veth, sshd)" in done.stdout


def test_timeout_ends_the_command_inside(bed: Bed) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        bed.run("node1", ["sleep", "1000"], timeout=0.2)
    wait_until(lambda: set(bed.pids("node1")) == bed.hosts["node1"].at_rest)


def test_signal_reaches_the_command_inside(bed: Bed) -> None:
    proc = bed.popen("node1", ["sh", "-c", "trap 'exit 7' INT; echo; while :; do sleep 0.01; done"])
    assert proc.stdout
    proc.stdout.readline()
    proc.send_signal(signal.SIGINT)
    assert proc.wait(10) == 7


def test_orphans_do_not_stay_as_zombies(bed: Bed) -> None:
    start = "import subprocess as s; print(s.Popen(['sleep', '0.1'], stdout=s.DEVNULL).pid)"
    pid = bed.run("node1", [sys.executable, "-c", start]).stdout.strip()
    gone = ["sh", "-c", f"while kill -0 {pid} 2>/dev/null; do sleep 0.01; done"]
    bed.run("node1", gone, timeout=10)


@pytest.mark.parametrize(("client", "server"), [("node1", "node2"), ("node3", "node1")])
def test_ssh(bed: Bed, client: str, server: str) -> None:
    assert bed.run(client, ["ssh", server, "uname -n; id -u"]).stdout == f"{server}\n{bed.uid}\n"


@pytest.mark.parametrize("key", ["wrong", "missing"])
def test_unknown_host_is_refused(bed: Bed, key: str) -> None:
    bed.know("node2", key)  # type: ignore[arg-type]
    done = bed.run("node1", ["ssh", "node2", "true"], check=False)
    bed.know("node2", "right")
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr
    bed.run("node1", ["ssh", "node2", "true"])


def test_refused_key(bed: Bed) -> None:
    bed.refuse_key("node2")
    done = bed.run("node1", ["ssh", "node2", "true"], check=False)
    bed.accept_key("node2")
    assert "Permission denied (publickey)" in done.stderr
    bed.run("node1", ["ssh", "node2", "true"])


def test_screens_stay_on_their_host(bed: Bed) -> None:
    bed.run("node1", ["screen", "-dmS", "here", "sleep", "1000"])
    assert ".here" in bed.run("node1", ["screen", "-ls"], check=False).stdout
    assert "No Sockets" in bed.run("node2", ["screen", "-ls"], check=False).stdout
    bed.run("node1", ["screen", "-S", "here", "-X", "quit"])
    wait_until(lambda: set(bed.pids("node1")) == bed.hosts["node1"].at_rest)


def test_cut_hangs_connections_until_healed(fresh_bed: Bed) -> None:
    bed = fresh_bed
    proc = bed.popen("node1", ["ssh", "node2", ECHO], stdin=subprocess.PIPE)
    assert answers(proc, "before", 10)
    bed.cut("node2")
    assert not answers(proc, "during", 0.5)
    assert proc.poll() is None
    bed.heal("node2")
    assert proc.stdout
    assert proc.stdout.readline() == "during\n"


@pytest.mark.parametrize("groups", [True, False])
def test_frozen_host_hangs_until_thawed(
    fresh_bed: Bed, groups: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = fresh_bed
    if not groups:
        monkeypatch.setattr("bed_host.CGROUPS", ())
    proc = bed.popen("node1", ["ssh", "node2", ECHO], stdin=subprocess.PIPE)
    local = bed.popen("node2", ["sh", "-c", ECHO], stdin=subprocess.PIPE)
    assert answers(proc, "before", 10)
    assert answers(local, "before", 10)
    bed.freeze("node2")
    assert not answers(proc, "during", 0.2)
    assert not answers(local, "during", 0.2)
    bed.thaw("node2")
    assert proc.stdout
    assert proc.stdout.readline() == "during\n"
    assert local.stdout
    assert local.stdout.readline() == "during\n"
    bed.freeze("node2")  # and the reset that follows copes with a frozen host


def test_power_cut_and_boot(fresh_bed: Bed) -> None:
    bed = fresh_bed
    before = bed.run("node3", ["cat", BOOT_ID]).stdout
    held = bed.popen("node1", ["ssh", "node3", ECHO], stdin=subprocess.PIPE)
    assert answers(held, "before", 10)
    bed.run("node3", ["screen", "-dmS", "job", "sleep", "1000"])
    bed.run("node3", ["sh", "-c", "echo >/tmp/here; echo >kept"])
    pids = bed.pids("node3")
    bed.power_cut("node3")
    assert bed.pids("node3") == []
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not answers(held, "during", 0.3)
    assert held.poll() is None  # nobody told the other side
    with pytest.raises(RuntimeError, match="node3 is switched off"):
        bed.run("node3", ["true"])
    bed.boot("node3")
    assert bed.run("node3", ["cat", BOOT_ID]).stdout != before
    assert bed.run("node3", ["sh", "-c", "ls /run/screen; ls -d /tmp/here || :"]).stdout == ""
    assert bed.run("node1", ["ssh", "node3", "ls kept"]).stdout == "kept\n"


def test_reset_puts_everything_back(bed: Bed) -> None:
    bed.run("node1", ["sh", "-c", "mkdir -p a/b; echo >a/b/c; setsid sleep 1000 >/dev/null 2>&1 &"])
    bed.refuse_key("node2")
    bed.know("node1", "missing")
    bed.power_cut("node3")
    bed.reset()
    assert bed.run("node1", ["ls", "-A"]).stdout == ".ssh\n"
    for node in bed.hosts:
        assert set(bed.pids(node)) == bed.hosts[node].at_rest
        bed.run("node2", ["ssh", node, "true"])


def test_two_beds_and_one_host_alone(
    bed: Bed, make_bed: Callable[..., Bed], tmp_path: Path
) -> None:
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown/file").write_text("text")
    shown = (str(tmp_path / "shown"), "/tmp/elsewhere", True)
    other = make_bed(nodes=("node1", "node2"), alone=("laptop",), bind=[shown])
    bed.run("node1", ["touch", "one"])
    other.run("node1", ["touch", "two"])
    assert bed.run("node2", ["ls"]).stdout == "one\n"
    assert other.run("node2", ["ls"]).stdout == "two\n"
    assert other.run("laptop", ["ls"]).stdout == ""
    assert other.run("laptop", ["ssh", "node1", "uname -n; ls"]).stdout == "node1\ntwo\n"
    assert other.run("laptop", ["cat", "/tmp/elsewhere/file"]).stdout == "text"
    unknown = other.run("node1", ["ssh", "node3", "true"], check=False)
    assert "Could not resolve hostname" in unknown.stderr
    (bed.home / "one").unlink()


def test_without_overlay(make_bed: Callable[..., Bed]) -> None:
    bed = make_bed(nodes=("node1", "node2"), overlay=False)
    assert bed.run("node1", ["ssh", "node2", "uname -n; ls /etc/debian_version"]).stdout
    bed.run("node1", ["touch", "/etc/mine"], as_root=True)
    bed.power_cut("node1")
    bed.boot("node1")
    bed.run("node1", ["ls", "/etc/mine"])


def test_home_over_sftp(make_bed: Callable[..., Bed]) -> None:
    bed = make_bed(home="sshfs")
    assert bed.run("node2", ["stat", "-f", "-c", "%T", "."]).stdout.startswith("fuse")
    bed.run("node2", ["sh", "-c", "echo 1 >new"])
    assert on_all(bed, "cat", "new") == ["1", "1", "1"]
    assert (bed.home / "new").stat().st_uid == bed.uid
    bed.power_cut("node3")
    bed.boot("node3")
    assert bed.run("node3", ["cat", "new"]).stdout == "1\n"
    # It lies as network file systems do: what was listed is believed for a while.
    assert bed.run("node3", ["ls"]).stdout == "new\n"
    bed.run("node2", ["touch", "newer"])
    assert bed.run("node3", ["ls"]).stdout == "new\n"


@pytest.mark.parametrize("ending", ["regular", "exception", "boot fails"])
def test_nothing_stays(
    make_bed: Callable[..., Bed], ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = make_bed()
    bed.popen("node1", ["ssh", "node2", "sleep 1000"])
    bed.run("node3", ["screen", "-dmS", "job", "sleep", "1000"])
    bed.freeze("node3")
    bed.power_cut("node2")
    assert len(traces(bed)) > 5
    if ending == "exception":
        with pytest.raises(KeyboardInterrupt), bed_again(bed):
            raise KeyboardInterrupt
    elif ending == "boot fails":
        monkeypatch.setattr("bed_host.INIT", "/nowhere")
        bed.down()
        with pytest.raises(RuntimeError, match="/nowhere"):
            bed.up()
    else:
        bed.down()
    assert traces(bed) == []
    assert subprocess.run(["ip", "link", "show", "br0"], capture_output=True).returncode


def test_nothing_runs_on_when_the_tests_are_killed(
    make_bed: Callable[..., Bed], tmp_path: Path
) -> None:
    code = (
        "import sys, pathlib, bed\n"
        "b = bed.Bed(pathlib.Path(sys.argv[1]))\n"
        "b.up(); print(*(p for n in b.nodes for p in b.pids(n))); sys.stdout.flush(); input()"
    )
    argv = [sys.executable, "-c", code, str(tmp_path / "killed")]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        argv, cwd=Path(__file__).parent, stdin=pipe, stdout=pipe, text=True
    ) as proc:
        assert proc.stdout
        pids = proc.stdout.readline().split()
        proc.kill()
    assert len(pids) >= 6
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}/root/proc") for pid in pids))


def bed_again(bed: Bed) -> Bed:
    bed.down()
    return bed


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
