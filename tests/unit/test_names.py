"""Names: the grammar of everything that lies in the spool."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjd.errors import UsageError
from fjd.spool import names, pods
from fjd.spool.lease import Claim
from fjd.spool.names import Entry, Result, Token

FILE_NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda b: b"/" not in b and b"\0" not in b and b not in (b".", b"..")
)
NUMBERS = st.integers(min_value=0, max_value=10**18)
KEYS = FILE_NAMES.map(lambda data: names.new_key(os.fsdecode(data)))
TOKENS = st.builds(Token, KEYS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
WORKERS = st.builds(names.new_worker, st.text(max_size=70), st.integers(0, 10**6))
CODES = st.sampled_from(["ok", "x1", "x126", "sig9", "timeout", "lost", "cancelled"])


@given(FILE_NAMES)
def test_key_of_any_file_name(data: bytes) -> None:
    """Any bytes may be a file name; the key is plain and tells the name, cut if it is long."""
    name = os.fsdecode(data)
    key = names.new_key(name)
    assert key.isascii()
    assert key.isprintable()
    assert not set("/, ~") & set(key.replace("~.", "."))
    assert key[0] not in ".-"
    assert len(key) <= 140 + 1 + 12
    if "~." not in key:
        assert names.job_name(key) == name
    else:
        assert len(key) >= 145


@pytest.mark.parametrize(
    "name", ["job0.conf", "a b", "-rf", ".x", "ä.conf", "100%", "%41", "a,b,run", "\n", "x" * 140]
)
def test_short_names_survive(name: str) -> None:
    """A short name comes back exactly, whatever is in it."""
    assert names.job_name(names.new_key(name)) == name


def test_readable_names_stay_readable() -> None:
    """The key of a usual name begins with it."""
    assert names.new_key("job0.conf").startswith("job0.conf.")


def test_keys_differ() -> None:
    """Two keys of one name are two keys."""
    assert len({names.new_key("job") for _ in range(100)}) == 100


@pytest.mark.parametrize("stem", ["%2E%2E", "%2Fetc%2Fpasswd", "a%00b", "%2E", ".."])
def test_made_up_keys_lead_nowhere(stem: str) -> None:
    """A key that somebody typed never becomes a path out of its directory."""
    assert names.job_name(f"{stem}.abcdefghijkl") == stem


@given(TOKENS)
def test_token_round_trip(token: Token) -> None:
    """What a token's name says is what went into it."""
    assert Token.parse(str(token)) == token
    assert pods.parse(f"{token}") == pods.Held(token, accepted=False)
    assert pods.parse(f"{token},run") == pods.Held(token, accepted=True)
    assert pods.parse(f"{token},dead") == pods.Held(token, accepted=True, why="dead")
    assert Token.parse(f"{token},run") is None


@given(TOKENS, WORKERS, CODES)
def test_result_round_trip(token: Token, worker: str, code: str) -> None:
    """What a result's name says is what went into it, and it is no token."""
    result = Result(token, worker, code)
    assert Result.parse(str(result)) == result
    assert Token.parse(str(result)) is None
    assert pods.parse(str(result)) is None


@given(TOKENS, WORKERS)
def test_names_fit(token: Token, worker: str) -> None:
    """The longest name of a job still fits every file system."""
    assert len(f"{token},{worker},cancelled") < 255


@given(WORKERS, NUMBERS)
def test_entry_round_trip(worker: str, beat: int) -> None:
    """What an entry's name says is what went into it."""
    assert Entry.parse(str(Entry(worker, beat))) == Entry(worker, beat)
    assert names.is_pod(worker)


@given(st.one_of(st.text(max_size=60), st.text("ax,.-s1cfr0²e", max_size=40)))
def test_garbage_is_none(name: str) -> None:
    """What parses at all is spelled exactly as we spell it; nothing else is ours."""
    for kind in (Token, Result, Entry, Claim):
        found = kind.parse(name)
        assert found is None or str(found) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "job.abcdefghijkl",
        "job.abcdefghijkl,s1",
        "job.abcdefghijkl,a1,s1",
        "job.abcdefghijkl,s01,a1",
        "job.abcdefghijkl,s1,s2,a1",
        "job.abcdefghijkl,s1,a1,c0",
        "job.abcdefghijkl,s1,a1,f1,c1",
        "job.abcdefghijkl,s²,a1",
        "job.abc,s1,a1",
        "abcdefghijkl,s1,a1",
        "job.abcdefghijkl,s1,a1,",
        "job.abcdefghijkl,s1,a1.why",
    ],
)
def test_not_a_token(name: str) -> None:
    """A token has one spelling, or its file could never be found again."""
    assert Token.parse(name) is None


@pytest.mark.parametrize(
    "name", ["node-1-0123abcd", "node-1-0123abcd,", "node-1-0123ABCD,1", "node-²-0123abcd,1",
             "node-1-0123abcd,01", "node-1-0123abcd,²", "-1-0123abcd,1", "a/b-1-0123abcd,1"]
)  # fmt: skip
def test_not_an_entry(name: str) -> None:
    """An entry has one spelling, too."""
    assert Entry.parse(name) is None


@pytest.mark.parametrize("name", ["e1,0123abcd", "e²,0123abcd,1", "e1,0123abcd,01", "1,0123abcd,1"])
def test_not_a_claim(name: str) -> None:
    """Nor is anything else in dispatcher/ taken for a claim."""
    assert Claim.parse(name) is None


@pytest.mark.parametrize(
    ("hostname", "short"),
    [
        ("node1", "node1"),
        ("node1.lab.example.org", "node1"),
        ("my-node_1", "my-node_1"),
        ("nö de,1", "n__de_1"),
        ("", "host"),
        (".x", "host"),
        ("n" * 64, "n" * 32),
    ],
)
def test_short_host(hostname: str, short: str) -> None:
    """A worker's id holds the first label of its host's name, made harmless."""
    assert names.short_host(hostname) == short
    assert names.is_pod(names.new_worker(hostname, 3))


def test_worker_ids() -> None:
    """A worker's id tells its slot and never comes twice."""
    one, two = names.new_worker("my-node", 12), names.new_worker("my-node", 12)
    assert one != two
    assert names.slot_of(one) == 12
    assert one.startswith("my-node-12-")


@pytest.mark.parametrize("name", ["", "x", "a-b-c", "a-²-0123abcd"])
def test_slot_of_a_stranger(name: str) -> None:
    """What is no id has slot 0."""
    assert names.slot_of(name) == 0


@pytest.mark.parametrize("name", ["default", "a", "A1._-", "x" * 64, "0", "a..b"])
def test_good_project_names(name: str) -> None:
    """Letters, digits, dots, dashes and underscores name a project."""
    assert names.check_project(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "/",
        "x" * 65,
        "x" * 300,
        "-a",
        "_a",
        ".a",
        "a\n",
        "\n",
        "a b",
        "ä",
        "a\0",
    ],
)
def test_bad_project_names(name: str) -> None:
    """Nothing else does, and the message is short and says what would."""
    with pytest.raises(UsageError) as caught:
        names.check_project(name)
    assert "cannot name a project; use 1 to 64 letters" in str(caught.value)
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["job", "0.conf", "a~b", "x.tmpl", "run.sh", "#x", "-", " "])
def test_is_job(name: str) -> None:
    """Any usual name in jobqueue/ is a job's."""
    assert names.is_job(name)


@pytest.mark.parametrize(
    "name", [".job.swp", ".nfs0001", "job~", "job.tmp", "job.swp", "job.part", "#job#", "."]
)
def test_is_no_job(name: str) -> None:
    """Hidden files, backups and unfinished downloads are left alone."""
    assert not names.is_job(name)
