"""A terminal to run commands on: what they print, and what a person would see of it."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

# Opening a terminal makes it the one that the new session belongs to: passwords are asked there.
OWN = 'exec "$@" <"$TERMINAL" >"$TERMINAL" 2>&1'


class Terminal:
    """A command on a terminal of its own, so many columns wide; use it as a context."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        columns: int = 80,
        person: Optional[Mapping[str, Any]] = None,
    ) -> None:
        self.printed = b""
        self.columns = columns
        self._master, self._slave = os.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        if person:
            os.fchown(self._slave, person["user"], person["group"])
        clean = {k: v for k, v in env.items() if k not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            ["sh", "-c", OWN, "sh", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={"TERM": "xterm-256color", **clean, "TERMINAL": os.ttyname(self._slave)},
            cwd=cwd,
            start_new_session=True,
            **(person or {}),
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._slave)
        os.close(self._master)

    def _read(self, seconds: float) -> None:
        if select.select([self._master], [], [], seconds)[0]:
            self.printed += os.read(self._master, 65536)

    def says(self, text: str, times: int = 1, timeout: float = 20.0) -> None:
        """Return as soon as that is printed so many times."""
        end = time.monotonic() + timeout
        while self.printed.count(text.encode()) < times:
            assert time.monotonic() < end, self.printed
            self._read(0.1)

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._master, text.encode())

    def ended(self, timeout: float = 60.0) -> int:
        """Read on until the command has ended; return its exit code."""
        end = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < end, self.printed
            self._read(0.05)
        while select.select([self._master], [], [], 0)[0]:
            self._read(0)
        return self.process.returncode

    def screen(self) -> list[str]:
        """Return the lines that are left to see; fail if a rewritten one was too wide.

        A line that stays may be wider, for then the terminal breaks it. One that is rewritten may
        not: going back to its start would go back to the start of its last part only.
        """
        lines, line, column = list[str](), "", 0
        text = self.printed.decode().replace("\r\n", "\n")
        for char in text:
            if char == "\n":
                lines.append(line.rstrip())
                line, column = "", 0
            elif char == "\r":
                assert column <= self.columns, f"wider than {self.columns} columns: {line}"
                column = 0
            else:
                assert char.isprintable(), f"{char!a} in {self.printed!r}"
                line = line[:column].ljust(column) + char + line[column + 1 :]
                column += 1
        return [*lines, line.rstrip()]
