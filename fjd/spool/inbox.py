"""What is queued: new job files in ``jobqueue/`` and tokens on their way back in ``requeue/``.

Order: what comes back goes first; then in the order of first sight, within one look in the natural
order of the names (``job2`` before ``job10``).

A file that somebody writes in place is taken only when it is complete:

    its writer closed it, or it was renamed in        as watch.py saw it
    it was renamed after its last write               its ctime is later than its mtime; both are
                                                      of the same file and the same clock
    it did not change for ``settle`` seconds          two looks, by our own monotonic clock; and
                                                      nobody on this host has it open for writing

Only the second one is sure: what was written in place and does not parse is given ``PATIENCE``
seconds more.
"""

from __future__ import annotations

import heapq
import os
import re
import time
from collections import deque
from typing import Callable, NamedTuple, Optional

from fjd.spool.names import Token, is_job, new_key, submission
from fjd.spool.project import Project
from fjd.spool.timings import Timings
from fjd.spool.whereabouts import Gone
from fjd.system import files

HELD = 60.0  # s after which a file counts as complete although somebody has it open for writing
PATIENCE = 5.0  # s that a file which does not parse may still be in the making
_MOMENT = 0.02  # s for looking at files in one look, so that workers do not wait for it
_ENOUGH = 2000  # files that are known to be complete; the others are looked at later
_SHARE = 0.05  # of the time that may be spent on listing a huge queue
_DIGITS = re.compile(r"(\d+)")


def natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key in which ``job2`` comes before ``job10``."""
    parts = _DIGITS.split(name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


class Waiting(NamedTuple):
    """One queued job.

    Attributes:
        path: where it lies.
        token: as it came back; None for a new file.
        wrong: why it cannot be a job file at all ("" if it may be one): a directory, a link.
    """

    path: str
    token: Optional[Token]
    wrong: str = ""

    @property
    def name(self) -> str:
        """The job file's name."""
        if self.token is not None:
            return self.token.job
        return submission(os.path.basename(self.path))[0]

    def fresh_token(self) -> Token:
        """Return the token for its next assignment (without the serial)."""
        if self.token is None:
            return Token(new_key(self.name))
        return self.token._replace(back=0)


class _File:
    """A new file and what we know of it."""

    __slots__ = ("changed", "complete", "inode", "order", "ready", "seen")

    def __init__(self, order: int, inode: int) -> None:
        self.order, self.inode = order, inode
        self.complete = self.ready = False
        self.seen: Optional[tuple[int, int, int]] = None
        self.changed = 0.0

    def quiet(self, found: os.stat_result, now: float) -> float:
        """Return for how long it has not changed, as far as we have seen."""
        seen = (found.st_size, found.st_mtime_ns, found.st_ino)
        if seen != self.seen:
            self.seen, self.changed = seen, now
        return now - self.changed


class Inbox:
    """The queue as one dispatcher knows it; ``clock`` tells how long a listing takes."""

    def __init__(
        self, project: Project, timings: Timings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.project, self.timings, self._clock = project, timings, clock
        self._files: dict[str, _File] = {}  # everything seen in jobqueue/
        self._open: list[tuple[float, int, str]] = []  # heap: to be looked at when, order, name
        self._ready: list[tuple[int, str, str]] = []  # heap: order, name, wrong
        self._back: deque[Waiting] = deque()
        self._back_names: set[str] = set()
        self._count = 0
        self._not_before = 0.0
        self.cancelled: list[Gone] = []  # vanished without our doing; the dispatcher tells

    def __len__(self) -> int:
        """How many jobs are queued, complete or not."""
        return len(self._files) + len(self._back_names)

    @property
    def unsettled(self) -> bool:
        """Tell whether some file may still be in the making: look again soon."""
        return bool(self._open) and len(self._ready) < _ENOUGH

    # -- looking ------------------------------------------------------------------------------

    def look(self, now: float, complete: set[str], nudge: bool = False) -> None:
        """See what is new. ``complete``: names that watch.py saw finished.

        A queue of a million files is listed less often, so that listing never takes a larger
        share of the time than ``_SHARE``.
        """
        self._look_back(nudge)
        if now >= self._not_before or complete or not self._files:
            began = self._clock()
            self._look_new(now, nudge)
            self._not_before = now + (self._clock() - began) / _SHARE
        for name in complete:
            file = self._files.get(name)
            if file is not None:
                file.complete = True
                heapq.heappush(self._open, (now, file.order, name))
        self._settle(now)

    def _look_back(self, nudge: bool) -> None:
        names = files.listing(self.project.requeue, nudge) or ()
        fresh = []
        for name in names:
            if name not in self._back_names:
                token = Token.parse(name)
                if token:
                    fresh.append((token.serial, name, token))
        for _, name, token in sorted(fresh):
            self._back_names.add(name)
            self._back.append(Waiting(f"{self.project.requeue}/{name}", token))
        for name in self._back_names.difference(names):
            self._back_names.discard(name)
            self.cancelled.append(Gone(name))

    def _look_new(self, now: float, nudge: bool) -> None:
        try:
            names, inodes, strange = self._scan(nudge)
        except FileNotFoundError:
            if not files.make_directory(self.project.jobqueue):
                return  # RACE: it is back; the next look sees what is in it
            names, inodes, strange = set(), {}, {}
        for name in self._files.keys() - names:
            self.cancelled.append(Gone(name, self._files.pop(name).inode))
        for name in sorted(names - self._files.keys(), key=natural):
            self._count += 1
            self._files[name] = _File(self._count, inodes[name])
            if name in strange:
                heapq.heappush(self._ready, (self._count, name, strange[name]))
            else:
                heapq.heappush(self._open, (now, self._count, name))

    def _scan(self, nudge: bool) -> tuple[set[str], dict[str, int], dict[str, str]]:
        """Return what may be a job by its name; of what is new, inodes, and what cannot be one."""
        if nudge:
            os.utime(self.project.jobqueue)
        names: set[str] = set()
        inodes: dict[str, int] = {}
        strange: dict[str, str] = {}
        with os.scandir(self.project.jobqueue) as entries:
            for entry in entries:
                if is_job(entry.name):
                    names.add(entry.name)
                    if entry.name in self._files:
                        continue
                    inodes[entry.name] = entry.inode()
                    if not entry.is_file(follow_symlinks=False):
                        strange[entry.name] = _what(entry)
        return names, inodes, strange

    def _settle(self, now: float) -> None:
        """Move what is complete from ``_open`` to ``_ready``, oldest first, for a moment."""
        end = self._clock() + _MOMENT
        while self._open and self._open[0][0] <= now and len(self._ready) < _ENOUGH:
            _, order, name = heapq.heappop(self._open)
            file = self._files.get(name)
            if file is None or file.order != order or file.ready:
                continue  # it has vanished meanwhile, or was closed before its time
            wait = 0.0 if file.complete else self._unsettled(file, name, now)
            if wait:
                heapq.heappush(self._open, (now + wait, order, name))
            else:
                file.ready = True
                heapq.heappush(self._ready, (order, name, ""))
            if self._clock() > end:
                return

    def _unsettled(self, file: _File, name: str, now: float) -> float:
        """Return in how many seconds to look at it again; 0 if it is complete."""
        path = f"{self.project.jobqueue}/{name}"
        try:
            found = os.lstat(path)
        except OSError:
            return self.timings.settle  # RACE: removed; the next listing says so
        if _renamed(found) or Token.parse(name):
            return 0.0  # only a rename gives a file a token's name
        quiet = file.quiet(_now(path, found), now)
        needed = self.timings.settle if found.st_size else PATIENCE
        if quiet < needed:
            return needed - quiet
        return self.timings.settle if quiet < HELD and files.being_written(path) else 0.0

    # -- taking -------------------------------------------------------------------------------

    def pop(self) -> Optional[Waiting]:
        """Return the next job to assign; the caller moves it or puts it back."""
        while self._back:
            waiting = self._back.popleft()
            if os.path.basename(waiting.path) in self._back_names:
                return waiting
        while self._ready:
            order, name, wrong = heapq.heappop(self._ready)
            file = self._files.get(name)
            if file is not None and file.order == order:
                return Waiting(f"{self.project.jobqueue}/{name}", None, wrong)
        return None

    def taken(self, waiting: Waiting) -> None:
        """The job was moved away (by us, or by somebody who was faster)."""
        name = os.path.basename(waiting.path)
        if waiting.token is not None:
            self._back_names.discard(name)
        else:
            self._files.pop(name, None)

    def put_back(self, waiting: Waiting) -> None:
        """The job could not be assigned after all; it keeps its place."""
        if waiting.token is not None:
            self._back.appendleft(waiting)
            return
        name = os.path.basename(waiting.path)
        file = self._files.get(name)
        if file is not None:
            heapq.heappush(self._ready, (file.order, name, waiting.wrong))

    def not_yet(self, waiting: Waiting, now: float) -> bool:
        """A file that does not parse may be in the making: look at it again; False: no longer.

        That its writer closed it says little then: a shell that adds line by line closes it often.
        """
        name = os.path.basename(waiting.path)
        file = self._files.get(name)
        if file is None or waiting.wrong:
            return False
        try:
            found = _now(waiting.path, os.lstat(waiting.path))
        except OSError:
            return False  # RACE: removed; so it cannot be rejected either
        if _renamed(found) or file.quiet(found, now) >= PATIENCE:
            return False
        file.complete = False
        file.ready = False
        wait = min(self.timings.settle, PATIENCE - file.quiet(found, now))
        heapq.heappush(self._open, (now + wait, file.order, name))
        return True


def _now(path: str, found: os.stat_result) -> os.stat_result:
    """Return what a file is now: NFS repeats what it said seconds ago, unless one opens it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return found  # it is gone, or not for us to read
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _renamed(found: os.stat_result) -> bool:
    return found.st_ctime_ns > found.st_mtime_ns and found.st_size > 0


def _what(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "is a symbolic link"
    if entry.is_dir(follow_symlinks=False):
        return "is a directory"
    return "is no regular file"
