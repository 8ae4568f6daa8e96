"""A private directory in local temporary space: for what must not lie in the shared home."""

from __future__ import annotations

import os
import stat

from fjd.errors import ConfigError
from fjd.system import files
from fjd.system.identity import pid_namespace, start_ticks


class Place:
    """A private directory of this process in local temporary space.

    Its name says whose it is, so that the next one removes what a killed process left behind.
    """

    def __init__(self) -> None:
        base = os.environ.get("TMPDIR") or "/tmp"
        self._root = f"{base}/fjd-{os.geteuid()}"
        self._world = "".join(c for c in pid_namespace() if c.isdigit()) or "0"
        pid = os.getpid()
        self._name = f"{pid}-{start_ticks(pid) or 0}-{self._world}"

    @property
    def path(self) -> str:
        """The directory."""
        return f"{self._root}/{self._name}"

    def make(self) -> None:
        """Make the directory; where somebody else took the common name, use one of our own."""
        try:
            self._make()
        except OSError as error:
            raise ConfigError(
                f"cannot make a directory for temporary files: {error.strerror}",
                where=self._root,
                remedy="set TMPDIR to a directory that you may write to",
            ) from error

    def _make(self) -> None:
        files.make_directory(self._root)
        found = os.lstat(self._root)
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
        if not ours or found.st_mode & 0o077:
            self._root += "-" + os.urandom(4).hex()
            os.mkdir(self._root, 0o700)
        files.make_directory(self.path)

    def clear(self) -> None:
        """Remove the directory, and those of processes that were killed before they could."""
        try:
            names = files.listing(self._root) or []
        except OSError:
            return  # it was never made
        for name in names:
            pid, _, rest = name.partition("-")
            ticks, _, world = rest.partition("-")
            if world != self._world or not (pid.isdigit() and ticks.isdigit()):
                continue
            if name == self._name or _ended(int(pid), int(ticks)):
                _remove_directory(f"{self._root}/{name}")


def _ended(pid: int, ticks: int) -> bool:
    try:
        return start_ticks(pid) != ticks
    except OSError:
        return False  # it cannot be seen now; whoever comes next looks again


def _remove_directory(path: str) -> None:
    for name in files.listing(path) or ():
        files.remove(f"{path}/{name}")
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return  # RACE: somebody else swept it
