"""Reading a list as it is cut: a little ahead of the mark, never as a whole."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO, Optional

from fjd.errors import JobFileError
from fjd.spool.lists import content
from fjd.spool.lists.content import Task
from fjd.spool.lists.names import Mark
from fjd.spool.lists.shelf import Shelf
from fjd.system import files

_AHEAD = 10_000  # tasks that are read and not cut, at most: enough to see the end come


class Reader:
    """The list behind the mark.

    Every verb raises FileNotFoundError if the mark was moved on or removed, and JobFileError if
    the list cannot be read at all or what comes next in it cannot be run.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._file: Optional[BinaryIO] = None
        self._source: Iterator[Task] = iter(())
        self._ahead: deque[Task] = deque()  # read, not yet cut; the first one has the mark's number
        self._exhausted = False
        self._position = 0

    def share(self, mark: Mark, size: int, crew: int) -> int:
        """Return how many tasks a piece should have: less towards the end, so that all have some.

        Args:
            size: how many, as long as there are plenty.
            crew: how many share the list.
        """
        self._at(mark)
        self._read(min(2 * size * max(crew, 1), _AHEAD))
        if self._exhausted:
            size = min(size, -(-len(self._ahead) // (2 * max(crew, 1))))
        return max(1, size)

    def tasks(self, mark: Mark, count: int) -> list[Task]:
        """Return the next tasks behind the mark, as many as fit into a piece."""
        self._at(mark)
        self._read(count)
        tasks: list[Task] = []
        size = 0
        for task in itertools.islice(self._ahead, count):
            size += len(task.command)
            if tasks and size > content.ENOUGH:
                break
            tasks.append(task)
        return tasks

    def cut(self, count: int) -> None:
        """So many tasks were cut."""
        for _ in range(count):
            self._ahead.popleft()

    def again(self, lo: int, hi: int) -> bytes:
        """Return the content of a piece once more (a power cut took it).

        Raises Torn if the list cannot tell any more what its tasks were.
        """
        mark = self._shelf.look(nudge=True).mark
        if mark is None:
            raise FileNotFoundError(self._shelf.path)
        try:
            with self._open(mark) as file:
                tasks = list(itertools.islice(content.lines(file, self._shelf.key), lo, hi))
        except JobFileError as error:
            raise content.Torn(str(error)) from None
        if len(tasks) != hi - lo:
            raise content.Torn("somebody made the list shorter")
        return content.encode(lo, tasks, {"key": self._shelf.key})

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
        if self._file is not None and self._position - len(self._ahead) == mark.n:
            return
        self.close()
        self._file = self._open(mark)
        source = content.lines(self._file, self._shelf.key)
        self._source = itertools.islice(source, mark.n, None)
        self._position = mark.n

    def _read(self, count: int) -> None:
        try:
            while len(self._ahead) < count and not self._exhausted:
                task = next(self._source, None)
                if task is None:
                    self._exhausted = True
                else:
                    self._ahead.append(task)
                    self._position += 1
        except BaseException:
            self.close()  # a source that has failed looks like one that is exhausted
            raise

    def close(self) -> None:
        """Leave nothing open."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._ahead.clear()
        self._exhausted = False
