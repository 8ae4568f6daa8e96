"""Was it the kernel that killed a task, because memory ran out? What is known of the cause.

The kernel counts its out-of-memory kills per host; a SIGKILL that coincides with a new one, or
that met a task with more than half of all memory, was most probably one of them.
"""

# No postponed annotations: a worker waits for the compiler.

import signal

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def _number(path: str, word: str) -> int:
    """Return the number behind a word in a file of the kernel; 0 if it is not there."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            for line in file:
                name, _, rest = line.partition(" " if " " in line else "\n")
                if name.rstrip(":") == word or not word:
                    digits = (rest or name).split()
                    return int(digits[0]) if digits and digits[0].isdecimal() else 0
    except OSError:
        return 0
    return 0


def oom_kills() -> int:
    """Return how often the kernel of this host has killed for memory since it started."""
    return _number("/proc/vmstat", "oom_kill")


def total_kib() -> int:
    """Return how much memory there is for us: the host's, or what our control group may use."""
    total = _number("/proc/meminfo", "MemTotal")
    limits = [_number(path, "") // 1024 for path in _LIMITS]
    return min([limit for limit in limits if 0 < limit < total] + [total])


def cause(number: int, rss_kib: int, kills_before: int) -> str:
    """Return what is known of a task's end by a signal."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    said = f"killed by signal {number} ({name})"
    if number != signal.SIGKILL:
        return said
    total = total_kib()
    if oom_kills() > kills_before or (total and rss_kib > total / 2):
        return f"{said}, probably out of memory: {rss_kib / 2**20:.1f} GiB at the peak"
    return said
