"""What may be a mail address, and what a mail server."""

from __future__ import annotations

import pytest

from fjd.batch.mail import check_address, server_address
from fjd.errors import UsageError


@pytest.mark.parametrize("address", ["a@b", "root", "first.last+tag@host.example", "o'neil@x"])
def test_addresses(address: str) -> None:
    """They are taken as they are."""
    assert check_address(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a@b\nBcc: all@example.org",
        "a@b\r",
        "a@b\r\nRCPT TO:<x@y>",
        "a@b>",
        "<a@b>",
        "a@b, c@d",
        "a b@c",
        "-f@x",
        "é@x",
        "a\0@b",
    ],
)
def test_what_is_no_address(address: str) -> None:
    """It would be several, or words of the protocol."""
    with pytest.raises(UsageError):
        check_address(address)


def test_servers() -> None:
    """The port may be left out."""
    assert server_address("mail.example") == ("mail.example", 25)
    assert server_address("127.0.0.1:2525") == ("127.0.0.1", 2525)


@pytest.mark.parametrize("words", ["", ":25", "h:", "h:x", "h:0", "h:65536", "h:²", "a b", "h\n"])
def test_what_is_no_server(words: str) -> None:
    """FJD_SMTP is named."""
    with pytest.raises(UsageError, match="FJD_SMTP"):
        server_address(words)
