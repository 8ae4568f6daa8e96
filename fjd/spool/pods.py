"""Pods: what a worker is to run, and the renames by which a job changes hands.

The worker's side (``Pod``): accept, commit, give back. The dispatcher's side: assign, withdraw;
that of whoever buries the worker: take, give up, end, crash.
Every verb answers True (it happened through us) or False (somebody else was first).
"""

# No postponed annotations: NamedTuple would compile each of them, and a worker waits for it.

import os
from collections.abc import Iterable
from typing import NamedTuple, Optional

from fjd.spool import outcomes
from fjd.spool.names import DEAD, GONE, RUN, Result, Token
from fjd.spool.project import Project
from fjd.system import files

CRASH_LIMIT = 5  # attempts that took their worker down before a job counts as lost

_WHYS = (DEAD, GONE)
_LOST = f",{outcomes.LOST}"
DISMISSED, DISMISSED_NOW = "dismissed", "dismissed,now"  # in a pod: its worker is to leave


class Held(NamedTuple):
    """A token in a pod, as its name says.

    Attributes:
        accepted: whether the worker has begun with it.
        why: why it was taken from its worker, DEAD or GONE; "" as long as it was not.
        lost: whether it was judged: whatever its worker says of it now is late.
    """

    token: Token
    accepted: bool
    why: str = ""
    lost: bool = False

    def __str__(self) -> str:
        if self.why:
            return f"{self.token},{self.why}{_LOST if self.lost else ''}"
        return f"{self.token}{RUN if self.accepted else ''}"


def parse(name: str) -> Optional[Held]:
    """Read the name of a file in a pod; None if it is not an assignment."""
    lost = name.endswith(_LOST)
    rest, _, last = (name[: -len(_LOST)] if lost else name).rpartition(",")
    if last in _WHYS:
        token = Token.parse(rest)
        return Held(token, True, last, lost) if token else None
    accepted = name.endswith(RUN)
    token = Token.parse(rest if accepted else name)
    return Held(token, accepted) if token else None


def contents(project: Project, worker: str, nudge: bool = False) -> Optional[list[Held]]:
    """Return what lies in a pod, oldest assignment first; None if there is no such pod."""
    names = files.listing(project.pod(worker), nudge)
    if names is None:
        return None
    return _held(names)


def _held(names: Iterable[str]) -> list[Held]:
    held = [found for found in map(parse, names) if found]
    held.sort(key=lambda item: item.token.serial)
    return held


def assign(project: Project, source: str, token: Token, worker: str) -> bool:
    """Queued -> assigned. ``source`` is a path in jobqueue/ or requeue/.

    Raises FileNotFoundError if the worker has taken its pod down; the job is still queued.
    """
    return files.move(source, f"{project.pod(worker)}/{token}")


def reassign(project: Project, old: Token, worker: str, new: Token, to: str) -> bool:
    """Assigned -> assigned to somebody else, unless it has just been accepted."""
    return files.move(f"{project.pod(worker)}/{old}", f"{project.pod(to)}/{new}")


def requeue(project: Project, worker: str, held: Held, token: Token) -> bool:
    """Assigned, running or taken -> queued, under the name of ``token``."""
    source = f"{project.pod(worker)}/{held}"
    return files.move(source, f"{project.requeue}/{token.on_its_way_back()}")


def commit(project: Project, worker: str, token: Token, outcome: str) -> bool:
    """Running -> ended, with the outcome's code in the name. False: the attempt is late."""
    return end(project, worker, Held(token, accepted=True), outcome)


def end(project: Project, worker: str, held: Held, outcome: str) -> bool:
    """Running or taken -> ended, with the outcome's code in the name."""
    source = f"{project.pod(worker)}/{held}"
    return files.move(source, f"{project.results}/{Result(held.token, worker, outcome)}")


def take(project: Project, worker: str, held: Held, why: str) -> Optional[Held]:
    """Running -> taken: its worker can end it no more. None: it has just ended.

    Of two who bury the same worker both may have taken it; only one can move it on.
    """
    pod, taken = project.pod(worker), held._replace(why=why)
    return taken if files.move(f"{pod}/{held}", f"{pod}/{taken}") else None


def give_up(project: Project, worker: str, held: Held) -> Optional[Held]:
    """Taken -> lost: no record of its end counts any more. None: somebody else judged it."""
    pod, lost = project.pod(worker), held._replace(lost=True)
    return lost if files.move(f"{pod}/{held}", f"{pod}/{lost}") else None


def dismiss(project: Project, worker: str, now: bool = False) -> bool:
    """Tell a worker to leave, on whatever host: after the task that runs, or ``now``.

    It gives back what it has not begun. Said twice is said once. False: it has left already.
    """
    word = DISMISSED_NOW if now else DISMISSED
    try:
        files.publish(project.staging(), f"{project.pod(worker)}/{word}", b"", sync=False)
    except FileNotFoundError:
        return False  # RACE: it took its pod down
    return True


def dismissal(names: Iterable[str]) -> str:
    """Return the word that stands in a pod, the stronger one of two; "" if there is none."""
    return max({DISMISSED, DISMISSED_NOW}.intersection(names), key=len, default="")


def after_return(token: Token) -> Token:
    """Return the name under which an attempt that was given back comes back."""
    return token._replace(attempt=token.attempt + 1)


def after_crash(token: Token) -> Token:
    """Return the name under which an attempt that took its worker down comes back."""
    return token._replace(attempt=token.attempt + 1, crashes=token.crashes + 1)


def is_last(token: Token) -> bool:
    """Tell whether the job is lost if this attempt takes its worker down as well."""
    return token.crashes + 1 >= CRASH_LIMIT


def crash(project: Project, worker: str, held: Held) -> bool:
    """Running or taken -> queued with one more crash, or, at the limit, ended as lost."""
    token = held.token
    if is_last(token):
        return end(project, worker, held, outcomes.LOST)
    return requeue(project, worker, held, after_crash(token))


class Pod:
    """A worker's own pod."""

    def __init__(self, project: Project, worker: str) -> None:
        self.project, self.worker = project, worker
        self.path = project.pod(worker)
        self.others: list[str] = []
        self.dismissed = ""

    def look(self, nudge: bool = False) -> list[Held]:
        """Return the assignments, oldest first. A pod that was deleted is made again.

        ``others`` then has the names of everything else: pieces of lists, and what is not ours;
        ``dismissed`` the word by which we are told to leave.
        """
        names = files.listing(self.path, nudge)
        if names is None:
            os.makedirs(self.path, 0o700, exist_ok=True)
        held = _held(names or ())
        if len(held) == len(names or ()):
            self.others = []
        else:
            self.others = [name for name in names or () if parse(name) is None]
            if len(self.others) > 1:
                from fjd.spool.lists.names import in_order

                self.others = in_order(self.others)
            self.dismissed = dismissal(self.others)
        return [item for item in held if not item.why]  # whoever buries us has taken the others

    def accept(self, token: Token) -> bool:
        """Assigned -> running. False: the dispatcher took it back."""
        return files.move(f"{self.path}/{token}", f"{self.path}/{token}{RUN}")

    def job_file(self, token: Token) -> str:
        """Return the path of an accepted job file."""
        return f"{self.path}/{token}{RUN}"

    def commit(self, token: Token, outcome: str) -> bool:
        """Running -> ended. False: somebody gave up on us; the attempt is late."""
        return commit(self.project, self.worker, token, outcome)

    def give_back(self, held: Held) -> bool:
        """Assigned or running -> queued; a running one comes back as the next attempt."""
        token = after_return(held.token) if held.accepted else held.token
        return requeue(self.project, self.worker, held, token)

    def crash(self, token: Token) -> bool:
        """Running -> queued: its attempt took the guardian down, and us with it."""
        return crash(self.project, self.worker, Held(token, accepted=True))

    def take_down(self, crashed: bool = False) -> None:
        """Give back whatever still lies here and remove the pod.

        Once the directory is gone nobody can assign anything to us; until then the dispatcher may
        be faster, so the two steps repeat.

        Args:
            crashed: what we ran took our guardian down, and us with it.
        """
        while True:
            held = contents(self.project, self.worker) or []
            if any(item.why for item in held):
                return  # whoever buries us takes the pod down
            for item in held:
                self.give_back(item)
            if remove_pod(self.project, self.worker):
                return
            from fjd.spool.lists import taking  # few workers end with a piece in hand

            taking.take_all(self.project, self.worker, crashed)


def remove_pod(project: Project, worker: str) -> bool:
    """Remove an empty pod; False if something has come into it.

    What no grammar knows (a file somebody left there) is moved out of the way into tmp/.
    """
    path = project.pod(worker)
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True  # RACE: somebody else removed it
    except OSError:
        from fjd.spool.lists.names import Assigned

        for name in files.listing(path, nudge=True) or ():
            if name in (DISMISSED, DISMISSED_NOW):
                files.remove(f"{path}/{name}")
            elif parse(name) is None and Assigned.parse(name) is None:
                files.move(f"{path}/{name}", project.staging())
        return False
    return True


def running(project: Project, worker: str) -> list[str]:
    """Return the names of the jobs of which a worker has a copy, for it runs them."""
    try:
        return files.listing(f"{project.running}/{worker}", nudge=True) or []
    except OSError:
        return []  # the job put something else in its place


def clear_running(project: Project, worker: str) -> None:
    """Remove the copies of what a worker was running."""
    path = f"{project.running}/{worker}"
    for name in running(project, worker):
        try:
            files.remove(f"{path}/{name}")
        except OSError:
            continue  # the job put a directory there, or its file is still open on NFS
    try:
        os.rmdir(path)
    except OSError:
        return  # never made, or not empty
