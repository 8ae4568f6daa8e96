"""Signals that ask us to end: counted, and acted upon by whoever waits."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Optional

from fjd.system.ears import unless_nohup

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Counts instead of ending: Ctrl-C once is one, what tells us to end is two."""

    def __init__(self) -> None:
        self.count = 0
        self._woken = threading.Event()
        heard = unless_nohup(_SIGNALS)
        self._before = {number: signal.signal(number, self._note) for number in heard}

    def _note(self, number: int, frame: Optional[FrameType]) -> None:
        self.count += 1 if number == signal.SIGINT else 2
        self._woken.set()

    def wait(self, seconds: float) -> None:
        """Wait so long, or until a signal comes."""
        self._woken.wait(seconds)
        self._woken.clear()

    def close(self) -> None:
        """Let signals do what they did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
