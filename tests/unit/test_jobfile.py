"""Job files: what is run, how, and which files are refused."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fjd.errors import JobFileError
from fjd.spool import jobfile
from fjd.spool.jobfile import Job, duration

SEED = b"""[control]
executable: python example/ajob.py
logfile: logfiles/job0.dat\x20

[params]
param1: value0
"""
NO_PERMISSION = "it is a script without the permission to run it"
PLAIN = Job("ini", "true", None, None, 0, None, None, {})


def parse(text: str, mode: int = 0o644, name: str = "0.conf") -> Job:
    """Return what a job file says."""
    return jobfile.parse(text.encode(), mode, name)


def complaint(data: bytes, mode: int = 0o644, name: str = "0.conf") -> str:
    """Return the whole line that is said about a job file that is wrong."""
    with pytest.raises(JobFileError) as caught:
        jobfile.parse(data, mode, name)
    assert caught.value.remedy
    return str(caught.value)


def refusal(path: Path) -> str:
    """Return the whole line that is said about a file that is not even read."""
    with pytest.raises(JobFileError) as caught:
        jobfile.read_bytes(path)
    assert caught.value.where == str(path)
    assert caught.value.remedy
    return str(caught.value)


def test_seed() -> None:
    """The sample of the first fjd is an INI job."""
    assert jobfile.parse(SEED, 0o644, "job0") == PLAIN._replace(
        executable="python example/ajob.py", logfile="logfiles/job0.dat"
    )


def test_all_options() -> None:
    """Every option is understood, whatever the case of its name, and others are the job's."""
    assert parse(
        "[params]\nx\n[fjd]\nExecutable = a b\nLOGFILE=l o g\ntimeout = 1m\nretries: 3\n"
        "nice: -5\ncwd: some where\nenv: A=1 B='two words'\nmine: yes\n"
    ) == Job("ini", "a b", "l o g", 60.0, 3, -5, "some where", {"A": "1", "B": "two words"})


@pytest.mark.parametrize("section", ["control", "fjd"])
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_minimal(section: str, end: str, mark: str) -> None:
    """A section of either name with an executable is enough, wherever the file was edited."""
    assert parse(f"{mark}[{section}]{end or chr(10)}executable: true{end}") == PLAIN


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc"))), st.sampled_from([": ", "=", ":"]))
def test_any_command(text: str, divider: str) -> None:
    """A command of one line comes back exactly as written."""
    command = text.strip(" ") or "true"
    assert parse(f"[control]\nexecutable{divider}{command}\n").executable == command


@given(
    st.binary(max_size=200)
    | st.binary(max_size=40).map(lambda tail: SEED + tail)
    | st.text("[control]fjdexub: =#!\n\r\ufeff\0é'", max_size=60).map(str.encode)
    | st.text("[control]\n", max_size=9).map(lambda text: f"[fjd]\nenv:A={text}\n{text}".encode()),
    st.sampled_from([0o644, 0o755]),
)
def test_any_bytes(data: bytes, mode: int) -> None:
    """Whatever the file holds, it is a job or a complaint."""
    with contextlib.suppress(JobFileError):
        assert isinstance(jobfile.parse(data, mode, "f"), Job)


@pytest.mark.parametrize("option", ["timeout", "retries", "nice", "cwd", "env"])
@settings(max_examples=20, deadline=None)
@given(st.text(st.characters(blacklist_categories=("Cs",)), max_size=30))
def test_any_option_value(option: str, value: str) -> None:
    """Whatever an option is set to, it is a job or a complaint."""
    with contextlib.suppress(JobFileError):
        assert isinstance(parse(f"[fjd]\nexecutable: x\n{option}: {value}"), Job)


def test_half_written() -> None:
    """Every beginning of a file that ends inside its first two lines is a complaint."""
    text = b"[control]\nexecutable: "
    for length in range(len(text) + 1):
        complaint(text[:length])
    for text in (b"#", b"#!", b"#! "):
        complaint(text, 0o755)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "f: it is empty; write `[control]`"),
        (b" \n\r\n\t", "f: it is empty"),
        (b"# nothing\n", "f: it has no section [control]; add `[control]` and below it `exec"),
        (b"[params]\nx: 1\n", "f: it has no section [control]"),
        (b"[fjd-like]\nx: 1\n", "f: it has no section [control]"),
        (b"\n[Control]\nx: 1\n", "f:2: '[Control]' is not the section [control]; write"),
        (b"[a]\n  [fjd]\nx: 1\n", "f:2: '  [fjd]' is not the section [control]; write"),
        (b"[a]\n[fjd] x\nx: 1\n", "f:2: '[fjd] x' is not the section [control]; write"),
        (b"echo hi\n", "f:1: 'echo hi' stands before the first section; begin with a line `[con"),
        (b"[control]\n", "f:1: the section [control] has no `executable`; add a line"),
        (b"\n[fjd]\nexec: x\n", "f:2: the section [fjd] has no `executable`"),
        (b"[control]\n\nexecutable:\n", "f:3: `executable` is empty"),
        (b"[control]\nexecutable\n", "f:2: 'executable' is not an option; write"),
        (b"[fjd]\nexecutable: a\n[control]\n", "f:3: [control] and [fjd] (line 1) mean the same"),
        (b"[fjd]\nexecutable: a\n[fjd]\n", "f:3: the section 'fjd' stands here a second time"),
        (b"[fjd]\nexecutable: a\nExecutable=b", "f:3: the option 'executable' stands here a sec"),
        (b"[fjd]\nexecutable: a\n  --more", "f:3: '--more' is indented"),
        (b"[fjd]\nexecutable: a\0", "f:2: there is a NUL byte (offset 19)"),
        (b"\0" * 9, "f:1: there is a NUL byte (offset 0)"),
        (b"[fjd]\nexecutable: \xe4", "f:2: byte 0xe4 is not UTF-8 (offset 18)"),
        (b"[fjd]\nexecutable: a\n[x]\n\xc3", "f:4: byte 0xc3 is not UTF-8"),
        ("[fjd]\n".encode("utf-16"), "f:1: byte 0xff is not UTF-8"),
        (b"[fjd]\nexecutable: a\n#" + b"x" * (1 << 20), "f: it has 1048597 bytes"),
        (b"\xef\xbb\xbf#!/bin/sh\n", "f: it has no section [control]"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_no_ini_job(data: bytes, said: str) -> None:
    """A file that is no INI job is refused with the line and the way out."""
    assert complaint(data, name="f").startswith(said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("logfile:", "`logfile` is empty; write `logfile: VALUE` or remove the line"),
        ("timeout: soon", "`timeout`: 'soon' is no length of time"),
        ("timeout: 0", "`timeout`: '0' is no time at all; mend it or"),
        ("timeout:", "`timeout` is empty"),
        ("retries: -1", "`retries` is '-1'; write a whole number from 0 to 1000"),
        ("retries: 1001", "`retries` is '1001'"),
        ("retries: many", "`retries` is 'many'"),
        ("nice: 20", "`nice` is '20'; write a whole number from -20 to 19"),
        ("nice: -21", "`nice` is '-21'"),
        ("cwd:", "`cwd` is empty"),
        ("cwd: ~nobody-of-this-name/x", "`cwd`: nobody is called '~nobody-of-this-name'"),
        ("env:", "`env` is empty"),
        ("env: A", "`env` has 'A', which sets no variable; write it as `env: NAME=VALUE"),
        ("env: A=1 2B=3", "`env` has '2B=3'"),
        ("env: =1", "`env` has '=1'"),
        ("env: É=1", "`env` has 'É=1'"),
        ("env: A-B=1", "`env` has 'A-B=1'"),
        ("env: A=1 B = 2", "`env` has 'B'"),
        ("env: A='1", "`env` has a quote or a backslash without its counterpart"),
        ("env: A=\\", "`env` has a quote or a backslash without its counterpart"),
        ("env: A=1 A=2", "`env` sets 'A' twice"),
    ],
)
def test_wrong_option(line: str, said: str) -> None:
    """An option with a value that means nothing is refused on its line."""
    assert complaint(f"[control]\nexecutable: x\n{line}\n".encode(), name="q/f").startswith(
        f"q/f:3: {said}"
    )


@pytest.mark.parametrize(
    ("value", "variables"),
    [
        ("A=", {"A": ""}),
        ("A=1  _b2=x=y", {"A": "1", "_b2": "x=y"}),
        ("A='it is' B=\"a 'b'\"", {"A": "it is", "B": "a 'b'"}),
        ("A=a\\ b", {"A": "a b"}),
        ("'A=1 2'", {"A": "1 2"}),
        ("A=#1;2%3$HOME", {"A": "#1;2%3$HOME"}),
        ("A=é\u00a0x", {"A": "é\u00a0x"}),
    ],
)
def test_env(value: str, variables: dict[str, str]) -> None:
    """The variables are words as the shell reads them, with nothing expanded."""
    assert parse(f"[fjd]\nexecutable: x\nenv: {value}\n").env == variables


@pytest.mark.parametrize(
    ("written", "meant"),
    [("~", "/home/ada"), ("~/x y", "/home/ada/x y"), ("a/~", "a/~"), (".", "."), ("/x", "/x")],
)
def test_cwd(written: str, meant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory is as written, but for the home."""
    monkeypatch.setenv("HOME", "/home/ada")
    assert parse(f"[fjd]\nexecutable: x\ncwd: {written}\n").cwd == meant


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        ("0.001", 0.001),
        ("007", 7),
        ("90s", 90),
        ("1.5s", 1.5),
        ("10m", 600),
        ("2h30m", 9000),
        ("2h30s", 7230),
        ("1.5h", 5400),
        ("1d", 86400),
        ("1d12h", 129600),
        ("1d 2h 3m 4s", 93784),
        ("2H30M", 9000),
        ("90m", 5400),
        ("1:30", 90),
        ("90:00", 5400),
        ("00:05", 5),
        ("0:5", 5),
        ("01:00:00", 3600),
        ("1:2:3", 3723),
        ("100:00:00", 360000),
        ("1-00:00:00", 86400),
        ("10-23:59:59", 950399),
        ("0-00:00:01", 1),
        ("36500d", 3153600000),
    ],
)
def test_duration(text: str, seconds: float) -> None:
    """A length of time is seconds, units, or what Slurm and PBS write."""
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "0",
        "0s",
        "0.0",
        "00:00",
        "0-00:00:00",
        "-5",
        "-1s",
        "+5",
        "-1:00",
        "soon",
        "x",
        "1x",
    ]
    + [
        "s",
        "h",
        "5.",
        ".5",
        "1e3",
        "1_000",
        "0x10",
        "٣",
        "inf",
        "nan",
        "1 2",
        "1 h",
        "1m\n1s",
        "1w",
    ]
    + [
        "2h30",
        "30m2h",
        "1h1h",
        "1:60",
        "1:2:60",
        "1:60:00",
        "1-24:00:00",
        "1-1:00",
        "1-12",
        "1:2:3:4",
    ]
    + [":", "1:", ":1", "1:2:", "1.5:00", "1:1.5", "1 :30", "36501d", "9" * 16, "9" * 5000],
)
def test_no_duration(text: str) -> None:
    """Whatever else is written there, nothing and less than nothing included, is an error."""
    with pytest.raises(ValueError, match=r"no length of time|no time at all|beyond|hundred years"):
        duration(text)


@given(st.text("0123456789dhms:-. ", max_size=12) | st.text())
def test_any_duration(text: str) -> None:
    """Any text is a length of time that a clock can wait for, or a ValueError."""
    with contextlib.suppress(ValueError):
        assert 0 < duration(text) <= 100 * 365 * 86400


@pytest.mark.timeout(10)
def test_long_durations_take_no_long_time() -> None:
    """A hostile length of time takes linear time."""
    for text in ("1d" + " " * 100_000 + "x", "9" * 1_000_000, "1:" * 300_000):
        with pytest.raises(ValueError, match="no length of time"):
            duration(text)


@pytest.mark.parametrize("data", [b"#!/bin/sh\n", b"#! /usr/bin/env python\n\0\xff", b"#!x"])
def test_script(data: bytes) -> None:
    """A file that begins with #! and may be run is a script, whatever else it holds."""
    assert jobfile.parse(data, 0o700, "f") == PLAIN._replace(kind="script", executable="")


@pytest.mark.parametrize(
    ("data", "mode", "said"),
    [
        (b"#!/bin/sh\n", 0o644, f"a b: {NO_PERMISSION}; type `chmod +x 'a b'`"),
        (b"#!/bin/sh\n", 0o655, f"a b: {NO_PERMISSION}"),
        (b"#!", 0o755, "a b:1: no program stands behind `#!`; begin with"),
        (b"#! \t\n/bin/sh", 0o755, "a b:1: no program stands behind `#!`"),
        (b"#!/bin/sh\r\n", 0o755, "a b:1: its lines end in CR LF"),
    ],
)
def test_no_script(data: bytes, mode: int, said: str) -> None:
    """A script that could not be run is refused with the command that mends it."""
    assert complaint(data, mode, "a b").startswith(said)


@pytest.mark.parametrize("size", [0, 1, 100_000, 1 << 20])
def test_read(tmp_path: Path, size: int) -> None:
    """A plain file is read as a whole, together with its permissions."""
    path = tmp_path / "0.conf"
    path.write_bytes(b"x" * size)
    path.chmod(0o640)
    assert jobfile.read_bytes(path) == (b"x" * size, 0o640)
    assert jobfile.read_bytes(str(path)) == (b"x" * size, 0o640)


def test_read_vanished(tmp_path: Path) -> None:
    """A file that is gone is a lost race and no fault of the file."""
    with pytest.raises(FileNotFoundError):
        jobfile.read_bytes(tmp_path / "none")


def test_read_too_large(tmp_path: Path) -> None:
    """A file of more than a mebibyte is not even read."""
    path = tmp_path / "0.conf"
    path.touch()
    os.truncate(path, (1 << 40) + 1)
    assert refusal(path).startswith(
        f"{path}: it has 1099511627777 bytes, and a job file ends at 10"
    )


def test_read_no_plain_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links, FIFOs, directories, sockets and devices are refused at once."""
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    for name in ("link", "dangling"):
        (tmp_path / name).symlink_to("/dev/null" if name == "link" else "none")
        assert "it is a symbolic link; put a copy" in refusal(tmp_path / name)
    os.mkfifo("fifo")
    assert "it is a FIFO; put a plain file" in refusal(tmp_path / "fifo")
    assert "it is a directory" in refusal(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert "it is a socket" in refusal(tmp_path / "socket")
    assert "it is a device" in refusal(Path("/dev/null"))


def test_read_foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of another user is not run, whether or not it may be read."""
    path = tmp_path / "0.conf"
    path.write_bytes(SEED)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    said = f"it belongs to user {owner}, and you are {owner + 1}"
    assert said in refusal(path)
    monkeypatch.setattr(os, "open", denied)
    assert said in refusal(path)


def test_read_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of our own that may not be read comes with the command that mends it."""
    path = tmp_path / "my job"
    path.write_bytes(SEED)
    monkeypatch.setattr(os, "open", denied)  # root may read anything
    assert refusal(path).endswith(f"you may not read it; type `chmod u+r '{path}'`")
    path.unlink()
    with pytest.raises(FileNotFoundError):
        jobfile.read_bytes(path)


def test_read_while_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose size changes under the reader is refused, to be looked at again."""
    path = tmp_path / "0.conf"
    path.write_bytes(SEED)
    read = os.read
    for change in (b"more", b""):
        monkeypatch.setattr(os, "read", lambda fd, size, new=change: read(fd, size) + new and new)
        assert "its size changed while it was read" in refusal(path)


def test_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that answers in small parts is asked again."""
    path = tmp_path / "0.conf"
    path.write_bytes(SEED)
    read = os.read
    monkeypatch.setattr(os, "read", lambda fd, size: read(fd, min(size, 7)))
    assert jobfile.read_bytes(path)[0] == SEED


def denied(*_: object, **__: object) -> int:
    """Fail as open does on a file that may not be read."""
    raise PermissionError(13, "Permission denied")
