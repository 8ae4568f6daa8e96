"""Kills the process of story.py at each of its system calls: ``python crash.py MODE ARGS``.

    python crash.py trace DIR            play each chapter once in DIR/<chapter>; write to
                                         DIR/<chapter>/listing what the tap saw
    python crash.py kill DIR STEP SHIFT [MUTANT [CHAPTER]]
                                         kill it at every STEPth call, from SHIFT on; after each
                                         kill go on to the end, and audit the spool

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
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).parent))
import cast
import story
from mutants import MUTANTS
from tap import Tap

from bench.audit import Audit
from bench.storm import keep_progress
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
    """One run of a chapter, in a directory of its own."""

    def __init__(self, path: str, chapter: str) -> None:
        self.path, self.chapter = path, story.CHAPTERS[chapter]
        shutil.rmtree(path, ignore_errors=True)
        os.mkdir(path, 0o700)
        for name in ("tmp", "cwd", "witness"):
            os.mkdir(f"{path}/{name}", 0o700)
        os.environ.update(FJD_HOME=f"{path}/made", TMPDIR=f"{path}/tmp", EXECUTED=f"{path}/log")
        os.mkdir(f"{path}/made", 0o700)
        if self.chapter.opened:
            Project.open("p")
        os.rename(f"{path}/made", f"{path}/home")  # so that the tap need not see what was before
        os.environ["FJD_HOME"] = f"{path}/home"
        tempfile.tempdir = None
        os.chdir(f"{path}/cwd")
        Path(path, "log").touch()
        Path(path, "said").touch()
        story.write_jobs(self.chapter)

    def tell(self, tap: Tap) -> None:
        """Play the story until it is killed."""
        said = os.open(f"{self.path}/said", os.O_WRONLY | os.O_APPEND)
        keep_progress(f"{self.path}/witness")
        tap.open_up()
        story.tell("p", self.chapter, lambda job: write_all(said, f"{job}\n".encode(), "said"))

    def finish(self) -> None:
        """Go on after the kill."""
        keep_progress(f"{self.path}/witness")
        cast.finish("p")

    def audit(self) -> list[str]:
        """Return what is wrong, and what the next sweep leaves in tmp/ a day and a half later."""
        said = Path(self.path, "said").read_text().split()
        executed = Path(self.path, "log").read_text().splitlines()
        chapter, witness = self.chapter, f"{self.path}/witness"
        maybe = set(chapter.names) - set(said)
        found = Audit(
            f"{self.path}/home/p", said, maybe, executed, chapter.lists, witness, chapter.special
        )
        problems = found.run().problems
        project = Project("p", f"{self.path}/home/p")
        past = time.time() - 40 * 3600
        for name in os.listdir(project.tmp):
            os.utime(f"{project.tmp}/{name}", (past, past))
        sweep(project)
        return problems + [f"never swept: tmp/{name}" for name in os.listdir(project.tmp)]

    def tap(self, point: int, before: bool) -> Tap:
        """Return what kills it there."""
        return Tap(f"{self.path}/home/p", point, before)


class Kills:
    """Kills a chapter here and there, and counts."""

    def __init__(self, path: str, chapter: str) -> None:
        self.path, self.chapter = path, chapter
        self.kills = self.wrong = 0

    def at(self, point: int) -> bool:
        """Kill before that call, and after the one before if that is not the same; was it there?"""
        tap, killed = self._kill(point, True)
        if point > 1 and (tap.apart[0] or not killed):
            self._kill(point - 1, False)
        return killed

    def _kill(self, point: int, before: bool) -> tuple[Tap, bool]:
        run = Run(self.path, self.chapter)
        tap = run.tap(point, before)
        what = f"{self.chapter}, {'before' if before else 'after'} call {point}"
        status = in_child(lambda: run.tell(tap), what)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        problems: list[str] = []
        if not killed and status:
            problems = ["it broke without being killed"]
        elif killed and in_child(run.finish, f"{what}: going on"):
            problems = ["going on failed"]
        problems += run.audit()
        for problem in problems:
            print(f"{what}: {problem}", flush=True)
        self.kills += killed
        self.wrong += bool(problems)
        return tap, killed


def kill(directory: str, step: int, shift: int, chapters: Sequence[str]) -> int:
    """Kill at every ``step``-th point; print the counts and all problems."""
    points = kills = wrong = 0
    for chapter in chapters:
        here = Kills(f"{directory}/{shift}", chapter)
        point = 1 + shift
        while here.at(point):
            points += 1
            point += step
        kills, wrong = kills + here.kills, wrong + here.wrong
        shutil.rmtree(here.path)
    print(f"{points} points, {kills} kills, {wrong} runs with something wrong")
    return 1 if wrong else 0


def trace(directory: str) -> int:
    """Play each chapter once, with the tap open."""
    status = 0
    for chapter in story.CHAPTERS:
        run = Run(f"{directory}/{chapter}", chapter)
        tap = run.tap(0, False)

        def play() -> None:
            run.tell(tap)  # noqa: B023  it is called at once
            listing = "".join(f"{call}\n" for call in tap.seen)  # noqa: B023
            Path(run.path, "listing").write_text(listing)  # noqa: B023

        status |= in_child(play, chapter)
    return int(status != 0)


if __name__ == "__main__":
    if sys.argv[1] == "trace":
        sys.exit(trace(sys.argv[2]))
    mutant = [*sys.argv, mutant][5]
    chosen = sys.argv[6:] or list(story.CHAPTERS)
    sys.exit(kill(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), chosen))
