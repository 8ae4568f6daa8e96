"""Reading a list as it is cut: a little ahead of the mark, never as a whole."""

from __future__ import annotations

import io
import itertools
import os
from collections import deque
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple, Optional

from fjd.dispatcher.writer import Writer
from fjd.errors import JobFileError
from fjd.spool.lists import content, grammar
from fjd.spool.lists.covered import Covered
from fjd.spool.lists.grammar import ENGINE_BASE, PER_ENGINE, Barrier, Item
from fjd.spool.lists.names import Mark
from fjd.spool.lists.shelf import Shelf
from fjd.spool.lists.task import Task
from fjd.spool.lists.terms import Terms
from fjd.spool.names import job_name
from fjd.system import files

_AHEAD = 10_000  # items that are read and not cut, at most: enough to see the end come
_HEAVY = 8 << 20  # bytes of them, about


class Share(NamedTuple):
    """What the next piece consists of: the tasks behind the mark up to ``hi``."""

    hi: int
    tasks: Sequence[Task]


class Reader:
    """The list behind the mark. What an earlier run has done is passed over.

    Every verb that takes a mark raises FileNotFoundError if the mark was moved on or removed, and
    JobFileError if the list cannot be read at all or what comes next in it cannot be run.

    Args:
        done: the numbers that an earlier run has done.
        writer: who may still write it.

    Attributes:
        broken_off: who wrote the list has died before its end.
    """

    def __init__(self, shelf: Shelf, terms: Terms, done: Covered, writer: Writer) -> None:
        self._shelf, self._terms, self._done, self._writer = shelf, terms, done, writer
        self._name = terms.name or job_name(shelf.key)
        self._file: Optional[BinaryIO] = None
        self._source = self._nothing = grammar.Reader(io.BytesIO(), "")
        self._ahead: deque[Item] = deque()  # read, not yet cut
        self._weight = 0
        self._cut = 0  # the mark's number
        self.broken_off = False

    # -- what comes next ----------------------------------------------------------------------

    def share(self, mark: Mark, size: int, crew: int) -> Optional[Share]:
        """Return what the next piece should be; None if there is nothing (yet).

        Towards the end of the list, or a barrier, it becomes smaller, so that all have some.

        Args:
            size: how many tasks, as long as there are plenty.
            crew: how many share the list.
        """
        self._at(mark)
        wanted = 2 * size * max(crew, 1)
        self._read(min(wanted, _AHEAD))
        there = 0
        for item in itertools.islice(self._ahead, wanted):
            if isinstance(item, Barrier):
                break
            there += 1
        if there < min(wanted, _AHEAD):
            size = max(1, min(size, -(-there // (2 * max(crew, 1)))))
        return self._take(min(size, there)) if there else None

    def _take(self, count: int) -> Share:
        tasks: list[Task] = []
        size = 0
        for item in itertools.islice(self._ahead, count):
            assert isinstance(item, Task)
            size += len(item.command)
            if tasks and size > content.ENOUGH:
                break
            tasks.append(item)
        return Share(tasks[-1].number + 1, tasks)

    def barriers(self, mark: Mark) -> list[Barrier]:
        """Return the barriers that come next, as far as no task is between them."""
        self._at(mark)
        self._read(1)
        found: list[Barrier] = []
        while len(found) < len(self._ahead):
            item = self._ahead[len(found)]
            if not isinstance(item, Barrier):
                break
            found.append(item)
            if len(found) == len(self._ahead):
                self._read(len(found) + 1)
        return found

    def end(self, mark: Mark) -> Optional[int]:
        """Return the number behind the last one, if no more tasks or barriers come; else None."""
        self._at(mark)
        self._read(1)
        if self._ahead or not self._source.exhausted:
            return None
        return max(self._source.number, mark.n)

    def cut(self, hi: int) -> None:
        """The mark was moved."""
        while self._ahead and self._ahead[0].number < hi:
            self._weight -= _weigh(self._ahead.popleft())
        self._cut = hi

    def commands(self, mark: Mark) -> Optional[tuple[Sequence[Task], Sequence[Task]]]:
        """Return what every engine runs before its first task, and after its last one.

        None: the list does not say yet.
        """
        self._at(mark)
        self._read(1)
        known = self._ahead or self._source.number or self._source.exhausted
        return (self._source.start, self._source.stop) if known else None

    @property
    def barrier(self) -> Optional[int]:
        """The number of the barrier that comes next; None if it is a task, or nothing is known."""
        first = self._ahead[0] if self._ahead else None
        return first.number if isinstance(first, Barrier) else None

    @property
    def more(self) -> bool:
        """Tell whether there may be something that was not read yet."""
        return self._file is None or not self._source.exhausted

    # -- what came before ---------------------------------------------------------------------

    def again(self, lo: int, hi: int) -> bytes:
        """Return the content of a piece once more (a power cut took it).

        Raises Torn if the list cannot tell any more what its tasks were.
        """
        try:
            found = list(self.items(lo, hi))
        except JobFileError as error:
            raise content.Torn(str(error)) from None
        tasks = [item for item in found if isinstance(item, Task)]
        if len(tasks) + self._done.within(lo, hi) != hi - lo:
            raise content.Torn("somebody made the list shorter")
        return content.encode(lo, hi, tasks, common(self._shelf.key, self._terms))

    def items(self, lo: int, hi: int) -> Iterator[Item]:
        """Yield what is to be done of a range, read anew; a list that was cut off has less."""
        mark = self._shelf.look(nudge=True).mark
        if mark is None:
            raise FileNotFoundError(self._shelf.path)
        if lo >= ENGINE_BASE:
            yield from engine_tasks(self.commands(mark) or ((), ()), lo, hi)
            return
        with self._open(mark) as file:
            source = grammar.Reader(file, self._name)
            if not source.skip_to(lo):
                return
            while source.number < hi:
                item = source.next()
                if item is None:
                    return
                if item.number not in self._done:
                    yield item

    # -- the file -----------------------------------------------------------------------------

    def _open(self, mark: Mark) -> BinaryIO:
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.fdopen(os.open(self._shelf.place(mark), flags), "rb")
        except OSError as error:
            if isinstance(error, FileNotFoundError) or error.errno in files.TRANSIENT:
                raise
            raise JobFileError(
                f"it cannot be read: {error.strerror}",
                where=self._shelf.place(mark),
                remedy="submit it again",
            ) from None

    def _at(self, mark: Mark) -> None:
        """Have the list open at the mark; only a restart or a lost race reads it anew."""
        if self._file is not None and self._cut == mark.n:
            return
        self.close()
        self._file = self._open(mark)
        growing = self._terms.writer is not None
        self._source = grammar.Reader(self._file, self._name, growing)
        self._cut = mark.n
        try:
            self._source.skip_to(mark.n)
        except BaseException:
            self.close()
            raise

    def _read(self, count: int) -> None:
        source, ahead = self._source, self._ahead
        dead = not source.exhausted and self._writer.is_dead()
        try:
            while len(ahead) < count and self._weight < _HEAVY:
                item = source.next()
                if item is None:
                    if dead and not source.exhausted:
                        self.broken_off = source.exhausted = True
                    return
                if item.number < self._cut:
                    continue  # of a list that was not as long as its mark
                if self._done.count and item.number in self._done:
                    source.skip_to(self._done.after(item.number))
                    continue
                ahead.append(item)
                self._weight += _weigh(item)
        except JobFileError:
            if ahead:
                return  # what comes before that line is run first; the source will say it again
            self.close()
            raise
        except BaseException:
            self.close()  # a source that has failed looks like one that is exhausted
            raise

    def close(self) -> None:
        """Leave nothing open."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._source = self._nothing
        self._ahead.clear()
        self._weight = 0


def engine_tasks(
    commands: tuple[Sequence[Task], Sequence[Task]], lo: int, hi: int
) -> Iterator[Task]:
    """Yield commands of an engine, with the numbers that they have as tasks."""
    for number in range(lo, hi):
        which, at = divmod((number - ENGINE_BASE) % (2 * PER_ENGINE), PER_ENGINE)
        if at < len(commands[which]):
            yield commands[which][at]._replace(number=number)


def common(key: str, terms: Terms) -> dict[str, object]:
    """Return what the tasks of a list have in common, for the heads of its pieces."""
    name = terms.name or job_name(key)
    env = {
        **terms.env,
        "DISBATCH_JOBID": terms.run or name,
        "DISBATCH_NAMETASKS": name,
        "DISBATCH_CORES_PER_TASK": terms.cores,
    }
    if terms.kvs:
        env["DISBATCH_KVSSTCP_HOST"] = terms.kvs
    return {"key": key, "cwd": terms.cwd, "env": env}


def _weigh(item: Item) -> int:
    return 100 + len(item.command if isinstance(item, Task) else item.text)
