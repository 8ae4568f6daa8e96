"""Terms: what was asked for is what is read, and what nobody asked for is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjd.errors import JobFileError
from fjd.spool.lists import terms
from fjd.spool.lists.terms import Terms
from fjd.system.identity import Identity

FULL = Terms(
    *("Tasks", "run1", "/w \udcff", "/w/é_status.txt", True, True, "0.5", "node1"),
    *(3, Identity("h", "boot", "pid:[1]", 7, 8), True, {"A": "1\n", "B\udcfe": ""}),
)


@pytest.mark.parametrize("said", [Terms(), FULL])
def test_written_and_read(tmp_path: Path, said: Terms) -> None:
    """What is written is read, by nobody else."""
    terms.write(str(tmp_path), said)
    assert terms.read(str(tmp_path)) == said
    assert os.stat(tmp_path / terms.TERMS).st_mode & 0o777 == 0o600


def test_a_dropped_file_has_none(tmp_path: Path) -> None:
    """Then the defaults hold."""
    assert terms.read(str(tmp_path)) == Terms()


def test_an_older_fjd_said_less() -> None:
    """What it did not know is as it was then."""
    assert Terms.load(b'{"name": "x"}') == Terms(name="x")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"new": 1}', b"\xff", b"[" * 100_000])
def test_something_else(tmp_path: Path, data: bytes) -> None:
    """Nobody guesses: a list is not run in a directory that was not meant."""
    (tmp_path / terms.TERMS).write_bytes(data)
    with pytest.raises(JobFileError, match=r"terms: is not what this fjd writes.*submit"):
        terms.read(str(tmp_path))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("name", 1),
            ("name", "a\0"),
            ("run", "\ud800"),
            ("cwd", "w"),
            ("status", "s"),
            ("kvs", []),
        ),
        *(("header", 1), ("fail_fast", None), ("resumed", "yes"), ("cores", ""), ("cores", "nan")),
        *(("retries", True), ("retries", -1), ("retries", 1001), ("retries", 1.5), ("writer", [])),
        *(("writer", 0), ("env", []), ("env", {"": "x"}), ("env", {"A=": "x"}), ("env", {"A": 1})),
    ],
)
def test_a_wrong_value(field: str, value: object) -> None:
    """Every value is of its kind, and can be given to a process."""
    assert Terms.load(json.dumps({**json.loads(FULL.dump()), field: value}).encode()) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(st.sampled_from(Terms._fields), JSON)
def test_nonsense(field: str, value: object) -> None:
    """Whatever stands there, it is terms or nothing."""
    said = Terms.load(json.dumps({**json.loads(FULL.dump()), field: value}).encode())
    assert said is None or Terms.load(said.dump()) == said
