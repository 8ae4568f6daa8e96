"""A run in a browser: who knows the address sees everything, who does not sees nothing."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple, Optional
from urllib.parse import urlsplit

import pytest
from harness import wait_until

from fjd.batch.web import VISITORS, Web


class Board:
    """What the run says of itself."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {"run": "run1", "tasks": 4, "finished": 1}
        self.broken: Optional[OSError] = None

    def __call__(self) -> dict[str, Any]:
        if self.broken:
            raise self.broken
        return self.fields


class Answer(NamedTuple):
    """What the server said."""

    code: int
    text: str
    headers: dict[str, str]


@pytest.fixture
def board() -> Board:
    """A run."""
    return Board()


@pytest.fixture
def web(board: Board) -> Iterator[Web]:
    """Its page."""
    web = Web(board)
    yield web
    web.close()


def connect(web: Web) -> socket.socket:
    """Connect without saying anything."""
    place = urlsplit(web.url)
    return socket.create_connection((place.hostname, place.port), 20.0)


def ask(web: Web, path: str, method: str = "GET") -> Answer:
    """Ask for a path."""
    place = urlsplit(web.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20.0)
    connection.request(method, path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return Answer(answer.status, text, dict(answer.headers))


def secret(web: Web) -> str:
    """Return the path of the page."""
    return urlsplit(web.url).path


def test_the_page(web: Web, board: Board) -> None:
    """It shows what is so now, and asks nobody else for anything."""
    assert "of 4 tasks finished" in ask(web, secret(web)).text
    board.fields["tasks"] = 5
    answer = ask(web, secret(web) + "?x=1")
    assert "of 5 tasks finished" in answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_the_data(web: Web, board: Board) -> None:
    """The same for programs."""
    answer = ask(web, secret(web) + "status.json")
    assert json.loads(answer.text) == {"schema": 1, **board.fields}
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


def test_it_listens_here_only(web: Web) -> None:
    """Who is not on this machine reaches nothing."""
    assert urlsplit(web.url).hostname == "127.0.0.1"


def test_each_run_has_a_secret_of_its_own(web: Web, board: Board) -> None:
    """It is too long to be guessed."""
    other = Web(board)
    try:
        assert secret(other) != secret(web)
        assert len(secret(other)) > 30
    finally:
        other.close()


@pytest.mark.parametrize(
    "path", ["/", "/x/", "//", "/status.json", "/{}x/", "{}", "/x/../{}/", "x"]
)
def test_without_the_secret_there_is_nothing(web: Web, path: str) -> None:
    """The answer is the same to whatever is asked."""
    answer = ask(web, path.format(secret(web).strip("/")))
    assert (answer.code, answer.text) == (404, "There is nothing here.\n")
    assert "run1" not in str(answer)


@pytest.mark.parametrize("path", ["{}x", "{}status.json/x", "{}../etc/passwd"])
def test_there_is_nothing_else(web: Web, path: str) -> None:
    """No file is served."""
    assert ask(web, path.format(secret(web))).code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "X"])
def test_it_can_only_be_read(web: Web, method: str) -> None:
    """Nothing can be done with it."""
    assert ask(web, secret(web), method).code == 501


def test_head(web: Web) -> None:
    """The head of the page is that of the page."""
    answer = ask(web, secret(web), "HEAD")
    assert (answer.code, answer.text) == (200, "")
    assert int(answer.headers["Content-Length"]) > 100


def test_a_board_that_cannot_be_read(web: Web, board: Board) -> None:
    """The page says why, and is there again when that is over."""
    board.broken = OSError(5, "Input/output error")
    assert ask(web, secret(web)).code == 503
    board.broken = None
    assert ask(web, secret(web)).code == 200


def test_text_of_any_kind(web: Web, board: Board) -> None:
    """Bytes that are no UTF-8 do not break the page."""
    board.fields["failures"] = ["R   \t0\t\udcff<b>"]
    assert "\\udcff&lt;b&gt;" in ask(web, secret(web)).text
    data = json.loads(ask(web, secret(web) + "status.json").text)
    assert data["failures"] == board.fields["failures"]


def test_many_who_say_nothing(web: Web, capfd: pytest.CaptureFixture[str]) -> None:
    """They hold so many places and no more; who comes then is turned away, and nobody is told."""
    with ExitStack() as visitors:
        silent = [visitors.enter_context(connect(web)) for _ in range(VISITORS)]

        def turned_away() -> bool:
            with connect(web) as late:
                late.settimeout(0.2)
                try:
                    return late.recv(1) == b""
                except (TimeoutError, socket.timeout):
                    return False
                except ConnectionResetError:
                    return True

        wait_until(turned_away, "all places are taken")
        silent[0].close()
    wait_until(lambda: ask_or_none(web), "there is a place again")
    assert capfd.readouterr() == ("", "")


def ask_or_none(web: Web) -> Optional[Answer]:
    """Ask for the page; None if there is no place."""
    try:
        return ask(web, secret(web))
    except (OSError, http.client.HTTPException):
        return None


def test_nonsense(web: Web, capfd: pytest.CaptureFixture[str]) -> None:
    """It is answered or ignored, and not talked about."""
    for data in (b"\x16\x03\x01\x02\r\n\r\n", b"GET " + b"x" * 70_000, b"GET\r\n\r\n", b"\r\n"):
        with connect(web) as visitor:
            visitor.sendall(data)
            visitor.shutdown(socket.SHUT_WR)
            try:
                while visitor.recv(1000):
                    pass
            except ConnectionResetError:
                continue  # with something that it had not read
    assert ask(web, secret(web)).code == 200
    assert capfd.readouterr() == ("", "")


def test_the_end_waits_for_nobody(board: Board) -> None:
    """A browser that holds a connection open delays no run."""
    web = Web(board)
    with connect(web):
        web.close()
        with pytest.raises(OSError, match="refused"):
            connect(web)
