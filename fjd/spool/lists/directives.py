"""The directives of a list, each one line; pure functions.

``#DISBATCH`` or ``#FJD`` at the very beginning of a line, in capitals, introduces them:

    #FJD PREFIX <text>                  in front of every command from here on; exactly one blank is
    #FJD SUFFIX <text>                  taken away, so ``PREFIX`` and one blank resets it
    #FJD REPEAT <n> [start <i>] [step <k>] [<command>]
    #FJD BARRIER [CHECK] [<key>]        all before it have ended first (CHECK: and ended well)
    #FJD PERENGINE START <command>      run by every engine before its first task,
    #FJD PERENGINE STOP <command>       and after its last one
    #FJD TASK <bytes>                   so many bytes, then LF: one command, line breaks included
    #FJD LINE <n>                       what follows counts as line n, until the next one
    #FJD END                            the end of a growing list

The last three are fjd's own and want ``#FJD``. Where disBatch drops, guesses or crashes, fjd
refuses, and the reader (grammar.py) says which line:

* An unknown directive was logged and ignored; ``#DISBATCH`` alone or ``#DISBATCHX`` was a task that
  did nothing; PERENGINE after a task dropped the rest of the file and exited 0.
* ``PERENGINE start`` ended the run. Here only BARRIER and CHECK (and fjd's own) want capitals, as
  there: ``BARRIER check`` was a barrier that checks nothing, with a key of that name.
* ``BARRIERX`` and ``BARRIERCHECK`` were plain barriers, ``BARRIER CHECKX`` was a CHECK, and a
  second blank became part of the key. Blanks behind a BARRIER or its key say nothing here.
* ``REPEAT 2 step 5 start 1 c`` ran ``start 1 c``, and ``REPEAT 2 start -3`` ran ``start -3``. A
  command may not begin so (``env start 1`` may).
"""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

KEYWORDS = (b"#DISBATCH", b"#FJD")
HUGE = "holds a number that is larger than fjd or a shell can count"
_DIRECTIVE = re.compile(rb"(#\w+) (\w+)(.*)", re.DOTALL)
_REPEAT = re.compile(
    rb"\s+(\d+)(?:\s+start\s+(\d+))?(?:\s+step\s+(\d+))?(?: (.+))?\s*", re.DOTALL | re.IGNORECASE
)
_LOST_WORD = re.compile(rb"\s*(?:start|step)\s+[+-]?\d", re.IGNORECASE)
_PERENGINE = re.compile(rb" (START|STOP) (.*)", re.DOTALL | re.IGNORECASE)
_BARRIER = re.compile(rb"(?: (CHECK))?(?: (\S.*))?", re.DOTALL)
_NUMBER = re.compile(rb" (\d+)\s*")
_ANY_CASE = (b"PREFIX", b"SUFFIX", b"REPEAT", b"PERENGINE")
_OWN = (b"TASK", b"LINE", b"END")


class Malformed(ValueError):
    """A directive that cannot be: ``what`` is said of its line, ``remedy`` what to write."""

    def __init__(self, remedy: str, what: str = "holds a directive that is not complete") -> None:
        super().__init__(what)
        self.what, self.remedy = what, remedy


class Directive(NamedTuple):
    """A directive: ``word`` in capitals (START and STOP for PERENGINE), and what it says."""

    word: str
    text: bytes = b""
    amount: int = 0
    start: int = 0
    step: int = 1
    check: bool = False
    key: str = ""


def parse(line: bytes) -> Directive:
    """Read a line that begins with one of the keywords, without its end.

    Raises:
        Malformed: it is no directive, or one that cannot be.
    """
    found = _DIRECTIVE.fullmatch(line)
    keyword, word, rest = found.groups() if found else (b"", b"", b"")
    if word.upper() in _ANY_CASE:
        word = word.upper()
    if keyword == KEYWORDS[1] and word in _OWN:
        return _own(word.decode(), rest)
    if keyword in KEYWORDS and word == b"BARRIER":
        return _barrier(rest)
    if keyword in KEYWORDS and word == b"REPEAT":
        return _repeat(rest)
    if keyword in KEYWORDS and word == b"PERENGINE":
        return _per_engine(rest)
    if keyword in KEYWORDS and word in _ANY_CASE:
        return Directive(word.decode(), _after_blank(rest))
    remedy = "a comment begins with a # and a blank"
    if keyword in KEYWORDS and word.upper() in (b"BARRIER", *_OWN):
        remedy = f"write #FJD {word.upper().decode()}"
    shown = line[:40].decode("utf-8", "backslashreplace")
    raise Malformed(remedy, f"is no directive that fjd knows: {shown!r}")


def _after_blank(rest: bytes) -> bytes:
    if rest[:1] != b" ":
        raise Malformed("write a blank behind the word, also where nothing follows")
    return rest[1:]


def _per_engine(rest: bytes) -> Directive:
    found = _PERENGINE.fullmatch(rest)
    if found is None:
        raise Malformed("write: #FJD PERENGINE START <command>, or STOP")
    return Directive(found[1].upper().decode(), found[2])


def _repeat(rest: bytes) -> Directive:
    found = _REPEAT.fullmatch(rest)
    if found is None:
        raise Malformed("write: #FJD REPEAT <count> [start <i>] [step <k>] [<command>]")
    text = found[4] or b""
    if _LOST_WORD.match(text):
        raise Malformed(
            "write `start` before `step`, each with a number from 0 on",
            "holds a REPEAT whose command would begin with a misplaced `start` or `step`",
        )
    count, start, step = _count(found[1]), _count(found[2] or b"0"), _count(found[3] or b"1")
    if start + step * count >= 1 << 63:
        raise Malformed("write a smaller one", HUGE)
    return Directive("REPEAT", text, count, start, step)


def _barrier(rest: bytes) -> Directive:
    found = _BARRIER.fullmatch(rest.rstrip())
    key: bytes = (found[2] or b"") if found else b""
    mistaken = key.startswith(b"CHECK") or key[:6].strip().upper() == b"CHECK"
    if found is None or (mistaken and not found[1]):
        raise Malformed("write: #FJD BARRIER [CHECK] [<key>], with one blank between them")
    said = key.decode("utf-8", "surrogateescape")
    return Directive("BARRIER", check=bool(found[1]), key=said)


def _own(word: str, rest: bytes) -> Directive:
    if word == "END":
        if rest.strip():
            raise Malformed("write: #FJD END")
        return Directive(word)
    found: Optional[re.Match[bytes]] = _NUMBER.fullmatch(rest)
    if found is None:
        raise Malformed(f"write: #FJD {word} <number>")
    return Directive(word, amount=_count(found[1]))


def _count(digits: bytes) -> int:
    digits = digits.lstrip(b"0") or b"0"
    if len(digits) > 18:
        raise Malformed("write a smaller one", HUGE)
    return int(digits)
