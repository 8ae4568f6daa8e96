"""A bell: wake another process of the same host in microseconds, if it can be reached.

A FIFO in local temporary space. Ringing is a hint and never carries a fact: who is rung looks at
the spool, and who cannot be rung (another host, a container with its own /tmp) looks by itself
every now and then.
"""

from __future__ import annotations

import os


class Bell:
    """The end that listens; ``fd`` is readable once somebody has rung."""

    def __init__(self, path: str) -> None:
        os.mkfifo(path, 0o600)
        self.path = path
        # Both ends: without a writer of its own the FIFO would be at end of file after each ring.
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self) -> None:
        """Take the bell down."""
        os.close(self.fd)
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            return


def ring(path: str) -> bool:
    """Ring the bell at ``path``; False if nobody hears it from here."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False  # no such bell on this host, or its owner is gone
    try:
        os.write(fd, b"!")
    except BlockingIOError:
        return True  # it is ringing already
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
