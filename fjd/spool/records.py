"""Records: one line of JSON per attempt, one writer per file, whole lines only.

``records/<worker>.jsonl`` holds two kinds of lines. ``event: end`` is the record of an attempt:

    job key task attempt   what ran: file name, key, number of the task in the job, attempt
    worker host pid        where
    outcome exit signal    how it ended (outcomes.py); exit and signal are numbers or null
    cause                  what is known of the reason, a sentence without a full stop, or ""
    start end              wall clock, seconds since the epoch; ``seconds`` is the elapsed time by
                           a clock that never jumps
    cpu rss_kib            CPU seconds and peak memory of the task
    out err                [offset, length] in ``output/<worker>.out`` and ``.err``
    command                what was run

``event: start`` is written once an attempt has lasted a second, so that its output can be followed
while it runs; ``event: late`` says that the attempt's end came after somebody gave up on it, and
that it does not count. Which end counts is said by the name of the filed token, nowhere else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any, Optional

from fjd.spool.names import Token
from fjd.spool.project import Project
from fjd.system import files

Record = dict[str, Any]

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def attempt(token: Token, worker: str) -> Record:
    """Return what every line about an attempt says, ``end`` unless it is changed."""
    return {
        "event": "end",
        "job": token.job,
        "key": token.key,
        "task": 1,
        "attempt": token.attempt,
        "worker": worker,
    }


class Ledger:
    """The records of one writer."""

    def __init__(self, project: Project, writer: str) -> None:
        self._file = files.Appender(project.record_file(writer))

    def write(self, record: Record) -> None:
        """Add one record with one write; on a full disk nothing is added (DiskFull)."""
        line = _encode(record)
        self._file.append(line.encode("utf-8", "surrogateescape") + b"\n")

    def sync(self) -> None:
        """Make the records survive a power cut."""
        self._file.sync()

    def close(self) -> None:
        """Sync and close."""
        self._file.sync()
        self._file.close()


def lines(path: str) -> Iterator[Record]:
    """Yield the records of one file; a torn last line and what is no record are passed over."""
    try:
        file = open(path, "rb")  # noqa: SIM115  closed by the with below
    except (FileNotFoundError, IsADirectoryError):
        return  # nobody's records
    with file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                record = json.loads(line.decode("utf-8", "surrogateescape"))
            except ValueError:
                continue
            if isinstance(record, dict) and isinstance(record.get("key"), str):
                yield record


def of_worker(project: Project, writer: str) -> Iterator[Record]:
    """Yield one writer's records."""
    return lines(project.record_file(writer))


def find(
    project: Project, writer: str, key: str, attempt: int, event: str = "end"
) -> Optional[Record]:
    """Return the record of one attempt by one worker, or None."""
    for record in of_worker(project, writer):
        if (record["key"], record.get("attempt"), record.get("event")) == (key, attempt, event):
            return record
    return None


def writers(project: Project) -> list[str]:
    """Return who has written records."""
    suffix = ".jsonl"
    names = files.listing(project.records) or []
    return sorted(name[: -len(suffix)] for name in names if name.endswith(suffix))


def output(project: Project, record: Record, stream: str, limit: int = 0) -> bytes:
    """Return what an attempt wrote to ``out`` or ``err`` (the last ``limit`` bytes if given)."""
    span = record.get(stream)
    if not (isinstance(span, list) and len(span) == 2 and all(isinstance(n, int) for n in span)):
        return b""
    start, length = span
    if limit and length > limit:
        start, length = start + length - limit, limit
    try:
        fd = os.open(
            project.output_file(str(record.get("worker")), stream),
            os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC,
        )
    except FileNotFoundError:
        return b""
    try:
        return os.pread(fd, length, start)
    finally:
        os.close(fd)
