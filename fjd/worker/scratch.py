"""What a task prints: caught in private files, kept in the worker's output files.

A task writes to two scratch files in local temporary space, never to a file that holds another
task's output: ``echo x > /dev/stderr`` truncates whatever it was given. What is in them is
appended to ``output/<worker>.out`` and ``.err``; of a task that prints without end, the head and
the tail are kept, and the scratch file gives its middle back to the file system as it grows.
"""

from __future__ import annotations

import os
from typing import Optional

from fjd.system import files

KEEP = 64 << 20  # bytes kept of one stream of one task, half of it head, half tail
_CHUNK = 1 << 20
_SHOWN = 40  # bytes of the beginning and of the end that the record of a list's task shows


class Stream:
    """One stream (stdout or stderr) of the tasks of one worker, one task after the other.

    Attributes:
        printed: how many bytes the last task has printed, and the first and last few of them.
    """

    def __init__(self, directory: str, name: str, target: files.Appender, keep: int = KEEP) -> None:
        self._directory, self._name, self._target = directory, name, target
        self._head = self._tail = keep // 2
        self._number = 0
        self.fd = -1
        self.renew()
        self.begin()

    def renew(self) -> None:
        """Use a new scratch file: something that escaped from a task may hold the old one."""
        path = f"{self._directory}/{self._name}{self._number}"
        if self.fd >= 0:
            os.close(self.fd)
            files.remove(path)
            self._number += 1
            path = f"{self._directory}/{self._name}{self._number}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self.fd = os.open(path, flags, 0o600)

    def begin(self) -> None:
        """A task starts."""
        self._span: Optional[list[int]] = None
        self.printed = (0, b"", b"")
        self._start = self._target.size
        self._seen = 0  # bytes of the scratch file that are kept or given up
        self._punched = self._head

    @property
    def start(self) -> int:
        """Where the output of the current task begins in the output file."""
        return self._start

    def _copy(self, upto: int) -> None:
        while self._seen < upto:
            data = os.pread(self.fd, min(_CHUNK, upto - self._seen), self._seen)
            if not data:
                return
            self._target.append(data)
            self._seen += len(data)

    def flush(self) -> bool:
        """Keep what was printed so far; True if much came since the last time."""
        size = os.fstat(self.fd).st_size
        before = self._seen
        if size < self._seen:
            self._seen = 0  # the task truncated its own output
        self._copy(min(size, self._head))
        middle = size - self._tail
        if middle > self._punched:
            from fjd.system import libc  # loads ctypes, and few tasks print that much

            libc.punch(self.fd, self._punched, middle - self._punched)
            much = middle - self._punched > _CHUNK
            self._punched = middle
            return much
        return self._seen - before > _CHUNK

    def finish(self) -> list[int]:
        """The task has ended: keep the rest. Returns [offset, length] in the output file.

        On a full disk DiskFull is raised; call it again when there is room.
        """
        if self._span is not None:
            return self._span
        size = os.fstat(self.fd).st_size
        if size:
            head = os.pread(self.fd, _SHOWN, 0)
            tail = head if size <= _SHOWN else os.pread(self.fd, _SHOWN, size - _SHOWN)
            self.printed = (size, head, tail)
            self.flush()
            rest = max(self._head, size - self._tail)
            if self._seen < rest < size:
                if self._seen == self._head < rest:
                    left_out = rest - self._head
                    note = f"\n[fjd: {left_out} bytes left out here]\n"
                    self._target.append(note.encode())
                self._seen = rest
            self._copy(size)
            os.ftruncate(self.fd, 0)
        self._span = [self._start, self._target.size - self._start]
        return self._span

    def close(self) -> None:
        """Give everything back."""
        os.close(self.fd)
        files.remove(f"{self._directory}/{self._name}{self._number}")
