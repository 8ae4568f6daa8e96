"""What the project's file system and the temporary space can do: tried out, not looked up."""

from __future__ import annotations

import os
import shlex
import stat
import threading

from fjd.doctor.check import FAIL, OK, WARN, Check
from fjd.errors import FjdError
from fjd.spool import timings
from fjd.spool.project import Project
from fjd.system import files

LEAST_BYTES = 1 << 30
LEAST_PERCENT = 5
LEAST_INODES = 10_000

_SAMPLE = b"fjd" * 1000
_RACES = 25


def checks(project: Project) -> list[Check]:
    """Return all checks of this file."""
    return [home(project), rename(project), link(project), room(project), temporary()]


def _why(error: Exception) -> str:
    if isinstance(error, FjdError):
        return error.what
    return (isinstance(error, OSError) and error.strerror) or str(error)


def home(project: Project) -> Check:
    """Tell where the project lies and who can read it; where others can write we never get."""
    kind = timings.file_system(project.root) or "an unknown file system"
    mode = stat.S_IMODE(os.stat(project.root).st_mode)
    fact = f"{project.root} on {kind}, yours, mode {mode:04o}"
    if mode & 0o077:
        remedy = f"to keep what jobs print to yourself, type: chmod 700 {shlex.quote(project.root)}"
        return Check("home", WARN, fact, remedy)
    return Check("home", OK, fact)


def rename(project: Project) -> Check:
    """Try what the spool rests on: a rename replaces, misses, and has one winner of two."""
    name = "rename"
    base = project.staging()
    paths = [f"{base}.{letter}" for letter in "abc"]
    try:
        fault = _replaces(*paths[:2]) or _misses(*paths[:2]) or _races(*paths)
    except (OSError, FjdError, RuntimeError) as error:  # RuntimeError: no more threads
        return Check(name, FAIL, f"it cannot be tried: {_why(error)}", "make room, or look at home")
    finally:
        _clear(paths)
    if fault:
        return Check(name, FAIL, fault, "set FJD_HOME to a directory on another file system")
    return Check(name, OK, f"atomic: one winner in each of {_RACES} races")


def _replaces(source: str, target: str) -> str:
    files.create(target, b"old")
    files.create(source, b"new")
    os.rename(source, target)
    right = files.read(target) == b"new" and os.path.basename(source) not in _names(source)
    return "" if right else "a rename does not replace the file that is there"


def _names(path: str) -> list[str]:
    return files.listing(os.path.dirname(path), nudge=True) or []


def _misses(target: str, source: str) -> str:
    files.remove(target)
    files.remove(source)
    try:
        os.rename(source, target)
    except OSError:
        return ""
    return "a rename of a file that is not there does not fail"


def _races(source: str, left: str, right: str) -> str:
    for _ in range(_RACES):
        files.create(source, b"")
        winners: list[str] = []
        barrier = threading.Barrier(2)

        def claim(target: str, winners: list[str], barrier: threading.Barrier) -> None:
            barrier.wait()
            try:
                os.rename(source, target)
            except OSError:
                return  # RACE: the other one won
            winners.append(target)

        threads = [
            threading.Thread(target=claim, args=(target, winners, barrier), daemon=True)
            for target in (left, right)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        there = {os.path.basename(p) for p in (source, left, right)}.intersection(_names(source))
        if len(winners) != 1 or there != {os.path.basename(winners[0])}:
            return f"of two renames of one file {len(winners)} succeeded"
        files.remove(winners[0])
    return ""


def _clear(paths: list[str]) -> None:
    for path in paths:
        try:
            files.remove(path)
        except OSError:
            continue  # the check has said what is wrong


def link(project: Project) -> Check:
    """Tell whether hard links work; nothing depends on it."""
    base = project.staging()
    paths = [f"{base}.l1", f"{base}.l2"]
    try:
        files.create(paths[0], b"")
        os.link(*paths)
        number = os.stat(paths[0]).st_nlink
        text = "works" if number == 2 else f"works, but a file with two names counts {number}"
    except (OSError, FjdError) as error:
        text = f"does not work ({_why(error)})"
    finally:
        _clear(paths)
    return Check("link", OK, f"{text}; nothing depends on it")


def room(project: Project) -> Check:
    """Write into the project and tell what is left."""
    return _room("room", project.root, project.staging(), "make room there, or raise your quota")


def temporary() -> Check:
    """Write into the temporary space of this machine and tell what is left."""
    base = os.environ.get("TMPDIR") or "/tmp"
    path = f"{base}/fjd-doctor-{os.getpid()}-{os.urandom(4).hex()}"
    return _room("temp", base, path, "make room there, or set TMPDIR to another directory")


def _room(name: str, base: str, sample: str, remedy: str) -> Check:
    try:
        files.create(sample, _SAMPLE, sync=True)
        files.remove(sample)
        found = os.statvfs(base)
    except (OSError, FjdError) as error:
        return Check(name, FAIL, f"nothing can be written in {base}: {_why(error)}", remedy)
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    return judge_room(name, base, (free, total), (found.f_favail, found.f_files), remedy)


def judge_room(
    name: str, base: str, space: tuple[int, int], inodes: tuple[int, int], remedy: str
) -> Check:
    """Say what free and total bytes and inodes mean; a total of 0 is none that is counted."""
    (free, total), (left, most) = space, inodes
    percent = 100 * free // total if total else 100
    fact = f"{size(free)} ({percent} %) free in {base}"
    if most:
        fact += f", {left:,} inodes"
    small = total and (free < LEAST_BYTES or percent < LEAST_PERCENT)
    if small or (most and left < LEAST_INODES):
        return Check(name, WARN, fact, remedy)
    return Check(name, OK, fact)


def size(number: float) -> str:
    """Return ``12 MiB``."""
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while number >= 1024 and len(units) > 1:
        number /= 1024
        del units[0]
    digits = 0 if number >= 10 or units[0] == "B" else 1
    return f"{number:.{digits}f} {units[0]}"
