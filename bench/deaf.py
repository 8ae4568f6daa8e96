"""Run one of fjd's commands as if everybody else were on another host: no bell and no event.

Emulates, on one machine, what a network home takes away; everything is found by polling only.
The file system stays the local one, so its own delays (attribute caches, round trips) are missing.

``python -m bench.deaf fjd.scripts.fjd_worker OPTION...``
"""

from __future__ import annotations

import importlib
import sys

from fjd.system.identity import Identity


class _NoObserver:
    """Stands for a watch that never sees anything, as of a directory written by other hosts."""

    def stop(self) -> None:
        """Nothing was started."""

    def join(self) -> None:
        """Nothing has to end."""


def deafen() -> None:
    """Let nobody be on this host, and let no event come."""
    elsewhere = lambda self: False  # noqa: E731
    setattr(Identity, "is_here", elsewhere)  # noqa: B010  replaced for this process on purpose
    if "fjd.scripts.fjd_worker" not in sys.argv:
        watch = importlib.import_module("fjd.system.watch")

        def arm(self: object) -> bool:
            setattr(self, "_observer", _NoObserver())  # noqa: B010
            return True

        watch.Watch.arm = arm


if __name__ == "__main__":
    deafen()
    module, words = sys.argv[1], sys.argv[2:]
    sys.exit(importlib.import_module(module).main(words))
