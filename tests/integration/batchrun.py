"""Runs of fjd-batch in a home of a test: task files, the rows that they leave, what tasks wrote."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from harness import Done, FjdEnv, wait_until

from fjd.spool.lists import statusfile
from fjd.spool.lists.statusfile import Row

HOLD = "echo s >> began; until [ -e go ]; do sleep 0.02; done; echo e >> ended"


def tasks(env: FjdEnv, *lines: str, name: str = "tasks") -> None:
    """Write a task file."""
    path = env.cwd / name
    path.write_text("".join(f"{line}\n" for line in lines))
    env.own(path)


def batch(env: FjdEnv, *words: str, **more: str) -> Done:
    """Run fjd-batch to its end."""
    return env.run("fjd-batch", *words, timeout=90.0, **more)


def status(env: FjdEnv, prefix: str = "run1") -> Path:
    """Return where the status file of a run is."""
    return env.cwd / f"{prefix}_status.txt"


def rows(env: FjdEnv, prefix: str = "run1") -> list[Row]:
    """Return all rows of a status file; every line must be one."""
    found = [
        statusfile.parse(line)
        for line in status(env, prefix).read_bytes().splitlines(keepends=True)
        if line != statusfile.HEADER
    ]
    assert None not in found
    return [row for row in found if row]


def codes(env: FjdEnv, prefix: str = "run1", kinds: str = " S") -> dict[int, int]:
    """Return the codes of the tasks by their numbers; none may stand there twice."""
    found = [row for row in rows(env, prefix) if row.kind in kinds]
    assert max(Counter(row.number for row in found).values(), default=1) == 1
    return {row.number: row.code for row in found}


def lines_of(env: FjdEnv, name: str) -> list[str]:
    """Return the words in a file that tasks write."""
    path = env.cwd / name
    return path.read_text().split() if path.exists() else []


def wait_lines(env: FjdEnv, name: str, number: int) -> None:
    """Wait until a file that tasks write has so many words."""
    wait_until(lambda: len(lines_of(env, name)) >= number, name, 30.0, env.show)
