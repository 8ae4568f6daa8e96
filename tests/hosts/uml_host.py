"""One host of the test bed with a Linux kernel of its own: user-mode Linux.

It is an ordinary process of the machine, which stands in the switch's network namespace; a cable is
a TAP device. Such a host has its own caches, NFS client, clock and disk, which a namespace has not.
It is looked into over SSH, through a second cable that is never cut.
"""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import pytest
from bed_host import (
    INIT,
    NSENTER,
    SBIN,
    BindMount,
    Host,
    HostCommandError,
    Inside,
    child,
    close,
    ready_line,
    tool,
    wait_for,
)

CONTROL_NET = "10.78.0"
SWITCH_ADDRESS = f"{CONTROL_NET}.254"
DISK = "/mnt"  # where a host has its own disk
MODULES = Path("/usr/lib/uml/modules")
UML_INIT = Path(__file__).with_name("uml_init.sh")
MEMORY = "640M"  # half of it is /tmp, where fjd wants some room
BOOT = 90.0  # s that a boot may take
# The kernel is a child of "cat", process 1 of a pid namespace: it ends when our end of a pipe does.
SUPERVISOR = '"$@" </dev/null >"$LOG" 2>&1 & echo ready; exec cat'


class OverSsh(Inside):
    """A command in such a host; ``pid`` is that of the ssh that carries it."""

    def __init__(self, host: UmlHost, number: int, *args: object, **kwargs: object) -> None:
        self._host, self._number = host, number
        super().__init__(*args, **kwargs)  # type: ignore[call-overload]

    def send_signal(self, sig: int) -> None:
        """Send a signal to the command itself."""
        if self.poll() is None:
            file = f"/run/bed-{self._number}"
            script = f"while [ ! -s {file} ]; do sleep 0.1; done; kill -{int(sig)} $(cat {file})"
            self._host.root("sh", "-c", script, check=False)

    def go_on(self) -> None:
        """Nothing to wake up here."""


class UmlHost(Host):
    """A host with its own kernel.

    Attributes:
        switch: the process whose network namespace is the switch.
    """

    switch = 0

    def __init__(self, name: str, number: int, root: Path, home: Path) -> None:
        super().__init__(name, number, root, home)
        self.control = f"{CONTROL_NET}.{number}"
        self.control_port = f"c{number}"
        self.image, self.settings = root / f"{name}.img", root / f"{name}.env"
        self._root, self._log = root, root / f"{name}.log"
        self._master: Optional[subprocess.Popen[str]] = None
        self._count = 0

    def make_image(self) -> None:
        """Make the host's disk from what lies in ``disk``; as it is after the first boot."""
        (self.disk / "lib").mkdir(exist_ok=True)
        modules = self.disk / "lib/modules"
        if not modules.is_symlink():
            modules.symlink_to(MODULES)
        self.image.unlink(missing_ok=True)
        with self.image.open("wb") as file:
            file.truncate(2 << 30)
        mkfs = ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1", "-d", str(self.disk))
        tool(*mkfs, str(self.image))

    def start(
        self,
        user: str,
        homedir: str,
        covers: Mapping[str, str],
        binds: Sequence[BindMount],
        overlay: bool,
    ) -> None:
        """Begin to boot; ``wait_ready`` has to follow."""
        settings = {
            "NAME": self.name,
            "DISK": DISK,
            "HOMEDIR": homedir,
            "TESTER": user,
            "PYTHON": sys.executable,
            "OVERLAY": "yes",
            "COVERS": "\n".join(f"{mode} {path}" for path, mode in covers.items()),
            "BINDS": "\n".join(f"{'ro' if ro else 'rw'} {src}\t{dst}" for src, dst, ro in binds),
            "HOST_INIT": str(INIT),
            "ADDRESS": self.address,
            "CONTROL": self.control,
            "PATH": SBIN,
        }
        lines = (f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())
        self.settings.write_text("".join(lines))
        kernel = [
            *("linux.uml", f"mem={MEMORY}", "root=/dev/root", "rootfstype=hostfs", "rootflags=/"),
            *("hostfs=/", "ro", "quiet", "con=null", "con0=null,fd:1", "ssl=null"),
            *(f"uml_dir={self._root}", f"umid={self.name}.uml", f"ubd0={self.image}"),
            f"eth0=tuntap,{self.port},02:00:0a:4d:00:{self.number:02x}",
            f"eth1=tuntap,{self.control_port},02:00:0a:4e:00:{self.number:02x}",
            *(f"BED={self.settings}", "init=/bin/sh", "--", str(UML_INIT)),
        ]
        spaces = ("--fork", "--kill-child", "--pid", "--mount", "--mount-proc")
        argv = [NSENTER, "-t", str(self.switch), "-n", "unshare", *spaces]
        # Its memory is a file there, which has no name any more once it runs.
        env = {"PATH": SBIN, "TMPDIR": "/dev/shm", "LOG": str(self._log), "HOME": str(self._root)}
        self.unshare = child([*argv, "sh", "-c", SUPERVISOR, "sh", *kernel], env)
        if not ready_line(self.unshare):
            raise RuntimeError(f"{self.name}: no supervisor")

    def wait_ready(self) -> None:
        """Wait until sshd answers, and log in for good."""

        def says(words: str) -> bool:
            return re.search(words, self._log.read_text(errors="replace"), re.M) is not None

        try:
            wait_for(lambda: says(r"^1\r?$|Kernel panic"), f"{self.name} boots", BOOT)
        except TimeoutError as error:
            raise RuntimeError(f"{self.name}: {error}: {self._log.read_text()}") from error
        if says("Kernel panic"):
            raise RuntimeError(f"{self.name} does not boot: {self._log.read_text()}")
        # Unlike all else it would not notice that our end of its pipe is gone.
        die_with_us = ["setpriv", "--pdeathsig", "KILL", "--"]
        nsenter = [NSENTER, "-t", str(self.switch), "-n", *die_with_us]
        self._master = child([*nsenter, *self._ssh("-M", "-N"), self._login])
        check = [*self._ssh("-O", "check"), self._login]
        wait_for(
            lambda: self._dead_master() or not tool(*check, check=False).returncode,
            f"{self.name}: log in",
            30,
        )

    def _dead_master(self) -> bool:
        assert self._master
        if self._master.poll() is not None:
            raise RuntimeError(f"{self.name}: no login over the control network")
        return False

    @property
    def _login(self) -> str:
        return f"root@{self.control}"

    def _ssh(self, *options: str) -> list[str]:
        keys = self._root / "keys"
        settings = {
            "ControlPath": self._root / f"{self.name}.ctl",
            "IdentityFile": keys / "control",
            "UserKnownHostsFile": keys / "known_hosts",
            "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlias": self.name,
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
        }
        more = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        return [shutil.which("ssh", path=SBIN) or "ssh", "-q", "-F", "none", *more, *options]

    def root(self, *argv: str, check: bool = True, stdin: str = "") -> str:
        """Run a command as root; return what it printed."""
        ssh = [*self._ssh(), self._login, "--", shlex.join(argv)]
        done = tool(*ssh, check=False, stdin=stdin)
        if check and done.returncode:
            raise HostCommandError(done.returncode, argv, done.stdout, done.stderr)
        return done.stdout

    def begin_to_die(self) -> None:
        """Let the kernel vanish, and the connections that we have to it."""
        assert self.unshare
        assert self.unshare.stdin
        self.unshare.stdin.close()
        if self._master:
            self._master.kill()

    def wait_dead(self) -> None:
        """Wait until nothing is left of it."""
        assert self.unshare
        self.unshare.wait(timeout=30)
        close(self.unshare)
        if self._master:
            close(self._master)
            self._master = None
        for command in self.commands:
            subprocess.Popen.send_signal(command, signal.SIGKILL)
            close(command)
        self.commands.clear()
        (self._root / f"{self.name}.ctl").unlink(missing_ok=True)
        self.disturbed = False
        self._off()

    def pids(self) -> list[int]:
        """Nothing of it is a process of the machine."""
        return []

    def command_lines(self) -> list[str]:
        """The command lines of all its processes; a host without power has none."""
        return self.root("ps", "-e", "-o", "args=").splitlines() if self.on else []

    def path(self, inside: str) -> Path:
        """Nobody can look into it that way."""
        pytest.skip(f"{self.name} has a kernel of its own: only its home can be reached from here")

    def ip(self, *commands: str, check: bool = True) -> None:
        """Run ip commands in this host's network."""
        self.root("ip", "-batch", "-", stdin="".join(f"{c}\n" for c in commands), check=check)

    def inside(self, argv: Sequence[str], env: Mapping[str, str], **how: Any) -> Inside:  # noqa: ANN401
        """Start a command with just this environment, over SSH."""
        self._count += 1
        words = " ".join(
            [
                f"echo $$ >/run/bed-{self._count}; exec env -i",
                *(shlex.quote(f"{name}={value}") for name, value in env.items()),
                *(shlex.quote(word) for word in argv),
            ]
        )
        ssh = [*self._ssh(), self._login, "--", f"exec sh -c {shlex.quote(words)}"]
        return OverSsh(self, self._count, ssh, env={"PATH": SBIN}, **how)
