"""Retirement: telling the batch system that a host is not needed any more."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import Callable

SLURM = 'scontrol update JobId="$SLURM_JOBID" NodeList="${DRIVER_NODE:+$DRIVER_NODE,}$ACTIVE"'
PATIENCE = 60.0  # s that the command may take


class Retirement:
    """Runs the command for each host that leaves a context.

    Args:
        command: for the shell; "" retires nobody.
        hosts: all hosts of the context.
        driver: the host of the driver: it must stay, whatever becomes of its engines.
    """

    def __init__(
        self, command: str, hosts: Sequence[str], driver: str, talk: Callable[[str], None]
    ) -> None:
        self._command, self._driver, self._talk = command, driver, talk
        self._active, self._retired = list(hosts), list[str]()

    def retire(self, host: str) -> None:
        """Run the command for a host that has left; that it fails is said, and no more."""
        if host not in self._active:
            return
        self._active.remove(host)
        self._retired.append(host)
        if self._command:
            self._run(host)

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
            self._talk(f"the command that retires {host} took over {PATIENCE:.0f} s: ended")
            return
        if done.returncode:
            said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
            why = said[-1] if said else f"exit code {done.returncode}"
            self._talk(f"the command that retires {host} failed: {why}")
