"""One host of the test bed: its process 1, and commands inside."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Callable, Optional, Union

INIT = Path(__file__).with_name("host_init.sh")
SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NSENTER = shutil.which("nsenter", path=SBIN) or "nsenter"
SPACES = ("--fork", "--kill-child", "--pid", "--mount", "--uts", "--ipc", "--net")
# Where version 2 control groups may be mounted. Unlike in version 1, SIGKILL ends the frozen there.
CGROUPS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
BindMount = tuple[str, str, bool]  # source, destination, read-only
Stream = Union[int, IO[str], None]


class HostCommandError(subprocess.CalledProcessError):
    """A command failed; the message shows what it printed."""

    def __str__(self) -> str:
        return f"{super().__str__()}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


def tool(*argv: str, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a tool of the machine."""
    env = {"PATH": SBIN, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, env=env, input=stdin, capture_output=True, text=True, timeout=60)
    if check and done.returncode:
        raise HostCommandError(done.returncode, argv, done.stdout, done.stderr)
    return done


def wait_for(true: Callable[[], object], what: str, timeout: float = 30) -> None:
    """Wait until ``true()`` is; TimeoutError with ``what`` if that takes too long."""
    end = time.monotonic() + timeout
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {timeout} s: {what}")
        time.sleep(0.01)


def child(
    argv: Sequence[str], env: Optional[Mapping[str, str]] = None, log: Stream = None
) -> subprocess.Popen[str]:
    """Start what lives until its stdin ends; in its own session, out of reach of Ctrl-C."""
    return subprocess.Popen(
        argv,
        env=env or {"PATH": SBIN},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        cwd="/",
        text=True,
        start_new_session=True,
    )


def ready_line(proc: subprocess.Popen[str]) -> str:
    """The one line by which a ``child`` says that it is ready; empty if it does not."""
    assert proc.stdout
    ready, _, _ = select.select([proc.stdout], [], [], 30)
    return proc.stdout.readline().strip() if ready else ""


def close(proc: subprocess.Popen[str]) -> None:
    """Wait for a process that is ending, and close our ends of its pipes."""
    proc.wait(timeout=30)
    for stream in filter(None, (proc.stdin, proc.stdout, proc.stderr)):
        stream.close()


class Inside(subprocess.Popen[str]):
    """A command inside a host. ``pid`` is that of nsenter, but signals go to the command itself.

    Never kill nsenter: its orphan would belong to process 1 of the machine. That may not reap it,
    and the kernel lets no namespace go, and no power cut end, before all in it are reaped.
    """

    def inner_pid(self) -> int:
        """Process id of the command as seen from here; 0 when it has ended."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        wait_for(lambda: self.poll() is not None or children.read_text(), "a child of nsenter")
        return int(children.read_text().split()[0]) if self.poll() is None else 0

    def send_signal(self, sig: int) -> None:
        """Send a signal to the command; ``terminate`` and ``kill`` use this too."""
        pid = self.inner_pid()
        if pid:
            signal_all([pid], sig)
            self.go_on()

    def go_on(self) -> None:
        """Wake up nsenter, which stops itself when its child is stopped."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGCONT)


def signal_all(pids: Iterable[int], sig: int) -> None:
    """Send a signal to all that still exist."""
    for pid in pids:
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            continue


class Host:
    """One host: its place on disk, and while it runs, its process 1."""

    def __init__(self, name: str, number: int, root: Path, home: Path) -> None:
        self.name = name
        self.number = number
        self.disk = root / name
        self.home = home
        self.address = f"10.77.0.{number}"
        self.port = f"p{number}"
        self.disturbed = False  # cut, frozen or with other keys
        self.at_rest: set[int] = set()  # the processes of the idle host
        self.commands: list[Inside] = []
        self._off()

    def _off(self) -> None:
        self.unshare: Optional[subprocess.Popen[str]] = None  # the parent of process 1
        self.pid = 0  # process 1 as seen from here
        self._pidfd = -1  # the same, never to be taken for a later process with that id
        self._pidns = ""
        self._cgroup: Optional[Path] = None

    @property
    def on(self) -> bool:
        return self.unshare is not None

    def start(
        self,
        user: str,
        homedir: str,
        covers: Mapping[str, str],
        binds: Sequence[BindMount],
        overlay: bool,
    ) -> None:
        """Begin to boot; ``wait_ready`` has to follow."""
        clocks = {  # offsets that let these clocks of the host start at 0 with every boot
            "--monotonic": time.clock_gettime(time.CLOCK_MONOTONIC),
            "--boottime": time.clock_gettime(time.CLOCK_BOOTTIME),
        }
        offsets = ["--time", *(f"{clock}=-{int(now)}" for clock, now in clocks.items())]
        env = {
            "PATH": SBIN,
            "NAME": self.name,
            "DISK": str(self.disk),
            "HOMEDIR": homedir,
            "TESTER": user,
            "PYTHON": sys.executable,
            "OVERLAY": "yes" if overlay else "no",
            "COVERS": "\n".join(f"{mode} {path}" for path, mode in covers.items()),
            "BINDS": "\n".join(f"{'ro' if ro else 'rw'} {src}\t{dst}" for src, dst, ro in binds),
        }
        with open(self.disk / "boot.log", "w", encoding="utf-8") as log:
            self.unshare = child(["unshare", *SPACES, *offsets, "sh", str(INIT)], env, log)

    def wait_ready(self) -> None:
        """Wait until sshd answers."""
        assert self.unshare
        line = ready_line(self.unshare)
        if not line:
            raise RuntimeError(f"{self.name} does not boot: {(self.disk / 'boot.log').read_text()}")
        self.pid = int(line)
        self._pidfd = os.pidfd_open(self.pid)
        self._pidns = os.readlink(f"/proc/{self.pid}/ns/pid")

    def begin_to_die(self) -> None:
        """Kill process 1 and so, by the kernel, every process; ``wait_dead`` has to follow."""
        assert self.unshare
        if self._pidfd >= 0:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        else:  # not yet known; a killed unshare takes its child along (--kill-child)
            self.unshare.kill()

    def wait_dead(self) -> None:
        """Wait until nothing is left: unshare ends after process 1, and that after all others."""
        unshare = self.unshare
        assert unshare

        def over() -> bool:
            for command in self.commands:
                command.go_on()
            return unshare.poll() is not None and all(c.poll() is not None for c in self.commands)

        wait_for(over, f"{self.name} dead")
        close(unshare)
        for command in self.commands:
            close(command)
        self.commands.clear()
        if self._pidfd >= 0:
            os.close(self._pidfd)
        if self._cgroup:
            self._cgroup.rmdir()
        self.disturbed = False
        self._off()

    def pids(self) -> list[int]:
        """All processes of this host, by their ids as seen from here."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/ns/pid") == self._pidns:
                    found.append(int(pid))
            except OSError:  # gone meanwhile, or a thread of the kernel
                continue
        return found

    def command_lines(self) -> list[str]:
        """The command lines of all processes of this host."""
        found = []
        for pid in self.pids():
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            found.append(os.fsdecode(line.replace(b"\0", b" ").strip()))
        return found

    def path(self, inside: str) -> Path:
        """Where to find a file of the running host from outside."""
        return Path(f"/proc/{self.pid}/root", inside.lstrip("/"))

    def ip(self, *commands: str, check: bool = True) -> None:
        """Run ip commands in this host's network."""
        argv = [NSENTER, "-t", str(self.pid), "-n", "ip", "-batch", "-"]
        tool(*argv, stdin="".join(f"{c}\n" for c in commands), check=check)

    def enter(
        self,
        argv: Sequence[str],
        user: str,
        env: Optional[Mapping[str, str]] = None,
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = subprocess.PIPE,
        stderr: Stream = subprocess.PIPE,
    ) -> Inside:
        """Start a command, as a user, in its home, with a clean environment."""
        if not self.on:
            raise RuntimeError(f"{self.name} is switched off")
        command = self.inside(
            [*self.become(user), *argv],
            {**self.clean(user), **(env or {})},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd="/",
            text=True,
            start_new_session=True,
        )
        self.commands.append(command)
        return command

    def inside(self, argv: Sequence[str], env: Mapping[str, str], **how: Any) -> Inside:  # noqa: ANN401
        """Start a command with just this environment; ``how`` is for Popen."""
        spaces = ("-m", "-u", "-i", "-n", "-p", "-T")
        return Inside([NSENTER, "-t", str(self.pid), *spaces, *argv], env=env, **how)

    def clean(self, user: str) -> dict[str, str]:
        """The environment that a command begins with."""
        return {
            "HOME": "/root" if user == "root" else f"/home/{user}",
            "USER": user,
            "LOGNAME": user,
            "SHELL": "/bin/bash",
            "PATH": f"{Path(sys.executable).parent}:{SBIN}",
            "LANG": "C.UTF-8",
        }

    def become(self, user: str) -> list[str]:
        """What to put before a command that this user shall run in its home."""
        setpriv = ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "--"]
        return [*setpriv, "sh", "-c", 'cd && exec "$@"', "sh"]

    def freeze(self) -> None:
        """Stop every process, by a control group or, where that cannot be, by signals."""
        try:
            group = self._group()
        except OSError:
            stopped: set[int] = set()
            while left := set(self.pids()) - stopped:
                signal_all(left, signal.SIGSTOP)
                stopped |= left
            return
        (group / "cgroup.freeze").write_text("1")
        events = group / "cgroup.events"
        wait_for(lambda: "frozen 1" in events.read_text(), f"{self.name} frozen")

    def thaw(self) -> None:
        """Undo ``freeze``."""
        if self._cgroup:
            (self._cgroup / "cgroup.freeze").write_text("0")
            return
        signal_all(self.pids(), signal.SIGCONT)
        for command in self.commands:
            command.go_on()

    def _group(self) -> Path:
        """The control group of this host, with all of its processes in it."""
        if not self._cgroup:
            base = next((c for c in CGROUPS if (c / "cgroup.controllers").exists()), None)
            if base is None:
                raise FileNotFoundError("control groups, version 2")
            group = base / f"fjd-bed-{self._pidns.strip('pid:[]')}"
            group.mkdir()
            self._cgroup = group
        procs = self._cgroup / "cgroup.procs"
        while left := set(self.pids()) - {int(p) for p in procs.read_text().split()}:
            for pid in left:  # children of members are members, so this comes to an end
                try:
                    procs.write_text(str(pid))
                except ProcessLookupError:
                    continue
        return self._cgroup
