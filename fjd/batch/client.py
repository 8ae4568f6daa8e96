"""``fjd.Batch``: a program hands in commands as it goes, and hears how each of them ended.

    with Batch("-s", "localhost:4") as batch:
        ids = [batch.submit(f"./simulate {n}") for n in range(100)]
        for done in batch.as_completed():
            print(done.id, done.code)

It runs ``fjd-batch OPTIONS -`` as a child, writes the commands to it and reads its status file.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from types import TracebackType
from typing import NamedTuple, NoReturn, Optional

from fjd.batch.prefix import Prefix
from fjd.batch.tail import Tail
from fjd.errors import FjdError, UsageError
from fjd.launchers.base import command
from fjd.spool.lists import grammar, statusfile
from fjd.talk import one_line

_LOOK = (0.002, 0.1)  # s between two looks at the status file: at first, and at most
_SAID = 2000  # bytes of the child's last words


class Finished(NamedTuple):
    """How a command ended.

    Attributes:
        id: what ``submit`` returned.
        code: the exit code; minus the signal that ended it; 124 after its timeout; -100: lost.
        command: what was run; bytes that are not UTF-8 stand in it as surrogate escapes.
        host: where; ``start``, ``end``: when, seconds since the epoch; ``seconds``: how long.
        out, err: how many bytes it printed; ``out_text``, ``err_text``: the first and last 40.
    """

    id: int
    code: int
    command: str
    host: str
    start: float
    end: float
    seconds: float
    out: int
    out_text: str
    err: int
    err_text: str


class Batch:
    """A list of commands that grows; use it as a context.

    Args:
        options: of ``fjd-batch``, except ``-p``, ``-r`` and where the tasks come from.
        prefix: the path that the files of the run begin with; without one they lie in a temporary
            directory until ``close``.
        cwd: where the commands start (default: here).

    Raises:
        UsageError: an option that it sets by itself.
    """

    def __init__(
        self, *options: str, prefix: Optional[str] = None, cwd: Optional[str] = None
    ) -> None:
        for word in options:
            if word in ("-p", "--prefix", "-r", "--resume-from", "-"):
                raise UsageError(f"fjd.Batch sets {word} by itself")
        self._temporary = tempfile.mkdtemp(prefix="fjd-batch-") if prefix is None else ""
        path = os.path.abspath(prefix or f"{self._temporary}/batch")
        self._prefix, self._tail = Prefix(path), Tail(Prefix(path).status)
        self._submitted = 0
        self._finished: dict[int, Finished] = {}
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
        words = command(
            sys.executable, "fjd.scripts.fjd_batch", [*options, "-p", self._prefix.path, "-"]
        )
        self._child = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            cwd=cwd,
            start_new_session=True,  # Ctrl-C is ours to hear; ``close`` passes it on
        )

    def __enter__(self) -> Batch:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close(now=kind is not None)

    # -- in -----------------------------------------------------------------------------------

    def submit(self, command: str | bytes) -> int:
        """Hand in a command, for ``bash -c``; return its id. Line breaks in it are fine.

        Raises:
            UsageError: no command can be so.
            FjdError: the run has ended.
        """
        data = os.fsencode(command)
        if not data.strip() or b"\0" in data or len(data) > grammar.LONGEST:
            raise UsageError("a command is not empty, has no NUL, and is of 1 MiB at most")
        stdin = self._child.stdin
        try:
            if stdin is None or stdin.closed:
                raise UsageError("the batch was closed")
            stdin.write(b"#FJD TASK %d\n%b\n" % (len(data), data))
            stdin.flush()
        except BrokenPipeError:
            self._fail()
        number, self._submitted = self._submitted, self._submitted + 1
        return number

    # -- out ----------------------------------------------------------------------------------

    def wait(
        self, ids: Optional[Collection[int]] = None, timeout: Optional[float] = None
    ) -> dict[int, Finished]:
        """Wait for these commands (default: all so far) and return how they ended, by id.

        Raises:
            TimeoutError: not within that many seconds.
            FjdError: the run has ended without them.
        """
        return {done.id: done for done in self.as_completed(ids, timeout)}

    def as_completed(
        self, ids: Optional[Collection[int]] = None, timeout: Optional[float] = None
    ) -> Iterator[Finished]:
        """Yield how these commands (default: all so far) end, as they end; raises as ``wait``."""
        waiting = set(range(self._submitted) if ids is None else ids)
        for number in waiting:
            if not 0 <= number < self._submitted:
                raise UsageError(f"{number} is no id of this batch")
        until = None if timeout is None else time.monotonic() + timeout
        pause, most = _LOOK
        ready = waiting & self._finished.keys()
        while waiting:
            for number in ready:
                waiting.discard(number)
                yield self._finished[number]
            over = self._child.poll() is not None  # before the look: what it wrote is then there
            self._read()
            ready = waiting & self._finished.keys()
            if ready:
                pause = _LOOK[0]
                continue
            if over:
                self._fail()
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"{len(waiting)} commands have not ended")
            time.sleep(pause)
            pause = min(2 * pause, most)

    def _read(self) -> None:
        for line in self._tail.lines():
            row = statusfile.parse(line + b"\n")
            if row is not None and row.kind == " ":
                self._finished[row.number] = _finished(row)

    def _fail(self) -> NoReturn:
        code = self._child.wait()
        size = os.fstat(self._said.fileno()).st_size
        said = os.pread(self._said.fileno(), _SAID, max(0, size - _SAID))
        lines = said.decode("utf-8", "replace").splitlines()
        last = one_line(lines[-1]) if lines else "it said nothing"
        raise FjdError(f"fjd-batch has ended with exit code {code}: {last}")

    def close(self, now: bool = False) -> int:
        """Wait for all commands (``now``: end what runs) and return the exit code of fjd-batch."""
        try:
            if now and self._child.poll() is None:
                self._child.terminate()
            if self._child.stdin is not None:
                try:
                    self._child.stdin.close()
                except BrokenPipeError:
                    now = True  # it has ended, and its exit code says how
            code = self._child.wait()
            self._read()
        except BaseException:
            self._child.terminate()
            self._child.wait()
            raise
        finally:
            self._said.close()
            if self._temporary:
                shutil.rmtree(self._temporary, ignore_errors=True)
        return code


def _finished(row: statusfile.Row) -> Finished:
    cells = row.figures.split(b"\t")
    seconds, start, end = (float(cell) for cell in cells[3:6])
    return Finished(
        id=row.number,
        code=row.code,
        command=os.fsdecode(row.command),
        host=os.fsdecode(row.host),
        start=start,
        end=end,
        seconds=seconds,
        out=row.out,
        out_text=_snippet(cells[7]),
        err=row.err,
        err_text=_snippet(cells[9]),
    )


def _snippet(cell: bytes) -> str:
    try:
        return str(ast.literal_eval(cell.decode("utf-8", "replace")))
    except (ValueError, SyntaxError):
        return cell.decode("utf-8", "replace")
