"""The grammar of lists and pieces: what is written is read back, and nothing else is."""

from __future__ import annotations

from typing import Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjd.spool import names
from fjd.spool.lists.covered import Folded
from fjd.spool.lists.names import (
    END,
    EVER,
    NOBODY,
    STOP,
    WHY,
    Assigned,
    Kept,
    Mark,
    Piece,
    new_birth,
)
from fjd.spool.names import Result, Token

Name = Union[Piece, Assigned, Kept, Mark]

BIRTHS = st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=10, max_size=10)
SMALL = st.integers(0, 12)
NUMBERS = st.integers(0, 10**7)
KEYS = st.sampled_from(["a.tasks.abcdefghijkl", "x,y.tasks", "n7.bcdefg", "p%2C1.abcdefghijkl"])
GOOD_KEYS = KEYS.filter(lambda key: Token.parse(f"{key},s0,a1") is not None)
WORKERS = st.sampled_from(["node1-3-5f0c12ab", "a_b-0-00000000", "run-0-00000000", NOBODY])


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    """Any piece."""
    lo = draw(NUMBERS)
    s, a, f, e, c = (draw(SMALL) for _ in range(5))
    bore = draw(st.one_of(st.just(""), BIRTHS))
    return Piece(draw(BIRTHS), lo, lo + draw(SMALL), s, a, f, e, c, bore)


@st.composite
def kept(draw: st.DrawFn) -> Kept:
    """Any piece in a list's directory."""
    piece = draw(pieces())
    if draw(st.booleans()):
        return Kept(piece, draw(st.booleans()))
    found = Kept(piece, False, draw(st.sampled_from(sorted(WHY))), draw(WORKERS))
    if draw(st.booleans()):
        return found
    k = draw(st.integers(piece.lo, piece.hi))
    return found._replace(at=draw(NUMBERS), k=k, z=draw(NUMBERS))


MARKS = st.builds(
    Mark,
    st.builds(Token, GOOD_KEYS, SMALL, SMALL, SMALL, SMALL, st.just(0)),
    NUMBERS,
    st.one_of(st.just(""), BIRTHS),
    st.sampled_from(["", STOP, "ok", "x1", "cancelled"]),
)
ANY = st.one_of(
    pieces(), kept(), MARKS, st.builds(Assigned, GOOD_KEYS, pieces(), st.booleans())
)  # fmt: skip


@given(ANY)
def test_round_trip(name: Name) -> None:
    """Every name is read as what it was, and by nobody else as something of theirs."""
    text = str(name)
    assert type(name).parse(text) == name
    assert "/" not in text
    assert Token.parse(text) is None
    assert Result.parse(text) is None or isinstance(name, Mark)
    readers = [kind for kind in (Assigned, Kept, Mark) if kind.parse(text) is not None]
    assert readers == [Kept if isinstance(name, Piece) else type(name)]


@given(ANY, st.data())
def test_damaged(name: Name, data: st.DataObject) -> None:
    """A name that somebody changed is read as it stands, or not at all; never with an error."""
    text = str(name)
    at = data.draw(st.integers(0, len(text)))
    new = data.draw(st.sampled_from(["", ",", "0", "-", "²", "\udcff", "s1", ",run", "/", "n"]))
    damaged = text[:at] + new + text[at + data.draw(st.integers(0, 3)) :]
    for kind in (Piece, Assigned, Kept, Mark):
        found = kind.parse(damaged)
        assert found is None or str(found) == damaged


@given(st.text(st.sampled_from("p,nsaobk01-.zrun"), max_size=60))
def test_anything(text: str) -> None:
    """No text is an error."""
    for kind in (Piece, Assigned, Kept, Mark):
        found = kind.parse(text)
        assert found is None or str(found) == text


def test_longest() -> None:
    """Also the longest names fit into a directory entry."""
    key = names.new_key("x" * 300)
    piece = Piece(new_birth(), 9999999, 9999999, 99999, 99, 99, 99, 4, new_birth())
    worker = names.new_worker("h" * 99, 999)
    judged = Kept(piece, False, END, worker, 10**10, 9999999, 9999999)
    for name in (
        Assigned(key, piece, accepted=True),
        judged,
        Mark(Token(key, 10**12, 9), 9999999, new_birth(), "cancelled"),
    ):
        assert len(str(name)) <= 255


def test_born_judged() -> None:
    """A piece may be born judged, but not taken."""
    piece, worker = Piece(new_birth(), 0, 3), names.new_worker("h", 0)
    unborn = Kept(piece, True, END, worker, 0, 3)
    assert Kept.parse(str(unborn)) == unborn
    assert not unborn.judged
    assert Kept.parse(f"{unborn},new") is None
    assert Kept.parse(f"{piece},end,{worker},new") is None


def test_numbers() -> None:
    """What was broken off counts for the first task alone."""
    piece = Piece(new_birth(), 5, 8, attempt=2, extra=3)
    assert [piece.number(task) for task in piece.tasks()] == [5, 2, 2]


@pytest.mark.parametrize(
    "name",
    ["p,1-2,s0,a1", "pabcdefghij,2-1,s0,a1", "pabcdefghij,01-2,s0,a1", "pabcdefghij,1-2,a1,s0"],
)
def test_no_pieces(name: str) -> None:
    """What we would not write we do not read."""
    assert Piece.parse(name) is None
    assert Kept.parse(name) is None


@pytest.mark.parametrize("number", [EVER, 10**30])
def test_no_task_has_such_a_number(number: int) -> None:
    """Sets of numbers hold what 63 bits can say."""
    piece = f"paaaaaaaaaa,{{}}-{number},s0,a1"
    assert Kept.parse(piece.format(0)) is None
    assert Assigned.parse("a.tasks.abcdefghijkl," + piece.format(number)) is None
    assert Folded.load(b'[0,%d,"-",0,1,0,"skip",0]\n' % number) is None
