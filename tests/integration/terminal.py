"""A terminal to run commands on: what they print, and what a person would see of it."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

# Opening a terminal makes it the one that the new session belongs to: passwords are asked there.
_SEQUENCE = re.compile(r"\x1b(?:\[\??([0-9;]*)([A-Za-z])|[()][A-Z0-9]|[=>78M])|[\x0e\x0f]|\$<\d+>")
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

    def says(self, text: str, times: int = 1, timeout: float = 30.0) -> None:
        """Return as soon as that is printed so many times."""
        end = time.monotonic() + timeout
        while self.printed.count(text.encode()) < times:
            assert time.monotonic() < end, self.printed
            self._read(0.1)

    def watch(self) -> None:
        """Read what is there to be read."""
        while select.select([self._master], [], [], 0)[0]:
            self._read(0)

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._master, text.encode())

    def ended(self, timeout: float = 60.0) -> int:
        """Read on until the command has ended; return its exit code."""
        end = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < end, self.printed
            self._read(0.05)
        self.watch()
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


def picture(printed: bytes, lines: int, columns: int) -> list[str]:
    """Return what a person sees after a program has drawn on a vt100: its screen, line by line."""
    cells = [[" "] * columns for _ in range(lines)]
    y = x = at = 0
    text = printed.decode("utf-8", "replace")
    while at < len(text):
        found = _SEQUENCE.match(text, at)
        if found is None:
            char = text[at]
            at += 1
            if char == "\r":
                x = 0
            elif char == "\n":
                y = min(y + 1, lines - 1)
            elif char == "\b":
                x = max(x - 1, 0)
            elif char.isprintable() and x < columns:
                cells[y][x] = char
                x += 1
            continue
        at = found.end()
        numbers = [int(word or 0) for word in (found[1] or "").split(";")]
        first, command = numbers[0], found[2]
        if command == "H":
            y, x = max(first, 1) - 1, max(numbers[1] if len(numbers) > 1 else 1, 1) - 1
        elif command in ("A", "B"):
            y = max(0, min(lines - 1, y + max(first, 1) * (1 if command == "B" else -1)))
        elif command in ("C", "D"):
            x = max(0, min(columns, x + max(first, 1) * (1 if command == "C" else -1)))
        elif command == "K":
            lo, hi = (0 if first else x), (x + 1 if first == 1 else columns)
            cells[y][lo:hi] = " " * (hi - lo)
        elif command == "J":
            for row in range(y + (first == 0), lines):
                cells[row] = [" "] * columns
            if not first:
                cells[y][x:] = " " * (columns - x)
    return ["".join(row).rstrip() for row in cells]
