"""INI text: what reaches the caller, and what is said about the rest."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjd.errors import ConfigError, JobFileError
from fjd.system import inifile

HOSTILE = [
    "python example/ajob.py",
    "echo a:b",
    "echo a=b",
    "A=1 B=2 ./run",
    ":",
    "=",
    "::==",
    "= x",
    ": x",
    "sh -c 'echo #1'",
    "echo x # no comment",
    "echo x ; echo y",
    "#",
    ";",
    "# all of it",
    "; all of it",
    "date +%Y-%m-%d",
    "date +%(Y)s",
    "%",
    "%%",
    "%(",
    "%(executable)s",
    "$HOME/${executable}",
    "$(executable)",
    "`ls`",
    '"quoted"',
    "'quoted'",
    '"',
    "'",
    "''",
    '""',
    "'''",
    '"""',
    "''''",
    "'''triple'''",
    '"""triple"""',
    "'''open",
    '"""open',
    "closed'''",
    "'''a''' tail",
    "\"\"\"a\"\"\" '''b'''",
    '"quoted" tail',
    "head 'quoted'",
    '"echo hi" > "out file"',
    "it's",
    "python a.py --x a, b",
    "a,b,c",
    ",",
    ",,",
    "a,",
    ",a",
    "back\\slash",
    "\\",
    "trailing \\",
    "\\n\\t\\x41",
    "C:\\dir\\file",
    "[control]",
    "[x]",
    "[[x]]",
    "]",
    "[",
    "executable: again",
    "a\tb",
    "a   b",
    "tab\t# x",
    "é ü ß 漢字 🚀",
    "\u00a0between no-break spaces\u00a0",
    "\u2028line separator\u2029",
    "\u0085next line",
    "\ufeffmark",
    "\u202eright to left",
    "e\u0301 combined",
    "a\rb",
    "a\x0bb\x0cc\x1cd\x1ee",
    "\x1b[31mred",
    "\x7f",
    "!history",
    "~/bin/x",
    "*.txt ?[a-z]",
    "a && b || c & (d) {e;} <f >g 2>&1 |h",
    "<<EOF",
    "None",
    "True",
    "{0} {} {x!r}",
    "@include other",
    "-",
    "--opt=value",
    "rem x",
    "x" * 10_000,
]

SECTION = "[control]\n"
AGAIN = " stands here a second time, after line "


def options(text: str) -> dict[str, str]:
    """Return what the section [control] holds."""
    return inifile.read(text, "f", ("control",))["control"].options


def complaint(text: str, *wanted: str) -> str:
    """Return what is said about a text that is wrong."""
    with pytest.raises(ConfigError) as caught:
        inifile.read(text, "f", wanted)
    assert caught.value.remedy
    return f"{caught.value.where}: {caught.value.what}"


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value)[:30])
def test_hostile_value(value: str) -> None:
    """A value comes back character for character."""
    for divider in (": ", ":", " = ", "=", "\t:\t"):
        text = f"{SECTION}executable{divider}{value}\nlast: 1\n"
        assert options(text) == {"executable": value, "last": "1"}


@given(st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\n")))
def test_any_value(text: str) -> None:
    """A value of one line loses the blanks around it and nothing else."""
    value = text.strip(" \t\r\f\v")
    assert options(f"{SECTION}executable:{text}\nlast: 1") == {"executable": value, "last": "1"}


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("Executable: x", "executable"),
        ("EXECUTABLE=x", "executable"),
        ("  executable  :  x  ", "executable"),
        ("two words: x", "two words"),
        ('"a b": x', '"a b"'),
        ("'a': x", "'a'"),
        ('"a: x', '"a'),
        ("'''a''' = x", "'''a'''"),
        ("a]: x", "a]"),
        ("a#b: x", "a#b"),
        ("a\tb: x", "a\tb"),
        ("É: x", "é"),
        ("%s: x", "%s"),
        ("__name__: x", "__name__"),
        ("default: x", "default"),
    ],
)
def test_option_name(line: str, option: str) -> None:
    """An option name is lowered and otherwise what stands before the divider."""
    assert options(f"{SECTION}{line}\n") == {option: "x"}


@pytest.mark.parametrize("empty", ["a:", "a=", "a: ", "a =\t", "a:\r"])
def test_empty_value(empty: str) -> None:
    """An option without a value is the empty string."""
    assert options(f"{SECTION}{empty}\nb: 1") == {"a": "", "b": "1"}


@pytest.mark.parametrize(
    "text",
    [
        "[control]\na: 1\nb: 2",
        "[control]\r\na: 1\r\nb: 2\r\n",
        "\ufeff[control]\na: 1\nb: 2\n",
        "\n\n# c\n; c\n  # c\n[control]\n\n# c: 1\n;c: 1\na: 1\n   ; deep: 1\n\t\nb: 2\n\n",
        "[control] # a comment [1]\na: 1\nb: 2",
        "[control]\t; a comment\na: 1\nb: 2",
        "[ control ]\na: 1\nb: 2",
        "  [control]\n  a: 1\n  b: 2\n",
        "  [control]\na: 1\nb: 2\n",
        "[control]\n    a: 1\n    b: 2\n",
        "[control]\n    a: 1\n  b: 2\n",
        "[DEFAULT]\na: 9\n[control]\na: 1\nb: 2",
        "[x]\na: 9\na: 9\n[control]\na: 1\nb: 2\n[x]\na: 9",
    ],
)
def test_same_content(text: str) -> None:
    """Line ends, marks, comments, indentation and other sections make no difference."""
    assert options(text) == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    "foreign",
    [
        "no divider",
        "a: 1\na: 2",
        "text = first\n   second\n\n   third",
        "text = first\n   [control]\n   executable: none",
        "[[nested]]\nx",
        "[a[0]]\nx",
        "[1, 2] and more",
        "'''\n\"\"\"",
        "%(x)s ${y}",
        "{\n  'json': [1,\n  2]\n}",
        "]",
        "[open",
        ": none",
    ],
)
def test_foreign_section(foreign: str) -> None:
    """Another section may hold any text, before and behind the wanted one."""
    assert options(f"[mine]\n{foreign}\n[control]\na: 1\n[other]\n{foreign}\n") == {"a": "1"}


def test_sections() -> None:
    """Each section knows its name and line, and where each option stands."""
    text = "# c\n[b]\n\nx: 1\n# c\ny: 2\n[junk]\n???\n[a]\n[c]\nz: 3"
    found = inifile.read(text, "dir/f", ("a", "b", "c"))
    assert [*found] == ["b", "a", "c"]
    assert found["b"].where() == "dir/f:2"
    assert found["b"].where("y") == "dir/f:6"
    assert found["b"].where("none") == "dir/f:2"
    assert found["a"].options == {}
    assert found["c"].where("z") == "dir/f:11"


def test_all_sections() -> None:
    """A caller that names no section gets all."""
    assert [*inifile.read("[a]\n[b]\n[[c]]\n[d ]\n", "f")] == ["a", "b", "[c]", "d"]
    assert inifile.read("", "f") == {}
    assert inifile.read("\n# nothing\n", "f") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\n[control]", "f:1: 'a: 1' stands before"),
        ("\n# c\nfoo\n", "f:3: 'foo' stands before"),
        ("[control\na: 1", "f:1: '[control' stands before"),
        ("[control] x\na: 1", "f:1: '[control] x' stands before"),
        ("[control]\n\nfoo\n", "f:3: 'foo' is not an option"),
        ("[x]\n\n[control]\n\n: foo\n", "f:5: ': foo' is not an option"),
        ("[control]\n=\n", "f:2: '=' is not an option"),
        ("[control]\na: 1\nb: 2\nA = 3", "f:4: the option 'a'" + AGAIN + "2"),
        ("[x]\n[control]\na:1\n\na :2", "f:5: the option 'a'" + AGAIN + "3"),
        ("[control]\na: 1\n[x]\n[control]", "f:4: the section 'control'" + AGAIN + "1"),
        ("[control]\n[ control ]", "f:2: the section 'control' stands here"),
        ("[control]\na: 1\n  --more", "f:3: '--more' is indented like"),
        ("[control]\na: 1\n\n  --b=2", "f:4: '--b=2' is indented like"),
        ("[control]\r\na: 1\r\n\tb: 2", "f:3: 'b: 2' is indented like"),
        ("[control]\n[x", "f:2: '[x' is no section header"),
        ("[control]\na: 1\n [x]\n", "f:3: '[x]' is no section header"),
        ("[control]\n[x] y: 1", "f:2: '[x] y: 1' is no section header"),
        ("[control]\n" + "y" * 200, "f:2: '" + "y" * 57 + "...' is not"),
        ("[control]\n\x1b[2J", "f:2: '\\x1b[2J' is not"),
    ],
)  # fmt: skip
def test_error(text: str, said: str) -> None:
    """An error names the file, the line and what stands there."""
    assert complaint(text, "control").startswith(said)


def test_error_type() -> None:
    """The caller chooses the class of the errors."""
    with pytest.raises(JobFileError):
        inifile.read("[a]\nx", "f", error=JobFileError)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a\n\xff", "f:2: byte 0xff is not UTF-8 (offset 2)"),
        (b"\xff\xfea\0", "f:1: byte 0xff is not UTF-8 (offset 0)"),
        (b"a\n\nb\xc3", "f:3: byte 0xc3 is not UTF-8 (offset 4)"),
        (b"\xed\xa0\x80", "f:1: byte 0xed is not UTF-8 (offset 0)"),
        (b"a\nb\0", "f:2: there is a NUL byte (offset 3)"),
    ],
)
def test_undecodable(data: bytes, said: str) -> None:
    """Bytes that are no text are located."""
    with pytest.raises(ConfigError) as caught:
        inifile.decode(data, "f")
    assert f"{caught.value.where}: {caught.value.what}" == said


def test_decode() -> None:
    """UTF-8 is text, with its line ends."""
    assert inifile.decode("é\r\n".encode(), "f") == "é\r\n"


def test_text() -> None:
    """A text is the value or None, and an empty one is an error on its line."""
    section = inifile.read("[a]\nx: 1\ny:", "f")["a"]
    assert section.text("x") == "1"
    assert section.text("z") is None
    with pytest.raises(ConfigError, match=r"^f:3: `y` is empty; "):
        section.text("y")


@pytest.mark.parametrize(("value", "number"), [("0", 0), ("-5", -5), ("+7", 7), ("010", 10)])
def test_integer(value: str, number: int) -> None:
    """A number is a whole one, with or without a sign."""
    assert inifile.read(f"[a]\nx: {value}", "f")["a"].integer("x", -10, 10) == number


@pytest.mark.parametrize(
    "value", ["two", "1.0", "11", "-11", "1_0", "٣", "1 0", "0x1", "9" * 5000, "--1", "1e1"]
)
def test_no_integer(value: str) -> None:
    """Whatever else is written there is an error that names the range."""
    with pytest.raises(ConfigError, match=r"^f:2: `x` is .*; write a whole number from -10 to 10$"):
        inifile.read(f"[a]\nx: {value}", "f")["a"].integer("x", -10, 10)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "line",
    [
        "a" + " " * 100_000,
        " " * 100_000 + "a",
        "[a]" * 30_000 + "x",
        "[" * 100_000,
        "a: " + "'" * 99_999,
    ],
    ids=lambda line: ascii(line[:4]),
)
def test_long_lines_take_no_long_time(line: str) -> None:
    """A hostile line takes linear time: a quadratic one would run into the time limit."""
    for text in (f"[control]\n{line}", f"[mine]\n{line}\n[control]\na:1", line):
        with contextlib.suppress(ConfigError):
            inifile.read(text, "f", ("control",))


@given(st.text("[]control\ufeffaB:= \t\n\r#;'"))
def test_any_text(text: str) -> None:
    """Any text is either read or complained about in our words."""
    for wanted in ((), ("control",)):
        with contextlib.suppress(ConfigError):
            inifile.read(text, "f", wanted)
