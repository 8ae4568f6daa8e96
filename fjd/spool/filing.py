"""Filing: what has ended goes to ``done/`` or ``failed/``, or back into the queue.

The directories fill up in shards of a thousand, so that no listing ever grows without bound. A
filed name tells everything that counts: job, attempt, worker, outcome.
"""

from __future__ import annotations

from collections.abc import Iterator

from fjd.spool import outcomes
from fjd.spool.names import STATUS, WHY, Result, Token
from fjd.spool.project import Project
from fjd.system import files

SHARD = 1000  # files per directory


def _shards(path: str) -> list[str]:
    names = files.listing(path) or ()
    return sorted(name for name in names if name.isascii() and name.isdigit())


def newest(place: str, number: int) -> list[str]:
    """Return the directories in ``project.done`` or ``project.failed`` that were filled last."""
    shards = sorted(map(int, _shards(place)))[-number:]
    return [f"{place}/{shard:03d}" for shard in shards]


class Shards:
    """One directory of shards (``000``, ``001``, ...); hands out the place for the next file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._number, self._left = -1, 0

    def _open(self) -> None:
        numbers = list(map(int, _shards(self.path)))
        if self._number < 0 and numbers:
            self._number = max(numbers)
            used = files.listing(f"{self.path}/{self._number:03d}") or ()
            self._left = SHARD - len(used)
        if self._left <= 0:
            self._number = max([*numbers, self._number]) + 1
            self._left = SHARD
        files.make_directory(self.path)  # somebody may have removed it with all that is in it
        files.make_directory(f"{self.path}/{self._number:03d}")

    def place(self) -> str:
        """Return the directory for the next file."""
        if self._left <= 0:
            self._open()
        self._left -= 1
        return f"{self.path}/{self._number:03d}"

    def forget(self) -> None:
        """Somebody removed the shard: find or make one again."""
        self._number, self._left = -1, 0


class Cabinet:
    """Where the dispatcher files results."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._done, self._failed = Shards(project.done), Shards(project.failed)
        self._statuses: dict[Token, str] = {}  # of lists, beside their results

    def results(self, nudge: bool = False) -> list[Result]:
        """Return what has ended and is not yet filed."""
        names = files.listing(self.project.results, nudge) or ()
        beside = {
            name: Result.parse(name[: -len(STATUS)]) for name in names if name.endswith(STATUS)
        }
        self._statuses = {result.token: name for name, result in beside.items() if result}
        return [result for result in map(Result.parse, names) if result]

    def path(self, result: Result) -> str:
        """Return where an ended job lies until it is filed."""
        return f"{self.project.results}/{result}"

    def file(self, result: Result) -> bool:
        """Ended -> filed. False: another dispatcher did it.

        The name is the same for all, so that two who do it at the same moment may both say True:
        it is filed, once, and each of them may count it among what has ended in his time.
        """
        shards = self._done if result.outcome == outcomes.OK else self._failed
        while True:
            try:
                place = shards.place()
                status = self._statuses.get(result.token)  # in the name of whoever put it there
                if status:  # first: the token says that all is there
                    files.move(f"{self.project.results}/{status}", f"{place}/{result}{STATUS}")
                return files.move(self.path(result), f"{place}/{result}")
            except FileNotFoundError:
                shards.forget()

    def again(self, result: Result) -> bool:
        """Ended -> queued, as the next attempt (the job's retries allow it)."""
        token = result.token._replace(
            attempt=result.token.attempt + 1, failures=result.token.failures + 1
        )
        return files.move(self.path(result), f"{self.project.requeue}/{token.on_its_way_back()}")


def filed(project: Project, place: str) -> Iterator[tuple[str, Result]]:
    """Yield (path, result) of everything in ``project.done`` or ``project.failed``."""
    for shard in _shards(place):
        for name in files.listing(f"{place}/{shard}") or ():
            result = Result.parse(name)
            if result:
                yield f"{place}/{shard}/{name}", result


def retry(project: Project, path: str, result: Result) -> bool:
    """Filed as failed -> queued, with a clean slate. False: it is gone already."""
    token = Token(result.token.key, result.token.serial, result.token.attempt + 1)
    return files.move(path, f"{project.requeue}/{token.on_its_way_back()}")


def rejected(project: Project) -> Iterator[tuple[Token, str]]:
    """Yield what was rejected, with the reason."""
    for name in sorted(files.listing(project.rejected) or ()):
        token = Token.parse(name)
        if token:
            yield token, reason(project, token)


def reason(project: Project, token: Token) -> str:
    """Return why a job was rejected ("" if that is not known)."""
    try:
        data = files.read(f"{project.rejected}/{token}{WHY}")
    except OSError:
        return ""
    return data.decode("utf-8", "replace").strip()
