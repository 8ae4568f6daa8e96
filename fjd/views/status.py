"""What ``fjd status`` says: how many jobs are where, who works, what failed last.

A snapshot is made of listings alone; no record is read, whatever lies in done/. While the
directories are read jobs move on, so the numbers may be off by those that moved.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Optional

from fjd.spool import filing, lookup, notice, outcomes, presence
from fjd.spool.lookup import Found
from fjd.spool.names import STATUS
from fjd.spool.project import Project
from fjd.system import files
from fjd.views import lists
from fjd.views.lists import Listed

SCHEMA = "fjd.status/1"
DONE = "done"
COUNTS = (
    lookup.QUEUED,
    lookup.ASSIGNED,
    lookup.RUNNING,
    DONE,
    outcomes.FAILED,
    outcomes.KILLED,
    outcomes.TIMEOUT,
    outcomes.LOST,
    outcomes.CANCELLED,
    lookup.REJECTED,
)
_LAST = 10  # failures and rejected jobs that are shown


class Rejected(NamedTuple):
    """A job file that was no job, and why."""

    found: Found
    reason: str


class Snapshot(NamedTuple):
    """All that is shown. ``counts`` has every word of COUNTS; ``failures`` are newest first."""

    project: Project
    counts: dict[str, int]
    workers: list[presence.Worker]
    dispatcher: Optional[presence.Dispatcher]
    running: list[Found]
    failures: list[Found]
    rejected: list[Rejected]
    benched: dict[str, float]
    lists: Sequence[Listed] = ()


def collect(project: Project) -> Snapshot:
    """Look at everything once."""
    live = {found.key or found.path: found for found in lookup.live(project)}
    failed = list(lookup.failed(project))
    done = _count_done(project, live)
    for found in failed:
        live.pop(found.key, None)  # it moved while we looked
    counts = dict.fromkeys(COUNTS, 0)
    counts.update(Counter(map(_word, live.values())))
    counts[DONE] += done
    for found in failed:
        counts[found.outcome] += 1
    listed = lists.collect(project)
    counts[lookup.RUNNING] += len(listed)
    rejected = list(lookup.rejected(project))
    counts[lookup.REJECTED] = len(rejected)
    unfiled = [found for found in live.values() if found.code and found.code != outcomes.OK]
    return Snapshot(
        project,
        counts,
        presence.workers(project),
        presence.dispatcher(project),
        sorted((f for f in live.values() if f.state == lookup.RUNNING), key=lambda f: f.job),
        heapq.nlargest(_LAST, [*failed, *unfiled], key=_serial),
        [Rejected(found, _reason(project, found)) for found in rejected[:_LAST]],
        notice.benched(project),
        listed,
    )


def _word(found: Found) -> str:
    """Return under which word a job is counted."""
    if found.code:
        return DONE if found.code == outcomes.OK else found.outcome
    return found.state


def _serial(found: Found) -> int:
    return found.token.serial if found.token else 0


def _count_done(project: Project, live: dict[str, Found]) -> int:
    """Count what lies in done/, by name and unparsed; what had been seen elsewhere moved."""
    count = 0
    for shard in files.listing(project.done) or ():
        for name in files.listing(f"{project.done}/{shard}") or ():
            count += not name.endswith(STATUS)
            live.pop(name.partition(",")[0], None)
    return count


def _reason(project: Project, found: Found) -> str:
    return filing.reason(project, found.token) if found.token else ""


def how(code: str) -> str:
    """Return an outcome in words."""
    outcome = outcomes.outcome(code)
    if outcome == outcomes.FAILED and code.startswith("x"):
        return f"exit code {code[1:]}"
    if outcome == outcomes.KILLED:
        return f"killed by signal {code[3:]}"
    return {
        outcomes.TIMEOUT: "ran into its timeout",
        outcomes.LOST: "lost with its worker",
    }.get(outcome, outcome)


def as_json(seen: Snapshot) -> dict[str, Any]:
    """Return the snapshot as the fields of one JSON object (they may grow, never change)."""
    idle, busy, dead = tally(seen.workers)
    return {
        "project": seen.project.name,
        "directory": seen.project.root,
        "jobs": seen.counts,
        "workers": {"idle": idle, "busy": busy, "dead": dead, "hosts": by_host(seen.workers)},
        "dispatcher": seen.dispatcher._asdict() if seen.dispatcher else None,
        "benched": seen.benched,
        "lists": [listed._asdict() for listed in seen.lists],
        "running": [job_fields(found) for found in seen.running],
        "failures": [
            {
                **job_fields(found),
                "outcome": found.outcome,
                "code": found.code,
                "text": how(found.code),
            }
            for found in seen.failures
        ],
        "rejected": [
            {"job": item.found.job, "key": item.found.key, "reason": item.reason}
            for item in seen.rejected
        ],
    }


def job_fields(found: Found) -> dict[str, Any]:
    """Return which job it is, which attempt, and who has or had it."""
    return {
        "job": found.job,
        "key": found.key,
        "attempt": found.token.attempt if found.token else 1,
        "worker": found.worker,
        "host": presence.host_of(found.worker),
    }


def tally(workers: Iterable[presence.Worker]) -> tuple[int, int, int]:
    """Return how many are idle, busy and dead."""
    idle = busy = dead = 0
    for worker in workers:
        if worker.dead:
            dead += 1
        elif worker.busy:
            busy += 1
        else:
            idle += 1
    return idle, busy, dead


def by_host(workers: Iterable[presence.Worker]) -> dict[str, dict[str, int]]:
    """Return the same for each host."""
    crews: dict[str, list[presence.Worker]] = {}
    for worker in workers:
        crews.setdefault(worker.host, []).append(worker)
    return {
        host: dict(zip(("idle", "busy", "dead"), tally(crew)))
        for host, crew in sorted(crews.items())
    }
