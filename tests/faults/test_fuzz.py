"""Every parser, fed with nonsense: it answers or refuses in its own words, and never falls."""

from __future__ import annotations

import io
import json
import os
import string
from pathlib import Path
from typing import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fjd.errors import FjdError
from fjd.launchers import remoteconf
from fjd.spool import jobfile, names, pods, records
from fjd.spool.crew import Card
from fjd.spool.duration import duration
from fjd.spool.lease import Claim, Holder
from fjd.spool.lists import grammar as lists
from fjd.spool.lists import statusfile
from fjd.spool.lists.terms import Terms
from fjd.spool.names import Entry, Result, Token
from fjd.spool.timings import Timings
from fjd.system import inifile
from fjd.system.identity import Identity

FEW = settings(
    max_examples=100,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
JOB = (
    b"# a job\n[control]\nexecutable: echo a > /dev/null; exit 3\nlogfile= ~/x.log\n"
    b'timeout: 1d 2h\nretries: 3\nnice: 5\ncwd: ~\nenv: A=1 B="two words"\n[other]\nx: \xe9\n'
)
REMOTE = (
    b"[host1]\nname: a.example.org\nworkers: 4\n\n[host3]\nname: [::1]\nworkers: 1\n"
    b"user: ada\nport: 22\npython: /opt/py\nnice: 10\n"
)
WHO = ["h", "boot", "pid:[1]", 7, 8]
CARD = json.dumps(
    {"worker": "h-0-00000000", "identity": WHO, "guardian": WHO, "launcher": "", "session": "",
     "log": "", "bell": "", "cwd": "/", "since": 1.5}
).encode()  # fmt: skip
HOLDER = json.dumps(
    {"identity": WHO, "timings": list(Timings()), "bell": "", "since": 1.5}
).encode()
RECORD = json.dumps({"event": "end", "key": "j.abcdefghijkl", "attempt": 1}).encode() + b"\n"
TASKS = (
    b"#DISBATCH PERENGINE START a\n#FJD PREFIX ( \n#DISBATCH REPEAT 5 start 100 step 50 x\n# c\n\n"
    b"y\n#DISBATCH BARRIER CHECK k\r\n#FJD TASK 5\na\nb\nc\n#FJD LINE 7\nz\n#FJD END\n"
)
ROW = b"ROES\t5\t13\t-1\tvm\t26\t-9\t0.008\t1.5\t1.508\t5\t'a\\n'\t4\t''\t'it\\'s \\xe9'\n"
NAMES = (
    "job.conf.abcdefghijkl,s12,a3,c1,f2,run",
    "job.abcdefghijkl,s12,a3,node-1-00ff00ff,x3",
    "node1-3-5f0c12ab,17",
    "e3,abcd0123,4",
)
LETTERS = st.text(st.sampled_from(string.printable + ",.-é\ud800\0۳²"), max_size=60)


@st.composite
def mutated(draw: st.DrawFn, sample: bytes) -> bytes:
    """A valid text with some bytes changed, removed, doubled or put in."""
    data = bytearray(sample)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.sampled_from("cidDt"))
        if kind == "c" and data:
            data[at] = draw(st.integers(0, 255))
        elif kind == "i":
            data[at:at] = draw(st.binary(min_size=1, max_size=4))
        elif kind == "d":
            del data[at : at + draw(st.integers(1, 9))]
        elif kind == "D":
            data[at:at] = data[at : at + draw(st.integers(1, 30))]
        else:
            del data[at:]
    return bytes(data)


def either(sample: bytes) -> st.SearchStrategy[bytes]:
    """Mostly a mutated sample, sometimes anything."""
    return st.one_of(mutated(sample), mutated(sample), st.binary(max_size=200))


def damaged(sample: bytes) -> st.SearchStrategy[bytes]:
    """A JSON text: mutated, or a valid one with a value that does not belong there."""
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=8,
    )
    fields = json.loads(sample)
    changed = st.builds(
        lambda key, value: json.dumps({**fields, key: value}).encode(),
        st.sampled_from(sorted(fields)),
        values,
    )
    return st.one_of(either(sample), changed, values.map(lambda v: json.dumps(v).encode()))


@FEW
@given(data=either(JOB), mode=st.sampled_from([0o600, 0o700, 0]), name=LETTERS)
def test_job_file(data: bytes, mode: int, name: str) -> None:
    """A job file is a job or is refused."""
    try:
        job = jobfile.parse(data, mode, name or "x")
    except FjdError:
        return
    assert job.executable or job.kind != "ini"
    assert 0 <= job.retries <= 1000


@FEW
@given(data=either(b"#!/bin/sh\nexit 3\n"), mode=st.sampled_from([0o600, 0o700]))
def test_script(data: bytes, mode: int) -> None:
    """So is a script."""
    try:
        jobfile.parse(data, mode, "x")
    except FjdError:
        return


@FEW
@given(data=either(REMOTE))
def test_remote_conf(data: bytes) -> None:
    """remote.conf names hosts or is refused."""
    try:
        hosts, _ = remoteconf.parse(inifile.decode(data, "remote.conf"), "remote.conf")
    except FjdError:
        return
    assert all(host.workers >= 1 and not host.name.startswith("-") for host in hosts)


@FEW
@given(data=either(RECORD * 3))
def test_records(memory: Path, data: bytes) -> None:
    """What is no record is passed over."""
    path = memory / "x.jsonl"
    path.write_bytes(data)
    for record in records.lines(str(path)):
        assert isinstance(record["key"], str)


@FEW
@given(data=damaged(RECORD))
def test_output_of_records(memory: Path, data: bytes) -> None:
    """A record that is odd in itself has no output, or some."""
    path = memory / "x.jsonl"
    path.write_bytes(data + b"\n")
    for record in records.lines(str(path)):
        assert isinstance(record["key"], str)


@FEW
@given(name=st.one_of(LETTERS, *(mutated(n.encode()).map(lambda b: b.decode("utf-8", "surrogateescape")) for n in NAMES)))  # fmt: skip  # noqa: E501
def test_names(name: str) -> None:
    """What is read as a name is spelt the same way again."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return  # no file can have that name
    for grammar in (Token, Result, Entry, Claim):
        found = grammar.parse(name)
        assert found is None or str(found) == name
    held = pods.parse(name)
    assert held is None or str(held) == name
    names.submission(name)
    if name:
        names.is_job(name)
    if name and "\0" not in name and "/" not in name:
        token = Token(names.new_key(name))
        assert Token.parse(str(token)) == token


@FEW
@given(data=damaged(CARD))
def test_card(data: bytes) -> None:
    """A worker's entry is whole or it is nothing."""
    card = Card.load(data)
    assert card is None or isinstance(card.identity.pid, int)


@FEW
@given(data=damaged(HOLDER))
def test_holder(data: bytes) -> None:
    """So is a dispatcher's claim."""
    holder = Holder.load(Claim(1, "abcd0123", 0), data)
    assert holder is None or holder.timings.lease > 0


@FEW
@given(value=st.recursive(st.none() | st.integers() | st.floats() | st.text(), st.lists))
def test_identity_and_timings(value: object) -> None:
    """So are the lists in them."""
    Identity.load(value)
    Timings.load(value)


@FEW
@given(text=st.one_of(LETTERS, mutated(b"1d 12h 30m").map(lambda b: b.decode("latin-1"))))
def test_duration(text: str) -> None:
    """A length of time is one or is refused."""
    try:
        assert duration(text) > 0
    except ValueError:
        return


@FEW
@given(data=either(TASKS), growing=st.booleans())
def test_list(data: bytes, growing: bool) -> None:
    """A list is refused before it is run, or is run to its end."""

    def refused(read: Callable[[], object]) -> str:
        try:
            read()
        except FjdError as error:
            return str(error)
        return ""

    reader = lists.Reader(io.BytesIO(data), "x", growing)
    said = refused(lambda: reader.skip_to(1 << 60))
    assert said == "" or "line " in said
    assert growing or said == refused(lambda: lists.check(io.BytesIO(data), "x"))


@FEW
@given(data=either(ROW))
def test_status_file(data: bytes) -> None:
    """A line of a status file is one, also for who reads it quickly, or is none."""
    row = statusfile.parse(data)
    assert statusfile.brief(data) == (row and (row.kind, row.number, row.code))


@FEW
@given(data=damaged(Terms().dump()))
def test_terms(data: bytes) -> None:
    """Terms are whole or they are nothing."""
    terms = Terms.load(data)
    assert terms is None or Terms.load(terms.dump()) == terms


@pytest.mark.parametrize("data", [b"", b"\0", b"[", b"[control]", b"\xff\xfe", b"[control]\n="])
def test_short_ones(data: bytes) -> None:
    """The shortest pieces of nonsense are refused."""
    with pytest.raises(FjdError):
        jobfile.parse(data, 0o600, "x")
