"""Real hosts on one machine, for tests: own network, name, processes, sshd; one shared home.

::

    the machine (its own network, /etc, users and mounts are never touched)
    +---------------------------------------------------------------------------+
    |  "switch": a network namespace of its own, with the bridge br0            |
    |        | p1                  | p2                  | p3   (cut: off br0)  |
    |        | cable (veth)        |                     |                      |
    |  +-----+----------+    +-----+----------+    +-----+----------+           |
    |  | eth0 10.77.0.1 |    | eth0 10.77.0.2 |    | eth0 10.77.0.3 |           |
    |  | node1          |    | node2          |    | node3          |  network, |
    |  | process 1      |    | process 1      |    | process 1      |  name,    |
    |  | sshd           |    | sshd           |    | sshd           |  pids,    |
    |  | /etc /var /tmp |    | /etc /var /tmp |    | /etc /var /tmp |  mounts,  |
    |  +-----+----------+    +-----+----------+    +-----+----------+  clocks   |
    |        +---------------------+---------------------+                      |
    |              /home/fjdtest: root/home, bound or over sftp                 |
    +---------------------------------------------------------------------------+

A host is one ``unshare`` whose child, ``host_init.sh``, is process 1. Namespaces live as long as
their processes and take mounts, cables and processes with them, so a host goes down by one SIGKILL
to its process 1. Process 1 and the switch also read from a pipe that this process holds: if this
process dies, however that may be, they all go with it, and only the directory ``root`` stays.

The hosts share one kernel: with ``home="bind"`` also page cache, inotify, locks and sockets work
across hosts, which no network file system does. Never conclude from this bed that they would.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Optional

from bed_files import UID, USER, Files
from bed_host import (
    SBIN,
    SPACES,
    BindMount,
    Host,
    HostCommandError,
    Inside,
    Stream,
    child,
    close,
    ready_line,
    tool,
    wait_for,
)

__all__ = ["Bed", "BindMount", "HostCommandError", "Inside", "default_binds", "missing", "wait_for"]

REPO = Path(__file__).resolve().parents[2]
TOOLS = {
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ip": "iproute2",
    "screen": "screen",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}


def missing() -> Optional[str]:
    """Say why no bed can be made here; None if it can."""
    what = "needs root (namespaces, veth, sshd)"
    if os.geteuid() != 0:
        return what
    lost = [f"{t} (package {TOOLS[t]})" for t in TOOLS if not shutil.which(t, path=SBIN)]
    if lost:
        return f"{what}; not installed: {', '.join(lost)}"
    probe = (
        "ip link add v0 type veth peer name v1; ip link add br0 type bridge; mount -t tmpfs t /mnt"
    )
    done = tool("unshare", *SPACES, "sh", "-ec", probe, check=False)
    return f"{what}; not allowed here: {done.stderr.strip()}" if done.returncode else None


def default_binds() -> list[BindMount]:
    """The checkout and this Python, at the places where they are, read-only."""
    dirs = [str(REPO), sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix)]
    return [(d, d, True) for d in dirs if not d.startswith("/usr")]


class Bed:
    """Some hosts, up while the context lasts. Several beds may exist at the same time."""

    user = USER
    uid = UID

    def __init__(
        self,
        root: Path,
        nodes: Sequence[str] = ("node1", "node2", "node3"),
        home: Literal["bind", "sshfs"] = "bind",
        alone: Sequence[str] = (),
        *,
        bind: Sequence[BindMount] = (),
        overlay: bool = True,
    ) -> None:
        """Plan the bed; nothing starts before the context is entered (or ``up`` is called).

        ``root`` is a directory that this bed makes and removes. ``nodes`` share a home; with
        ``home="sshfs"`` the first one serves it to the others. Each of ``alone`` has the same user
        with a home of its own. ``bind`` adds to ``default_binds()``.
        """
        self.root = Path(root).absolute()
        if self.root.parts[1] in ("dev", "etc", "proc", "sys", "var"):
            raise ValueError(f"{self.root}: hosts have their own /{self.root.parts[1]}")
        self.home = self.root / "home"
        homes = {name: self.root / f"home-{name}" for name in alone}
        self.hosts = {
            name: Host(name, number, self.root, homes.get(name, self.home))
            for number, name in enumerate((*nodes, *alone), 1)
        }
        self.nodes, self.alone = tuple(nodes), tuple(alone)
        self._clients = list(nodes[1:]) if home == "sshfs" else []
        self._files = Files(self.root, self.hosts.values())
        self._overlay = overlay
        # Sorted, so that what lies inside another bound directory is bound after it.
        self._binds = sorted(
            {b[1]: b for b in (*default_binds(), *bind)}.values(), key=lambda b: b[1]
        )
        self._covers = {"/tmp": "1777", "/run": "755", "/home": "755"}
        for _, dst, _ in self._binds:
            for parent in reversed(Path(dst).parents):
                if str(parent) in self._covers:
                    break
                # A plain user cannot pass, say, /root: it gets a /root with only the binds in it.
                if parent.exists() and not parent.stat().st_mode & 0o001:
                    self._covers[str(parent)] = "755"
                    break
        self._switch: Optional[subprocess.Popen[str]] = None

    # ---- up and down

    def __enter__(self) -> Bed:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def up(self) -> None:
        """Make everything and wait until every sshd answers."""
        try:
            self._files.make_keys()
            self._files.make_homes()
            for host in self.hosts.values():
                self._files.make_disk(host)
            self._start_switch()
            self.boot(*self.hosts)
        except BaseException:
            self.down()
            raise

    def _start_switch(self) -> None:
        # cat ends when the pipe does, and the namespace with the bridge ends with cat.
        self._switch = child(["unshare", "--net", "sh", "-c", "echo ready; exec cat"])
        if not ready_line(self._switch):
            raise RuntimeError("no network namespace for the switch")
        bridge = "link add br0 type bridge forward_delay 0 stp_state 0"
        self._on_switch(bridge, "link set br0 up")

    def down(self) -> None:
        """End every process, and with them namespaces, mounts and cables; remove ``root``."""
        self.power_cut(*self.hosts)
        if self._switch:
            self._switch.kill()
            close(self._switch)
            self._switch = None
        if f" {self.root}/" in Path("/proc/self/mountinfo").read_text():
            # Not by us, and rmtree would empty what is mounted there.
            raise RuntimeError(f"not removing {self.root}: something is mounted in it")
        shutil.rmtree(self.root, ignore_errors=True)

    def boot(self, *nodes: str) -> None:
        """Start these hosts at once and wait for them; a host that runs stays as it is."""
        hosts = [self.hosts[n] for n in nodes if not self.hosts[n].on]
        for host in hosts:
            home = "" if host.name in self._clients else str(host.home)
            host.start(self.user, home, self._covers, self._binds, self._overlay)
        for host in hosts:
            host.wait_ready()
            self._on_switch(
                f"link add {host.port} type veth peer name eth0"
                f" address 02:00:0a:4d:00:{host.number:02x} netns {host.pid}",
                f"link set {host.port} master br0 up",
            )
            host.ip("link set lo up", f"addr add {host.address}/24 dev eth0", "link set eth0 up")
            host.at_rest = set(host.pids())
        for host in hosts:
            if host.name in self._clients:  # only now, for the server needs its cable
                self._mount_home(host)

    def power_cut(self, *nodes: str) -> None:
        """Cut the power: all processes are gone at once and nobody is told."""
        hosts = [self.hosts[n] for n in nodes if self.hosts[n].on]
        for host in hosts:
            # The cable first, or the dying kernel would end its connections with FIN or RST.
            self._on_switch(f"link del {host.port}", check=False)
        for host in hosts:
            host.begin_to_die()
        for host in hosts:
            host.wait_dead()

    def reset(self) -> None:
        """Make it as after ``up``; a host on which something is left gets a new disk and reboots.

        Changes of /etc and /var alone are not noticed.
        """
        hosts = self.hosts.values()
        left = [host for host in hosts if self._clients or not self._idle(host)]
        self.power_cut(*(host.name for host in left))
        for host in left:
            self._files.make_disk(host)
        self._files.make_homes()
        self.boot(*self.hosts)

    def _idle(self, host: Host) -> bool:
        if not host.on or host.disturbed or set(host.pids()) != host.at_rest:
            return False
        return not any(os.listdir(host.path(d)) for d in ("/tmp", "/dev/shm"))

    # ---- doing something on a host

    def popen(
        self,
        node: str,
        argv: Sequence[str],
        *,
        as_root: bool = False,
        env: Optional[Mapping[str, str]] = None,
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = subprocess.PIPE,
        stderr: Stream = subprocess.PIPE,
    ) -> Inside:
        """Start a command as the test user, in its home, with a clean environment.

        Signals to the result reach the command. A frozen host does start new commands.
        """
        user = "root" if as_root else self.user
        return self.hosts[node].enter(argv, user, env, stdin, stdout, stderr)

    def run(
        self,
        node: str,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout: float = 60,
        as_root: bool = False,
        env: Optional[Mapping[str, str]] = None,
        stdin: Optional[str] = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as ``popen`` does, and wait for it; ``stdin`` is a text."""
        source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
        with self.popen(node, argv, as_root=as_root, env=env, stdin=source) as proc:
            try:
                out, err = proc.communicate(stdin, timeout)
            except BaseException:
                proc.kill()
                raise
            finally:
                if proc in self.hosts[node].commands:  # not if the power was cut meanwhile
                    self.hosts[node].commands.remove(proc)
        if check and proc.returncode:
            raise HostCommandError(proc.returncode, [node, *argv], out, err)
        return subprocess.CompletedProcess(list(argv), proc.returncode, out, err)

    def pids(self, node: str) -> list[int]:
        """Process ids, as seen from here, of all that runs on this host; none when it is off."""
        return self.hosts[node].pids() if self.hosts[node].on else []

    def command_lines(self, node: str) -> list[str]:
        """All that runs on this host; nothing when it is off."""
        return self.hosts[node].command_lines() if self.hosts[node].on else []

    def path(self, node: str, inside: str) -> Path:
        """Where to find a file of a running host, say its ``/tmp``, from outside."""
        return self.hosts[node].path(inside)

    # ---- breaking and mending

    def cut(self, node: str) -> None:
        """Pull the cable: frames get lost, established connections hang."""
        self.hosts[node].disturbed = True
        self._on_switch(f"link set {self.hosts[node].port} nomaster")

    def heal(self, node: str) -> None:
        """Put the cable back; the hosts forget which neighbours they could not reach."""
        self._on_switch(f"link set {self.hosts[node].port} master br0 up")
        for host in self.hosts.values():
            if host.on:
                host.ip("neigh flush dev eth0", check=False)

    def freeze(self, node: str) -> None:
        """Stop every process; the kernel still answers pings and takes connections."""
        self.hosts[node].disturbed = True
        self.hosts[node].freeze()

    def thaw(self, node: str) -> None:
        """Let a frozen host go on."""
        self.hosts[node].thaw()

    def refuse_key(self, node: str) -> None:
        """Let this host's sshd refuse the test user's key from now on."""
        self.hosts[node].disturbed = True
        shutil.copy(self._files.keys / "user.pub", self.path(node, "/etc/ssh/bed_revoked"))

    def accept_key(self, node: str) -> None:
        """Undo ``refuse_key``."""
        self.path(node, "/etc/ssh/bed_revoked").write_text("")

    def know(self, node: str, key: Literal["right", "wrong", "missing"]) -> None:
        """Set what every home's known_hosts says about this host."""
        line = self._files.known_host(self.hosts[node], "user" if key == "wrong" else "")
        for home in self._files.homes:
            file = home / ".ssh/known_hosts"
            lines = file.read_text().splitlines(keepends=True)
            others = [other for other in lines if not other.startswith(f"{node},")]
            file.write_text("".join(others) + ("" if key == "missing" else line))

    # ---- cables and mounts

    def _on_switch(self, *commands: str, check: bool = True) -> None:
        if self._switch:
            argv = ["nsenter", "-t", str(self._switch.pid), "-n", "ip", "-batch", "-"]
            tool(*argv, stdin="".join(f"{c}\n" for c in commands), check=check)

    def _mount_home(self, host: Host) -> None:
        host.path("/run/sshfs_known_hosts").write_text(self._files.known_hosts())
        shutil.copy(self._files.keys / "user", host.path("/run/sshfs_key"))
        host.path("/run/sshfs_key").chmod(0o600)
        home = f"/home/{self.user}"
        options = (
            f"allow_other,default_permissions,uid={self.uid},gid={self.uid},reconnect"
            # Without these a cut would hang until TCP gives up.
            ",ServerAliveInterval=5,ServerAliveCountMax=3"
            ",IdentityFile=/run/sshfs_key,UserKnownHostsFile=/run/sshfs_known_hosts"
        )
        sshfs = ["sshfs", f"{self.user}@{self.nodes[0]}:{home}", home, "-o", options]
        self.run(host.name, sshfs, as_root=True)
