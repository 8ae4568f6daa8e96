"""Lookup: where the job is that a user means, by listings alone.

What comes back is outdated on arrival, for a job may move while the directories are read; whoever
acts on it tries a rename and sees. A job may be named by its file name, its key, or the beginning
of one of them that fits no other job's file name. A path is taken for its last part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional

from fjd.errors import UsageError
from fjd.spool import crew, filing, names, outcomes, pods
from fjd.spool.names import WHY, Result, Token
from fjd.spool.project import Project
from fjd.system import files

QUEUED = "queued"
ASSIGNED = "assigned"
RUNNING = "running"
ENDED = "ended"
FILED = "filed"
REJECTED = "rejected"

_SHOWN = 5  # names in a message


class Found(NamedTuple):
    """One job in one place.

    Attributes:
        state: where its token lies (the table in ``fjd.spool``).
        job: its file name.
        token: what its name says; None for a submission that no dispatcher has seen yet.
        worker: who has it, or had it last ("" if nobody).
        code: the outcome's code if it has ended, else "".
        path: where the file lay.
    """

    state: str
    job: str
    token: Optional[Token]
    worker: str
    code: str
    path: str

    @property
    def key(self) -> str:
        """The job's key ("" as long as it has none)."""
        return self.token.key if self.token else ""

    @property
    def outcome(self) -> str:
        """How it came out ("" before)."""
        return outcomes.outcome(self.code) if self.code else ""

    def _age(self) -> tuple[bool, int]:
        """A sort key, the newest last: what was never assigned has been submitted last."""
        fresh = self.state == QUEUED and (self.token is None or self.token.serial == 0)
        return fresh, self.token.serial if self.token else 0


def queued(project: Project) -> Iterator[Found]:
    """Yield what waits in jobqueue/ and requeue/."""
    for name in files.listing(project.jobqueue) or ():
        if names.is_job(name):
            job, token = names.submission(name)
            yield Found(QUEUED, job, token, "", "", f"{project.jobqueue}/{name}")
    for name in files.listing(project.requeue) or ():
        token = Token.parse(name)
        if token:
            yield Found(QUEUED, token.job, token, "", "", f"{project.requeue}/{name}")


def in_pods(project: Project) -> Iterator[Found]:
    """Yield what is assigned and what runs."""
    for worker in crew.with_pods(project):
        for held in pods.contents(project, worker) or ():
            state = RUNNING if held.accepted else ASSIGNED
            path = f"{project.pod(worker)}/{held}"
            yield Found(state, held.token.job, held.token, worker, "", path)


def ended(project: Project) -> Iterator[Found]:
    """Yield what has ended and is not yet filed."""
    for name in files.listing(project.results) or ():
        result = Result.parse(name)
        if result:
            yield _of_result(ENDED, result, f"{project.results}/{name}")


def failed(project: Project) -> Iterator[Found]:
    """Yield what is filed in failed/."""
    for path, result in filing.filed(project, project.failed):
        yield _of_result(FILED, result, path)


def done(project: Project) -> Iterator[Found]:
    """Yield what is filed in done/."""
    for path, result in filing.filed(project, project.done):
        yield _of_result(FILED, result, path)


def rejected(project: Project) -> Iterator[Found]:
    """Yield what was rejected."""
    for name in files.listing(project.rejected) or ():
        token = Token.parse(name)
        if token and not name.endswith(WHY):
            yield Found(REJECTED, token.job, token, "", "", f"{project.rejected}/{name}")


def live(project: Project) -> Iterator[Found]:
    """Yield all jobs that are not filed, in the order in which they move."""
    yield from queued(project)
    yield from in_pods(project)
    yield from ended(project)


def everything(project: Project) -> Iterator[Found]:
    """Yield all jobs; one that moves meanwhile may come twice."""
    yield from live(project)
    yield from rejected(project)
    yield from failed(project)
    yield from done(project)


def _of_result(state: str, result: Result, path: str) -> Found:
    return Found(state, result.token.job, result.token, result.worker, result.outcome, path)


class Wanted:
    """What a user typed for a job."""

    def __init__(self, text: str) -> None:
        self.text = text.rpartition("/")[2] or text
        cut = names.job_name(names.new_key(self.text))
        self._names = {self.text, cut}  # a long name is cut in a key

    def is_exactly(self, found: Found) -> bool:
        """Tell whether it is this job's name or key."""
        return found.job in self._names or found.key == self.text

    def begins(self, found: Found) -> bool:
        """Tell whether this job's name or key begins with it."""
        text = self.text
        return bool(text) and (found.job.startswith(text) or found.key.startswith(text))


def select(jobs: Iterator[Found], text: str) -> list[Found]:
    """Return the jobs of one file name that ``text`` stands for, the newest last.

    Raises:
        UsageError: it is the beginning of several names.
    """
    wanted = Wanted(text)
    keyed: list[Found] = []
    named: list[Found] = []
    near: list[Found] = []
    for found in jobs:
        if found.key == wanted.text:
            keyed.append(found)
        elif wanted.is_exactly(found):
            named.append(found)
        elif wanted.begins(found):
            near.append(found)
    if not keyed and not named:
        _refuse_several(wanted.text, near)
    best = keyed or named or near
    chosen = {found.key or found.path: found for found in best}  # seen twice: the later
    return sorted(chosen.values(), key=Found._age)


def _refuse_several(text: str, near: Sequence[Found]) -> None:
    jobs = sorted({found.job for found in near})
    if len(jobs) > 1:
        more = ", ..." if len(jobs) > _SHOWN else ""
        raise UsageError(
            f"{len(jobs)} jobs begin with {text!r}: {', '.join(jobs[:_SHOWN])}{more}",
            remedy="type more of the name",
        )
