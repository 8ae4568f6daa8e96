"""The bell: a hint that somebody is woken, and never more than that."""

from __future__ import annotations

import os
import select

from fjd.system import bell
from fjd.system.bell import Bell
from fjd.system.ears import Ears


def test_ring(home: str) -> None:
    """Who is rung hears it, once for all rings until then."""
    listener, ears = Bell(f"{home}/bell"), Ears(())
    ears.listen(listener.fd, bell=True)
    assert ears.wait(0) == []
    assert bell.ring(listener.path) is True
    assert bell.ring(listener.path) is True
    assert ears.wait(0) == [listener.fd]
    assert ears.wait(0) == []
    ears.close()
    listener.close()


def test_full(home: str) -> None:
    """A bell that nobody empties rings on, and nobody has to wait for it."""
    listener = Bell(f"{home}/bell")
    fd = os.open(listener.path, os.O_WRONLY | os.O_NONBLOCK)
    while True:
        try:
            os.write(fd, bytes(65536))
        except BlockingIOError:
            break
    os.close(fd)
    assert bell.ring(listener.path) is True
    listener.close()


def test_nobody_hears(home: str) -> None:
    """Without a bell, or with one whose owner is gone, nobody hears anything."""
    assert bell.ring(f"{home}/none") is False
    assert bell.ring("") is False
    os.mkfifo(f"{home}/left")
    assert bell.ring(f"{home}/left") is False


def test_link_is_no_bell(home: str) -> None:
    """A link leads nowhere: what lies in a common directory could be anybody's."""
    listener = Bell(f"{home}/bell")
    os.symlink("bell", f"{home}/link")
    assert bell.ring(f"{home}/link") is False
    assert not select.select([listener.fd], [], [], 0)[0]
    listener.close()


def test_closed(home: str) -> None:
    """A bell that was taken down is gone, also if somebody removed it before."""
    listener = Bell(f"{home}/bell")
    os.unlink(listener.path)
    listener.close()
    assert bell.ring(listener.path) is False
