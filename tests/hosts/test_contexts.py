"""Hiring a context on hosts that are named, by real SSH."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bed import Bed

pytestmark = pytest.mark.xdist_group("hosts at work")

# Hires what the command line says, prints what came of it, and fires.
DRIVER = """\
import json, os, sys
from fjd.errors import NoWorkers
from fjd.recruiter.contexts import ContextHiring
from fjd.spool import contexts, crew
from fjd.spool.project import Project

talk, project = [], Project.open("p")
hosts = [(host, int(slots)) for host, slots in (word.split(":") for word in sys.argv[1:])]
context = contexts.begin(project, "", hosts, contexts.SSH)
hiring = ContextHiring(
    project, context, talk.append, talk.append, cwd=os.getcwd(), resources=["THINGS"]
)
try:
    reports = hiring.hire()
except NoWorkers as error:
    reports = str(error)
cards = [card for _, card in crew.cards(project).values()]
found = sorted((card.identity.host, card.context, card.engine, card.cylinder) for card in cards)
fired, active = hiring.fire(), sorted(hiring.active())
print(json.dumps([context.label, reports, found, talk, fired, active, hiring.close()]))
"""


def hire(bed: Bed, *words: str) -> list[Any]:
    """Run the driver on the first host."""
    (bed.home / "driver.py").write_text(DRIVER)
    (bed.home / ".bashrc").write_text("export THINGS=3,5\n")  # what a login over SSH reads
    done = bed.run("node1", [sys.executable, "driver.py", *words], timeout=120)
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def test_a_context_on_three_hosts(fresh_bed: Bed) -> None:
    """One of them is down: it costs a line. Each host shares what it has among its own workers."""
    fresh_bed.power_cut("node3")
    label, reports, found, talk, fired, active, closed = hire(
        fresh_bed, "localhost:2", "node2:3", "node3:1"
    )
    assert label == "ssh0"
    assert reports[:2] == [[0, "localhost", 2, 2, ""], [1, "node2", 3, 2, ""]]
    assert reports[2][:4] == [2, "node3", 1, 0]
    assert found == [
        *(["node1", "ssh0", 0, 0], ["node1", "ssh0", 0, 1]),
        *(["node2", "ssh0", 1, 0], ["node2", "ssh0", 1, 1]),
    ]
    (down,) = (line for line in talk if line.startswith("Host node3: "))
    assert "; look whether it" in down
    assert "Host node2: THINGS has 2 for 3 slots: 2 will be used" in talk
    assert (fired, active, closed) == (True, [], True)
    assert not any("fjd_worker" in line for line in fresh_bed.hosts["node2"].command_lines())


def test_nobody_there(fresh_bed: Bed) -> None:
    """All hosts are down: an error that says so, and nothing is left."""
    fresh_bed.power_cut("node2", "node3")
    _, reports, found, talk, fired, active, closed = hire(fresh_bed, "node2:1", "node3:1")
    assert str(reports).startswith('no worker came up in context "ssh0"')
    assert (found, fired, active, closed) == ([], True, [], True)
    assert len(talk) == 2
