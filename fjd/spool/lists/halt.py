"""Why a list is to stop before its end: ``lists/<key>/halt``, one JSON object.

Whoever wants that publishes it (a user who cancels; the dispatcher, whose reason then outlives
it). The dispatcher obeys: it renames the mark to ,stop, and nothing more of the list is begun; with
``now``, what runs is ended as well. Said twice is said once; the last word counts.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from fjd.spool import outcomes
from fjd.spool.lists.shelf import Shelf
from fjd.system import files

HALT = "halt"
FAILURE, WRONG = "failure", "wrong"


class Halt(NamedTuple):
    """Why a list stops.

    Attributes:
        cause: in words.
        outcome: of the list.
        now: also what runs is ended.
        reason: FAILURE: a task failed, and the submitter wanted that to be the end; WRONG: the list
            cannot be worked off; "": somebody wanted it. The record of the list says it, too.
    """

    cause: str = ""
    outcome: str = outcomes.CANCELLED
    now: bool = False
    reason: str = ""

    @property
    def code(self) -> str:
        """Return the outcome as it stands in names."""
        failed = self.outcome == outcomes.FAILED
        return outcomes.code(outcomes.FAILED, 1) if failed else outcomes.CANCELLED


def publish(shelf: Shelf, halt: Halt) -> None:
    """Let a list stop. Raises FileNotFoundError if there is no such list any more."""
    data = (json.dumps(halt._asdict()) + "\n").encode()
    files.publish(shelf.project.staging(), shelf.place(HALT), data)


def read(shelf: Shelf) -> Halt:
    """Return why a list was stopped; without a word of anybody: that it was."""
    try:
        fields = json.loads(files.read(shelf.place(HALT)))
        reason = str(fields.get("reason", ""))  # an older fjd did not say it
        return Halt(str(fields["cause"]), str(fields["outcome"]), fields["now"] is True, reason)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return Halt()
