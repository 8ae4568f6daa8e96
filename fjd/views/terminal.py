"""What may be shown: text without control characters, cells that fit, tables that line up.

A job's name and what a job printed come from anywhere and may hold escape sequences that rename
the window, answer in the user's name or hide a line. Nothing of that leaves this module alive.
"""

from __future__ import annotations

import codecs
import os
import sys
import unicodedata
from collections.abc import Sequence

from fjd.talk import one_line as one_line  # the single line, for whoever imports us

_WIDTH = 80
_NARROWEST = 40
_CUT = "..."


def is_terminal() -> bool:
    """Tell whether a person looks at stdout."""
    return sys.stdout.isatty()


def columns() -> int:
    """Return how many columns stdout has."""
    try:
        found = os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return _WIDTH
    return max(_NARROWEST, found) if found else _WIDTH


def _safe_line(line: str) -> str:
    if line.isprintable():
        return line
    kept = (c if c == "\t" or unicodedata.category(c) == "Zs" else one_line(c) for c in line)
    return "".join(kept)


def safe(text: str) -> str:
    """Return text of several lines in which nothing controls a terminal.

    Line ends and tabs stay, a carriage return (a progress bar's) becomes a line end, and what
    else is not printable is spelled out: ``\\x1b``, ``\\u202e``, ``\\xff`` for a byte that is not
    UTF-8.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(map(_safe_line, lines))


class Cleaner:
    """``safe`` for bytes that come in pieces, split anywhere."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._held = ""

    def feed(self, data: bytes, final: bool = False) -> str:
        """Return what can be shown so far."""
        text = self._held + self._decoder.decode(data, final)
        self._held = ""
        if text.endswith("\r") and not final:
            text, self._held = text[:-1], "\r"  # the line feed may come with the next piece
        return safe(text)


def width(text: str) -> int:
    """Return how many columns a printable text takes."""
    if text.isascii():
        return len(text)
    return sum(_char_width(c) for c in text)


def _char_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fit(text: str, room: int) -> str:
    """Return one safe line of at most ``room`` columns; what is too long is cut at the end."""
    text = one_line(text)
    if width(text) <= room:
        return text
    kept, used = "", len(_CUT)
    for char in text:
        used += _char_width(char)
        if used > room:
            break
        kept += char
    return kept + _CUT[: max(0, room)]


def table(rows: Sequence[Sequence[str]], room: int) -> list[str]:
    """Return the rows as lines of at most ``room`` columns; the widest columns give way.

    The first row is the heading. Columns are two blanks apart.
    """
    widths = [max(width(one_line(row[i])) for row in rows) for i in range(len(rows[0]))]
    while sum(widths) + 2 * (len(widths) - 1) > room and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    lines = []
    for row in rows:
        cells = [fit(cell, size) for cell, size in zip(row, widths)]
        padded = [cell + " " * (size - width(cell)) for cell, size in zip(cells, widths)]
        lines.append("  ".join(padded).rstrip())
    return lines


def tabbed(*values: object) -> str:
    """Return one line for a pipe: safe values, nothing cut, a tab between two."""
    return "\t".join(one_line(str(value)) for value in values)
