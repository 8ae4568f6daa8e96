"""The test bed with its home on NFS: real clients and a real server, each with its own kernel.

::

    nas     10.77.0.4  Linux's own NFS server; the home is on its own ext4 disk
    node1.. 10.77.0.1  Linux's own NFS client, version 3 (nolock) or 4.2, with its default caches
            10.78.0.x  a second network, for us alone; never cut

The tests look at the home over SFTP from the server, without any cache: what they see is true. That
mount is in a namespace that ends with this process, as everything here does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import bed
from bed import Bed
from bed_files import UID
from bed_host import NSENTER, SBIN, BindMount, child, close, ready_line, tool
from uml_host import DISK, MODULES, SWITCH_ADDRESS, UmlHost

OPTIONS = {"nfs3": "vers=3,hard,nolock", "nfs4": "vers=4.2,hard"}
EXPORT = f"{DISK}/home"
TOOLS = {
    "linux.uml": "user-mode-linux",
    "modprobe": "kmod",
    "mount.nfs": "nfs-common",
    "rpc.nfsd": "nfs-kernel-server",
    "rpcbind": "rpcbind",
    "mkfs.ext4": "e2fsprogs",
    "sshfs": "sshfs",
}
SSHD = f"""
MaxSessions 200
AllowUsers root@{SWITCH_ADDRESS}
Match User root
  AuthorizedKeysFile /etc/ssh/bed_control.pub
"""
# fsid=0: version 4 has one tree of exports, and its root cannot be the machine's own.
SERVE = f"""
mount -t nfsd nfsd /proc/fs/nfsd
mkdir -p /var/lib/nfs/v4recovery /var/lib/nfs/rpc_pipefs /var/lib/nfs/sm
touch /var/lib/nfs/etab /var/lib/nfs/rmtab /var/lib/nfs/state
: >/etc/exports
rpcbind -w
exportfs -i -o rw,no_root_squash,no_subtree_check,sync,fsid=0 10.77.0.0/24:{EXPORT}
rpc.mountd
rpc.nfsd --lease-time 10 --grace-time 10 8
"""


def missing(kind: str) -> Optional[str]:
    """Say why no such bed can be made here; None if it can."""
    if kind not in OPTIONS:
        return f"FJD_BED={kind} is unknown: use {' or '.join(OPTIONS)}"
    lost = sorted({package for tool, package in TOOLS.items() if not shutil.which(tool, path=SBIN)})
    if not MODULES.is_dir():
        lost = sorted({*lost, TOOLS["linux.uml"]})
    if lost:
        return f"FJD_BED={kind} needs the packages {', '.join(lost)}"
    for device in ("/dev/net/tun", "/dev/fuse"):
        if not os.path.exists(device):
            return f"FJD_BED={kind} needs {device}"
    return bed.missing()


class NfsBed(Bed):
    """Hosts with kernels of their own, and a server, up while the context lasts.

    Attributes:
        export: where the home lies on the server.
    """

    export = EXPORT

    def __init__(
        self,
        root: Path,
        nodes: Sequence[str] = ("node1", "node2", "node3"),
        kind: str = "nfs4",
        *,
        bind: Sequence[BindMount] = (),
    ) -> None:
        """Plan the bed; nothing starts before the context is entered."""
        super().__init__(root, nodes, alone=("nas",), bind=bind)
        self._options = OPTIONS[kind]
        self.hosts = {h.name: UmlHost(h.name, h.number, self.root, h.home) for h in self._all()}
        self._files.hosts = self._all()
        self._viewer: Optional[subprocess.Popen[str]] = None

    def _all(self) -> list[UmlHost]:
        return list(self.hosts.values())  # type: ignore[arg-type]

    # ---- up and down

    def up(self) -> None:
        """Make everything, and wait until the home is there on all hosts."""
        try:
            self._files.make_keys()
            keys = self._files.keys
            tool("ssh-keygen", "-qt", "ed25519", "-N", "", "-f", str(keys / "control"))
            (keys / "known_hosts").write_text(self._files.known_hosts())
            for host in self._all():
                self._make_disk(host)
            self._start_switch()
            self._on_switch(
                "link add br1 type bridge forward_delay 0 stp_state 0",
                f"addr add {SWITCH_ADDRESS}/24 dev br1",
                "link set br1 up",
            )
            self.boot("nas")
            self._look()
            self._files.make_homes()
            self.boot(*self.nodes)
        except BaseException:
            self.down()
            raise

    def _make_disk(self, host: UmlHost) -> None:
        self._files.make_disk(host)
        ssh = host.disk / "etc/ssh"
        with (ssh / "sshd_config").open("a") as file:
            file.write(SSHD)
        shutil.copy(self._files.keys / "control.pub", ssh / "bed_control.pub")
        if host.name == "nas":
            (host.disk / "home").mkdir(0o700)
            os.chown(host.disk / "home", UID, UID)
        host.make_image()

    def boot(self, *nodes: str) -> None:
        """Start these hosts, one shortly after the other, and wait for them."""
        hosts = [host for host in self._all() if host.name in nodes and not host.on]
        for host in hosts:
            self._plug_in(host)
            host.start(self.user, "", self._covers, self._binds, True)
            # Two NFS clients that were born in the same tick give an exclusive create the same
            # mark, and then both of them succeed. Real hosts are not that equal.
            time.sleep(0.23)
        for host in hosts:
            host.wait_ready()
            if host.name == "nas":
                host.root("sh", "-ec", SERVE)
            else:
                self._mount(host)

    def _plug_in(self, host: UmlHost) -> None:
        assert self._switch
        host.switch = self._switch.pid
        for port, bridge in ((host.port, "br0"), (host.control_port, "br1")):
            self._on_switch(f"link del {port}", check=False)
            self._on_switch(
                f"tuntap add dev {port} mode tap", f"link set {port} master {bridge} up"
            )

    def _mount(self, host: UmlHost) -> None:
        place = "/" if "vers=4" in self._options else EXPORT
        home = f"/home/{self.user}"
        host.root("mount", "-t", "nfs", f"nas:{place}", home, "-o", self._options)

    def _look(self) -> None:
        """Mount the home for the tests, in a namespace of its own."""
        assert self._switch
        view = self.root / "view"
        view.mkdir()
        keys = self._files.keys
        options = (
            "allow_other,dir_cache=no,attr_timeout=0,entry_timeout=0,negative_timeout=0"
            f",IdentityFile={keys}/control,UserKnownHostsFile={keys}/known_hosts,HostKeyAlias=nas"
        )
        sshfs = f"sshfs root@{self.hosts['nas'].control}:{EXPORT} {view} -F none -o {options}"  # type: ignore[attr-defined]
        script = f"read -r pid _ </proc/self/stat; {sshfs} >&2 </dev/null; echo $pid; exec cat"
        spaces = ("--fork", "--kill-child", "--pid", "--mount", "--propagation", "private")
        nsenter = [NSENTER, "-t", str(self._switch.pid), "-n", "unshare", *spaces]
        self._viewer = child([*nsenter, "sh", "-ec", script], {"PATH": SBIN, "HOME": str(keys)})
        pid = ready_line(self._viewer)
        if not pid:
            raise RuntimeError("nobody can look at the home")
        self.home = Path(f"/proc/{pid}/root{view}")
        self._files.homes = [self.home]

    def down(self) -> None:
        """End every process, and with them namespaces, mounts and cables; remove ``root``."""
        viewer, self._viewer = self._viewer, None
        if viewer:
            viewer.kill()
            close(viewer)
        super().down()

    def power_cut(self, *nodes: str) -> None:
        """Cut the power: the cables first, so that nobody is told."""
        for host in self._all():
            if host.name in nodes and host.on:
                self._on_switch(f"link del {host.control_port}", check=False)
        super().power_cut(*nodes)

    def set_clock(self, node: str, hours: int) -> None:
        """Put this host's clock wrong by so many hours."""
        self.hosts[node].disturbed = True
        now = int(time.time()) + 3600 * hours
        self.run(node, ["date", "-s", f"@{now}"], as_root=True)

    def reset(self) -> None:
        """Make it as after ``up``; a host that was disturbed gets a new disk and reboots."""
        nodes = [host for host in self._all() if host.name != "nas"]
        left = [host for host in nodes if host.disturbed]
        self.power_cut(*(host.name for host in left))
        for host in left:
            self._make_disk(host)
        for host in (host for host in nodes if host.on):
            host.root("sh", "-c", CLEAN.format(user=self.user))
        self._files.make_homes()
        for host in (host for host in nodes if host.on):
            self._mount(host)  # anew, so that nothing is in its cache
        self.boot(*self.nodes)


CLEAN = """
while pkill -KILL -u {user}; do sleep 0.05; done
find /tmp /dev/shm /run/screen -mindepth 1 -user {user} -delete
umount /home/{user}
"""
