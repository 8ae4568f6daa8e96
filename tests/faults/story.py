"""Days in the life of a project, with every verb of the protocol in one of them.

``tell`` plays one of the ``CHAPTERS``; ``cast.finish`` is what happens after a crash: another
dispatcher and another worker come and go on until nothing is left to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Callable, NamedTuple

from cast import Boss, Mortal, staff, work

from fjd.spool import lookup, pods, submission
from fjd.spool.project import Project
from fjd.system import files

JOBS = {
    "ok": "true",
    "flaky": 'test "$FJD_ATTEMPT" -gt 2\nretries: 1',
    "doomed": "true",  # the worker that tries it first dies
    "ended": "true",  # and so does this one's, after the record of the end
    "leaver": 'test "$FJD_ATTEMPT" -gt 1 || { kill $PPID; exec sleep 60; }',
}
DROPPED = "bad"
LISTS = {
    "many.tasks": (
        "true",
        "true",  # the worker that tries it first dies
        'test "$FJD_ATTEMPT" -gt 1',
        "true",
        "true",
        "#FJD BARRIER",
    ),
    "few.tasks": (
        JOBS["leaver"],
        "false",
        "#FJD BARRIER CHECK",
        "true",  # is never run
    ),
}
NOTE = 'echo "$FJD_JOB $FJD_ATTEMPT" >>"$EXECUTED"'
NOTE_OF_TASK = 'echo "$FJD_JOB $FJD_TASK $FJD_ATTEMPT $FJD_WORKER" >>"$EXECUTED"'


class Chapter(NamedTuple):
    """One day.

    Attributes:
        names: of the jobs that are submitted.
        opened: whether the project is there already.
        lists: those of them that are lists, and how many numbers of theirs count at the end.
        special: which of these are no tasks ("barrier"), or fail for ever ("failed").
    """

    tell: Callable[[Project, Callable[..., None], Callable[[str], None]], None]
    names: tuple[str, ...]
    opened: bool
    lists: dict[str, int]
    special: dict[int, str]


def write_jobs(chapter: Chapter) -> None:
    """Write the job files where the user has them."""
    for name in chapter.names:
        with open(name, "w") as file:
            file.writelines(_lines(name))


def _lines(name: str) -> Iterator[str]:
    if name in LISTS:
        for task in LISTS[name]:
            yield f"{task}\n" if task[0] == "#" else f"{NOTE_OF_TASK}; {task}\n"
        return
    yield "[control]\n"
    if name in JOBS:
        first, _, rest = JOBS[name].partition("\n")
        yield f"executable: {NOTE}; t() {{ {first}; }}; t\n{rest}\n"


def tell(name: str, chapter: Chapter, said: Callable[[str], None]) -> None:
    """Play one day; ``said`` is told what the user was told is submitted."""
    project, here = Project.open(name), os.getcwd()  # a worker changes it

    def submit(*jobs: str) -> None:
        submission.submit(project, [f"{here}/{job}" for job in jobs])
        for job in jobs:
            said(job)

    def drop(job: str) -> None:
        os.utime(f"{here}/{job}", (1e9, 1e9))
        assert files.move(f"{here}/{job}", f"{project.jobqueue}/{job}")
        said(job)

    chapter.tell(project, submit, drop)


def deaths(project: Project, submit: Callable[..., None], drop: Callable[[str], None]) -> None:
    """Two workers die: one in its job, one with the record of its end written."""
    boss = Boss(project)
    for job in ("doomed", "ended"):
        mortal = Mortal(project)
        submit(job)
        boss.look()
        token = mortal.accept(job)
        if job == "ended":
            mortal.record(token)
        mortal.die()
        boss.look()
        if job == "doomed":
            mortal.wake_up(token)
    worker = staff(project)
    work(boss, worker)
    worker.stop()
    boss.leave()


def failures(project: Project, submit: Callable[..., None], drop: Callable[[str], None]) -> None:
    """Jobs fail, are tried again, are rejected, are submitted again; a worker leaves."""
    boss = Boss(project)
    submit("ok", "flaky")
    drop(DROPPED)
    first = staff(project)
    boss.look()
    second = staff(project)
    boss.look()
    work(boss, first, second)
    for found in (*lookup.failed(project), *lookup.rejected(project)):
        assert submission.again(project, found)
    work(boss, first, second)
    first.stop()
    second.stop()
    boss.leave()


def departures(project: Project, submit: Callable[..., None], drop: Callable[[str], None]) -> None:
    """Workers are fired and dismissed."""
    boss = Boss(project)
    first, second = staff(project), staff(project)
    first.stop()
    submit("leaver")
    boss.look()
    second.tick()  # the signal reaches it, for it came last
    assert second._should_stop()
    second.stop()
    third = staff(project)
    work(boss, third)
    for now in (False, True):
        assert pods.dismiss(project, third.card.worker, now)
    assert not third.tick()
    assert third._should_stop()
    third.stop()
    assert not pods.dismiss(project, third.card.worker)
    boss.leave()


def pieces(project: Project, submit: Callable[..., None], drop: Callable[[str], None]) -> None:
    """A list: a piece is split, its worker dies, a task is tried again, a barrier is passed."""
    boss = Boss(project)
    mortal = Mortal(project)
    drop("many.tasks")
    boss.look()
    mortal.run_piece(1, boss.look)
    boss.look()
    boss.leave()
    boss = Boss(project)  # goes on with what the other one has folded, and joins the rows
    worker = staff(project)
    work(boss, worker)
    worker.stop()
    boss.leave()


def stops(project: Project, submit: Callable[..., None], drop: Callable[[str], None]) -> None:
    """Another list: a worker is fired, a task fails for ever, and so the list is stopped."""
    boss = Boss(project)
    worker = staff(project)
    drop("few.tasks")
    work(boss, worker, until=worker._should_stop)
    worker.stop()
    last = staff(project)
    work(boss, last)
    last.stop()
    boss.leave()


CHAPTERS = {
    "deaths": Chapter(deaths, ("doomed", "ended"), False, {}, {}),
    "failures": Chapter(failures, ("ok", "flaky", DROPPED), True, {}, {}),
    "departures": Chapter(departures, ("leaver",), True, {}, {}),
    "pieces": Chapter(pieces, ("many.tasks",), True, {"many.tasks": 6}, {5: "barrier"}),
    "stops": Chapter(stops, ("few.tasks",), True, {"few.tasks": 2}, {1: "failed"}),
}
