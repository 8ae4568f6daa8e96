"""Contexts: ranks with one winner, cards, requests, and how all of it ends."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from fjd.errors import UsageError
from fjd.spool import contexts
from fjd.spool.contexts import Context, Engine
from fjd.spool.crew import Card, Post
from fjd.spool.lists import submission
from fjd.spool.project import Project
from fjd.system.identity import Identity

if TYPE_CHECKING:
    from tests.unit.conftest import Tools

HOSTS = [("node1", 4), ("node2", 2)]


def lying(project: Project) -> list[str]:
    """Return what lies in contexts/ besides ranks."""
    return sorted(n for n in os.listdir(project.contexts) if not n.startswith("rank,"))


def staff(project: Project, context: Context, rank: int) -> str:
    """Announce a worker of an engine; it is this very process."""
    me = Identity.of(os.getpid())
    worker = f"node-{rank + 1}-{rank:08x}"
    card = Card(worker, me, me, "", "", "", "", "/", 1.0, context.label, rank, 0)
    Post(project, card).announce()
    return worker


def test_begin(project: Project) -> None:
    """Ranks go on where they were, also after the end; the card says everything."""
    first = contexts.begin(project, "", HOSTS, contexts.SSH, limit=9)
    assert first.engines == (Engine(0, "node1", 4), Engine(1, "node2", 2))
    assert (first.label, first.limit, first.by.alive()) == ("ssh0", 9, True)
    second = contexts.begin(project, "mine", HOSTS[:1], contexts.LOCAL)
    assert contexts.everyone(project) == [first, second]
    contexts.end(project, first)
    contexts.end(project, second)
    assert (contexts.everyone(project), lying(project)) == ([], [])
    assert contexts.begin(project, "mine", HOSTS[:1], contexts.LOCAL).ranks == [3]


def test_labels(project: Project) -> None:
    """A label that is taken, or is none, is refused before a rank is claimed."""
    contexts.begin(project, "mine", HOSTS[:1], contexts.LOCAL)
    with pytest.raises(UsageError, match='there is a context "mine" already'):
        contexts.begin(project, "mine", HOSTS, contexts.LOCAL)
    for label in ("a,b", "../x", "-x", "x" * 65):
        with pytest.raises(UsageError, match="cannot name a context"):
            contexts.begin(project, label, HOSTS, contexts.LOCAL)
    assert contexts.look(project).ranks == {0}


def test_requests(project: Project) -> None:
    """Asked twice is asked once; the end of the context is the end of the request."""
    context = contexts.begin(project, "c", HOSTS, contexts.SSH)
    contexts.ask_to_stop(project, [1])
    contexts.ask_to_stop(project, context.ranks)
    assert contexts.look(project).stops == {0, 1}
    contexts.end(project, context)
    assert contexts.look(project).stops == set()


def test_what_is_not_ours_is_left_alone(project: Project) -> None:
    """Other names mean nothing, and a card that cannot be read is no context."""
    names = ("rank,x", "rank,01", "card,1", "stop,1,x", "card,7,torn", "README")
    for name in names:
        open(f"{project.contexts}/{name}", "w").close()
    assert contexts.look(project) == contexts.Names(set(), {7: "torn"}, set())
    assert contexts.everyone(project) == []
    contexts.sweep(project)
    assert sorted(os.listdir(project.contexts)) == sorted(names)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"label": "x", "engines": 7}', b"\xff"])
def test_cards_that_are_none(data: bytes) -> None:
    """They are no error."""
    assert Context.load(data) is None


def test_sweep(project: Project, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed starter left is ended once nobody works in it; all else stays.

    So is a context whose list is over, wherever its starter is.
    """
    here, gone = Identity.of(os.getpid()), tools.gone()
    key = submission.submit(project, "list", [b"true"]).key

    def begin(label: str, by: Identity, key: str = "") -> Context:
        monkeypatch.setattr(contexts.Identity, "of", lambda pid: by)
        return contexts.begin(project, label, HOSTS, contexts.SSH, key=key)

    mine, left = begin("mine", here), begin("left", gone)
    crewed, away = begin("crewed", gone), begin("away", tools.ELSEWHERE)
    busy = begin("busy", tools.ELSEWHERE, key)
    over = begin("over", tools.ELSEWHERE, f"{key[:-12]}{'0' * 12}")
    monkeypatch.undo()
    assert contexts.released(project, contexts.everyone(project)) == [over]
    worker = staff(project, crewed, crewed.ranks[1])
    contexts.ask_to_stop(project, [mine.first, left.first, 99])
    assert contexts.workers(project) == {crewed.ranks[1]: [worker]}
    contexts.sweep(project)
    assert contexts.everyone(project) == [mine, crewed, away, busy]
    assert contexts.look(project).stops == {mine.first}
