"""A snapshot as text: lines for a pipe, and a page of at most so many columns for a person."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Optional

from fjd.spool import lookup, presence
from fjd.spool.lookup import Found
from fjd.views import hints, status, terminal
from fjd.views.lists import Listed

_LIFE = {True: "alive", False: "dead", None: "silent"}
_RUNNING = 20  # running jobs that a terminal is shown


def for_pipe(seen: status.Snapshot) -> list[str]:
    """Return the snapshot as lines ``kind<TAB>value...``; nothing is cut."""
    line = terminal.tabbed
    lines = [line("project", seen.project.name, seen.project.root)]
    lines += [line(word, seen.counts[word]) for word in status.COUNTS]
    for host, crew in status.by_host(seen.workers).items():
        lines.append(line("workers", host, *(f"{n} {word}" for word, n in crew.items())))
    if seen.dispatcher:
        who = seen.dispatcher
        lines.append(line("dispatcher", who.host, who.pid, _LIFE[who.alive]))
    else:
        lines.append(line("dispatcher", "none"))
    for host, until in seen.benched.items():
        lines.append(line("benched", host, _clock(until, "%FT%T%z")))
    for listed in seen.lists:
        tasks = "?" if listed.tasks is None else listed.tasks
        counts = (listed.finished, tasks, listed.failed, listed.running)
        lines.append(line("list", listed.job, listed.key, *counts))
    for found in seen.running:
        job = status.job_fields(found)
        lines.append(line("job", "running", *job.values()))
    for found in seen.failures:
        lines.append(line("job", "failed", *status.job_fields(found).values(), found.code))
    for item in seen.rejected:
        lines.append(line("job", "rejected", item.found.job, item.found.key, item.reason))
    return lines


def for_terminal(seen: status.Snapshot, room: int) -> list[str]:
    """Return the snapshot as lines of at most ``room`` columns, for a person."""
    lines = [f'Project "{seen.project.name}" in {seen.project.root}', ""]
    lines += _wrapped("jobs", [f"{n} {w}" for w, n in seen.counts.items() if n] or ["none"], room)
    lines += _wrapped("workers", _crew_words(seen.workers), room)
    lines.append(f"{'dispatcher':<11} {_dispatcher_words(seen.dispatcher)}")
    lines += _bench_lines(seen.benched)
    lines += _list_table(seen.lists, room)
    lines += _running_table(seen.running, room)
    lines += _failure_table(seen.failures, room)
    if seen.rejected:
        rows = [("rejected", "reason"), *((r.found.job, r.reason) for r in seen.rejected)]
        lines += ["", *terminal.table(rows, room)]
    lines = [terminal.fit(line, room) for line in lines]
    return [*lines, "", *next_steps(seen)]


def _wrapped(head: str, words: list[str], room: int) -> list[str]:
    lines = [f"{head:<11} {words[0]}"]
    for word in words[1:]:
        if len(lines[-1]) + len(word) + 3 > room:
            lines.append(" " * 12 + word)
        else:
            lines[-1] += f", {word}"
    return lines


def _crew_words(workers: list[presence.Worker]) -> list[str]:
    if not workers:
        return ["none"]
    words = []
    for host, crew in status.by_host(workers).items():
        parts = [f"{count} {word}" for word, count in crew.items() if count]
        words.append(f"{host}: {' + '.join(parts)}")
    return words


def _dispatcher_words(who: Optional[presence.Dispatcher]) -> str:
    if who is None:
        return "none"
    if who.alive is None:
        return f"on {who.host}, pid {who.pid}: silent for {who.silent or 0:.0f} s"
    return f"{'runs' if who.alive else 'has died'} on {who.host}, pid {who.pid}"


def _clock(when: float, form: str) -> str:
    return time.strftime(form, time.localtime(when))


def _bench_lines(benched: dict[str, float]) -> list[str]:
    """Tasks failed there at once and passed elsewhere: the host's fault, and it gets no more."""
    return [
        f"{'benched':<11} {terminal.one_line(host)}: gets no tasks until {_clock(until, '%T')}"
        for host, until in benched.items()
    ]


def _list_table(lists: Sequence[Listed], room: int) -> list[str]:
    if not lists:
        return []
    rows = [("list", "finished", "failed", "running")]
    for item in lists:
        tasks = "?" if item.tasks is None else str(item.tasks)
        share = f"{item.finished} of {tasks}"
        rows.append((item.job, share, str(item.failed), str(item.running)))
    return ["", *terminal.table(rows, room)]


def _running_table(running: list[Found], room: int) -> list[str]:
    if not running:
        return []
    rows = [("running", "attempt", "worker")]
    rows += [(f.job, str(f.token.attempt if f.token else 1), f.worker) for f in running[:_RUNNING]]
    more = len(running) - _RUNNING
    return ["", *terminal.table(rows, room), *([f"... and {more} more"] if more > 0 else [])]


def _failure_table(failures: list[Found], room: int) -> list[str]:
    if not failures:
        return []
    rows = [("last failures", "attempt", "how it ended", "worker")]
    for found in failures:
        attempt = str(found.token.attempt if found.token else 1)
        rows.append((found.job, attempt, status.how(found.code), found.worker))
    return ["", *terminal.table(rows, room)]


def next_steps(seen: status.Snapshot) -> list[str]:
    """Return what to type next; whole, for a command that is cut is none."""
    project, counts = seen.project, seen.counts
    waiting = counts[lookup.QUEUED] + counts[lookup.ASSIGNED]
    steps = []
    if waiting:
        steps.append(hints.workers_line(project, seen.workers))
    if waiting or any(found.state == lookup.ENDED for found in seen.failures):
        steps.append(hints.dispatcher_line(project, seen.dispatcher))
    if seen.failures:
        last = seen.failures[0]
        steps.append(f"see what one printed: {hints.log_of(project, last.job, last.key)}")
        steps.append(f"run what failed again: {hints.typed(project, 'fjd retry')}")
    if seen.rejected:
        again = hints.typed(project, "fjd retry JOB")
        steps.append(f"mend a rejected job in {project.rejected}, then: {again}")
    if not any(counts.values()):
        steps.append(f"submit jobs with: {hints.typed(project, 'fjd submit FILE...')}")
    return [terminal.one_line(step[:1].upper() + step[1:]) for step in steps if step]
