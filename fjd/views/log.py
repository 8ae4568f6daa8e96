"""What ``fjd log`` shows: what a job printed, what a worker says; also while they go on."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Callable, Optional

from fjd.errors import NothingToDo
from fjd.spool import attempts, crew, filing, lookup, outcomes, pods
from fjd.spool.attempts import Attempt
from fjd.spool.lookup import Found
from fjd.spool.project import Project
from fjd.views import hints, status, terminal

SCHEMA = "fjd.log/1"

_POLL = 0.2  # s between two looks at what grows
_SLOW = 5  # so many looks between two looks at who is there
_CHUNK = 1 << 20

Talk = Callable[[str], None]


class Printer:
    """Where the streams of a task go: each to ours of the same name, made harmless.

    Args:
        only: show this stream alone, on stdout ("" for both).
        raw: pass every byte on as it is.
    """

    def __init__(self, only: str = "", raw: bool = False) -> None:
        self._only, self._raw = only, raw
        self._files = {"out": sys.stdout, "err": sys.stdout if only == "err" else sys.stderr}
        self._cleaners: dict[str, terminal.Cleaner] = {}
        self._last = {"out": "\n", "err": "\n"}

    def show(self, stream: str, data: bytes) -> None:
        """Print one piece."""
        if self._only and stream != self._only:
            return
        file = self._files[stream]
        if self._raw:
            file.flush()
            file.buffer.write(data)
            file.buffer.flush()
            return
        if stream not in self._cleaners:
            self._cleaners[stream] = terminal.Cleaner()
            if stream == "err" and not self._only and self._is_seen():
                file.write("--- stderr ---\n")
        self._write(stream, self._cleaners[stream].feed(data))

    def _write(self, stream: str, text: str) -> None:
        if text:
            self._files[stream].write(text)
            self._files[stream].flush()
            self._last[stream] = text[-1]

    def _is_seen(self) -> bool:
        return sys.stdout.isatty() and sys.stderr.isatty()

    def finish(self) -> None:
        """Print what was held back; on a terminal, end the line."""
        for stream, cleaner in self._cleaners.items():
            self._write(stream, cleaner.feed(b"", final=True))
            if self._last[stream] != "\n" and self._files[stream].isatty():
                self._write(stream, "\n")


def pick(project: Project, text: str, talk: Talk) -> Found:
    """Return the newest job of that name; the others are talked about.

    Raises:
        NothingToDo: there is none.
    """
    found = lookup.select(lookup.everything(project), text) or attempts.removed(project, text)
    if not found:
        raise hints.no_such_job(project, text)
    if len(found) > 1:
        older = [other.key for other in found[-4:-1] if other.key]
        keys = f"; older ones: {', '.join(older)}" if older else ""
        talk(f"{len(found)} jobs are called {found[-1].job}; this is the newest{keys}")
    return found[-1]


def attempt_of(project: Project, found: Found, number: Optional[int]) -> Attempt:
    """Return the attempt that is asked for (the last one by default), with its records."""
    token = found.token
    last = token.attempt if token else 1
    number = number or last
    worker = found.worker if number == last else ""
    attempt = Attempt(project, found.key, number, worker)
    runs = found.state == lookup.RUNNING and number == last
    if found.key and not attempt.refresh() and not runs:
        attempt.search()
    return attempt


def show(project: Project, found: Found, attempt: Attempt, printer: Printer, talk: Talk) -> None:
    """Print what there is of one attempt now."""
    if found.state == lookup.REJECTED:
        print(terminal.safe(reason(project, found)))
        return
    for stream, data in attempt.read():
        printer.show(stream, data)
    printer.finish()
    if attempt.end:
        _say_end(found, attempt, talk)
    elif attempt.start is None:
        _say_nothing(project, found, attempt, talk)


def reason(project: Project, found: Found) -> str:
    """Return why a job was rejected."""
    text = filing.reason(project, found.token) if found.token else ""
    return text or "rejected; the reason is not known"


def _say_end(found: Found, attempt: Attempt, talk: Talk) -> None:
    record = attempt.end or {}
    outcome = str(record.get("outcome"))
    if outcome == outcomes.OK and not sys.stderr.isatty():
        return
    number = record.get("exit") if outcome == outcomes.FAILED else record.get("signal")
    how = record.get("cause") or status.how(outcomes.code(outcome, number or 0))
    seconds = record.get("seconds")
    after = f" after {seconds:.{1 if seconds > 1 else 3}f} s" if seconds is not None else ""
    talk(f"{found.job}: attempt {attempt.number} on {attempt.worker}: {how}{after}")


def _say_nothing(project: Project, found: Found, attempt: Attempt, talk: Talk) -> None:
    """Say why there is no output."""
    last = found.token.attempt if found.token else 1
    if found.state in (lookup.QUEUED, lookup.ASSIGNED, lookup.RUNNING) and attempt.number == last:
        more = ""
        if last > 1:
            earlier = hints.log_of(project, found.job, found.key)
            more = f"; the attempt before it: {earlier} --attempt {last - 1}"
        on = f" on {found.worker}" if found.worker else ""
        talk(f"{found.job} is {found.state}{on}, nothing printed yet{more}")
        return
    raise NothingToDo(f"there is no record of attempt {attempt.number} at {found.job}")


def as_json(project: Project, found: Found, attempt: Attempt) -> dict[str, Any]:
    """Return the same as the fields of one JSON object; bytes that are not UTF-8 as ``\\xff``."""
    data: dict[str, list[bytes]] = {"out": [], "err": []}
    for stream, piece in attempt.read():
        data[stream].append(piece)
    texts = {k: b"".join(v).decode("utf-8", "backslashreplace") for k, v in data.items()}
    return {
        "project": project.name,
        "job": found.job,
        "key": found.key,
        "state": found.state,
        "attempt": attempt.number,
        "worker": attempt.worker,
        "record": attempt.end or attempt.start,
        "reason": reason(project, found) if found.state == lookup.REJECTED else None,
        **texts,
    }


def follow(project: Project, found: Found, printer: Printer, talk: Talk) -> None:
    """Print what a job prints until it ends; one that waits is waited for."""
    waiting = ""
    while True:
        if found.state in (lookup.QUEUED, lookup.ASSIGNED):
            if found.state != waiting:
                talk(f"{found.job} is {found.state}, nothing printed yet; waiting")
                for line in hints.missing(project):
                    talk(line)
            waiting = found.state
            time.sleep(_POLL * _SLOW)
        elif found.state == lookup.RUNNING:
            if _follow_attempt(project, found, printer, talk):
                return
        else:
            show(project, found, attempt_of(project, found, None), printer, talk)
            return
        found = _again(project, found)


def _again(project: Project, found: Found) -> Found:
    """Return where the job is now."""
    for text in (found.key, found.job if found.state == lookup.QUEUED else ""):
        for places in (lookup.live, lookup.everything):
            now = lookup.select(places(project), text)
            if now:
                return now[-1]
    now = attempts.removed(project, found.key)
    if not now:
        raise NothingToDo(f"{found.job} was removed")
    return now[-1]


def _follow_attempt(project: Project, found: Found, printer: Printer, talk: Talk) -> bool:
    """Print until the attempt ends; False if it moved on without an end that its worker saw."""
    attempt = attempt_of(project, found, None)
    gone = False
    while True:
        for _ in range(_SLOW):
            ended = attempt.refresh()
            for stream, data in attempt.read():
                printer.show(stream, data)
            if ended:
                printer.finish()
                _say_end(found, attempt, talk)
                return True
            time.sleep(_POLL)
        if gone:
            talk(f"{found.job}: attempt {attempt.number} on {found.worker} was given up")
            return False
        held = pods.contents(project, found.worker, nudge=True) or ()
        gone = not any(item.accepted and item.token == found.token for item in held)


def worker_log(project: Project, text: str) -> tuple[str, str]:
    """Return (worker, path) of the log of the worker whose id begins so.

    Raises:
        NothingToDo: there is no log, or several.
    """
    logs = attempts.logs(project)
    near = [name for name in logs if name.startswith(text)]
    if text in logs:
        near = [text]
    if len(near) != 1:
        some = (near or logs)[:5]
        known = ", ".join(some) + (", ..." if len(near or logs) > len(some) else "") or "none"
        raise NothingToDo(
            f"{len(near) or 'no'} workers with a log begin with {text!r}",
            remedy=f"name one of: {known}",
        )
    return near[0], project.log_file(near[0])


def show_worker(project: Project, worker: str, path: str, printer: Printer, on: bool) -> None:
    """Print a worker's log; with ``on``, as it grows, until the worker has gone."""
    offset, absent = 0, 0
    while True:
        for _ in range(_SLOW):
            data = _read_at(path, offset)
            while data:
                absent = 0
                printer.show("out", data)
                offset += len(data)
                data = _read_at(path, offset)
            if not on or absent > 1:
                printer.finish()
                return
            time.sleep(_POLL)
        absent = 0 if worker in crew.sightings(project, nudge=True) else absent + 1


def _read_at(path: str, offset: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.pread(fd, _CHUNK, offset)
    finally:
        os.close(fd)
