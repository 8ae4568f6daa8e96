"""Patience: what a component does while the disk is full or the file server in trouble.

It says so, once; it waits; and it goes on where it was as soon as it can.
"""

# No postponed annotations: a worker that starts waits for each of them.

from typing import Callable, TypeVar

from fjd.system import files

PAUSE = 1.0  # s between two tries

_Result = TypeVar("_Result")


def will_pass(error: Exception) -> bool:
    """Tell whether an error of a verb of the spool is one to wait for."""
    return isinstance(error, files.DiskFull) or (
        isinstance(error, OSError) and error.errno in files.TRANSIENT
    )


def insist(
    verb: Callable[[], _Result], say: Callable[[str], None], wait: Callable[[float], object]
) -> _Result:
    """Do it, however long it takes; ``wait`` may give up by raising something."""
    told = False
    while True:
        try:
            return verb()
        except (files.DiskFull, OSError) as error:
            if not will_pass(error):
                raise
            if not told:
                say(f"{error}; waiting")
            told = True
        wait(PAUSE)
