"""What a dispatcher says while it works: the classic lines in a pipe, one live line on a terminal.

[fjd-dispatcher] Found 10 job(s) and 4 worker(s)...     jobs that wait, workers that are idle
[fjd-dispatcher] No (more) jobs.
"""

from __future__ import annotations

import os
import shutil
from typing import Callable, NamedTuple, TextIO

PROGRAM = "[fjd-dispatcher]"


class Count(NamedTuple):
    """Where things stand: numbers of jobs, and of workers at the end."""

    waiting: int
    running: int
    done: int
    failed: int
    idle: int
    workers: int


class Progress:
    """Prints on ``out``; at most one line per ``interval`` seconds, and none that says nothing new.

    Args:
        live: whether ``out`` is a terminal, where one line is rewritten in place.
    """

    def __init__(
        self, out: TextIO, interval: float, clock: Callable[[], float], live: bool
    ) -> None:
        self._out, self._clock, self._live = out, clock, live
        self._interval = min(interval, 0.2) if live else interval
        self._last = ""
        self._next = 0.0
        self._width = 0

    def line(self, text: str) -> None:
        """Print one line of its own."""
        self._wipe()
        self._print(f"{PROGRAM} {text}\n")

    def show(self, count: Count) -> None:
        """Show where things stand, if that is new and due."""
        now = self._clock()
        text = self._live_text(count) if self._live else self._text(count)
        if not text or text == self._last or now < self._next:
            return
        self._last, self._next = text, now + self._interval
        if not self._live:
            self._print(f"{PROGRAM} {text}\n")
            return
        columns = shutil.get_terminal_size().columns
        shown = f"{PROGRAM} {text}"[: columns - 1]
        self._print("\r" + shown.ljust(self._width))
        self._width = len(shown)

    def end(self) -> None:
        """Leave the terminal as it was."""
        self._wipe()

    def talk(self, say: Callable[[str], None], text: str) -> None:
        """Let somebody say something on a line of its own."""
        self._wipe()
        say(text)

    def _text(self, count: Count) -> str:
        if not count.waiting:
            return ""
        return f"Found {count.waiting} job(s) and {count.idle} worker(s)..."

    def _live_text(self, count: Count) -> str:
        parts = [f"{count.waiting} waiting", f"{count.running} running", f"{count.done} done"]
        if count.failed:
            parts.append(f"{count.failed} failed")
        return ", ".join(parts) + f"; {count.workers} worker(s), {count.idle} idle"

    def _wipe(self) -> None:
        if self._width:
            self._print("\r" + " " * self._width + "\r")
            self._width = 0
            self._last = ""

    def _print(self, text: str) -> None:
        try:
            print(text, end="", file=self._out, flush=True)
        except OSError:
            # Nobody reads it any more (`| head`); the jobs do not depend on that.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._out.fileno())
            os.close(null)
