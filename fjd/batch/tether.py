"""A shell command that does not outlive us, whatever ends us: ``kill -9`` too.

It is a session of its own. Beside it, as nobody's child, waits a shell of the same session with the
other end of a pipe that only we can write to. A word from there sends it away; if the pipe closes
without one we are dead, and it ends the whole session: TERM, and KILL for what is left when the
command has ended, or after a grace. The command itself is started by ``exec``, so that its pid and
exit code are those that we see.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import Optional

# $0: the end of the pipe; $1: the command; $2: the grace, in tenths of a second. TERM must not end
# the one who waits.
_BESIDE = """\
pipe=$0
(
    (
        trap '' TERM
        read -r word <&"$pipe" && exit
        kill -TERM -- "-$$"
        for ((i = 0; i < $2; i++)); do kill -0 "$$" || break; sleep 0.1; done
        kill -KILL -- "-$$"
    ) < /dev/null > /dev/null 2>&1 &
)
exec /bin/bash -c "$1" {pipe}<&-
"""


class Tethered(subprocess.Popen[bytes]):
    """A command, started by ``bash -c``; ``grace``: seconds between TERM and KILL."""

    def __init__(self, command: str, env: Mapping[str, str], grace: float) -> None:
        self._grace = grace
        theirs, self._tether = os.pipe()
        words = ["/bin/bash", "-c", _BESIDE, str(theirs), command, str(round(10 * grace))]
        try:
            super().__init__(words, env=env, pass_fds=(theirs,), start_new_session=True)
        except BaseException:
            os.close(self._tether)
            raise
        finally:
            os.close(theirs)

    def end(self) -> None:
        """End it, if it still runs, and let nobody wait for our end any more."""
        if self.poll() is None:
            self._end()
        if self._tether >= 0:
            with suppress(BrokenPipeError):  # who waited was ended with the rest
                os.write(self._tether, b"!\n")
            os.close(self._tether)
            self._tether = -1

    def _end(self) -> None:
        grace: Optional[float] = self._grace
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.pid, number)
                self.wait(grace)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                grace = None
                continue
            return
