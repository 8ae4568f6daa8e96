"""README.rst as data: its literal blocks, the commands in them, its tables."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
TEXT = (CHECKOUT / "README.rst").read_text(encoding="utf-8")

_FILE = re.compile(r"a file ``([\w.]+)``::$")


class Block(NamedTuple):
    """A literal block: the title of its section, the line that announces it, and its text."""

    section: str
    announced: str
    text: str

    @property
    def file(self) -> str:
        """The name of the file that it shows ("" if it is none)."""
        found = _FILE.search(self.announced)
        return found[1] if found else ""

    def commands(self) -> list[tuple[str, list[str]]]:
        """Return (command, what it is shown to print) of a block that shows a shell."""
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
        return found

    @property
    def is_shell(self) -> bool:
        """Tell whether it shows a shell."""
        return self.text.startswith("$ ")


def blocks() -> list[Block]:
    """Return all literal blocks, in order."""
    lines = TEXT.splitlines()
    found = []
    section = ""
    for number, line in enumerate(lines):
        if line and set(line) <= set("=-") and number and len(line) == len(lines[number - 1]):
            section = lines[number - 1]
        if not line.endswith("::"):
            continue
        margin = len(line) - len(line.lstrip())
        body = []
        for inner in lines[number + 1 :]:
            if inner.strip() and len(inner) - len(inner.lstrip()) <= margin:
                break
            body.append(inner)
        found.append(Block(section, line, textwrap.dedent("\n".join(body)).strip("\n") + "\n"))
    return found


def block(section: str, beginning: str) -> str:
    """Return the text of the one block of a section that begins so."""
    (text,) = [b.text for b in blocks() if b.section == section and b.text.startswith(beginning)]
    return text


def first_column(section: str) -> list[str]:
    """Return the words in the first columns of a section's tables, without their quotes."""
    _, _, rest = TEXT.partition(f"\n{section}\n{'-' * len(section)}\n")
    body = re.split(r"\n[^\n]+\n-{3,}\n", rest)[0]
    inside, words = False, []
    for line in map(str.strip, body.splitlines()):
        if re.fullmatch(r"=+ +=+", line):
            inside = not inside
        elif inside:
            found = re.match(r"(?:``(\w+)``|(\d+))  ?\s*\S", line)
            if found:
                words.append(found[1] or found[2])
    return words
