"""The grammar of every name in the spool; pure functions, no system calls.

    project   [A-Za-z0-9][A-Za-z0-9._-]{0,63}     also the label of a context
    worker    <host>-<slot>-<8 hex digits>        node1-3-5f0c12ab
    entry     <worker>,<n>                        n: the heartbeat
    key       <file name>.<12 random characters>  job0.conf.k3f9qad2m5xu
    token     <key>,s<serial>,a<attempt>[,c<crashes>][,f<failures>]
              and in requeue/ ,r<random>          by whoever put it there
    accepted  <token>,run
    taken     <token>,<why>                       why: dead gone
    lost      <token>,<why>,lost
    result    <token>,<worker>,<outcome>          outcome: ok x<exit> sig<signal> timeout lost
                                                  cancelled
    status    <result>.status.txt                 beside a list that has ended

In a key the file name is kept readable: bytes outside ``[A-Za-z0-9._+=@:-]``, and a leading dot
or dash, become ``%XX``; what is longer than 140 characters is cut (``~`` marks the cut). A name
that does not match its grammar is not ours: parsers answer None and the entry is left alone. What
they do read they would spell the same way, so that the file can be found again.
"""

# No postponed annotations: NamedTuple would compile each of them, and a worker waits for it.

import os
from typing import NamedTuple, Optional

from fjd.errors import UsageError

_ALNUM = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_PROJECT = _ALNUM | frozenset("._-")
_PLAIN = frozenset(map(ord, _ALNUM | frozenset("._+=@:-")))
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_HEX = frozenset("0123456789abcdef")
_STEM = 140  # the longest status file's name then has 251 bytes, and file systems take 255
_TAIL = 12  # 60 random bits: a million jobs of one name meet once in two million projects
_UNFINISHED = ("~", ".tmp", ".swp", ".part")

RUN = ",run"
DEAD, GONE = "dead", "gone"  # why an attempt was taken from its worker: it died, or was silent
WHY = ".why"
STATUS = ".status.txt"  # behind the name of a list that has ended: one row per task
LIST = ".tasks"  # what the name of a job ends in that is a list


def check_project(name: str) -> str:
    """Return ``name`` if it may name a project, else raise UsageError."""
    return _check_name(name, "a project")


def check_label(name: str) -> str:
    """Return ``name`` if it may be the label of a context, else raise UsageError."""
    return _check_name(name, "a context")


def _check_name(name: str, what: str) -> str:
    if name and len(name) <= 64 and name[0] in _ALNUM and _PROJECT.issuperset(name):
        return name
    shown = name if len(name) <= 40 else name[:37] + "..."
    raise UsageError(
        f"{shown!r} cannot name {what}",
        remedy="use 1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first",
    )


def is_job(name: str) -> bool:
    """Tell whether a name in ``jobqueue/`` is a job, not a file that is still being written."""
    autosave = name[0] == "#" and name[-1] == "#"
    return not (name[0] == "." or autosave or name.endswith(_UNFINISHED))


def is_list(name: str) -> bool:
    """Tell whether a job of that name is a list of tasks."""
    return name.endswith(LIST)


def is_number(text: str) -> bool:
    """Tell whether text is how we spell a number: ASCII digits without leading zeros."""
    return text.isascii() and text.isdigit() and (text[0] != "0" or text == "0")


def short_host(hostname: str) -> str:
    """Return the first label of a host name, made fit for a worker's name."""
    label = hostname.split(".")[0][:32]
    return "".join(c if c in _ALNUM or c in "_-" else "_" for c in label) or "host"


def new_worker(hostname: str, slot: int) -> str:
    """Return a fresh worker id; it never returns, whatever restarts."""
    return f"{short_host(hostname)}-{slot}-{os.urandom(4).hex()}"


def slot_of(worker: str) -> int:
    """Return the slot in a worker's id (0 if it is not an id of ours)."""
    parts = worker.rsplit("-", 2)
    return int(parts[1]) if len(parts) == 3 and is_number(parts[1]) else 0


def _is_worker(text: str) -> bool:
    parts = text.rsplit("-", 2)
    return (
        len(parts) == 3
        and is_number(parts[1])
        and len(parts[2]) == 8
        and _HEX.issuperset(parts[2])
        and (_ALNUM | {"_", "-"}).issuperset(parts[0])
        and parts[0] != ""
    )


def new_key(file_name: str) -> str:
    """Return a fresh key for a job file of that name."""
    data = os.fsencode(file_name)
    stem = "".join(
        chr(b) if b in _PLAIN and not (i == 0 and b in b".-") else f"%{b:02X}"
        for i, b in enumerate(data)
    )
    if len(stem) > _STEM:
        stem = stem[: _STEM - 1].rstrip("%") + "~"
    tail = "".join(_BASE32[b & 31] for b in os.urandom(_TAIL))
    return f"{stem}.{tail}"


def job_name(key: str) -> str:
    """Return the file name that a key was made of (cut where the key is cut)."""
    stem = key.rpartition(".")[0]
    if "%" not in stem:
        return stem
    out = bytearray()
    at = 0
    while at < len(stem):
        pair = stem[at + 1 : at + 3]
        if stem[at] == "%" and len(pair) == 2 and _HEX.issuperset(pair.lower()):
            out.append(int(pair, 16))
            at += 3
        else:
            out.append(ord(stem[at]))
            at += 1
    name = os.fsdecode(bytes(out))
    # Nobody but a person with an editor makes such a key; it must not lead out of a directory.
    return stem if "/" in name or "\0" in name or name in ("", ".", "..") else name


class Token(NamedTuple):
    """What the name of a job file says while fjd has it in hand.

    Attributes:
        key: the job, unique in the project for ever.
        serial: rises with every assignment, so that no name comes twice; also the order in a pod.
        attempt: the number of the current or next attempt, from 1.
        crashes: attempts that took their worker down.
        failures: attempts that ended by themselves and not well.
        back: chosen by who put it into requeue/, so that he knows afterwards whether it was he who
            did; 0 elsewhere.
    """

    key: str
    serial: int = 0
    attempt: int = 1
    crashes: int = 0
    failures: int = 0
    back: int = 0

    def __str__(self) -> str:
        name = f"{self.key},s{self.serial},a{self.attempt}"
        if self.crashes:
            name += f",c{self.crashes}"
        if self.failures:
            name += f",f{self.failures}"
        if self.back:
            name += f",r{self.back}"
        return name

    def on_its_way_back(self) -> "Token":
        """Return the token for requeue/, with a name that nobody else can have chosen."""
        return self._replace(back=1 + int.from_bytes(os.urandom(4), "big"))

    @property
    def job(self) -> str:
        """The job file's own name."""
        return job_name(self.key)

    @classmethod
    def parse(cls, name: str) -> "Optional[Token]":
        """Read a token's name; None if it is none."""
        key, *fields = name.split(",")
        stem, _, tail = key.rpartition(".")
        if not stem or len(tail) < 6 or not 2 <= len(fields) <= 5:
            return None
        numbers = {"s": 0, "a": 1, "c": 0, "f": 0, "r": 0}
        for field in fields:
            if field[:1] not in numbers or not is_number(field[1:]):
                return None
            numbers[field[0]] = int(field[1:])
        token = cls(key, numbers["s"], numbers["a"], numbers["c"], numbers["f"], numbers["r"])
        return token if str(token) == name else None


class Result(NamedTuple):
    """What the name of an ended job says. ``outcome`` is the code in the name, see outcomes.py."""

    token: Token
    worker: str
    outcome: str

    def __str__(self) -> str:
        return f"{self.token},{self.worker},{self.outcome}"

    @classmethod
    def parse(cls, name: str) -> "Optional[Result]":
        """Read a result's name; None if it is none."""
        parts = name.rsplit(",", 2)
        if len(parts) != 3 or not _is_worker(parts[1]) or not parts[2].isalnum():
            return None
        token = Token.parse(parts[0])
        return cls(token, parts[1], parts[2]) if token else None


def submission(name: str) -> tuple[str, Optional[Token]]:
    """Read a name in ``jobqueue/``: the job's file name, and the token if ``fjd`` submitted it."""
    token = Token.parse(name)
    if token:
        return token.job, token
    result = Result.parse(name)  # moved back by hand
    return (result.token.job if result else name), None


class Entry(NamedTuple):
    """The name of a worker's announcement: who, and how often its heart has beaten."""

    worker: str
    beat: int

    def __str__(self) -> str:
        return f"{self.worker},{self.beat}"

    @classmethod
    def parse(cls, name: str) -> "Optional[Entry]":
        """Read an entry's name; None if it is none."""
        worker, comma, beat = name.rpartition(",")
        if not comma or not is_number(beat) or not _is_worker(worker):
            return None
        return cls(worker, int(beat))


def is_pod(name: str) -> bool:
    """Tell whether a name in ``jobpods/`` is a worker's pod."""
    return _is_worker(name)
