"""Wrong protocols, each with one of the mistakes that fjd does not make; and a hostile file system.

``MUTANTS[name]()`` changes the product in this process, for ever.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Optional

from fjd.spool import crew, pods
from fjd.spool.lists.names import Kept, Mark, Piece, new_birth
from fjd.spool.lists.shelf import Shelf
from fjd.spool.names import Result, Token
from fjd.spool.project import Project
from fjd.system import files


def copies() -> None:
    """Hand over by copying and unlinking instead of a rename."""

    def move(source: str, target: str) -> bool:
        try:
            data = files.read(source)
        except FileNotFoundError:
            return False
        files.create(target, data)
        return files.remove(source)

    files.move = move


def ignores_the_token() -> None:
    """Commit the job whatever became of the attempt: somebody else has it by now."""

    def commit(project: Project, worker: str, token: Token, outcome: str) -> bool:
        target = f"{project.results}/{Result(token, worker, outcome)}"
        for place in (project.pod(worker), project.requeue, *_pods(project)):
            for name in files.listing(place) or ():
                if name.startswith(f"{token.key},"):
                    return files.move(f"{place}/{name}", target)
        return False

    pods.commit = commit


def _pods(project: Project) -> list[str]:
    return [project.pod(worker) for worker in crew.with_pods(project)]


def counts_what_is_late() -> None:
    """File the end of an attempt although somebody gave up on it."""
    right = pods.commit

    def commit(project: Project, worker: str, token: Token, outcome: str) -> bool:
        if not right(project, worker, token, outcome):
            files.create(f"{project.results}/{Result(token, worker, outcome)}", b"late\n")
        return True

    pods.commit = commit


def counts_late_pieces() -> None:
    """End a piece although somebody gave up on it, and took it away."""
    right = Shelf.end

    def end(self: Shelf, worker: str, piece: Piece, why: str, at: int, k: int) -> bool:
        if not right(self, worker, piece, why, at, k):
            late = Kept(piece._replace(serial=piece.serial + 1), False, why, worker, at, k)
            files.create(self.place(late), b"late\n")
        return True

    Shelf.end = end  # type: ignore[method-assign]


def cuts_twice() -> None:
    """Hand a range out before the mark says that it was cut."""

    def cut(self: Shelf, mark: Mark, hi: int, data: bytes, worker: str = "") -> Optional[Piece]:
        given = Piece(new_birth(), mark.n, hi, 1)
        files.create(self.in_pod(worker, given, False), data)
        files.move(self.place(mark), self.place(mark._replace(n=hi)))
        return given

    Shelf.cut = cut  # type: ignore[method-assign]


def does_not_accept() -> None:
    """Start what was assigned without a rename that says so."""

    def commit(project: Project, worker: str, token: Token, outcome: str) -> bool:
        source = f"{project.pod(worker)}/{token}"
        return files.move(source, f"{project.results}/{Result(token, worker, outcome)}")

    pods.commit = commit
    pods.Pod.accept = lambda self, token: True  # type: ignore[method-assign]
    pods.Pod.job_file = lambda self, token: f"{self.path}/{token}"  # type: ignore[method-assign]


def believes_stale_listings() -> None:
    """Never make the file system look again."""
    hostile()
    files.PATIENCE = 0.2
    right = files.listing

    def listing(path: str, nudge: bool = False) -> Optional[list[str]]:
        return right(path)

    files.listing = listing


def hostile() -> None:
    """No mistake of fjd's: listings are cached until they are nudged, and replies get lost."""
    cache: dict[str, list[str]] = {}
    listdir, rename, utime = os.listdir, os.rename, os.utime
    renames = [0]

    def forget(*paths: Any) -> None:  # noqa: ANN401
        for path in paths:
            cache.pop(str(path), None)
            cache.pop(os.path.dirname(str(path)), None)

    def cached(path: Any = ".") -> list[str]:  # noqa: ANN401
        if str(path) not in cache:
            cache[str(path)] = listdir(path)
        return list(cache[str(path)])

    def lossy(source: str, target: str) -> None:
        listdir(os.path.dirname(source))
        for place in (os.path.dirname(source), os.path.dirname(target)):
            if os.path.isdir(place):
                cached(place)  # what anybody looked at a moment ago
        rename(source, target)
        renames[0] += 1
        if renames[0] % 3 == 0:
            raise FileNotFoundError(2, "the reply was lost", source)
        forget(source, target)

    def nudge(path: Any, *more: Any, **named: Any) -> None:  # noqa: ANN401
        forget(path)
        utime(path, *more, **named)

    os.listdir, os.rename, os.utime = cached, lossy, nudge  # type: ignore[assignment]
    for name in ("mkdir", "rmdir", "unlink"):
        setattr(os, name, _forgetting(getattr(os, name), forget))
    opened = os.open

    def open_file(path: Any, flags: int, *more: Any, **named: Any) -> int:  # noqa: ANN401
        if flags & os.O_CREAT:
            forget(path)
        return opened(path, flags, *more, **named)

    os.open = open_file


def _forgetting(act: Callable[..., None], forget: Callable[..., None]) -> Callable[..., None]:
    def wrapper(path: Any, *more: Any, **named: Any) -> None:  # noqa: ANN401
        forget(path)
        act(path, *more, **named)

    return wrapper


MUTANTS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "hostile": hostile,
    "copies": copies,
    "ignores-the-token": ignores_the_token,
    "counts-what-is-late": counts_what_is_late,
    "counts-late-pieces": counts_late_pieces,
    "cuts-twice": cuts_twice,
    "does-not-accept": does_not_accept,
    "believes-stale-listings": believes_stale_listings,
}
