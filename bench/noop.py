"""A worker for which every task is over before it begins: ``python -m bench.noop``.

It is fjd's own worker, with its options, records and pieces; only the spawn and the wait are not
there. So what is measured beside it is the engine, and not this machine's ``fork``.
"""

from __future__ import annotations

import os
import sys
import time

from fjd.scripts import fjd_worker
from fjd.worker import task
from fjd.worker.attempt import Attempts


def replace() -> None:
    """Let tasks end well at once."""
    over = task.End(0, None, 0.0, 0)
    task.spawn = lambda argv, env, stdin, stdout, stderr: os.getpid()
    task.clear_group = lambda pid, clock=time.monotonic: None
    waiting = "_wait"  # of a class that keeps it to itself
    setattr(Attempts, waiting, lambda self, pid, timeout, record, began: (over, ""))


if __name__ == "__main__":
    replace()
    sys.exit(fjd_worker.main())
