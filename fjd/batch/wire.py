"""What goes over the wire of the key-value store.

A request is four letters, then its arguments: ``put_`` key value, ``get_`` key, ``view`` key,
``mkey`` monitor spec, ``dump``, ``clos``, ``down``. Text is ten characters of decimal length, then
so many bytes; a value is a coding of four letters, then such a text. The answer to ``get_`` and
``view`` is the value, that to ``dump`` a text; nothing else is answered.
"""

from __future__ import annotations

from typing import NamedTuple, Optional, Union

from fjd.batch.store import Value

LONGEST_KEY = 64 << 10
LONGEST_VALUE = 16 << 20
_LENGTH = 10

Text = Union[str, bytes]


class Request(NamedTuple):
    """One request; ``spec`` is only a monitor's, ``value`` only that of a put."""

    op: bytes
    key: bytes = b""
    value: Value = Value(b"", b"")
    spec: bytes = b""


class WrongProtocol(Exception):
    """Whoever is at the other end does not speak this protocol, or says too much at once."""


def text(data: Text) -> bytes:
    """Return text as it is sent."""
    data = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    return b"%10d%b" % (len(data), data)


def length(head: bytes) -> int:
    """Read the ten characters before a text.

    Raises:
        WrongProtocol: they are none.
    """
    digits = head.strip(b" ")
    if not digits.isdigit():
        raise WrongProtocol(f"a length was expected, not {head!r}")
    return int(digits)


def take_request(buffer: bytearray) -> Optional[Request]:
    """Remove the first request from what has arrived; None if it is not complete yet.

    Raises:
        WrongProtocol: no request can begin so.
    """
    op = bytes(buffer[:4])
    if len(op) < 4:
        return None
    if op in (b"clos", b"down", b"dump"):
        del buffer[:4]
        return Request(op)
    if op not in (b"get_", b"view", b"put_", b"mkey"):
        raise WrongProtocol(f"{op!r} is no request")
    key = _text_at(buffer, 4, LONGEST_KEY)
    if key is None:
        return None
    if op in (b"get_", b"view"):
        return _taken(buffer, key.end, Request(op, key.data))
    start = key.end + (4 if op == b"put_" else 0)
    more = _text_at(buffer, start, LONGEST_VALUE if op == b"put_" else LONGEST_KEY)
    if more is None:
        return None
    if op == b"mkey":
        return _taken(buffer, more.end, Request(op, key.data, spec=more.data))
    value = Value(bytes(buffer[key.end : start]), more.data)
    return _taken(buffer, more.end, Request(op, key.data, value))


class _Found(NamedTuple):
    data: bytes
    end: int


def _text_at(buffer: bytearray, at: int, longest: int) -> Optional[_Found]:
    begin = at + _LENGTH
    if len(buffer) < begin:
        return None
    size = length(bytes(buffer[at:begin]))
    if size > longest:
        raise WrongProtocol(f"{size} bytes at once; at most {longest} are taken")
    end = begin + size
    return _Found(bytes(buffer[begin:end]), end) if len(buffer) >= end else None


def _taken(buffer: bytearray, end: int, request: Request) -> Request:
    del buffer[:end]
    return request
