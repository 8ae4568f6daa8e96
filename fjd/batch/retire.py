"""Retirement: telling the batch system that a host is not needed any more."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from typing import Callable

SLURM = 'scontrol update JobId="$SLURM_JOBID" NodeList="${DRIVER_NODE:+$DRIVER_NODE,}$ACTIVE"'
PATIENCE = 60.0  # s that the command may take
_TRIES = 3  # while Slurm asks to try again
_PAUSE = 1.0


class Retirement:
    """Runs the command for each host that leaves a context.

    Args:
        command: for the shell; "" retires nobody.
        hosts: all hosts of the context.
        driver: the host of the driver; if it is one of them it must stay, whatever becomes of its
            engine.
    """

    def __init__(
        self, command: str, hosts: Sequence[str], driver: str, talk: Callable[[str], None]
    ) -> None:
        self._command, self._talk = command, talk
        self._driver = driver if driver in hosts else ""
        self._active, self._retired = list(hosts), list[str]()

    def retire(self, host: str) -> None:
        """Run the command for a host that has left; that it fails is said, and no more."""
        if host not in self._active:
            return
        self._active.remove(host)
        self._retired.append(host)
        if self._command and not (self._command == SLURM and self._stays(host)):
            self._run(host)

    def _stays(self, host: str) -> bool:
        """Tell whether Slurm would be told nothing new, or to keep no node at all.

        An update that changes nothing is not for free: where Slurm keeps no accounts, it refuses
        every further one.
        """
        return host == self._driver or not (self._active or self._driver)

    def environment(self, host: str) -> dict[str, str]:
        """Return what the command finds in its environment."""
        found = {
            **os.environ,
            "NODE": host,
            "ACTIVE": ",".join(self._active),
            "RETIRED": ",".join(self._retired),
        }
        found.pop("DRIVER_NODE", None)
        if self._driver and self._driver not in self._active:
            found["DRIVER_NODE"] = self._driver
        return found

    def _run(self, host: str) -> None:
        for left in reversed(range(_TRIES)):
            why = self._try(host)
            if not why:
                return
            if "try again" not in why or not left:
                break
            time.sleep(_PAUSE)
        self._talk(f"the command that retires {host} failed: {why}")

    def _try(self, host: str) -> str:
        """Run the command; return why it failed ("": it did not)."""
        try:
            done = subprocess.run(
                self._command,
                shell=True,
                env=self.environment(host),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"it took over {PATIENCE:.0f} s, and was ended"
        if not done.returncode:
            return ""
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
        return said[-1] if said else f"exit code {done.returncode}"
