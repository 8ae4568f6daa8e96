"""Attempts: what one attempt printed and how it came out, also while it still runs.

A worker runs one task at a time, so what it appends to its output files from the start of an
attempt on belongs to that attempt until the record of its end says how far. That record is written
before the next task starts: output that was read *before* a look at the records that showed no
end is the attempt's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Optional

from fjd.spool import lookup, records
from fjd.spool.lookup import Found
from fjd.spool.names import Token
from fjd.spool.project import Project
from fjd.spool.records import Record
from fjd.system import files

STREAMS = ("out", "err")
REMOVED = "removed"  # the state of a job whose file the user has removed

_CHUNK = 1 << 20


class Tail:
    """One writer's records about one job, each handed out once, as they come."""

    def __init__(self, project: Project, writer: str, key: str) -> None:
        self._path = project.record_file(writer)
        self._needle = json.dumps(key, ensure_ascii=False).encode("utf-8", "surrogateescape")
        self._offset = 0

    def new(self) -> list[Record]:
        """Return what has come since the last call."""
        try:
            # Opened anew each time: that is when a network file system looks again.
            file = open(self._path, "rb")  # noqa: SIM115  closed by the with below
        except FileNotFoundError:
            return []
        found = []
        with file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                if self._needle in line:
                    found += _parsed(line)
        return found


def _parsed(line: bytes) -> list[Record]:
    try:
        record = json.loads(line.decode("utf-8", "surrogateescape"))
    except ValueError:
        return []
    return [record] if isinstance(record, dict) else []


class Attempt:
    """One attempt at one job.

    Attributes:
        start, end: its records, None as long as there are none.
    """

    def __init__(self, project: Project, key: str, number: int, worker: str) -> None:
        self.project, self.key, self.number, self.worker = project, key, number, worker
        self.start: Optional[Record] = None
        self.end: Optional[Record] = None
        self._tail = Tail(project, worker, key) if worker else None
        self._read: dict[str, int] = {}

    def refresh(self) -> bool:
        """Look at the worker's records; True once the attempt has ended."""
        if self._tail and self.end is None:
            for record in self._tail.new():
                self._take(record)
        return self.end is not None

    def search(self) -> bool:
        """Look at everybody's records: whoever buried the worker wrote the end; True if any."""
        for writer in records.writers(self.project):
            for record in Tail(self.project, writer, self.key).new():
                self._take(record)
        return self.start is not None or self.end is not None

    def _take(self, record: Record) -> None:
        if (record.get("key"), record.get("attempt")) != (self.key, self.number):
            return
        if record.get("event") == "start":
            self.start = record
        elif record.get("event") == "end":
            self.end = record
        else:
            return
        self.worker = self.worker or str(record.get("worker"))

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Yield what it printed and was not yet yielded, as (stream, piece), both to the end."""
        for stream in STREAMS:
            while True:
                data = self._piece(stream)
                if not data:
                    break
                yield stream, data

    def _piece(self, stream: str) -> bytes:
        begin, _ = self._span(stream)
        if begin is None:
            return b""
        at = self._read.get(stream, begin)
        where = {"worker": self.worker, stream: [at, self._room(stream, at)]}
        data = records.output(self.project, where, stream)
        self.refresh()  # after the reading: the end may have come, and the next task's output
        data = data[: self._room(stream, at)]
        self._read[stream] = at + len(data)
        return data

    def _room(self, stream: str, at: int) -> int:
        _, limit = self._span(stream)
        return _CHUNK if limit is None else max(0, min(_CHUNK, limit - at))

    def _span(self, stream: str) -> tuple[Optional[int], Optional[int]]:
        """Return where the output begins and ends; a lost worker's ends with its file."""
        for record, ended in ((self.end, True), (self.start, False)):
            span = record.get(stream) if record else None
            if isinstance(span, list) and len(span) == 2:
                return span[0], span[0] + span[1] if ended else None
        return None, None


def logs(project: Project) -> list[str]:
    """Return which workers have a log of their own."""
    suffix = ".log"
    names = files.listing(project.screenlogs) or ()
    return sorted(name[: -len(suffix)] for name in names if name.endswith(suffix))


def removed(project: Project, text: str) -> list[Found]:
    """Return the jobs of that name or key that only records tell of, the newest last."""
    wanted = lookup.Wanted(text)
    found: dict[str, Found] = {}
    for writer in records.writers(project):
        for record in records.of_worker(project, writer):
            number = record.get("attempt")
            if not isinstance(number, int):
                continue
            token = Token(record["key"], 0, number)
            job = Found(REMOVED, token.job, token, str(record.get("worker", "")), "", "")
            old = found.get(token.key)
            if wanted.is_exactly(job) and (old is None or (old.token or token) <= token):
                found.pop(token.key, None)
                found[token.key] = job
    return list(found.values())
