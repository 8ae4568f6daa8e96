"""Kills the process of story.py at each of its system calls: ``python crash.py MODE ARGS``.

    python crash.py trace HOME LIST      play it once; write to LIST what the tap saw
    python crash.py kill DIR STEP SHIFT [MUTANT]
                                         kill it before and after every STEPth call, from SHIFT on;
                                         after each kill go on to the end, and audit the spool

Each run is a fork of this process: nothing is loaded twice.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).parent))
import story
from mutants import MUTANTS
from tap import Tap

from bench.audit import Audit
from fjd.spool.project import Project
from fjd.spool.sweeping import sweep
from fjd.system.files import write_all

mutant = "none"


def in_child(act: Callable[[], None], what: str) -> int:
    """Do it in a process of its own and return its wait status; complain if it fails by itself."""
    pid = os.fork()
    if pid == 0:
        try:
            MUTANTS[mutant]()
            act()
            os._exit(0)
        except BaseException:  # noqa: BLE001  it is printed, and the process ends
            print(what, flush=True)
            traceback.print_exc()
            os._exit(1)
    return os.waitpid(pid, 0)[1]


class Run:
    """One run in a directory of its own."""

    def __init__(self, path: str) -> None:
        self.path = path
        shutil.rmtree(path, ignore_errors=True)
        os.mkdir(path, 0o700)
        for name in ("home", "tmp", "cwd"):
            os.mkdir(f"{path}/{name}", 0o700)
        os.environ.update(FJD_HOME=f"{path}/home", TMPDIR=f"{path}/tmp", EXECUTED=f"{path}/log")
        tempfile.tempdir = None
        os.chdir(f"{path}/cwd")
        Path(path, "log").touch()
        Path(path, "said").touch()
        story.write_jobs()

    def tell(self, point: int, before: bool, listing: str = "") -> None:
        """Play the story until it is killed."""
        said = os.open(f"{self.path}/said", os.O_WRONLY | os.O_APPEND)
        tap = Tap(f"{self.path}/home/p", point, before)
        tap.open_up()
        story.tell("p", lambda job: write_all(said, f"{job}\n".encode(), "said"))
        if listing:
            Path(listing).write_text("".join(f"{call}\n" for call in tap.seen))

    def audit(self) -> list[str]:
        """Return what is wrong, and what the next sweep leaves in tmp/ a day and a half later."""
        said = Path(self.path, "said").read_text().split()
        executed = Path(self.path, "log").read_text().splitlines()
        names = {*story.JOBS, story.DROPPED}
        found = Audit(f"{self.path}/home/p", said, names - set(said), executed).run().problems
        project = Project("p", f"{self.path}/home/p")
        past = time.time() - 40 * 3600
        for name in os.listdir(project.tmp):
            os.utime(f"{project.tmp}/{name}", (past, past))
        sweep(project)
        return found + [f"never swept: tmp/{name}" for name in os.listdir(project.tmp)]

    def kill_at(self, point: int, before: bool) -> tuple[bool, list[str]]:
        """Kill the story there and go on; was it killed at all, and what is wrong afterwards."""
        what = f"{'before' if before else 'after'} call {point}"
        status = in_child(lambda: self.tell(point, before), what)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if not killed and status:
            return False, [f"{what}: it broke without being killed", *self.audit()]
        if killed and in_child(lambda: story.finish("p"), f"{what}: going on"):
            return True, [f"{what}: going on failed", *self.audit()]
        return killed, [f"{what}: {problem}" for problem in self.audit()]


def kill(directory: str, step: int, shift: int) -> int:
    """Kill at every ``step``-th point, before and after; print the counts and all problems."""
    points = kills = wrong = 0
    point = 1 + shift
    while True:
        for before in (True, False):
            killed, problems = Run(f"{directory}/{shift}").kill_at(point, before)
            kills += killed
            wrong += bool(problems)
            for problem in problems:
                print(problem, flush=True)
        if not killed:
            break
        points += 1
        point += step
    shutil.rmtree(f"{directory}/{shift}")
    print(f"{points} points, {kills} kills, {wrong} runs with something wrong")
    return 1 if wrong else 0


def trace(directory: str, listing: str) -> int:
    """Play the story once, with the tap open."""
    Run(directory).tell(0, False, listing)
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "trace":
        sys.exit(trace(*sys.argv[2:]))
    mutant = [*sys.argv, mutant][5]
    sys.exit(kill(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
