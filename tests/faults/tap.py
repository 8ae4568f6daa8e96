"""A tap on the system calls by which this process changes a directory: it lists, counts and kills.

It stands between ``os`` and whoever calls it, so the product needs no hook of its own; that nothing
gets past it is shown by a system call trace of the same run (``traced``).
"""

from __future__ import annotations

import mmap
import os
import re
import signal
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple

_BY_PATH = ("mkdir", "rmdir", "unlink", "utime", "chmod", "truncate", "mknod", "mkfifo", "remove")
_BY_TWO = ("rename", "replace", "link", "symlink")
_BY_FD = ("write", "pwrite", "writev", "fsync", "fdatasync", "ftruncate", "fchmod")
_WORLD = ("posix_spawn", "fork", "kill")  # what else makes a difference to who comes later
# What leaves every file as it is: to be killed before it is the same as before the next call.
_STILL = ("utime", "fsync", "fdatasync")
_SAME = {"replace": "rename", "remove": "unlink"}
_TRACED = {
    "rename": "rename", "renameat": "rename", "renameat2": "rename", "mkdir": "mkdir",
    "mkdirat": "mkdir", "rmdir": "rmdir", "unlink": "unlink", "unlinkat": "unlink",
    "utime": "utime", "utimes": "utime", "futimesat": "utime", "utimensat": "utime",
    "chmod": "chmod", "fchmodat": "chmod", "truncate": "truncate", "mknod": "mknod",
    "mknodat": "mknod", "link": "link", "linkat": "link", "symlink": "symlink",
    "symlinkat": "symlink", "open": "open", "openat": "open", "openat2": "open", "creat": "open",
    "write": "write", "pwrite64": "pwrite", "writev": "writev", "fsync": "fsync",
    "fdatasync": "fdatasync", "ftruncate": "ftruncate", "fchmod": "fchmod", "fallocate": "?",
    "syncfs": "?", "sendfile": "?", "copy_file_range": "?", "setxattr": "?", "fchown": "?",
}  # fmt: skip
CALLS = ",".join(
    f"?{name}" for name in _TRACED
)  # for `strace -e trace=`; not all machines have all


class Call(NamedTuple):
    """One system call: its name, and the paths that it names, from the directory on."""

    name: str
    paths: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} {' '.join(self.paths)}"


class Tap:
    """Sees every call that changes something below ``root``.

    Args:
        point: which of the calls that change a file or a name this process is killed at (0: never).
        before: whether it is killed before or after that call.

    Attributes:
        seen: the calls so far, nudges and syncs as well.
        apart: 1 if something else was done between the last two that change something: else to be
            killed after the one is the same as before the other. The parent sees it, too.
    """

    def __init__(self, root: str, point: int = 0, before: bool = False) -> None:
        self.root, self.point, self.before = root, point, before
        self.seen: list[Call] = []
        self.apart = mmap.mmap(-1, 1)
        self._points = self._now_apart = 0

    def open_up(self) -> None:
        """Begin; there is no end, for the process has one."""
        for name in (*_BY_PATH, *_BY_TWO, *_BY_FD):
            original = getattr(os, name)
            setattr(os, name, self._wrapped(_SAME.get(name, name), original, self._paths_of(name)))
        for name in _WORLD:
            setattr(os, name, self._parting(getattr(os, name)))
        opened = os.open

        def open_file(path: Any, flags: int, *more: Any, **named: Any) -> int:  # noqa: ANN401
            if not flags & (os.O_CREAT | os.O_TRUNC):
                return opened(path, flags, *more, **named)
            fd: int = self._call("open", (path,), lambda: opened(path, flags, *more, **named))
            return fd

        os.open = open_file

    def _paths_of(self, name: str) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
        if name in _BY_TWO:
            return lambda arguments: arguments[:2]
        if name in _BY_PATH:
            return lambda arguments: arguments[:1]
        return lambda arguments: (f"/proc/self/fd/{arguments[0]}",)

    def _wrapped(
        self, name: str, original: Callable[..., Any], paths: Callable[[tuple[Any, ...]], Any]
    ) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
            return self._call(name, paths(arguments), lambda: original(*arguments, **named))

        return wrapper

    def _parting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
            self._now_apart = 1
            return original(*arguments, **named)

        return wrapper

    def _call(self, name: str, paths: tuple[Any, ...], act: Callable[[], Any]) -> Any:  # noqa: ANN401
        found = tuple(self._real(path) for path in paths)
        if not any(below(self.root, path) for path in found):
            self._now_apart |= os.path.isfile(found[0])
            return act()
        self.seen.append(Call(name, tuple(os.path.relpath(path, self.root) for path in found)))
        if name in _STILL:
            return act()
        self.apart[0], self._now_apart = self._now_apart, 0
        self._points += 1
        here = self._points == self.point
        if here and self.before:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return act()
        finally:
            if here:
                os.kill(os.getpid(), signal.SIGKILL)

    def _real(self, path: object) -> str:
        if isinstance(path, int):
            path = f"/proc/self/fd/{path}"
        text = os.fsdecode(path)  # type: ignore[arg-type]
        return os.readlink(text) if text.startswith("/proc/self/fd/") else text


def below(root: str, path: str) -> bool:
    """Tell whether a path is a directory, or in it."""
    return path == root or path.startswith(f"{root}/")


def traced(lines: Iterable[str], root: str) -> list[Call]:
    """Read what ``strace -f -y`` wrote: the calls that change something below a directory."""
    found = []
    for line in lines:
        match = re.match(r"(?:\d+ +)?([a-z0-9_]+)\((.*)", line)
        if not match or match[1] not in _TRACED:
            continue
        name, rest = _TRACED[match[1]], match[2]
        if name == "open" and match[1] != "creat" and not re.search(r"O_CREAT|O_TRUNC", rest):
            continue
        if match[1] == "unlinkat" and "AT_REMOVEDIR" in rest:
            name = "rmdir"
        by_fd = re.match(r"\d+<([^>]*)>", rest)
        paths = [by_fd[1]] if by_fd else re.findall(r'"((?:[^"\\]|\\.)*)"', rest)
        paths = paths[:2] if name in _BY_TWO else paths[:1]
        if any(below(root, path) for path in paths):
            found.append(Call(name, tuple(os.path.relpath(path, root) for path in paths)))
    return found
