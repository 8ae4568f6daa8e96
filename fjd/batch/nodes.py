"""Hosts and how many tasks each takes at once: what ``-s``, ``-c`` and ``-t`` say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Callable, NamedTuple, Optional

from fjd.errors import UsageError
from fjd.system.identity import hostname

MOST = 10_000  # tasks at once on one host

_HOST = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_HERE = frozenset(("localhost", "127.0.0.1"))


class Node(NamedTuple):
    """One host and its cores, or its slots."""

    host: str
    number: int


def parse(texts: Iterable[str], option: str, talk: Callable[[str], None]) -> list[Node]:
    """Read ``host:4,other:2``, also from several options; a host named twice is added up.

    Args:
        option: where the text stands, for complaints.

    Raises:
        UsageError: an item says no host or no count, or there is none at all.
    """
    found: dict[str, int] = {}
    again: dict[str, None] = {}  # in their order
    for item in (item.strip() for text in texts for item in text.split(",")):
        if not item:
            continue
        node = _item(item, option)
        if node.host in found:
            again[node.host] = None
        found[node.host] = found.get(node.host, 0) + node.number
    for host in again:
        talk(f"{option}: {host} is named twice or more; its counts are added up")
    if not found:
        raise UsageError(f"{option} names no host", remedy="write: host:4,other:2")
    return [Node(host, count) for host, count in found.items()]


def _item(item: str, option: str) -> Node:
    host, colon, count = item.rpartition(":")
    if not colon:
        raise UsageError(
            f"{option}: {item!r} has no count", remedy=f"write {item}:4 for four cores of it"
        )
    if not _HOST.fullmatch(host):
        raise UsageError(
            f"{option}: {host!r} is no host name",
            remedy="write host:4; a user or a port belongs into ~/.ssh/config",
        )
    if not (count.isascii() and count.isdigit() and 1 <= int(count) <= MOST):
        raise UsageError(
            f"{option}: {count!r} in {item!r} is no count", remedy=f"give a number from 1 to {MOST}"
        )
    return Node(own_name(host), int(count))


def own_name(host: str) -> str:
    """Return this machine's name for ``localhost``, every other name as it is."""
    return hostname() if host.lower() in _HERE else host


def slots(cores: int, cpus: float, most: Optional[int]) -> int:
    """Return how many tasks of ``cpus`` cores run at once on so many cores, ``most`` at most."""
    number = int(cores / cpus + 1e-9)
    return min(number, MOST if most is None else most)


def with_slots(nodes: Iterable[Node], cpus: float, most: Optional[int]) -> list[Node]:
    """Return the nodes with their slots.

    Raises:
        UsageError: one of them has too few cores for a single task.
    """
    nodes = list(nodes)
    found = [Node(node.host, slots(node.number, cpus, most)) for node in nodes]
    for node, before in zip(found, nodes):
        if not node.number:
            raise UsageError(
                f"{node.host} has {before.number} core(s), and -c asks for {cpus:g} per task",
                remedy="use a smaller -c, or other hosts",
            )
    return found
