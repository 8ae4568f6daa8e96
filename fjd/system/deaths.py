"""Deaths: hear of the end of processes of this host the moment they end.

A death is a hint to look now, as an event is: whoever hears of it looks whether the process still
runs, and also looks every now and then, for not every end can be heard of (no such call in this
kernel, too many processes for our descriptors, pids of another world).
"""

from __future__ import annotations

import os
import resource
import select

from fjd.system.identity import Identity

MOST = 4096  # descriptors for it, and never more than half of those that we may have


class Deaths:
    """``fd`` is readable when somebody who is watched has ended and was not yet taken."""

    def __init__(self, most: int = MOST) -> None:
        self._ends = select.epoll()
        self.fd = self._ends.fileno()
        self._watched: dict[Identity, int] = {}
        self._who: dict[int, Identity] = {}
        self._most = min(most, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)

    def watch(self, who: Identity) -> bool:
        """Hear of the end of this process; False: it has ended, or its end cannot be heard of."""
        if who in self._watched:
            return True
        if not who.is_here() or len(self._watched) >= self._most:
            return False
        fd = _open(who.pid)
        if fd < 0:
            return False
        # Only now: the descriptor is of whoever has this pid, and the pid may be somebody else's.
        if not who.alive():
            os.close(fd)
            return False
        self._ends.register(fd, select.EPOLLIN)
        self._watched[who], self._who[fd] = fd, who
        return True

    def forget(self, who: Identity) -> None:
        """Do not watch it any more."""
        fd = self._watched.pop(who, None)
        if fd is not None:
            del self._who[fd]
            self._ends.unregister(fd)
            os.close(fd)

    def take(self) -> list[Identity]:
        """Return who has ended since the last call; each is told once, and then forgotten."""
        ended = [self._who[fd] for fd, _ in self._ends.poll(0)]
        for who in ended:
            self.forget(who)
        return ended

    def close(self) -> None:
        """Forget everybody."""
        for who in list(self._watched):
            self.forget(who)
        self._ends.close()


def _open(pid: int) -> int:
    """Return a descriptor of a process; -1 if there is none to be had."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1  # not in this kernel or this Python; no such process; no descriptor left
