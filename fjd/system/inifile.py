"""INI text as users write it; the only module that knows configobj.

Grammar, a line at a time (a line ends with LF or CR LF):

    [name]               a section; blanks in the brackets and a comment behind them are dropped
    option: value        an option; `=` does as well, and the first of the two is the divider
    # text  or  ; text   a comment, only as a whole line

A value is what stands behind the divider without the blanks around it, character for character:
nothing in it is a quote, a comment, a list, an escape or a reference. Option names are lowered and
keep whatever else is in them. Sections that the caller does not want may hold any text. A header
that is indented deeper than the first one is none (to ConfigParser it continues a value, and so it
stays text). There are no continuation lines in a wanted section: half a command must not run as if
it were the whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from configobj import ConfigObj, ConfigObjError, DuplicateError

from fjd.errors import ConfigError, FjdError

_BLANKS = " \t\r\f\v"  # and no others: a no-break space belongs to the value
_HEADER = re.compile(r"^([ \t]*)\[(.+?)\][ \t]*(?:[#;].*)?\r?$", re.MULTILINE)


class _Options(ConfigObj):  # type: ignore[misc]
    """configobj with the grammar above: the lines of one section, without its header.

    The divider stays the first character of the value until ``_handle_value``, so that configobj
    never sees a value that begins with triple quotes and goes looking for where they close.
    """

    _keyword = re.compile(r"()(\s*[^\s:=][^:=]*)([:=].*)", re.DOTALL)
    _sectionmarker = re.compile(r"(?!)")

    def _handle_value(self, value: str) -> tuple[str, str]:
        return value[1:].strip(_BLANKS), ""

    def _unquote(self, value: str) -> str:
        return value.strip().lower()


class Section:
    """One section: its options, and where each of them stands."""

    __slots__ = ("_error", "_file", "line", "lines", "name", "options")

    def __init__(self, name: str, file: str, line: int, error: type[FjdError]) -> None:
        self.name = name
        self.line = line
        self.options: dict[str, str] = {}
        self.lines: dict[str, int] = {}
        self._file = file
        self._error = error

    def where(self, option: str = "") -> str:
        """Return `file:line` of the option, or of the header."""
        return f"{self._file}:{self.lines.get(option, self.line)}"

    def error(self, what: str, remedy: str, option: str = "") -> FjdError:
        """Return, for the caller to raise, an error about the section or one of its options."""
        return self._error(what, where=self.where(option), remedy=remedy)

    def error_on(self, line: int, what: str, remedy: str) -> FjdError:
        """Return, for the caller to raise, an error about a line of the section."""
        return self._error(what, where=f"{self._file}:{line}", remedy=remedy)

    def text(self, option: str) -> str | None:
        """Return the value, None if the option is not there; an empty value is an error."""
        value = self.options.get(option)
        if value == "":
            raise self.error(
                f"`{option}` is empty", f"write `{option}: VALUE` or remove the line", option
            )
        return value

    def integer(self, option: str, low: int, high: int) -> int | None:
        """Return the value as a number from `low` to `high`, None if the option is not there."""
        value = self.text(option)
        if value is None:
            return None
        if not re.fullmatch("[+-]?[0-9]{1,9}", value) or not low <= int(value) <= high:
            raise self.error(
                f"`{option}` is {shown(value)}",
                f"write a whole number from {low} to {high}",
                option,
            )
        return int(value)


def decode(data: bytes, name: str, error: type[FjdError] = ConfigError) -> str:
    """Return the bytes of a file called `name` as text, or say which of them is none."""
    try:
        text = data.decode()
    except UnicodeDecodeError as problem:
        at, what = problem.start, f"byte 0x{data[problem.start]:02x} is not UTF-8"
    else:
        at, what = data.find(b"\0"), "there is a NUL byte"
        if at < 0:
            return text
    line = data.count(b"\n", 0, at) + 1
    raise error(
        f"{what} (offset {at})", where=f"{name}:{line}", remedy="save it as plain UTF-8 text"
    )


def read(
    text: str,
    name: str,
    wanted: Sequence[str] = (),
    error: type[FjdError] = ConfigError,
) -> dict[str, Section]:
    """Return the wanted sections (none named: all) of a file called `name`, in their order.

    Whatever is wrong with them is raised as `error`, with `name:line`.
    """
    if text.startswith("\ufeff"):
        text = text[1:]
    headers = list(_HEADER.finditer(text))
    before = text[: headers[0].start()] if headers else text
    if before and not before.isspace():
        _only_comments(before, name, wanted[0] if wanted else "name", error)
    headers = [header for header in headers if len(header[1]) <= len(headers[0][1])]
    ends = [header.start() for header in headers[1:]] + [len(text)]
    found: dict[str, Section] = {}
    for header, end in zip(headers, ends):
        title = header[2].strip()
        if wanted and title not in wanted:
            continue
        section = Section(title, name, text.count("\n", 0, header.start()) + 1, error)
        if title in found:
            raise section.error(
                f"the section {shown(title)} stands here a second time, "
                f"after line {found[title].line}",
                "make one of the two",
            )
        found[title] = section
        _fill(section, text[header.end() : end])
    return found


def shown(text: str) -> str:
    """Return the text as an error message shows it: quoted, printable and not too long."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _only_comments(text: str, name: str, sample: str, error: type[FjdError]) -> None:
    """Let nothing else stand before the first section."""
    for number, line in enumerate(text.split("\n"), 1):
        bare = line.strip()
        if bare and bare[0] not in "#;":
            raise error(
                f"{shown(bare)} stands before the first section",
                where=f"{name}:{number}",
                remedy=f"begin with a line `[{sample}]`, not indented, and nothing behind it",
            )


def _fill(section: Section, body: str) -> None:
    """Read the lines of a section; `body` begins with the end of the header's own line."""
    lines: list[str] = []
    numbers: list[int] = []
    margin = -1
    for number, line in enumerate(body.split("\n"), section.line):
        bare = line.strip()
        if not bare or bare[0] in "#;":
            continue
        indent = len(line) - len(line.lstrip())
        if margin < 0:
            margin = indent
        if bare[0] == "[":
            raise section.error_on(
                number,
                f"{shown(bare)} is no section header",
                "write `[name]`, not indented, and nothing behind it",
            )
        if indent > margin:
            raise section.error_on(
                number,
                f"{shown(bare)} is indented like the continuation of a value",
                "write each value on one line, and all options with the same indentation",
            )
        lines.append(line)
        numbers.append(number)
    if not lines:
        return
    try:
        options = _Options(lines, interpolation=False, list_values=False, raise_errors=True)
    except ConfigObjError as problem:
        raise _explained(problem, section, lines, numbers) from None
    section.options = dict.copy(options)
    section.lines = dict(zip(section.options, numbers))


def _explained(
    problem: ConfigObjError, section: Section, lines: list[str], numbers: list[int]
) -> FjdError:
    """Return configobj's error in our words, with the line of the file."""
    wrong = problem.line_number - 1
    if not isinstance(problem, DuplicateError):
        return section.error_on(
            numbers[wrong],
            f"{shown(lines[wrong].strip())} is not an option",
            "write it as `option: value`",
        )
    names = [re.split("[:=]", line, maxsplit=1)[0].strip().lower() for line in lines]
    first = numbers[names.index(names[wrong])]
    return section.error_on(
        numbers[wrong],
        f"the option {shown(names[wrong])} stands here a second time, after line {first}",
        "remove one of the two",
    )
