"""What a list says: one command per line, comments, and directives (directives.py).

Lines are bytes and are never decoded. What is blank or begins with ``#`` (blanks may stand before
it) is passed over, unless it is a directive. CR LF ends a line as LF does, and the byte order mark
that some editors put first does not belong to the first line. Numbers count tasks, instances of a
REPEAT and barriers together; PERENGINE commands are counted by themselves. Lines are those of the
file, so those inside a TASK count too, and a TASK stands where it begins.
"""

from __future__ import annotations

import os
import time
from codecs import BOM_UTF8
from functools import partial
from itertools import chain
from typing import BinaryIO, Callable, NamedTuple, NoReturn, Optional, Union

from fjd.errors import JobFileError
from fjd.spool.lists import directives
from fjd.spool.lists.directives import HUGE, KEYWORDS, Directive, Malformed
from fjd.spool.lists.task import Task as Task

LONGEST = 1 << 20  # bytes of one line or TASK
ENGINE_BASE = 1 << 40  # the numbers from here on are those of PERENGINE commands
PER_ENGINE = 1000  # commands of one kind at most
_LIMIT = LONGEST + 2  # with CR LF
_PATIENCE = 60.0  # s that the bytes of a growing list may come in the wrong order
_HASH = ord("#")
_new = tuple.__new__  # twice as fast as the class itself, and there are many


class Barrier(NamedTuple):
    """What comes later waits here; ``text`` is the line, ``key`` what to announce it under."""

    number: int
    line: int
    check: bool
    key: str
    text: bytes


Item = Union[Task, Barrier]


class _NotYet(Exception):
    """A growing list ends in the middle of a TASK."""


class Reader:
    """Reads a list as it is needed, and never holds more than a line of it.

    Args:
        file: open for reading; that of a growing list must be able to seek.
        name: what the list is called when something is wrong with it.
        growing: somebody still writes. A line without its end is left for later, and so is for a
            while one with a NUL byte: an NFS server may get the end of what was written first.

    Attributes:
        number: that of the next item.
        exhausted: no more will come. Of a growing list only ``#FJD END`` says so, or whoever knows
            that its writer has died: set it then.
        start, stop: the PERENGINE commands; all are known once ``next`` has returned something.
    """

    def __init__(self, file: BinaryIO, name: str, growing: bool = False) -> None:
        self.number = 0
        self.exhausted = False
        self.start: list[Task] = []
        self.stop: list[Task] = []
        self._file, self._name = file, name
        self._readline: Callable[[int], bytes] = self._first
        self._growing = growing
        self._hole_at = (-1, 0.0)  # the line, and since when
        self._prefix = self._suffix = b""
        self._line = 0  # lines that were read
        self._index: Optional[int] = None  # what LINE says
        self._begun = False  # no PERENGINE any more
        self._series = (0, 0, 0, 0, b"")  # of a REPEAT: first number, start, step, line, command
        self._until = 0  # where its numbers end
        self._error: Optional[JobFileError] = None

    def next(self) -> Optional[Item]:
        """Return the next task or barrier; None: nothing (yet).

        Raises:
            JobFileError: this line cannot be, and nothing behind it is read. It names the line.
        """
        if self._error is not None:
            raise self._error
        if self.number < self._until:
            return self._instance()
        while not self.exhausted:
            raw = self._readline(_LIMIT)
            whole = raw.endswith(b"\n") and 0 not in raw and len(raw) <= LONGEST
            if whole and raw[0] > _HASH and raw[-2:-1] != b"\r":  # nearly all of them: no calls
                self._begun = True
                self._line = line = self._line + 1
                if self._index is not None:
                    line = self._index
                self.number = number = self.number + 1
                text = self._prefix + raw[:-1] + self._suffix
                return _new(Task, (number - 1, line, -1, text))
            if not whole and not self._usable(raw):
                return None
            try:
                item = self._take(raw)
            except _NotYet:
                return None
            if item is not None:
                return item
        return None

    @property
    def pending(self) -> int:
        """How many further instances of a REPEAT come next, all as the last one was."""
        return max(0, self._until - self.number)

    def skip_to(self, number: int) -> bool:
        """Pass over all items below a number; False if the list ends before it (so far)."""
        if number < self.number:
            raise ValueError(f"item {number} was passed already")
        while self.number < number:
            if self.number < self._until:
                self.number = min(number, self._until)
            elif self.next() is None:
                return False
        return True

    def check(self) -> None:
        """Read to the end, only for what is wrong; each line that may be a task counts as one."""
        plain = 0
        first = self._readline(_LIMIT)
        rest = iter(partial(self._readline, _LIMIT), b"")
        for raw in chain([first] if first else [], rest):
            if raw[0] != _HASH and self._begun and 0 not in raw and len(raw) <= LONGEST:
                plain += 1
                continue
            self._line += plain
            self.number += plain
            plain = 0
            if self._usable(raw):
                self._take(raw)
            self.number = max(self.number, self._until)

    def _first(self, limit: int) -> bytes:
        """Read the first line; from the next one on there is no call in between."""
        raw = self._file.readline(limit).removeprefix(BOM_UTF8)
        if raw.endswith(b"\n"):
            self._readline = self._file.readline
        return raw

    def _take(self, raw: bytes) -> Optional[Item]:
        """Take a whole line."""
        self._line += 1
        text = raw.removesuffix(b"\n").removesuffix(b"\r")
        first = text.lstrip()[:1]
        if first == b"#":
            return self._obey(raw, text) if text.startswith(KEYWORDS) else None
        return self._task(text) if first else None

    def _task(self, text: bytes) -> Task:
        self._begun = True
        return Task(self._take_number(), self._where(), -1, self._dress(text))

    def _dress(self, text: bytes) -> bytes:
        return self._prefix + text + self._suffix

    def _take_number(self) -> int:
        self.number += 1
        return self.number - 1

    def _where(self) -> int:
        return self._line if self._index is None else self._index

    def _instance(self) -> Task:
        first, start, step, line, command = self._series
        number = self._take_number()
        return Task(number, line, start + step * (number - first), command)

    # -- odd lines ----------------------------------------------------------------------------

    def _usable(self, raw: bytes) -> bool:
        """Tell whether a line that looks odd is one."""
        whole = raw.endswith(b"\n") or len(raw) == _LIMIT
        if self._growing and (not whole or self._hole(raw)):
            self._give_back(len(raw))
            return False
        if not raw:
            self.exhausted = True
            return False
        line = self._line + 1
        if len(raw.removesuffix(b"\n").removesuffix(b"\r")) > LONGEST:
            remedy = "put it into a script, and run that"
            self._refuse(f"line {line} is longer than {LONGEST} bytes", remedy)
        if 0 in raw:
            what = f"line {line} holds a NUL byte, which no command can"
            self._refuse(what, "look at it with: cat -A")
        return True

    def _hole(self, data: bytes) -> bool:
        """Tell whether NUL bytes are still likely to be what another client has not yet written."""
        if 0 not in data:
            return False
        if self._hole_at[0] != self._line:
            self._hole_at = (self._line, time.monotonic())
        return time.monotonic() - self._hole_at[1] < _PATIENCE

    def _give_back(self, count: int) -> None:
        """Go back, and forget what is buffered: the same bytes may read otherwise later."""
        at = self._file.tell() - count
        self._file.seek(0, os.SEEK_END)  # a network file system asks for the size
        self._file.seek(at)

    # -- directives ---------------------------------------------------------------------------

    def _obey(self, raw: bytes, text: bytes) -> Optional[Item]:
        try:
            said = directives.parse(text)
            return self._apply(said, raw, text)
        except Malformed as wrong:
            self._refuse(f"line {self._line} {wrong.what}", wrong.remedy)

    def _apply(self, said: Directive, raw: bytes, text: bytes) -> Optional[Item]:
        word = said.word
        if word == "TASK":
            return self._counted(said.amount, len(raw))
        if word == "REPEAT":
            return self._repeat(said)
        if word == "BARRIER":
            self._begun = True
            return Barrier(self._take_number(), self._where(), said.check, said.key, text)
        if word == "PREFIX":
            self._prefix = said.text
        elif word == "SUFFIX":
            self._suffix = said.text
        elif word == "LINE":
            self._index = said.amount
        elif word == "END":
            self._end()
        else:
            self._per_engine(self.start if word == "START" else self.stop, said.text)
        return None

    def _repeat(self, said: Directive) -> Optional[Task]:
        self._begun = True
        if self.number + said.amount > ENGINE_BASE:
            raise Malformed("write a smaller one", HUGE)
        command = self._dress(said.text)
        self._series = (self.number, said.start, said.step, self._where(), command)
        self._until = self.number + said.amount
        return self._instance() if said.amount else None

    def _per_engine(self, commands: list[Task], text: bytes) -> None:
        if self._begun:
            raise Malformed("move it to the beginning of the list", "is PERENGINE behind a task")
        if len(commands) == PER_ENGINE:
            raise Malformed("put some of them into a script", f"is PERENGINE {PER_ENGINE + 1}")
        commands.append(Task(len(commands), self._where(), -1, self._dress(text)))

    def _counted(self, size: int, before: int) -> Task:
        """TASK: so many bytes are one command."""
        if size > LONGEST:
            raise Malformed("put it into a script, and run that", f"is longer than {LONGEST} bytes")
        data = self._file.read(size + 1)
        if self._growing and (len(data) <= size or self._hole(data)):
            self._give_back(before + len(data))
            self._line -= 1
            raise _NotYet
        if len(data) < size or data[size:] not in (b"\n", b"") or 0 in data:
            remedy = f"let {size} bytes without a NUL follow, and a line break"
            raise Malformed(remedy, "is a TASK of another length than it says")
        task = self._task(data[:size])
        self._line += data.count(b"\n")
        return task

    def _end(self) -> None:
        if not self._growing and self._file.read(1):
            raise Malformed("remove it, or what is behind it", "is an END, and something follows")
        self.exhausted = True

    def _refuse(self, what: str, remedy: str) -> NoReturn:
        self._error = JobFileError(what, where=self._name, remedy=remedy)
        raise self._error from None


def check(file: BinaryIO, name: str) -> None:
    """Read a whole list for what is wrong with it, before anything of it is run.

    Raises:
        JobFileError: the first line that cannot be; it says which.
    """
    Reader(file, name).check()
