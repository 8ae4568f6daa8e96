"""The progress of a run for those who watch it: a bar with a guess of the end, or lines."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from typing import Callable, NamedTuple, Optional, TextIO

from fjd.talk import one_line

_BAR = 20  # characters
_LINES = 60.0  # s between two lines where nobody looks
_LIVE = 0.2


class Standing(NamedTuple):
    """Where a run stands; ``tasks`` is None while nobody knows how many there are."""

    tasks: Optional[int]
    finished: int
    failed: int
    running: int
    seconds: float
    before: int = 0  # of the finished ones: done before this run


def duration(seconds: float) -> str:
    """Return ``42s``, ``3m05s``, ``2h07m``, ``3d04h``."""
    whole = int(max(0.0, seconds) + 0.5)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def eta(now: Standing) -> Optional[float]:
    """Return in how many seconds the run may be over; None if nobody can say."""
    done = now.finished - now.before
    if now.tasks is None or done <= 0 or now.seconds <= 0:
        return None
    return (now.tasks - now.finished) * now.seconds / done


def words(now: Standing) -> str:
    """Return where a run stands in words."""
    of = "?" if now.tasks is None else str(now.tasks)
    parts = [f"{now.finished} of {of} tasks done"]
    if now.failed:
        parts.append(f"{now.failed} failed")
    parts.append(f"{now.running} running")
    left = eta(now)
    if left is not None and now.tasks != now.finished:
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)


def bar(now: Standing, columns: int) -> str:
    """Return where a run stands in one line that fits."""
    of = "?" if now.tasks is None else str(now.tasks)
    share = min(1.0, now.finished / now.tasks) if now.tasks else 0.0
    full = int(share * _BAR)
    drawn = "#" * full + "-" * (_BAR - full)
    percent = "   ?" if now.tasks is None else f"{share:4.0%}"
    text = f"[{drawn}] {percent}  {now.finished}/{of}"
    if now.failed:
        text += f"  {now.failed} failed"
    left = eta(now)
    for part in (
        f"  {now.running} running",
        "" if left is None else f"  ETA {duration(left)}",
        f"  {duration(now.seconds)}",
    ):
        if len(text) + len(part) < columns:
            text += part
    return text[: columns - 1]


class Display:
    """Prints on ``out``: one live line on a terminal, a line now and then anywhere else.

    Several threads may use it.
    """

    def __init__(self, out: TextIO, program: str, live: Optional[bool] = None) -> None:
        self._out, self._program = out, program
        self._live = _is_terminal(out) if live is None else live
        self._lock = threading.Lock()
        self._width = 0
        self._next = _LINES
        self._last = ""
        self._log: Optional[Callable[[str], None]] = None
        self.pause = _LIVE if self._live else 1.0

    def log_to(self, log: Callable[[str], None]) -> None:
        """Let a log hear what is said."""
        self._log = log

    def show(self, now: Standing) -> None:
        """Show where the run stands."""
        with self._lock:
            if self._live:
                text = bar(now, shutil.get_terminal_size().columns)
                self._print("\r" + text.ljust(self._width))
                self._width = len(text)
            elif now.seconds >= self._next and words(now) != self._last:
                self._next, self._last = now.seconds + _LINES, words(now)
                self._print(f"[{self._program}] {self._last}\n")

    def say(self, text: str) -> None:
        """Print a line of talk of its own."""
        line = one_line(text)
        with self._lock:
            self._wipe()
            self._print(f"[{self._program}] {line}\n")
        if self._log:
            self._log(line)

    def end(self) -> None:
        """Leave the terminal as it was."""
        with self._lock:
            self._wipe()

    def _wipe(self) -> None:
        if self._width:
            self._print("\r" + " " * self._width + "\r")
            self._width = 0

    def _print(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError:
            self._live = False  # nobody reads it any more; the tasks do not depend on that
            self._out = open(os.devnull, "w")  # noqa: SIM115


def _is_terminal(out: TextIO) -> bool:
    return out.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def on_stderr(program: str) -> Display:
    """Return the display of a command: stderr, for it is talk."""
    return Display(sys.stderr, program)
