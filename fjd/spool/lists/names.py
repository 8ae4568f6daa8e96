"""The grammar of the names of lists and pieces; pure functions, no system calls.

    birth      10 characters of base32, drawn when a piece is written
    piece      p<birth>,<lo>-<hi>,s<serial>,a<attempt>[,f<n>][,e<n>][,c<n>][,b<birth>]
    in a pod   <key>,<piece>[,run]
    in a list  <piece>                                           waiting
               <piece>[,end,<worker>,o<at>,k<k>],new             unborn
               <piece>,<why>,<worker>                            taken
               <piece>,<why>,<worker>,o<at>,k<k>[,z<z>]          judged
    mark       <token>,n<n>[,b<birth>][,stop|,<outcome>]         the list's own token

As everywhere in the spool: what does not match is not ours, and parsers answer None.
"""

# No postponed annotations: NamedTuple would compile each of them, and a worker waits for it.

import os
from collections.abc import Iterator
from typing import NamedTuple, Optional

from fjd.spool.names import DEAD as DEAD
from fjd.spool.names import GONE as GONE
from fjd.spool.names import RUN, Token, is_number, is_pod

NEW = ",new"
STOP = "stop"
END, BACK, TORN, LOST, OFF = "end", "back", "torn", "lost", "off"
WHY = frozenset((END, BACK, TORN, GONE, DEAD, LOST, OFF))
BROKEN_OFF = frozenset((DEAD, GONE, BACK))  # in the middle of a task
SKIPPED, PASSED = "skip", "pass"  # in a progress file: done by an earlier run; a barrier
NOBODY = "-"  # the worker of what was never run
EVER = 1 << 62  # behind every number of a task

_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_BIRTH = 10


def new_birth() -> str:
    """Return a fresh birth: 50 random bits."""
    return "".join(_BASE32[b & 31] for b in os.urandom(_BIRTH))


def _is_birth(text: str) -> bool:
    return len(text) == _BIRTH and all(c in _BASE32 for c in text)


def _fields(parts: list[str], letters: str) -> Optional[dict[str, int]]:
    """Read ``a1``, ``c2``... in the order of ``letters``; consume what is there."""
    found: dict[str, int] = {}
    for letter in letters:
        if parts and parts[0][:1] == letter and is_number(parts[0][1:]):
            found[letter] = int(parts.pop(0)[1:])
    return found


class Piece(NamedTuple):
    """Consecutive tasks ``lo <= number < hi`` of one list.

    Attributes:
        birth: who it is, for its whole life.
        serial: rises with every rename, so that no name comes twice.
        attempt: the attempt of every task in it (the first one: plus ``extra``).
        failures: attempts of every task in it that ended by themselves and not well.
        extra: attempts of the first task that were broken off.
        crashes: those of them that took their worker down.
        bore: the birth of the piece that the last rename split off ("" if none).
    """

    birth: str
    lo: int
    hi: int
    serial: int = 0
    attempt: int = 1
    failures: int = 0
    extra: int = 0
    crashes: int = 0
    bore: str = ""

    def __str__(self) -> str:
        name = f"p{self.birth},{self.lo}-{self.hi},s{self.serial},a{self.attempt}"
        for letter, number in (("f", self.failures), ("e", self.extra), ("c", self.crashes)):
            if number:
                name += f",{letter}{number}"
        return f"{name},b{self.bore}" if self.bore else name

    def number(self, task: int) -> int:
        """Return the number of the attempt at one of its tasks."""
        return self.attempt + (self.extra if task == self.lo else 0)

    def tasks(self) -> Iterator[int]:
        """Yield the numbers of its tasks."""
        return iter(range(self.lo, self.hi))

    def child(self, lo: int, hi: int, attempt: int, failures: int) -> "Piece":
        """Return a new piece for a part of its range."""
        return Piece(new_birth(), lo, hi, 0, attempt, failures)

    @classmethod
    def parse(cls, name: str) -> "Optional[Piece]":
        """Read a piece's name; None if it is none."""
        parts = name.split(",")
        piece = cls.take(parts)
        return piece if piece and not parts else None

    @classmethod
    def take(cls, parts: list[str]) -> "Optional[Piece]":
        """Read a piece from the front of the parts of a name, and remove those parts."""
        whole = list(parts)
        if len(parts) < 4 or parts[0][:1] != "p" or not _is_birth(parts[0][1:]):
            return None
        birth = parts.pop(0)[1:]
        lo, dash, hi = parts.pop(0).partition("-")
        if not dash or not is_range(lo, hi):
            return None
        found = _fields(parts, "safec")
        bore = ""
        if parts and parts[0][:1] == "b" and _is_birth(parts[0][1:]):
            bore = parts.pop(0)[1:]
        if found is None or "s" not in found or "a" not in found:
            return None
        f, e, c = (found.get(letter, 0) for letter in "fec")
        piece = cls(birth, int(lo), int(hi), found["s"], found["a"], f, e, c, bore)
        return piece if str(piece) == ",".join(whole[: len(whole) - len(parts)]) else None


def is_range(lo: str, hi: str) -> bool:
    """Tell whether two texts are how we spell the ends of a range."""
    return is_number(lo) and is_number(hi) and int(lo) <= int(hi) < EVER


class Assigned(NamedTuple):
    """A piece in a pod."""

    key: str
    piece: Piece
    accepted: bool

    def __str__(self) -> str:
        return f"{self.key},{self.piece}{RUN if self.accepted else ''}"

    @classmethod
    def parse(cls, name: str) -> "Optional[Assigned]":
        """Read the name of a file in a pod; None if it is not a piece."""
        accepted = name.endswith(RUN)
        key, comma, rest = (name[: -len(RUN)] if accepted else name).partition(",")
        piece = Piece.parse(rest) if comma and Token.parse(f"{key},s0,a1") else None
        return cls(key, piece, accepted) if piece else None


def in_order(names: list[str]) -> list[str]:
    """Return the names in a pod with its pieces first: accepted ones, then the lowest tasks."""

    def rank(name: str) -> tuple[bool, bool, int]:
        held = Assigned.parse(name)
        return (held is None, held is None or not held.accepted, held.piece.lo if held else 0)

    return sorted(names, key=rank)


class Kept(NamedTuple):
    """A piece in its list's directory.

    Attributes:
        unborn: no token yet.
        why: how its worker came to lose it ("" while it waits).
        worker: whose records tell of it.
        at: where in them (-1 until it is judged).
        k: up to which task they count (-1 until it is judged).
        z: up to which task they are final, also those that failed (0: not said).
    """

    piece: Piece
    unborn: bool = False
    why: str = ""
    worker: str = ""
    at: int = -1
    k: int = -1
    z: int = 0

    @property
    def waiting(self) -> bool:
        """Tell whether it can be assigned."""
        return not self.unborn and not self.why

    @property
    def taken(self) -> bool:
        """Tell whether its records are still to be read."""
        return bool(self.why) and self.k < 0

    @property
    def judged(self) -> bool:
        """Tell whether it is known how far its records count."""
        return self.k >= 0 and not self.unborn

    def __str__(self) -> str:
        name = str(self.piece)
        if self.why:
            name += f",{self.why},{self.worker}"
            if self.k >= 0:
                name += f",o{self.at},k{self.k}"
                name += f",z{self.z}" if self.z else ""
        return name + NEW if self.unborn else name

    @classmethod
    def parse(cls, name: str) -> "Optional[Kept]":
        """Read the name of a file in a list's directory; None if it is not a piece."""
        if name.endswith(NEW):
            born = cls.parse(name[: -len(NEW)])
            unfit = born is None or born.unborn or born.taken
            return None if unfit or born is None else born._replace(unborn=True)
        parts = name.split(",")
        piece = Piece.take(parts)
        if piece is None:
            return None
        if not parts:
            return cls(piece)
        kept = _judgement(piece, parts)
        return kept if kept and str(kept) == name else None


def _judgement(piece: Piece, parts: list[str]) -> Optional[Kept]:
    if len(parts) < 2 or parts[0] not in WHY or not (is_pod(parts[1]) or parts[1] == NOBODY):
        return None
    found = _fields(rest := parts[2:], "okz")
    if found is None or rest:
        return None
    if not found:
        return Kept(piece, False, parts[0], parts[1])
    if "o" not in found or not piece.lo <= found.get("k", -1) <= piece.hi:
        return None
    return Kept(piece, False, parts[0], parts[1], found["o"], found["k"], found.get("z", 0))


class Mark(NamedTuple):
    """The list's own token while it is worked off: all tasks below ``n`` were cut.

    ``end``: "" while it is open, ``stop``, or the outcome's code once it is closed.
    """

    token: Token
    n: int = 0
    bore: str = ""
    end: str = ""

    def __str__(self) -> str:
        name = f"{self.token},n{self.n}"
        name += f",b{self.bore}" if self.bore else ""
        return f"{name},{self.end}" if self.end else name

    @property
    def closed(self) -> bool:
        """Tell whether all its tasks are folded."""
        return self.end not in ("", STOP)

    @classmethod
    def parse(cls, name: str) -> "Optional[Mark]":
        """Read a mark's name; None if it is none."""
        parts = name.split(",")
        at = next((i for i, part in enumerate(parts) if i and part[:1] == "n"), 0)
        token = Token.parse(",".join(parts[:at]))
        if not at or token is None or not is_number(parts[at][1:]):
            return None
        rest, bore = parts[at + 1 :], ""
        if rest and rest[0][:1] == "b" and _is_birth(rest[0][1:]):
            bore = rest.pop(0)[1:]
        end = rest.pop(0) if rest and rest[0].isascii() and rest[0].isalnum() else ""
        mark = cls(token, int(parts[at][1:]), bore, end)
        return mark if str(mark) == name else None
