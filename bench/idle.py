"""What a dispatcher and four workers cost while there is nothing to do.

CPU time of every process that belongs to them: the dispatcher, the workers, their guardians and
what keeps them (screen).
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from bench.common import Bed, Failed, descendants, main, program, report, verdict, wait_until

WORKERS = 4
TARGET = 1.0  # % of one CPU
_SETTLE = 3.0  # s after the start


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far, as precisely as this kernel tells it."""
    try:
        total = 0
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
        return total / 1e9
    except (OSError, IndexError):
        pass  # no scheduler statistics in this kernel
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError as error:
        raise Failed(f"process {pid} has ended") from error
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _name(pid: int) -> str:
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        words = file.read().decode("utf-8", "replace").split("\0")
    fjd = [word.rpartition("/")[2].rpartition(".")[2] for word in words if "fjd" in word]
    first = os.path.basename(words[0])
    return next((name for name in fjd if name.startswith("fjd") and "py" not in first), first)


def measure(seconds: float) -> bool:
    """Measure for so long; True if the target holds."""
    with Bed() as bed:
        project = bed.project("idle")
        bed.hire(project, WORKERS)
        bed.start([program("fjd-dispatcher"), "--project", "idle", "--keep-running"])
        wait_until(lambda: bool(os.listdir(project.dispatcher)), "a dispatcher")
        time.sleep(_SETTLE)
        before = {pid: cpu_seconds(pid) for pid in descendants(os.getpid())}
        began = time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - began
        used: dict[str, list[float]] = {}
        for pid in descendants(os.getpid()):
            share = 100 * (cpu_seconds(pid) - before.get(pid, 0.0)) / elapsed
            used.setdefault(_name(pid), []).append(share)
    lines = [
        f"  {len(shares):2} x {name:<39} {sum(shares):9.3f} %" for name, shares in used.items()
    ]
    total = sum(sum(shares) for shares in used.values())
    lines.append(verdict("all together, of one CPU", total, "<", TARGET, " %"))
    return report(f"idle: a dispatcher and {WORKERS} workers for {seconds:g} s", lines)


if __name__ == "__main__":
    options = argparse.ArgumentParser("bench.idle", description=__doc__)
    options.add_argument("--seconds", type=float, default=30.0)
    given = options.parse_args()
    sys.exit(main(lambda: measure(given.seconds)))
