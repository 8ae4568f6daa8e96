"""The last words of a run: what it says at its end, and its exit code."""

from __future__ import annotations

import shlex
from typing import Callable, Optional

from fjd.batch.ending import Counts, End
from fjd.batch.prefix import Prefix
from fjd.batch.serving import How
from fjd.errors import FjdError
from fjd.spool import outcomes
from fjd.spool.lists import halt
from fjd.talk import INTERRUPTED

EMPTY = "No tasks to run."
SOME_FAILED = "Some tasks failed with non-zero exit codes"
STOPPED, NO_WORKERS, WRONG = 1, 4, 6


def judge(
    how: How,
    end: Optional[End],
    counts: Counts,
    trouble: Optional[FjdError],
    prefix: Prefix,
    source: str,
    strict: bool,
    say: Callable[[str], None],
) -> int:
    """Say how a run ended and return its exit code.

    Args:
        trouble: why tasks stopped coming; None if they did not.
        source: as the user said it; "": a program.
        strict: tasks that failed make the run fail.
    """
    again = _how_to_go_on(prefix, source)
    if how is How.INTERRUPTED:
        say(f"stopped after {counts.tasks} {'task' if counts.tasks == 1 else 'tasks'}; {again}")
        return INTERRUPTED
    if how is How.NOBODY:
        say(
            f"no engine is left, and there are tasks to run; {again}; with -S it waits for hosts,"
            f" which are added by: {shlex.quote(prefix.script)} -s host:4"
        )
        return NO_WORKERS
    if trouble is not None:
        say(f"{trouble}; {again}")
        return trouble.exit_code
    if end is None or end.outcome == outcomes.CANCELLED:
        say(f"the list was removed or cancelled before its end; {again}")
        return STOPPED
    if end.reason == halt.FAILURE:
        failed_too = " and -R, which runs again what failed" if source else ""
        say(f"stopped: {end.cause}; {again}{failed_too}")
        return STOPPED
    if end.reason:
        say(f"stopped: {end.cause}; {again}")
        return WRONG
    if not counts.tasks:
        say(EMPTY)
    if not (counts.failed or counts.per_engine_failed):
        return 0
    status = shlex.quote(prefix.status)
    hint = f"the rows of what failed begin with R in {status}"
    if source and counts.failed:
        hint += f"; to run it again, type the same command with -R -r {status}"
    say(f"{SOME_FAILED}: {_failures(counts)}; {hint}" if strict else hint)
    return STOPPED if strict else 0


def _how_to_go_on(prefix: Prefix, source: str) -> str:
    """Say what to type next; tasks of a program have no numbers to go by."""
    status = shlex.quote(prefix.status)
    if not source:
        return f"what was done stands in {status}"
    if source == "-":
        return f"to go on, give the same tasks to the same command with -r {status}"
    return f"to go on, type the same command with -r {status}"


def _failures(counts: Counts) -> str:
    """Say how many tasks failed; commands of engines are not among them."""
    tasks = f"{counts.failed} of {counts.tasks}"
    engines = counts.per_engine_failed
    return f"{tasks}, and {engines} of PERENGINE" if engines else tasks
