"""One task of a list; all that a worker needs to know of the grammar."""

# No postponed annotations: NamedTuple would compile each of them, and a worker waits for it.

from typing import NamedTuple


class Task(NamedTuple):
    """One task: its number, the line where it stands, its index in a REPEAT (-1), what is run."""

    number: int
    line: int
    repeat: int
    command: bytes
