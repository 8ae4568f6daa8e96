"""What a worker says: on its screen, in its log.

Two lines per job, as always; but of a thousand jobs a second most are only counted. A terminal that
shows them all (a screen does, for nobody) would cost as much as the jobs.
"""

import sys
import time

QUIET = 0.1  # s after a line in which short jobs are only counted, and flushing waits


class Voice:
    """Speaks for one worker; that nobody can hear it is no trouble."""

    def __init__(self, worker: str) -> None:
        self._name = f"Worker {worker}:"
        self._said = 0.0
        self._counted = 0
        self._aloud = True

    def say(self, text: str, at_once: bool = False) -> None:
        """Say one line of its own."""
        now = time.monotonic()
        try:
            print(f"[fjd-worker] {text}")
        except OSError:
            return  # nobody can read it any more
        if at_once or now - self._said > QUIET:
            self.flush()
        self._said = now

    def tell(self, text: str, at_once: bool = False) -> None:
        """Say something about the worker."""
        self.say(f"{self._name} {text}", at_once)

    def found(self) -> None:
        """A job begins."""
        self._aloud = time.monotonic() - self._said > QUIET
        if self._aloud:
            self._tell_counted()
            self.tell("I found a job.")
        else:
            self._counted += 1

    def finished(self) -> None:
        """It has ended."""
        if self._aloud:
            self.tell("Finished my job.")

    def idle(self) -> None:
        """There is nothing to do: let what was said be seen."""
        self._tell_counted()
        self.flush()

    def _tell_counted(self) -> None:
        counted, self._counted = self._counted, 0
        if counted:
            self.tell(f"I did {counted} short job{'s' * (counted > 1)} as well.")

    def flush(self) -> None:
        """Show what was said."""
        try:
            sys.stdout.flush()
        except OSError:
            return  # the terminal is gone (its screen was closed); SIGHUP says the same
