"""The guardian: a tiny parent that lets no task outlive its worker.

    screen or detached process
      guardian     child subreaper: whatever loses its parent below becomes its child
        worker     runs tasks; tells the guardian at every heartbeat that it is well
          task     a session of its own

When the worker has ended, however it ended (``kill -9`` too), the guardian kills every descendant
that is left, in milliseconds and at no cost per task. A worker that was stopped (SIGSTOP, a
file system that hangs) and could not beat for a whole lease is killed the same way, and a new
worker with a new name takes its place; so is one that asks for it because it was buried.
If the guardian is killed, the worker sees its pipe close, takes its place, and ends.
"""

# No postponed annotations: NamedTuple would compile each of them, and a worker waits for it.

import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from typing import Callable, NamedTuple

from fjd.system.ears import Ears
from fjd.system.identity import start_ticks

AGAIN = 75  # exit code of a worker that wants a successor with a new name
_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1)
_FIRST_BEAT = 60.0  # s until the first sign of life of a new worker


class Lifeline(NamedTuple):
    """The worker's ends of the two pipes: ``beat`` to write to, ``guardian`` to read from."""

    beat: int
    guardian: int

    def alive(self, lease: float) -> None:
        """Tell the guardian: well, and count me as dead after so many seconds of silence."""
        try:
            os.write(self.beat, b"%.3f\n" % lease)
        except OSError:
            return  # the guardian is gone; the main loop sees its pipe close

    def wait_until_guarded(self) -> None:
        """Return once the guardian catches what falls (immediately, but before the first task)."""
        os.read(self.guardian, 1)

    def is_cut(self) -> bool:
        """Tell whether the guardian is gone: its end of the pipe is closed."""
        ready, _, _ = select.select([self.guardian], [], [], 0)
        return bool(ready)


class Family:
    """The children of a process's first thread, or of another one; the descriptor is kept."""

    def __init__(self, pid: int, thread: int = 0) -> None:
        path = f"/proc/{pid}/task/{thread or pid}/children"
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1  # this kernel does not say

    def pids(self) -> list[int]:
        """Return who they are now."""
        if self._fd < 0:
            return []
        try:
            return [int(word) for word in os.pread(self._fd, 1 << 16, 0).split()]
        except OSError:
            return []  # the process has just ended

    def close(self) -> None:
        """Forget them."""
        if self._fd >= 0:
            os.close(self._fd)


def children(pid: int, thread: int = 0) -> list[int]:
    """Return the children of a process's first thread, or of another one."""
    family = Family(pid, thread)
    try:
        return family.pids()
    finally:
        family.close()


def guard(work: Callable[[Lifeline], int], clean: Callable[[], None]) -> int:
    """Run ``work`` in a child, again while it asks for it; return its exit code.

    ``clean`` removes what the child may have left in local temporary space.
    """
    while True:
        beat_read, beat_write = os.pipe()
        ready_read, ready_write = os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until somebody listens to them
        pid = os.fork()
        if pid == 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.close(beat_read)
            os.close(ready_write)
            os._exit(_child(work, Lifeline(beat_write, ready_read)))
        os.close(beat_write)
        os.close(ready_read)
        ears = Ears(_SIGNALS)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        from fjd.system import libc  # here, because ctypes would hold up the worker

        libc.become_subreaper()
        _tell_ready(ready_write)
        code = _watch(pid, beat_read, ears)
        _kill_descendants()
        clean()
        os.close(beat_read)
        os.close(ready_write)
        ears.close()
        if code != AGAIN:
            return code
        if ears.heard:
            return 0  # it was fired meanwhile


def adopt() -> None:
    """The guardian is gone: catch what falls in its place; it is killed when we end."""
    from fjd.system import libc  # here, because ctypes would hold up a worker that starts

    libc.become_subreaper()


def _tell_ready(ready: int) -> None:
    try:
        os.write(ready, b"!")
    except BrokenPipeError:
        return  # RACE: the worker has ended already; _watch says how


def _child(work: Callable[[Lifeline], int], lifeline: Lifeline) -> int:
    """Nothing may get past here: this process is a copy of whoever called ``guard``."""
    try:
        return work(lifeline)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  it is reported, and the process ends
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        _kill_descendants()
        sys.stdout.flush()


def _watch(pid: int, beat: int, ears: Ears) -> int:
    """Wait for the worker's end; forward signals; kill it when it falls silent."""
    ears.listen(beat)
    last, lease = time.monotonic(), _FIRST_BEAT
    while True:
        for ended, code in _reap():
            if ended == pid:
                return code
        while ears.heard:  # one by one: another may come at any moment, and must not be lost
            gently = ears.heard.pop(0) == signal.SIGUSR1
            os.kill(pid, signal.SIGUSR1 if gently else signal.SIGTERM)
        silence = time.monotonic() - last
        if silence > lease:
            _end(pid)
            return AGAIN
        if beat in ears.wait(lease - silence + 0.01):
            words = os.read(beat, 4096).split()
            if words:
                last, lease = time.monotonic(), float(words[-1])
            else:
                ears.ignore(beat)  # the worker is ending
                last, lease = time.monotonic(), _FIRST_BEAT


def _reap() -> Iterator[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _end(pid: int) -> None:
    """Kill the worker, and what it runs before it is dead itself.

    A call of a file system that hangs (SSHFS without its cable) holds one of its threads until it
    returns, whatever signal comes; its other threads end, and its children become that one's.
    """
    os.kill(pid, signal.SIGKILL)
    pause = 0.001
    while True:
        left = [each for each in _living(os.getpid()) if each != pid]
        for each in left:
            try:
                os.kill(each, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if not left:
            break
        time.sleep(pause)
        pause = min(2 * pause, 0.5)
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return


def _living(pid: int) -> Iterator[int]:
    """Yield all below a process that have not ended, whichever threads they are children of."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return  # it has just ended
    for thread in threads:
        for child in children(pid, int(thread)):
            yield from _living(child)
            if _lives(child):
                yield child


def _lives(pid: int) -> bool:
    try:
        return start_ticks(pid) is not None
    except OSError:
        return True  # it cannot be seen just now; the next look may tell


def _kill_descendants() -> None:
    """Kill all children until there are none: each one's death may bring us its children."""
    while True:
        below = children(os.getpid())
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            os.waitpid(-1, 0 if below else os.WNOHANG)
        except ChildProcessError:
            return
        if not below:
            select.select([], [], [], 0.001)
