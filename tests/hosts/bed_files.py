"""Files that the hosts of the test bed differ in: keys, homes, and what lies in /etc."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from bed_host import Host, tool

USER = "fjdtest"
UID = 7701
SSHD_CONFIG = f"""\
HostKey /etc/ssh/bed_host_key
PidFile /run/sshd.pid
AllowUsers {USER}
AuthorizedKeysFile .ssh/authorized_keys
RevokedKeys /etc/ssh/bed_revoked
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
"""
# The default key exchange, made to withstand quantum computers, takes half of the time of a login.
SSH_CONFIG = "Host *\n  StrictHostKeyChecking yes\n  KexAlgorithms curve25519-sha256\n"


class Files:
    """Writer of these files; ``root`` is the bed's directory."""

    def __init__(self, root: Path, hosts: Iterable[Host]) -> None:
        self.keys = root / "keys"
        self.hosts = list(hosts)
        self.homes = sorted({host.home for host in self.hosts})

    def make_keys(self) -> None:
        """One key for the user and one for each host."""
        self.keys.mkdir(parents=True)
        for name in ("user", *(host.name for host in self.hosts)):
            tool("ssh-keygen", "-qt", "ed25519", "-N", "", "-C", name, "-f", str(self.keys / name))

    def known_host(self, host: Host, key: str = "") -> str:
        """The host's line for known_hosts, with its key or another one."""
        public = (self.keys / f"{key or host.name}.pub").read_text().split()[:2]
        return " ".join([f"{host.name},{host.address}", *public]) + "\n"

    def known_hosts(self) -> str:
        """A known_hosts file with all hosts."""
        return "".join(map(self.known_host, self.hosts))

    def make_homes(self) -> None:
        """Empty the homes and put the keys in: every host takes the user from every other."""
        for home in self.homes:
            home.mkdir(exist_ok=True)
            for entry in home.iterdir():  # the directory itself stays: hosts have it mounted
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
            ssh = home / ".ssh"
            ssh.mkdir(0o700)
            shutil.copy(self.keys / "user", ssh / "id_ed25519")
            shutil.copy(self.keys / "user.pub", ssh / "authorized_keys")
            # Not in /etc/ssh/ssh_known_hosts: paramiko reads only this one.
            (ssh / "known_hosts").write_text(self.known_hosts())
            home.chmod(0o700)
            for path in (home, ssh, *ssh.iterdir()):
                os.chown(path, UID, UID)

    def make_disk(self, host: Host) -> None:
        """Make a new "disk": what differs from the machine's /etc, and an empty /var.

        They become the upper layers of overlays, or the base that a copy of /etc is added to.
        """
        shutil.rmtree(host.disk, ignore_errors=True)
        etc = host.disk / "etc"
        (etc / "ssh").mkdir(parents=True)
        (host.disk / "var").mkdir()
        names = [f"{h.address} {h.name}\n" for h in self.hosts]
        texts = {
            "hostname": f"{host.name}\n",
            "hosts": "".join(["127.0.0.1 localhost\n", *names]),
            "machine-id": f"{host.number:032x}\n",
            "resolv.conf": "",  # with the next one: an unknown name is so at once
            "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\n",
            "passwd": f"{USER}:x:{UID}:{UID}::/home/{USER}:/bin/bash\n",
            "group": f"{USER}:x:{UID}:\n",
            "shadow": f"{USER}:*:19000::::::\n",  # sshd refuses '!' (locked) but not '*'
            "ssh/sshd_config": SSHD_CONFIG,
            "ssh/ssh_config": SSH_CONFIG,
            "ssh/bed_host_key": (self.keys / host.name).read_text(),
            "ssh/bed_revoked": "",
        }
        for name, text in texts.items():
            file, old = etc / name, Path("/etc", name)
            if name in ("passwd", "group", "shadow"):
                text = old.read_text().rstrip("\n") + f"\n{text}"
            file.write_text(text)
            file.chmod(0o600 if name in ("shadow", "ssh/bed_host_key") else 0o644)
