"""What all measurements share: a private place, fjd in it, and how figures are printed.

Only ratios within one run mean anything: the same machine is twice as fast in a quiet hour. What
is compared is therefore run in turns, and medians are compared.
"""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType, TracebackType
from typing import Callable, NamedTuple, NoReturn, Optional

from fjd.spool import names, records
from fjd.spool.project import Project
from fjd.system import libc
from fjd.worker.guardian import children

LIMIT = 300.0  # s that any one command may take
_FAST = "/dev/shm"

Process = subprocess.Popen[str]


class Failed(Exception):
    """A measurement came to nothing; the text says why."""


class Verdict(NamedTuple):
    """One figure beside its target."""

    what: str
    figure: str
    target: str
    holds: bool

    def __str__(self) -> str:
        word = "holds" if self.holds else "MISSED"
        return f"  {self.what:<44} {self.figure:>10}   target {self.target:<12} {word}"


_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "<": lambda value, limit: value < limit,
    "<=": lambda value, limit: value <= limit,
    ">": lambda value, limit: value > limit,
    ">=": lambda value, limit: value >= limit,
}


def verdict(what: str, value: float, sign: str, limit: float, unit: str = "") -> str:
    """Return the line for a figure that shall be on the right side of its limit."""
    holds = _HOLDS[sign](value, limit)
    return str(Verdict(what, f"{value:.3g}{unit}", f"{sign} {limit:g}{unit}", holds))


def spread(values: Sequence[float], unit: str = "") -> str:
    """Return median, smallest and largest of some values."""
    middle = statistics.median(values)
    return f"{middle:8.2f}{unit}  ({min(values):.2f} to {max(values):.2f})"


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of what is measured.

    No variable of Python's is passed on: some make every start compile its sources again or every
    line a write of its own, and that is nobody's everyday.
    """
    own = ("PYTHON", "FJD_", "HQ_")
    env = {k: v for k, v in os.environ.items() if not k.startswith(own)}
    return {**env, **changes}


def program(name: str) -> str:
    """Return the path of one of fjd's commands, of the environment whose Python runs this."""
    path = os.path.join(os.path.dirname(sys.executable), name)
    if not os.path.exists(path):
        raise Failed(f"there is no {path}; install fjd first: pip install -e .")
    return path


def _end(number: int, frame: Optional[FrameType]) -> NoReturn:
    raise SystemExit(128 + number)


class Bed:
    """A private directory and every process that is started in it; both are gone afterwards.

    Attributes:
        path: the directory, in memory if there is room for it.
        home: where fjd's projects lie.
        cwd: where tasks start.
        env: the environment of all commands.
    """

    def __init__(self, home: str = "", **changes: str) -> None:
        self._given = home
        self._changes = changes
        self._projects: list[str] = []

    def __enter__(self) -> Bed:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _end)
        libc.become_subreaper()  # whatever detaches itself becomes our child, and is found
        self.path = tempfile.mkdtemp(
            prefix="fjd-bench-", dir=_FAST if os.access(_FAST, os.W_OK) else None
        )
        self.home, self.cwd = self._given or f"{self.path}/home", f"{self.path}/cwd"
        os.makedirs(self.home, 0o700, exist_ok=True)
        for name in ("cwd", "tmp", "screens"):
            os.mkdir(f"{self.path}/{name}", 0o700)
        self.env = environment(
            FJD_HOME=self.home,
            TMPDIR=f"{self.path}/tmp",
            SCREENDIR=f"{self.path}/screens",
            **self._changes,
        )
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        end_all()
        for name in self._projects:
            shutil.rmtree(f"{self.home}/{name}", ignore_errors=True)
        shutil.rmtree(self.path, ignore_errors=True)

    def project(self, name: str) -> Project:
        """Return a new project in the bed's home."""
        os.environ["FJD_HOME"] = self.home
        self._projects.append(name)
        return Project.open(name)

    def start(self, argv: Sequence[str], output: int = subprocess.DEVNULL) -> Process:
        """Start a command; what it prints goes nowhere, or together into ``output``."""
        return subprocess.Popen(
            argv,
            cwd=self.cwd,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *argv: str, limit: float = LIMIT) -> float:
        """Run a command to its end and return the seconds it took."""
        began = time.monotonic()
        done = subprocess.run(
            argv,
            cwd=self.cwd,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit,
        )
        seconds = time.monotonic() - began
        if done.returncode:
            words = (done.stderr or done.stdout).strip().splitlines()
            name = os.path.basename(argv[0])
            raise Failed(
                f"{name} ended with exit code {done.returncode}: {words[-1] if words else ''}"
            )
        return seconds

    def hire(self, project: Project, number: int) -> float:
        """Hire workers on this machine; return the seconds until all have announced themselves."""
        words = ("--project", project.name, "--local-only", "hire", str(number))
        return self.run(program("fjd-recruiter"), *words)

    def fire(self, project: Project) -> float:
        """Fire the project's workers; return the seconds that took."""
        words = ("--project", project.name, "--local-only", "fire")
        return self.run(program("fjd-recruiter"), *words)


def descendants(pid: int) -> Iterator[int]:
    """Yield every process below one."""
    for child in children(pid):
        yield child
        yield from descendants(child)


def end_all(patience: float = 10.0) -> None:
    """Kill everything below us, and what comes to us when its parent dies."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        for pid in children(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def wait_until(
    true: Callable[[], bool], what: str, limit: float = 60.0, pause: float = 0.01
) -> None:
    """Wait for something, and fail if it does not come."""
    until = time.monotonic() + limit
    while not true():
        if time.monotonic() > until:
            raise Failed(f"{what}: not within {limit:g} s")
        time.sleep(pause)


class Clocked:
    """Reads what a command prints, line by line, each with the wall clock of its arrival."""

    def __init__(self, process: Process, limit: float = LIMIT) -> None:
        self.process = process
        self.lines: list[tuple[float, str]] = []
        self._timer = threading.Timer(limit, process.kill)

    def read(self) -> int:
        """Read to the end and return the exit code."""
        self._timer.start()
        try:
            assert self.process.stdout is not None
            for line in self.process.stdout:
                self.lines.append((time.time(), line.rstrip("\n")))
            return self.process.wait()
        finally:
            self._timer.cancel()

    def first(self, word: str) -> Optional[float]:
        """Return when the first line with this word came."""
        return next((when for when, line in self.lines if word in line), None)


def ends(project: Project) -> list[records.Record]:
    """Return the records of all attempts that have ended."""
    found: list[records.Record] = []
    for writer in records.writers(project):
        found += [r for r in records.of_worker(project, writer) if r.get("event") == "end"]
    return found


def idle_workers(project: Project) -> list[str]:
    """Return who has announced itself and waits."""
    return [name for name in os.listdir(project.workerqueue) if names.Entry.parse(name)]


def fill(project: Project, number: int, command: str) -> None:
    """Queue job files the way that is recommended: written elsewhere, then renamed."""
    staging = f"{project.tmp}/fill"
    os.mkdir(staging)
    for i in range(number):
        with open(f"{staging}/job{i}.conf", "w", encoding="ascii") as file:
            file.write(f"[control]\nexecutable: {command}\n")
    time.sleep(0.05)  # some kernels' file times are that coarse, and a rename is to be seen
    for i in range(number):
        os.rename(f"{staging}/job{i}.conf", f"{project.jobqueue}/job{i}.conf")
    os.rmdir(staging)


def report(title: str, lines: Sequence[str]) -> bool:
    """Print one measurement; True if no target was missed."""
    print(title)
    for line in lines:
        print(line)
    print(flush=True)
    return not any(line.endswith("MISSED") for line in lines)


def main(measure: Callable[[], bool]) -> int:
    """Run one measurement as a command: 0 all targets hold, 1 one is missed, 2 no figures."""
    try:
        return 0 if measure() else 1
    except (Failed, subprocess.TimeoutExpired) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
