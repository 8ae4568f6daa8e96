"""remote.conf: the hosts to hire on, and how many workers each of them gets.

    [host1]                     K = 1, 2, 3 ... ; a missing number is remarked on, no more
    name: hyuga.sen.cwi.nl      a host name, an IPv4 or an IPv6 address; `localhost` is this machine
    workers: 5                  at least 1
    user: ada                   these and what follows may be left out
    port: 2222
    python: /opt/py/bin/python
    nice: 10

The names go into the command lines of ssh and of remote shells, so nothing passes that either of
them could take for an option or for syntax.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from typing import NamedTuple

from fjd.errors import ConfigError
from fjd.system import inifile

OPTIONS = ("name", "workers", "user", "port", "python", "nice")

_LARGEST = 1 << 20  # bytes of a file
_MOST = 10_000  # workers on one host
_SECTION = re.compile("host([1-9][0-9]{0,8})")
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_ZONE = re.compile("[A-Za-z0-9][A-Za-z0-9._-]*")
_USER = re.compile("[A-Za-z0-9_][A-Za-z0-9._@+-]*")


class Host(NamedTuple):
    """One section of remote.conf."""

    section: str  # "host2"
    name: str  # an IPv6 address stands without its brackets
    workers: int
    user: str | None
    port: int | None
    python: str | None
    nice: int | None
    where: str  # "remote.conf:12"


def load(path: str | os.PathLike[str]) -> tuple[list[Host], list[str]]:
    """Return what ``parse`` returns for a file; FileNotFoundError if there is none."""
    name = os.fspath(path)
    try:
        with open(name, "rb", opener=_open_at_once) as file:
            _check(os.fstat(file.fileno()), name)
            data = file.read(_LARGEST + 1) or b""
    except FileNotFoundError:
        raise
    except OSError as problem:
        raise ConfigError(
            f"it cannot be read ({(problem.strerror or str(problem)).lower()})",
            where=name,
            remedy="make it a plain file that you may read",
        ) from None
    if len(data) > _LARGEST:
        raise ConfigError(
            f"it has more than {_LARGEST} bytes",
            where=name,
            remedy="leave only host sections in it",
        )
    return parse(inifile.decode(data, name), name)


def parse(text: str, name: str) -> tuple[list[Host], list[str]]:
    """Return the hosts in the order of K, and remarks on what is odd but no error.

    ConfigError tells what is wrong, with `name:line`.
    """
    numbered: dict[int, Host] = {}
    seen: dict[tuple[str, str | None, int], Host] = {}
    for section in inifile.read(text, name).values():
        title = _SECTION.fullmatch(section.name)
        if not title:
            raise section.error(
                f"the section {inifile.shown(section.name)} means nothing here",
                "call it [host1], [host2] ... or remove it",
            )
        host = _host(section)
        twin = seen.setdefault((host.name.lower().rstrip("."), host.user, host.port or 22), host)
        if twin is not host:
            raise section.error(
                f"`name` is {host.name} as in [{twin.section}] ({twin.where})",
                "make one section of the two and add up their workers",
                "name",
            )
        numbered[int(title[1])] = host
    return [numbered[number] for number in sorted(numbered)], _remarks(sorted(numbered), name)


def _open_at_once(path: str, flags: int) -> int:
    """Open the file; a FIFO without a writer is empty and does not make us wait."""
    return os.open(path, flags | os.O_NONBLOCK)


def _check(status: os.stat_result, name: str) -> None:
    """Refuse what somebody else has, or could have, written: it names programs to run."""
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(
            f"it belongs to user {status.st_uid}, and you are {os.geteuid()}",
            where=name,
            remedy="put a copy of your own there",
        )
    if status.st_mode & stat.S_IWOTH:
        raise ConfigError(
            "others can write to it, and it says what is run in your name",
            where=name,
            remedy=f"look through it, then type: chmod o-w {shlex.quote(name)}",
        )


def _remarks(numbers: list[int], name: str) -> list[str]:
    """Return a line for each gap: the first fjd stopped reading there."""
    if not numbers:
        return [f"{name}: there is no host in it"]
    remarks = []
    for before, number in zip([0] + numbers, numbers):
        if number == before + 1:
            continue
        missing = f"[host{before + 1}] is"
        if number > before + 2:
            missing = f"[host{before + 1}] to [host{number - 1}] are"
        between = f"between [host{before}] and" if before else "before"
        remarks.append(f"{name}: {missing} missing {between} [host{number}]; all others are used")
    return remarks


def _host(section: inifile.Section) -> Host:
    for option in section.options:
        if option not in OPTIONS:
            raise section.error(
                f"the option {inifile.shown(option)} means nothing here",
                f"a host has {', '.join(OPTIONS)}",
                option,
            )
    name = section.text("name")
    if name is None:
        raise section.error(
            f"the section [{section.name}] has no `name`", "add a line `name: HOSTNAME`"
        )
    if section.options.get("workers") == "0":
        raise section.error("`workers` is 0", "remove the section", "workers")
    workers = section.integer("workers", 1, _MOST)
    if workers is None:
        raise section.error(
            f"the section [{section.name}] has no `workers`", "add a line `workers: NUMBER`"
        )
    user = section.text("user")
    if user is not None and not _USER.fullmatch(user):
        raise section.error(
            f"`user` is {inifile.shown(user)}",
            "write a login name of letters, digits and . _ - + @",
            "user",
        )
    python = section.text("python")
    if python is not None and (python.startswith("-") or not python.isprintable()):
        raise section.error(
            f"`python` is {inifile.shown(python)}", "write the path of an interpreter", "python"
        )
    return Host(
        section=section.name,
        name=_address(section, name),
        workers=workers,
        user=user,
        port=section.integer("port", 1, 65535),
        python=python,
        nice=section.integer("nice", -20, 19),
        where=section.where(),
    )


def _address(section: inifile.Section, name: str) -> str:
    """Return the host's name or address as ssh takes it."""
    if _NAME.fullmatch(name):
        return name
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    if ":" in bare and _is_ipv6(bare):
        return bare
    remedy = "write a host name of letters, digits and . _ -, or an IP address"
    account, at, host = name.rpartition("@")
    if at and _USER.fullmatch(account) and _NAME.fullmatch(host):
        remedy = f"write `name: {host}` and on another line `user: {account}`"
    host, colon, port = name.rpartition(":")
    if colon and _NAME.fullmatch(host) and port.isdecimal():
        remedy = f"write `name: {host}` and on another line `port: {port}`"
    raise section.error(f"`name` is {inifile.shown(name)}", remedy, "name")


def _is_ipv6(text: str) -> bool:
    import ipaddress  # 3 ms, and few name their hosts so

    address, percent, zone = text.partition("%")
    if percent and not _ZONE.fullmatch(zone):
        return False
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return False
    return True
