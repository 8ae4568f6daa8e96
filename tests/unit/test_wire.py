"""The bytes of the key-value protocol: those that its programs send, and nonsense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjd.batch.store import Value
from fjd.batch.wire import LONGEST_KEY, LONGEST_VALUE, Request, WrongProtocol, take_request, text

PUT = b"put_         3abcASTR         3xyz"


@pytest.mark.parametrize(
    ("data", "request_"),
    [
        (PUT, Request(b"put_", b"abc", Value(b"ASTR", b"xyz"))),
        (b"get_         3abc", Request(b"get_", b"abc")),
        (b"view         0", Request(b"view", b"")),
        (b"mkey         1M         6k:gpvw", Request(b"mkey", b"M", spec=b"k:gpvw")),
        (b"dump", Request(b"dump")),
        (b"clos", Request(b"clos")),
        (b"down", Request(b"down")),
        (b"get_0000000003abc", Request(b"get_", b"abc")),
    ],
)
def test_requests(data: bytes, request_: Request) -> None:
    """Each is taken when it is complete, not one byte earlier, and what is behind it stays."""
    for end in range(len(data)):
        buffer = bytearray(data[:end])
        assert take_request(buffer) is None
        assert buffer == data[:end]
    buffer = bytearray(data + b"next")
    assert take_request(buffer) == request_
    assert buffer == b"next"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02",
        b"get_        -1",
        b"get_       1_0",
        b"get_          ",
        b"get_        \xc2\xb2",
        b"get_%10d" % (LONGEST_KEY + 1),
        b"put_         1kASTR%10d" % (LONGEST_VALUE + 1),
        b"mkey         1M9999999999",
    ],
)
def test_nonsense_is_refused(data: bytes) -> None:
    """As soon as it can be told from a request, whatever would come behind it."""
    with pytest.raises(WrongProtocol):
        take_request(bytearray(data))


@given(st.binary(max_size=64) | st.builds(lambda b: PUT[:14] + b, st.binary(max_size=40)))
def test_any_bytes(data: bytes) -> None:
    """They are a request, the beginning of one, or refused."""
    buffer = bytearray(data)
    try:
        while take_request(buffer):
            assert data.endswith(bytes(buffer))
    except WrongProtocol:
        assert buffer  # it is what was wrong


def test_text() -> None:
    """The length counts bytes; what is not UTF-8 goes through."""
    assert text("é\udcff") == b"         3\xc3\xa9\xff"
