"""The few calls of the C library that Python does not offer; Linux only, each may be missing."""

from __future__ import annotations

import ctypes
import os

_PR_SET_CHILD_SUBREAPER = 36
_FALLOC_FL_KEEP_SIZE, _FALLOC_FL_PUNCH_HOLE = 1, 2

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> bool:
    """Let orphaned descendants become our children instead of init's; False if unsupported."""
    try:
        return bool(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except AttributeError:
        return False


def syncfs(fd: int) -> None:
    """Write everything of the file system that holds ``fd`` to its disk."""
    try:
        failed = _libc.syncfs(fd) != 0
    except AttributeError:
        os.sync()
        return
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def punch(fd: int, offset: int, length: int) -> bool:
    """Give the blocks of a range back to the file system; the file's size stays."""
    mode = _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE
    try:
        call = _libc.fallocate64
    except AttributeError:
        return False
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]
    return bool(call(fd, mode, offset, length) == 0)
