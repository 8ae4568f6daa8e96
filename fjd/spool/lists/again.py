"""Filed as failed -> open: what did not end well in a list is run once more.

What its status file says ended well is taken for done, as by a resume; what failed, was lost or
cancelled, or was never begun is run. The list gets a new key: its records of old are not those of
its tasks now. The directory comes first, without a token, and then the token into it: whoever
clears such a directory away meanwhile makes us begin again, and nothing is lost.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fjd.errors import UsageError
from fjd.spool.lists import statusfile, submission
from fjd.spool.lists.afterwards import STATUS
from fjd.spool.lists.covered import Covered
from fjd.spool.lists.names import Mark
from fjd.spool.lists.shelf import Shelf
from fjd.spool.lists.submission import STAGED
from fjd.spool.names import STATUS as BESIDE
from fjd.spool.names import Token, new_key
from fjd.spool.project import Project
from fjd.system import files


class Done(NamedTuple):
    """Consecutive tasks that ended well."""

    lo: int
    hi: int
    bad: int = 0


def again(project: Project, path: str, name: str) -> bool:
    """Run what failed of a list once more. False: somebody else moved it first.

    Raises:
        UsageError: nobody knows what failed.
    """
    status = path + BESIDE
    while True:
        shelf = Shelf(project, new_key(name))
        try:
            _prepare(project, shelf, status)
        except FileNotFoundError:
            there = files.listing(os.path.dirname(path), nudge=True) or ()
            if os.path.basename(status) in there:
                raise
            if os.path.basename(path) not in there:
                return False  # RACE: somebody else has moved it
            raise UsageError(
                "this list has its status file elsewhere",
                where=name,
                remedy="type: fjd-batch -r STATUSFILE -R TASKFILE",
            ) from None
        try:
            won = files.move(path, shelf.place(Mark(Token(shelf.key))))
        except FileNotFoundError:
            continue  # RACE: a dispatcher has found it without a token
        if won:
            files.remove(status)
        else:
            shutil.rmtree(shelf.path, ignore_errors=True)
        return won


def _prepare(project: Project, shelf: Shelf, status: str) -> None:
    staging = project.staging() + STAGED
    files.make_directory(staging)
    try:
        well = _carry_over(status, f"{staging}/{STATUS}")
        submission.write_done(staging, (Done(lo, hi) for lo, hi in well.ranges()))
        files.sync_directory(staging)
        files.move(staging, shelf.path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _carry_over(old: str, new: str) -> Covered:
    """Copy the rows of what ended well, as of tasks that are skipped; return which these are."""
    well = Covered()
    with open(old, "rb") as rows:
        files.write_rows(new, _skipped(rows, well))
    return well


def _skipped(rows: Iterable[bytes], well: Covered) -> Iterator[bytes]:
    for line in rows:
        found = statusfile.brief(line)
        good = found and found[0] in (" ", "S") and not found[2]
        if found and good and well.add(found[1], found[1] + 1):
            yield line[:3] + b"S" + line[4:]
