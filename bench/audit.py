"""Reads a spool that nobody writes to any more and says what is wrong with it.

It looks at files alone, and shares with the product no more than how the names of pieces count.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

# Written down once more, so that a mistake in the product's own grammar is not repeated here.
_KEY = r"(?P<job>[A-Za-z0-9._+=@:%~-]+)\.[a-z2-7]{12}"
_TOKEN = rf"(?P<key>{_KEY}),s\d+,a(?P<a>[1-9]\d*)(?:,c(?P<c>[1-9]\d*))?(?:,f(?P<f>[1-9]\d*))?"
_WORKER = r"[A-Za-z0-9_-]+-\d+-[0-9a-f]{8}"
_BAD = r"x\d+|sig\d+|timeout|lost|cancelled"
TOKENS = {
    "jobqueue": r"(?P<job>[^,]+)|" + _TOKEN.replace("job>", "job2>"),
    "requeue": rf"{_TOKEN}(,r[1-9]\d*)?",
    f"jobpods/{_WORKER}": rf"{_TOKEN}(,run|,(dead|gone)(,lost)?)?",
    "results": rf"{_TOKEN},(?P<worker>{_WORKER}),(?P<code>ok|{_BAD})",
    r"done/\d{3}": rf"{_TOKEN},(?P<worker>{_WORKER}),(?P<code>ok)",
    r"failed/\d{3}": rf"{_TOKEN},(?P<worker>{_WORKER}),(?P<code>{_BAD})",
    "rejected": _TOKEN,
}
OTHERS = {
    "": "README|VERSION",
    "rejected": rf"{_TOKEN}\.why",
    r"results|(done|failed)/\d{3}": rf"{_TOKEN},{_WORKER},(ok|{_BAD})\.status\.txt",
    "workerqueue|workers": rf"{_WORKER},\d+",
    "dispatcher": r"e\d+,[0-9a-f]{8},\d+",
    "screenlogs|screenrcs": rf"{_WORKER}\.(log|rc)",
    "records": rf"({_WORKER}|dispatcher-[0-9a-f]{{8}})\.jsonl",
    "output": rf"{_WORKER}\.(out|err)",
    r"tmp/[A-Za-z0-9_-]+": r"\d+\.[0-9a-f]{8}\.\d+(\.list)?",
    f"running/{_WORKER}": ".*",
}
AT_REST = (
    "jobqueue", "requeue", "jobpods", "lists", "results", "workerqueue", "workers", "dispatcher"
)  # fmt: skip


class Attempt(NamedTuple):
    """One try at a task."""

    key: str
    task: int
    attempt: int


class Findings(NamedTuple):
    """What an audit found.

    Attributes:
        problems: what must not be, one sentence each.
        jobs: how many were submitted; ``ended``: how many of them are filed or rejected.
        tasks: those of all jobs together.
        lost: jobs without a token, and tasks of lists that count nowhere.
        twice: jobs with several tokens or records that count, and tasks that count twice.
        attempts: how many were spent; ``losses``: those that went down with their worker.
        late: attempts that ended after somebody had given up on them.
        broken: all attempts that were lost or broken off.
    """

    problems: list[str]
    jobs: int
    ended: int
    tasks: int
    lost: int
    twice: int
    attempts: int
    losses: int
    late: int
    broken: Collection[Attempt]


class Audit:
    """Reads a spool that nobody writes to any more and says what is wrong with it.

    Args:
        root: the project's directory.
        jobs: the names of all jobs that were reported as submitted, each of them used once.
        maybe: names of jobs that may have been submitted.
        executed: ``key attempt`` for every start of a job, and ``key task attempt worker`` for one
            of a list's task, as the tasks themselves have noted.
        lists: which of the jobs are lists, and how many tasks they have.
        witness: where the progress files of the lists are kept, as ``<key>.<anything>``.
        special: which numbers of lists are a "barrier", and which tasks end as "failed" in the end.
    """

    def __init__(
        self,
        root: str,
        jobs: Collection[str],
        maybe: Collection[str] = (),
        executed: Optional[Sequence[str]] = None,
        lists: Optional[Mapping[str, int]] = None,
        witness: str = "",
        special: Optional[Mapping[int, str]] = None,
    ) -> None:
        self.root, self.jobs, self.maybe, self.executed = root, jobs, maybe, executed
        self.lists, self.witness, self.special = lists or {}, witness, special or {}
        self.starts = Counter(executed or ())
        self.problems: list[str] = []
        self.places: dict[str, list[tuple[str, dict[str, Optional[str]]]]] = {}
        self.records: dict[str, list[dict[str, Any]]] = {}
        self.late = 0

    def run(self) -> Findings:
        """Return what there is to be said."""
        self._walk()
        self._read_records()
        lost = [job for job in self.jobs if job not in self.places]
        self.problems += [f"{job} has no token" for job in lost]
        strange = self.places.keys() - set(self.jobs) - set(self.maybe)
        self.problems += [f"{job} was never submitted" for job in strange]
        gone, twice = len(lost), sum(map(self._check, self.places))
        for name in self.lists.keys() & self.places.keys():
            missing, again = self._check_list(name)
            gone, twice = gone + missing, twice + again
        self._check_executions()
        ended = sum(_is_end(place) for found in self.places.values() for place, _ in found)
        tasks = len(self.jobs) - len(self.lists) + sum(self.lists.values())
        ends = [r for found in self.records.values() for r in found if r["task"] is not None]
        losses = {_attempt(r) for r in ends if r["outcome"] == "lost"}
        spent = len({_attempt(r) for r in ends})
        return Findings(
            self.problems, len(self.jobs), ended, tasks, gone, twice, spent, len(losses),
            self.late, self._broken(),
        )  # fmt: skip

    def hits(self) -> tuple[Collection[Attempt], int]:
        """Return which attempts were broken off and how many were late, also while all are busy."""
        self._read_records()
        return self._broken(), self.late

    def _broken(self) -> Collection[Attempt]:
        ends = [r for found in self.records.values() for r in found if r["task"] is not None]
        return {_attempt(r) for r in ends if r["outcome"] == "lost" or r.get("returned")}

    def _walk(self) -> None:
        for directory, directories, files in os.walk(self.root):
            place = os.path.relpath(directory, self.root).replace(".", "", 1)
            if place.split("/")[0] in AT_REST and (files or directories):
                self.problems.append(f"{place}/ holds {sorted(files + directories)}")
            for name in files:
                self._sort(place, name)

    def _sort(self, place: str, name: str) -> None:
        for where, grammar in TOKENS.items():
            found = re.fullmatch(grammar, name) if re.fullmatch(where, place) else None
            if found:
                fields = found.groupdict()
                job = fields["job"] or fields.get("job2") or name
                self.places.setdefault(job, []).append((place, fields))
                if os.path.getsize(f"{self.root}/{place}/{name}") == 0:
                    self.problems.append(f"{place}/{name} is empty")
                return
        for where, grammar in OTHERS.items():
            if re.fullmatch(where, place) and re.fullmatch(grammar, name):
                if name.endswith(".why") and not os.path.exists(f"{self.root}/{place}/{name[:-4]}"):
                    self.problems.append(f"{place}/{name} is a reason without a job")
                return
        self.problems.append(f"nobody knows {place}/{name}")

    def _read_records(self) -> None:
        for path in sorted(Path(self.root, "records").glob("*.jsonl")):
            for line in path.read_bytes().splitlines(keepends=True):
                try:
                    record = json.loads(line)
                except ValueError:
                    self.problems.append(f"{path.name} has a line that is no record: {line!r}")
                    continue
                if not line.endswith(b"\n"):
                    self.problems.append(f"{path.name} ends within a line")
                if record["event"] == "end":
                    self.records.setdefault(record["key"], []).append(record)
                self.late += record["event"] == "late"

    def _check(self, job: str) -> bool:
        """Look at one job; True if it counts more than once."""
        places = self.places[job]
        if len(places) != 1:
            self.problems.append(f"{job} has {len(places)} tokens: {[p for p, _ in places]}")
            return True
        place, fields = places[0]
        if not place.startswith(("done/", "failed/")):
            if place != "rejected":
                self.problems.append(f"{job} has not ended: it lies in {place}")
            return False
        key, attempt, code = fields["key"] or "", int(fields["a"] or 0), fields["code"]
        ends = [r for r in self.records.get(key, []) if (r["task"] is None) == (job in self.lists)]
        counted = [r for r in ends if (r["attempt"], r["worker"]) == (attempt, fields["worker"])]
        if len(counted) != 1:
            self.problems.append(f"{job} has {len(counted)} records that count: {counted}")
        elif _code(counted[0]) != code:
            self.problems.append(f"{job} is filed as {code}, and its record is {counted[0]}")
        if {r["attempt"] for r in ends} != set(range(1, attempt + 1)):
            numbers = sorted(r["attempt"] for r in ends)
            self.problems.append(f"{job} had {attempt} attempts, and the records tell of {numbers}")
        if attempt <= int(fields["c"] or 0) + int(fields["f"] or 0):
            self.problems.append(f"{job} has more crashes and failures than attempts: {fields}")
        started = self.starts[f"{key} {attempt}"] if self.executed is not None else 1
        if started != 1 and code != "lost" and job not in self.lists:
            self.problems.append(f"{job}: its attempt {attempt} counts, and was started {started}x")
        return len(counted) > 1

    def _check_list(self, name: str) -> tuple[int, int]:
        """Look at the tasks of a list; return how many are lost, and how many count twice."""
        key = self.places[name][0][1]["key"] or ""
        counted = what_counts(self.witness, key)
        missing = set(range(self.lists[name])) - counted.keys()
        self.problems += [f"task {task} of {name} counts nowhere" for task in sorted(missing)]
        beyond = counted.keys() - set(range(self.lists[name]))
        self.problems += [f"{name} has no task {task}" for task in sorted(beyond)]
        twice = {task for task, ways in counted.items() if len(ways) > 1}
        for task in sorted(twice):
            self.problems.append(f"task {task} of {name} counts twice: {sorted(counted[task])}")
        ends: dict[tuple[int, int, str], list[dict[str, Any]]] = {}
        for record in self.records.get(key, ()):
            if record["task"] is not None:
                which = (record["task"], record["attempt"], record["worker"])
                ends.setdefault(which, []).append(record)
        for task in counted.keys() - twice:
            ((worker, attempt),) = counted[task]
            found = ends.get((task, attempt, worker), [])
            end = self.special.get(task, "ok")
            if end != "barrier" or worker != "-":
                self._check_task(f"{key} {task} {attempt} {worker}", found, end)
        self._check_rows(name)
        return len(missing), len(twice)

    def _check_rows(self, name: str) -> None:
        """The status file beside an ended list has one row per task."""
        rows: Counter[int] = Counter()
        for path in Path(self.root).glob(f"*/*/{name}.*.status.txt"):
            rows.update(int(line.split(b"\t", 2)[1]) for line in path.open("rb"))
        if rows != Counter(range(self.lists[name])):
            few = [task for task in range(self.lists[name]) if rows[task] != 1][:10]
            self.problems.append(f"the status file of {name}: {sum(rows.values())} rows, {few}")

    def _check_task(self, what: str, found: Sequence[Mapping[str, Any]], end: str) -> None:
        """Look at the attempt of a list's task that counts, and should have come out so."""
        found = [record for record in found if not record.get("returned")]
        if found and all(record["outcome"] == "lost" for record in found):
            return  # (Two who judge say so twice.)
        # Who judged may have died before it was decided; the worker's own record is what counts.
        found = [record for record in found if record["outcome"] != "lost"]
        if [record["outcome"] for record in found] != [end]:
            self.problems.append(f"attempt {what} counts, and its records are {found}")
        elif self.executed is not None and self.starts[what] != 1:
            self.problems.append(f"attempt {what} counts, and was started {self.starts[what]}x")

    def _check_executions(self) -> None:
        for what, count in self.starts.items():
            if count > 1:
                self.problems.append(f"attempt {what} was started {count} times")


def _is_end(place: str) -> bool:
    return place.startswith(("done/", "failed/", "rejected"))


def _code(record: dict[str, Any]) -> str:
    kind = record["outcome"]
    number = {"failed": ("x", "exit"), "killed": ("sig", "signal")}.get(kind)
    return f"{number[0]}{record[number[1]]}" if number else str(kind)


def what_counts(witness: str, key: str) -> dict[int, set[tuple[str, int]]]:
    """Return the attempts that count at each task of a list, as (worker, attempt)."""
    found: dict[int, set[tuple[str, int]]] = {}
    for lo, hi, worker, extra, attempt in _folded(witness, key):
        for task in range(lo, hi):
            what = (worker, attempt + (extra if task == lo else 0))
            found.setdefault(task, set()).add(what)
    return found


def _attempt(record: dict[str, Any]) -> Attempt:
    return Attempt(record["key"], record["task"], record["attempt"])


def _folded(witness: str, key: str) -> Iterator[tuple[int, int, str, int, int]]:
    """Yield the ranges of a list that count: lo, hi, worker, extra attempts at lo, attempt."""
    for path in sorted(Path(witness).glob(f"{key}.*")):
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                lo, hi, worker, _, attempt, extra, _, _ = json.loads(line)
                yield lo, hi, worker, extra, attempt
