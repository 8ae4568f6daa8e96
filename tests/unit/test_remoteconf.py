"""remote.conf: the hosts, and what is said about a file that is wrong."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjd.errors import ConfigError
from fjd.launchers import remoteconf
from fjd.launchers.remoteconf import Host

SEED = """[host1]
name: localhost
workers: 3

[host2]
name: hyuga.sen.cwi.nl
workers: 5
"""
HOST = "[host1]\nname: a\nworkers: 1\n"
HOSTS = [
    Host("host1", "localhost", 3, None, None, None, None, "remote.conf:1"),
    Host("host2", "hyuga.sen.cwi.nl", 5, None, None, None, None, "remote.conf:5"),
]


def hosts(text: str) -> list[Host]:
    """Return the hosts of a file without anything odd."""
    found, remarks = remoteconf.parse(text, "remote.conf")
    assert remarks == []
    return found


def complaint(text: str) -> str:
    """Return the whole line that is said about a file that is wrong."""
    with pytest.raises(ConfigError) as caught:
        remoteconf.parse(text, "r")
    assert caught.value.where.startswith("r:")
    assert caught.value.remedy
    return str(caught.value)


@pytest.mark.parametrize("text", [SEED, SEED.replace("\n", "\r\n"), "\ufeff" + SEED])
def test_seed(text: str) -> None:
    """The sample of the first fjd is two hosts, wherever it was edited."""
    assert hosts(text) == HOSTS


def test_all_options() -> None:
    """A host may have a user, a port, an interpreter and a niceness."""
    text = "[host1]\nNAME=n-1.x\nworkers=1\nuser = ada\nport=22\npython: /a b/python3\nnice: -5\n"
    assert hosts(text) == [
        Host("host1", "n-1.x", 1, "ada", 22, "/a b/python3", -5, "remote.conf:1")
    ]


def test_order() -> None:
    """The hosts come in the order of their numbers, not of their lines."""
    numbers = [10, 2, 1, 9, 3, 8, 4, 7, 5, 6]
    text = "".join(f"[host{number}]\nname: n{number}\nworkers: 1\n" for number in numbers)
    assert [host.section for host in hosts(text)] == [f"host{number}" for number in range(1, 11)]
    assert hosts(text)[9].where == "remote.conf:1"


def test_commented_out() -> None:
    """A host whose lines are comments is not there."""
    assert hosts(SEED + "#[host3]\n#name: x\n; workers: x\n") == HOSTS


@pytest.mark.parametrize(
    ("numbers", "remarks"),
    [
        ([1, 2], []),
        ([1, 2, 4], ["r: [host3] is missing between [host2] and [host4]"]),
        ([1, 5], ["r: [host2] to [host4] are missing between [host1] and [host5]"]),
        ([2], ["r: [host1] is missing before [host2]"]),
        ([4, 6], ["r: [host1] to [host3] are missing before [host4]",
                  "r: [host5] is missing between [host4] and [host6]"]),
        ([], ["r: there is no host in it"]),
    ],
)  # fmt: skip
def test_gaps(numbers: list[int], remarks: list[str]) -> None:
    """A missing number is said and loses no host."""
    text = "".join(f"[host{number}]\nname: n{number}\nworkers: 1\n" for number in numbers)
    found, said = remoteconf.parse(text, "r")
    assert [host.section for host in found] == [f"host{number}" for number in numbers]
    assert said == [f"{remark}; all others are used" if numbers else remark for remark in remarks]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a", "a"),
        ("n01.Example_x-y.org", "n01.Example_x-y.org"),
        ("192.168.0.1", "192.168.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("fe80::1%eth0.5", "fe80::1%eth0.5"),
        ("[2001:db8::ff]", "2001:db8::ff"),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
    ],
)
def test_name(written: str, meant: str) -> None:
    """A host is named, or has an address of either kind."""
    assert hosts(f"[host1]\nname: {written}\nworkers: 1\n")[0].name == meant


@pytest.mark.parametrize(
    "name",
    ["-oProxyCommand=x", "-", ".a", "_a", "a b", "a\tb", "a;b", "a#b", "$(a)", "`a`", "a|b", "a&b"]
    + ["a>b", "'a'", '"a"', "a\\b", "a,b", "a*", "~a", "a/b", "é", "a\u00a0", "a\x1bb", "a\rb"]
    + ["[a]", "[]", "[::1", "::1]", "[[::1]]", ":", "::1%", "::1%$(x)", "::1%a;b", "1::2::3", "{a}"]
    + ["ssh://a", "a:b", "a@", "@a", "-a@b", "a" * 254, "node[01-16]", "!a", "%h", "a\n  b"],
)
def test_no_name(name: str) -> None:
    """A name that ssh or a shell could take for something else is refused."""
    said = complaint(f"\n[host1]\nworkers: 1\nname: {name}\n")
    assert said.startswith(("r:4: `name` is", "r:5: 'b' is indented"))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("ada@n1", "; write `name: n1` and on another line `user: ada`"),
        ("n1:2222", "; write `name: n1` and on another line `port: 2222`"),
        ("n 1", "; write a host name of letters, digits and . _ -, or an IP address"),
    ],
)
def test_name_remedy(name: str, remedy: str) -> None:
    """A user or a port within the name has an option of its own."""
    assert complaint(f"[host1]\nname: {name}\nworkers: 1").endswith(remedy)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[host1]\nname: a\nworkers: two",
            "r:3: `workers` is 'two'; write a whole number from 1 to 10",
        ),
        ("[host1]\nname: a\nworkers: -1", "r:3: `workers` is '-1'; write"),
        ("[host1]\nname: a\nworkers: 0", "r:3: `workers` is 0; remove the section"),
        ("[host1]\nname: a\nworkers: 10001", "r:3: `workers` is '10001'"),
        ("[host1]\nname: a\nworkers: 1.5", "r:3: `workers` is '1.5'"),
        ("[host1]\nname: a\nworkers:", "r:3: `workers` is empty"),
        ("[host1]\nname: a", "r:1: the section [host1] has no `workers`; add a line"),
        ("\n[host1]\nworkers: 1", "r:2: the section [host1] has no `name`; add a line"),
        ("[host1]", "r:1: the section [host1] has no `name`"),
        (HOST + "x: 1", "r:4: the option 'x' means nothing here; a host has name, w"),
        (HOST + "[host]\n", "r:4: the section 'host' means nothing here; call"),
        ("[host0]\n", "r:1: the section 'host0' means"),
        ("[host01]\n", "r:1: the section 'host01' means"),
        ("[Host1]\n", "r:1: the section 'Host1' means"),
        ("[host 1]\n", "r:1: the section 'host 1' means"),
        ("[host-1]\n", "r:1: the section 'host-1' means"),
        ("[host٣]\n", "r:1: the section 'host٣' means"),
        ("[host1000000000]\n", "r:1: the section 'host1000000000' means"),
        ("[DEFAULT]\n", "r:1: the section 'DEFAULT' means"),
        (HOST + "[host1]\n", "r:4: the section 'host1' stands here a"),
        ("[host1]\nname: a\nname: b\n", "r:3: the option 'name' stands here a second time"),
        ("[host1]\nname a\n", "r:2: 'name a' is not an option"),
        ("name: a\n", "r:1: 'name: a' stands before"),
        (HOST + "port: 0", "r:4: `port` is '0'; write a whole number from 1 to"),
        (HOST + "port: 65536", "r:4: `port` is '65536'"),
        (HOST + "port: ssh", "r:4: `port` is 'ssh'"),
        (HOST + "nice: 20", "r:4: `nice` is '20'"),
        (HOST + "user: -l", "r:4: `user` is '-l'; write a login name"),
        (HOST + "user: a b", "r:4: `user` is 'a b'"),
        (HOST + "user: a;b", "r:4: `user` is 'a;b'"),
        (HOST + "user: $(a)", "r:4: `user` is"),
        (HOST + "python: -c", "r:4: `python` is '-c'; write the path"),
        (HOST + "python: a\x1bb", "r:4: `python` is 'a\\x1bb'"),
        (HOST + "python:", "r:4: `python` is empty"),
    ],
)
def test_error(text: str, said: str) -> None:
    """An error names the file, the line, what stands there and the way out."""
    assert complaint(text).startswith(said)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("name: a", "name: a"),
        ("name: a", "name: A."),
        ("name: ::1", "name: [::1]"),
        ("name: a", "name: a\nport: 22"),
        ("name: a\nuser: u\nport: 5", "name: a\nport: 5\nuser: u"),
    ],
)
def test_twins(first: str, second: str) -> None:
    """A host that is named twice is an error, at the second place."""
    text = f"[host7]\nworkers: 1\n{first}\n[host2]\nworkers: 2\n{second}\n"
    assert " as in [host7] (r:1); make one section of the two" in complaint(text)


@pytest.mark.parametrize("other", ["port: 2222", "user: ada"])
def test_no_twins(other: str) -> None:
    """The same name with another port or user is another host: containers are named so."""
    text = f"[host1]\nworkers: 1\nname: a\n[host2]\nworkers: 2\nname: a\n{other}\n"
    assert len(hosts(text)) == 2


@given(
    st.text()
    | st.text("[host1]\nname: workers=23#\r").map(lambda text: SEED + text)
    | st.tuples(
        st.sampled_from(remoteconf.OPTIONS), st.text(st.characters(), max_size=20)
    ).map(lambda pair: f"[host1]\n{pair[0]}: {pair[1]}\nworkers: 1\nname: a")
    | st.text(st.characters()).map(lambda text: f"[host1]\nworkers: 1\nname: {text}")
)  # fmt: skip
def test_any_text(text: str) -> None:
    """Any text is a list of hosts or a complaint."""
    with contextlib.suppress(ConfigError):
        found, _ = remoteconf.parse(text, "r")
        assert all(host.workers > 0 and not host.name.startswith("-") for host in found)


def test_load(tmp_path: Path) -> None:
    """A file is read, through a link as well, and the hosts say where they stand."""
    path = tmp_path / "remote.conf"
    path.write_text(SEED)
    link = tmp_path / "link"
    link.symlink_to(path)
    assert remoteconf.load(link)[0][1].where == f"{link}:5"
    assert remoteconf.load(str(path))[0][0].where == f"{path}:1"


def test_load_missing(tmp_path: Path) -> None:
    """A missing file is for the caller to handle."""
    with pytest.raises(FileNotFoundError):
        remoteconf.load(tmp_path / "remote.conf")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[host1]\n\xff", ":2: byte 0xff is not UTF-8 (offset 8); save"),
        (b"[host1]\n\0", ":2: there is a NUL byte (offset 8)"),
        (b"#" * (1 << 20) + b"#", ": it has more than 1048576 bytes; leave only"),
    ],
    ids=["utf8", "nul", "large"],
)
def test_load_wrong(tmp_path: Path, data: bytes, said: str) -> None:
    """A file that is no text or far too large is an error."""
    path = tmp_path / "remote.conf"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        remoteconf.load(path)
    assert str(caught.value).startswith(f"{path}{said}")


def test_load_no_file(tmp_path: Path) -> None:
    """A directory is an error, and a FIFO does not make us wait."""
    with pytest.raises(ConfigError, match=r": it cannot be read \(is a directory\); make it a"):
        remoteconf.load(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    assert remoteconf.load(tmp_path / "fifo")[0] == []


def test_load_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others wrote, or can write, does not say what is run in our name."""
    path = tmp_path / "remote.conf"
    path.write_text(SEED)
    path.chmod(0o666)
    with pytest.raises(ConfigError, match=f"others can write to it.*type: chmod o-w {path}"):
        remoteconf.load(path)
    path.chmod(0o664)
    assert remoteconf.load(path)[0]
    os.chmod(path, 0o600)
    mine = os.geteuid()
    monkeypatch.setattr(
        os, "fstat", lambda fd: os.stat_result((0o100600, *[0] * 3, 65534, *[0] * 5))
    )
    with pytest.raises(ConfigError, match=f"belongs to user 65534, and you are {mine}; put a copy"):
        remoteconf.load(path)
