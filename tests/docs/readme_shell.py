"""A home of one's own, and a shell in it, as somebody has it who follows README.rst."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path

import psutil
from readme_text import CHECKOUT

BIN = Path(sys.executable).parent  # where the commands are
WIDTH = 80
_ON_TERMINAL = ("fjd status", "fjd-recruiter roster")  # whose output README shows as a terminal's
_LIMIT = 60.0  # s


class Shell:
    """A shell that remembers its directory, its FJD_HOME and the last exit code.

    Args:
        path: PATH behind the directory of fjd's commands.
    """

    def __init__(self, base: Path, screens: str, path: str = "") -> None:
        self.home = base / "home"
        self.home.mkdir()
        shutil.copytree(
            CHECKOUT / "example",
            self.home / "fjd" / "example",
            ignore=shutil.ignore_patterns("logfiles", "__pycache__"),
        )
        self._state = base / "state"
        self.cwd, self.code = str(self.home), 0
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("FJD_", "PYTHON", "STY"))}
        self.env = {
            **keep,
            "HOME": str(self.home),
            "PATH": f"{BIN}:{path or os.environ['PATH']}",
            "SCREENDIR": screens,
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm",
        }

    def type(self, command: str) -> str:
        """Type a command; return what it prints, its stderr too."""
        after = 'code=$?; pwd >"$0"; echo "$FJD_HOME" >>"$0"; exit $code'
        script = f"(exit {self.code}); {command}\n{after}"
        argv = ["bash", "-c", script, str(self._state)]
        run = self._on_terminal if command.startswith(_ON_TERMINAL) else self._in_pipe
        self.code, printed = run(argv)
        self.cwd, home = self._state.read_text().splitlines()
        if home:
            self.env["FJD_HOME"] = home
        return printed

    def _in_pipe(self, argv: list[str]) -> tuple[int, str]:
        done = subprocess.run(
            argv,
            cwd=self.cwd,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LIMIT,
        )
        return done.returncode, done.stdout

    def _on_terminal(self, argv: list[str]) -> tuple[int, str]:
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
        env = {**self.env, "COLUMNS": str(WIDTH)}
        done = subprocess.run(
            argv, cwd=self.cwd, env=env, stdin=slave, stdout=slave, stderr=slave, timeout=_LIMIT
        )
        os.close(slave)
        printed = b""
        while True:
            try:
                piece = os.read(master, 1 << 16)
            except OSError:  # Linux says so at the end
                break
            if not piece:
                break
            printed += piece
        os.close(master)
        return done.returncode, printed.decode().replace("\r\n", "\n")

    def projects(self) -> list[Path]:
        """Return the directories of all projects."""
        homes = [self.home / ".fjd", self.home / "scratch" / "fjd"]
        return [project for home in homes if home.is_dir() for project in sorted(home.iterdir())]

    def processes(self) -> list[psutil.Process]:
        """Return what still runs in this home."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("HOME") == str(self.home):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def leftovers(self) -> list[str]:
        """Return what nobody should leave behind: jobs under way, workers, screens."""
        places = "jobqueue requeue jobpods running results workerqueue workers dispatcher screenrcs"
        found = [
            str(path)
            for project in self.projects()
            for place in places.split()
            for path in (project / place).iterdir()
        ]
        found += [f"{process}" for process in self.processes()]
        return found + os.listdir(self.env["SCREENDIR"])

    def clean_up(self) -> None:
        """End whatever a failed test left."""
        for project in self.projects():
            subprocess.run(
                [BIN / "fjd-recruiter", "--project", project.name, "--local-only", "fire"],
                env={**self.env, "FJD_HOME": str(project.parent)},
                capture_output=True,
                timeout=_LIMIT,
            )
        left = self.processes()
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=5)


def plain(lines: list[str]) -> list[str]:
    """Return lines without what differs from run to run: ids, times, the host, padding.

    Of the dispatcher's counts only the first one of the jobs is kept, and nothing of a host that is
    not here.
    """
    out: list[str] = []
    for line in lines:
        if "warning: running as root" in line or "Host hyuga" in line or not line.strip():
            continue
        if "] Found " in line and out and "] Found " in out[-1]:
            continue
        line = re.sub(r"\b[\w-]+-\d-[0-9a-f]{8}\b", "WORKER", line)
        line = re.sub(rf"\b(vm|{re.escape(platform.node())})\b", "HOST", line)
        line = re.sub(r"[\d.]+ (s\b|worker\(s\)\.)", r"N \1", line)
        line = re.sub(r'(?<=^Project "default" in ).*', "PATH", line)  # cut if it is long
        out.append(" ".join(line.split()))
    return out
