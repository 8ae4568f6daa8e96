"""Waiting for several things at once: signals, bells, pipes, or just some time.

Signals only set a flag and end the wait; what they mean is decided by whoever waited.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterable
from types import FrameType
from typing import Optional


def unless_nohup(signals: Iterable[int]) -> list[int]:
    """Leave out SIGHUP where it is ignored: who typed nohup wants us to outlive the terminal."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in signals if not (ignored and number == signal.SIGHUP)]


class Ears:
    """One per process, made in its main thread.

    Attributes:
        heard: the signals that came, oldest first; whoever acts on one removes it.
    """

    def __init__(self, signals: Iterable[int]) -> None:
        self.heard: list[int] = []
        self._bells: set[int] = set()
        self._inlet, self._outlet = os.pipe()
        for fd in (self._inlet, self._outlet):
            os.set_blocking(fd, False)
        self._poll = select.poll()
        self._poll.register(self._inlet, select.POLLIN)
        signal.set_wakeup_fd(self._outlet, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._note) for number in signals}
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, self._wake_only)

    def _note(self, number: int, frame: Optional[FrameType]) -> None:
        self.heard.append(number)

    def _wake_only(self, number: int, frame: Optional[FrameType]) -> None:
        """A child ended; the byte in the pipe has said so."""

    def listen(self, fd: int, bell: bool = False) -> None:
        """Let ``wait`` end when ``fd`` becomes readable or is closed on the other side.

        What is in a bell is taken by ``wait`` itself: a ring ends one wait, not all that follow.
        """
        self._poll.register(fd, select.POLLIN)
        if bell:
            self._bells.add(fd)

    def ignore(self, fd: int) -> None:
        """Do not listen to ``fd`` any more."""
        self._poll.unregister(fd)

    def wake(self) -> None:
        """End the wait from another thread."""
        try:
            os.write(self._outlet, b"\0")
        except BlockingIOError:
            return  # it is full of reasons to wake up

    def wait(self, seconds: float) -> list[int]:
        """Wait at most so long; return the descriptors that have something to say."""
        ready = [fd for fd, _ in self._poll.poll(max(0.0, seconds * 1000))]
        if self._inlet in ready:
            ready.remove(self._inlet)
            os.read(self._inlet, 4096)
        for fd in self._bells.intersection(ready):
            os.read(fd, 65536)
        return ready

    def close(self) -> None:
        """Give signals back to who had them before and close the pipe."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(-1)
        os.close(self._inlet)
        os.close(self._outlet)
