"""Mail about completed tasks, against servers that speak the protocol, badly too."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Callable, Optional

import pytest
from harness import wait_until
from smtpsink import Sink, address, texts

from fjd.batch import mail
from fjd.batch.mail import Mailer
from fjd.errors import UsageError

ADDRESS = "ada@localhost"


@pytest.fixture
def sink() -> Iterator[Callable[..., Sink]]:
    """A function that starts mail servers."""
    sinks: list[Sink] = []

    def start(**answers: Optional[str]) -> Sink:
        sinks.append(Sink(answers))
        return sinks[-1]

    yield start
    for one in sinks:
        one.close()


@pytest.fixture
def said() -> list[str]:
    """What is said about the mail."""
    return []


def test_each_so_many_tasks_and_at_the_end(sink: Callable[..., Sink], said: list[str]) -> None:
    """Subject and body as they are documented; a barrier's row is told and not counted."""
    server = sink()
    mailer = Mailer(ADDRESS, 2, "dir/run1", said.append, server.address)
    mailer.row("    \t0\techo 0\n")
    mailer.row("R   \t1\tfalse\n", failed=True)
    mailer.row("B    \t2\t#DISBATCH BARRIER\n", counts=False)
    mailer.row("    \t3\techo 3\n")
    mailer.row("    \t4\techo é \udcff\n")
    mailer.row("    \t5\techo 5\n")
    mailer.close(20.0)
    assert texts(server) == [
        (
            "dir/run1 has completed 2 tasks (1 failed)",
            ["Last 2:", "", "    \t0\techo 0", "R   \t1\tfalse"],
        ),
        (
            "dir/run1 has completed 4 tasks (1 failed)",
            ["Last 2:", "", "B    \t2\t#DISBATCH BARRIER", "    \t3\techo 3", "    \t4\techo é ?"],
        ),
        ("dir/run1 has completed 5 tasks (1 failed)", ["Last 1:", "", "    \t5\techo 5"]),
    ]
    assert server.envelopes == [(f"from:<{ADDRESS}>", f"to:<{ADDRESS}>")] * 3
    assert {(m["From"], m["To"]) for m in server.mails} == {(ADDRESS, ADDRESS)}
    assert said == []


def test_nothing_to_tell(sink: Callable[..., Sink], said: list[str]) -> None:
    """Without a task that ended since the last mail there is none; nor a failure in the subject."""
    server = sink()
    mailer = Mailer(ADDRESS, 1, "run", said.append, server.address)
    mailer.row("    \t0\ttrue")
    mailer.close(20.0)
    assert [m["Subject"] for m in server.mails] == ["run has completed 1 tasks"]


def test_the_server_of_the_environment(
    sink: Callable[..., Sink], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FJD_SMTP says where it is."""
    server = sink()
    monkeypatch.setenv("FJD_SMTP", server.address)
    mailer = Mailer(ADDRESS, 1, "run", said.append)
    mailer.row("row")
    mailer.close(20.0)
    assert len(server.mails) == 1


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"HELLO": "554 no"}, "554"),
        ({"MAIL": "550 who are you"}, "who are you"),
        ({"RCPT": "550 no such user"}, "no such user"),
        ({"END": "552 too much"}, "too much"),
        ({"HELLO": "\x1b[31m\x00 nonsense"}, "nonsense"),
        ({"HELLO": "554 " + "too long " * 50}, "too long..."),
        ({"HELLO": None}, "timed out"),
        ({"EHLO": None, "HELO": None}, "timed out"),
        ({"END": None}, "timed out"),
    ],
)
def test_a_bad_server(
    sink: Callable[..., Sink], said: list[str], answers: dict[str, Optional[str]], reason: str
) -> None:
    """It is said once, in one line, and never tried again; nobody who hands in rows waits."""
    server = sink(**answers)
    patience = 0.3 if None in answers.values() else 30.0
    mailer = Mailer(ADDRESS, 1, "run", said.append, server.address, timeout=patience)
    for number in range(100):
        mailer.row(f"row {number}")
    wait_until(lambda: said, "it is said")
    for number in range(100):
        mailer.row(f"row {number}")
    mailer.close(20.0)
    (line,) = said
    assert line.startswith('Failed to send notification message: "')
    assert reason in line
    assert f'". Disabling. (The mail server was {server.address}; FJD_SMTP' in line
    assert len(line) < 300
    assert "b'" not in line, "what the server says is shown, and not what Python makes of it"
    assert line.isprintable()
    assert server.visits == 1


def test_no_server(said: list[str]) -> None:
    """Nobody listens there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        mailer = Mailer(ADDRESS, 1, "run", said.append, address(taken))
        mailer.row("row")
        mailer.close(20.0)
    assert "refused" in said[0]


def test_a_slow_server(sink: Callable[..., Sink], said: list[str]) -> None:
    """The run's end waits no longer than it was told to, and says so."""
    server = sink(HELLO=None)
    mailer = Mailer(ADDRESS, 1, "run", said.append, server.address)
    for number in range(1000):
        mailer.row(f"row {number}")
    mailer.close(0.1)
    assert said == ["the mail server is too slow; the last notification may not be sent"]


def test_more_tasks_than_mails(
    sink: Callable[..., Sink], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While mails wait, rows are kept for the next one; each row comes exactly once."""
    monkeypatch.setattr(mail, "WAITING", 1)
    server = sink()
    mailer = Mailer(ADDRESS, 1, "run", said.append, server.address)
    for number in range(500):
        mailer.row(f"row {number}")
    mailer.close(60.0)
    bodies = [lines for _, lines in texts(server)]
    assert [row for _, _, *rows in bodies for row in rows] == [f"row {n}" for n in range(500)]
    assert [int(body[0][5:-1]) for body in bodies] == [len(body) - 2 for body in bodies]
    assert server.mails[-1]["Subject"] == "run has completed 500 tasks"


def test_long_mails_are_cut(sink: Callable[..., Sink], said: list[str]) -> None:
    """A mail has a megabyte of rows at most, and says how many it leaves out."""
    server = sink()
    mailer = Mailer(ADDRESS, 10, "run\nBcc: x", said.append, server.address)
    for _ in range(10):
        mailer.row("x" * 200_000)
    mailer.close(60.0)
    ((subject, lines),) = texts(server)
    assert subject == "run\\nBcc: x has completed 10 tasks"
    assert lines[-1] == "(5 more rows stand in the status file)"
    assert sorted(map(len, lines[2:-1])) == [200_000] * 5


def test_a_wrong_address_is_refused_at_the_start(said: list[str]) -> None:
    """Before anything runs."""
    with pytest.raises(UsageError, match="is no mail address"):
        Mailer("a@b\r\nBcc: all@example.org", 1, "run", said.append)
