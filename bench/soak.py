"""Does anything get lost when everything is killed? ``python -m bench.soak --tasks N``.

Four workers and two dispatchers that contend for the lease work through short tasks while one of
them is killed or stopped for longer than its lease, every tenth of a second on average; whoever
died is started again. Half of them live under another host name, where only the heartbeat tells
who is alive. Afterwards the spool is audited, by its files alone.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import re
import signal
import socket
import sys
import time
import traceback
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

import fjd.worker.attempt
import fjd.worker.heart  # noqa: F401  loaded here, so that no fork has to
from bench.common import Bed, Failed, descendants, main
from fjd.scripts import fjd_dispatcher, fjd_worker

# -- the audit -------------------------------------------------------------------------------------

# Written down once more, so that a mistake in the product's own grammar is not repeated here.
_KEY = r"(?P<job>[A-Za-z0-9._+=@:%~-]+)\.[a-z2-7]{12}"
_TOKEN = rf"(?P<key>{_KEY}),s\d+,a(?P<a>[1-9]\d*)(?:,c(?P<c>[1-9]\d*))?(?:,f(?P<f>[1-9]\d*))?"
_WORKER = r"[A-Za-z0-9_-]+-\d+-[0-9a-f]{8}"
_BAD = r"x\d+|sig\d+|timeout|lost|cancelled"
TOKENS = {
    "jobqueue": r"(?P<job>[^,]+)|" + _TOKEN.replace("job>", "job2>"),
    "requeue": _TOKEN,
    f"jobpods/{_WORKER}": rf"{_TOKEN}(,run)?",
    "results": rf"{_TOKEN},(?P<worker>{_WORKER}),(?P<code>ok|{_BAD})",
    r"done/\d{3}": rf"{_TOKEN},(?P<worker>{_WORKER}),(?P<code>ok)",
    r"failed/\d{3}": rf"{_TOKEN},(?P<worker>{_WORKER}),(?P<code>{_BAD})",
    "rejected": _TOKEN,
}
OTHERS = {
    "": "README|VERSION",
    "rejected": rf"{_TOKEN}\.why",
    "workerqueue|workers": rf"{_WORKER},\d+",
    "dispatcher": r"e\d+,[0-9a-f]{8},\d+",
    "records": rf"({_WORKER}|dispatcher-[0-9a-f]{{8}})\.jsonl",
    "output": rf"{_WORKER}\.(out|err)",
    r"tmp/[A-Za-z0-9_-]+": r"\d+\.[0-9a-f]{8}\.\d+",
    f"running/{_WORKER}": ".*",
}
AT_REST = ("jobqueue", "requeue", "jobpods", "results", "workerqueue", "workers", "dispatcher")


class Findings(NamedTuple):
    """What an audit found.

    Attributes:
        problems: what must not be, one sentence each.
        jobs: how many were submitted; ``ended``: how many of them are filed or rejected.
        lost: jobs without a token; ``twice``: jobs with several, or with several records.
        attempts: how many were spent; ``losses``: those that went down with their worker.
        late: attempts that ended after somebody had given up on them.
    """

    problems: list[str]
    jobs: int
    ended: int
    lost: int
    twice: int
    attempts: int
    losses: int
    late: int


class Audit:
    """Reads a spool that nobody writes to any more and says what is wrong with it.

    Args:
        root: the project's directory.
        jobs: the names of all jobs that were reported as submitted, each of them used once.
        maybe: names of jobs that may have been submitted.
        executed: ``key attempt`` for every start of a task, as the tasks themselves have noted.
    """

    def __init__(
        self,
        root: str,
        jobs: Collection[str],
        maybe: Collection[str] = (),
        executed: Optional[Sequence[str]] = None,
    ) -> None:
        self.root, self.jobs, self.maybe, self.executed = root, jobs, maybe, executed
        self.starts = Counter(executed or ())
        self.problems: list[str] = []
        self.places: dict[str, list[tuple[str, dict[str, Optional[str]]]]] = {}
        self.records: dict[str, list[dict[str, Any]]] = {}
        self.late = self.losses = 0

    def run(self) -> Findings:
        """Return what there is to be said."""
        self._walk()
        self._read_records()
        lost = [job for job in self.jobs if job not in self.places]
        self.problems += [f"{job} has no token" for job in lost]
        strange = self.places.keys() - set(self.jobs) - set(self.maybe)
        self.problems += [f"{job} was never submitted" for job in strange]
        twice = sum(map(self._check, self.places))
        self._check_executions()
        ended = sum(_is_end(place) for found in self.places.values() for place, _ in found)
        attempts = sum(len({r["attempt"] for r in found}) for found in self.records.values())
        return Findings(
            self.problems, len(self.jobs), ended, len(lost), twice, attempts, self.losses, self.late
        )

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
                    self.losses += record["outcome"] == "lost"
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
        ends = self.records.get(key, [])
        counted = [r for r in ends if (r["attempt"], r["worker"]) == (attempt, fields["worker"])]
        if len(counted) != 1:
            self.problems.append(f"{job} has {len(counted)} records that count: {counted}")
        elif _code(counted[0]) != code and not (code == "lost" and counted[0].get("returned")):
            # (An attempt that ended with its worker's guardian is recorded as stopped.)
            self.problems.append(f"{job} is filed as {code}, and its record is {counted[0]}")
        if {r["attempt"] for r in ends} != set(range(1, attempt + 1)):
            numbers = sorted(r["attempt"] for r in ends)
            self.problems.append(f"{job} had {attempt} attempts, and the records tell of {numbers}")
        if attempt <= int(fields["c"] or 0) + int(fields["f"] or 0):
            self.problems.append(f"{job} has more crashes and failures than attempts: {fields}")
        started = self.starts[f"{key} {attempt}"] if self.executed is not None else 1
        if started != 1 and code != "lost":
            self.problems.append(f"{job}: its attempt {attempt} counts, and was started {started}x")
        return len(counted) > 1

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


# -- the storm -------------------------------------------------------------------------------------

LEASE, HEARTBEAT = 1.5, 0.3  # s
PAUSE = 0.1  # s between two faults, on average
WORKERS, DISPATCHERS = 4, 2
FEW = 10  # tasks left: more of them, or an end without faults
MOST_STOPPED = 2  # at once, or nobody is left to do anything
INSIDE, LATE = 50, 1  # attempts that must be hit, and late ones that must be seen
_OURS = (signal.SIGTERM, signal.SIGHUP)
_CLONE_NEWUTS = 0x04000000
_MAIN: dict[str, Callable[[Sequence[str]], int]] = {
    "worker": lambda words: fjd_worker.main(list(words)),
    "dispatcher": lambda words: fjd_dispatcher.main(words),
}


class Daemon:
    """A worker or a dispatcher that is kept alive.

    It is a fork of this process, which has loaded all of fjd: a storm in which each death costs the
    start of an interpreter would spend its time on that.
    """

    def __init__(self, bed: Bed, role: str, words: Sequence[str], host: str, log: str) -> None:
        self._bed, self.role, self._words, self._host, self._log = bed, role, words, host, log
        self.stopped: list[int] = []
        self.wake_at = 0.0
        self.start()

    def start(self) -> None:
        """Start it, or its successor."""
        sys.stdout.flush()
        self.alive, self.born = True, time.monotonic()
        signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)  # or the child may swallow one
        self.pid = os.fork()
        if not self.pid:
            os._exit(self._live())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)

    def _live(self) -> int:
        try:
            os.setsid()
            for number in _OURS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)
            for fd, path in enumerate((os.devnull, self._log, self._log)):
                os.dup2(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), fd)
            os.chdir(self._bed.cwd)
            if self._host:
                _rename_host(self._host)
            os.environ.clear()
            os.environ.update(self._bed.env)
            return _MAIN[self.role](self._words)
        except BaseException:  # noqa: BLE001  it is printed, and the process ends
            traceback.print_exc()
            return 1

    def pids(self) -> list[int]:
        """Return it and all that is below it: a worker's guardian, the worker, its task."""
        return [self.pid, *descendants(self.pid)]

    def send(self, number: int, pids: Sequence[int]) -> None:
        """Send a signal to some of them."""
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def stop(self, pids: Sequence[int], seconds: float) -> None:
        """SIGSTOP some of them for a while."""
        self.stopped, self.wake_at = list(pids), time.monotonic() + seconds
        self.send(signal.SIGSTOP, pids)

    def wake_up(self) -> None:
        """SIGCONT, the innermost first: a worker gets to say what it did before it is killed."""
        for pid in reversed(self.stopped):
            self.send(signal.SIGCONT, [pid])
            time.sleep(0.02)
        self.stopped = []

    def end(self) -> None:
        """Ask it to end."""
        self.wake_up()
        if self.alive:
            self.send(signal.SIGTERM, [self.pid])


class Storm:
    """One project with its daemons, and what is done to them.

    Attributes:
        kills, stops: how many there were.
    """

    def __init__(self, bed: Bed, seed: int) -> None:
        self.bed, self.dice = bed, random.Random(seed)
        self.project = bed.project(f"storm{seed}")
        self.notes = f"{bed.path}/notes{seed}"
        Path(self.notes).touch()
        bed.env["NOTES"] = self.notes
        self.jobs: list[str] = []
        self.kills = self.stops = 0
        self._daemons: list[Daemon] = []
        self._enough = False
        self._two_hosts = os.geteuid() == 0

    def _daemon(self, role: str, number: int, *words: str) -> Daemon:
        log = f"{self.bed.path}/{role}{number}.log"
        host = "other" if number % 2 and self._two_hosts else ""
        return Daemon(self.bed, role, ["--project", self.project.name, *words], host, log)

    def _start(self) -> None:
        for number in range(DISPATCHERS):
            self._daemons.append(self._daemon("dispatcher", number, "--keep-running"))
        self._daemons += [self._daemon("worker", number) for number in range(WORKERS)]

    def _reap(self) -> None:
        """See who has ended; what a killed guardian leaves behind comes to us as well."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for daemon in self._daemons:
                daemon.alive &= daemon.pid != pid

    def submit(self, number: int) -> None:
        """Queue so many jobs: a third of them fail at their first attempt."""
        base = f"{self.bed.path}/staging"
        os.makedirs(base, exist_ok=True)
        for at in range(len(self.jobs), len(self.jobs) + number):
            name = f"t{at:05d}"
            short = self.dice.random() < 0.8
            sleep = "" if short else f"; sleep {self.dice.uniform(0.02, 0.4):.2f}"
            end = 'test "$FJD_ATTEMPT" -gt 1' if at % 3 == 0 else "true"
            note = f'echo "$FJD_JOB $FJD_ATTEMPT" >>"$NOTES"{sleep}; {end}'
            with open(f"{base}/{name}", "w", encoding="ascii") as file:
                file.write(f"[control]\nexecutable: t() {{ {note}; }}; t\nretries: 2\n")
            os.utime(f"{base}/{name}", (1e9, 1e9))  # older than its rename
            os.rename(f"{base}/{name}", f"{self.project.jobqueue}/{name}")
            self.jobs.append(name)

    def left(self) -> int:
        """Return how many jobs are not yet filed."""
        ends = (self.project.done, self.project.failed)
        return len(self.jobs) - sum(len(names) for end in ends for _, _, names in os.walk(end))

    def enough(self) -> bool:
        """Tell whether so much was hit that it counts as a storm."""
        found = self.audit()  # its problems say nothing: everybody is alive
        self._enough = self._enough or (found.losses >= INSIDE and found.late >= LATE)
        return self._enough

    def blow(self, until: float, limit: float) -> None:
        """Kill and stop until enough was hit and little is left to do; then let it be done."""
        due = counted = time.monotonic()
        left, rough = len(self.jobs), True
        while left:
            now = time.monotonic()
            if now > limit:
                raise Failed(f"{left} of {len(self.jobs)} tasks are left when the time is over")
            self._keep_alive(now)
            if rough and now >= due:
                due += self.dice.expovariate(1 / PAUSE)
                self._strike()
            if now >= counted:
                counted = now + 0.3
                left = self.left()
                if rough and left < FEW:
                    rough = now < until or not self.enough()
                    if rough:
                        self.submit(2 * FEW)
            time.sleep(0.01)

    def _keep_alive(self, now: float) -> None:
        self._reap()
        for daemon in self._daemons:
            if daemon.stopped and now >= daemon.wake_at:
                daemon.wake_up()
            if not daemon.alive and now - daemon.born > 0.3:  # who found the lease taken waits
                daemon.start()

    def _strike(self) -> None:
        """Do something bad to somebody, mostly to a worker with a task."""
        role = "dispatcher" if self.dice.random() < 0.06 else "worker"
        able = [d for d in self._daemons if d.role == role and d.alive and not d.stopped]
        if not able:
            return
        daemon = self.dice.choice(able)
        pids = daemon.pids()
        stopped = sum(bool(d.stopped) for d in self._daemons)
        if stopped < MOST_STOPPED and self.dice.random() < 0.3:
            self.stops += 1
            some = pids if self.dice.random() < 0.7 else pids[:2]
            daemon.stop(some, LEASE + self.dice.uniform(0.3, 1.0))
            return
        self.kills += 1
        daemon.send(signal.SIGKILL, self.dice.choice((pids[:1], pids[:2], pids[1:2] or pids)))

    def calm(self) -> None:
        """Let everybody end, and one last dispatcher tidy up."""
        for daemon in self._daemons:
            daemon.end()
        self._wait(lambda: not any(daemon.alive for daemon in self._daemons))
        last = self._daemon("dispatcher", 0, "--keep-running")
        self._daemons.append(last)
        self._wait(lambda: not any(map(os.listdir, self._crew_places())))  # a lease later
        last.end()
        self._wait(lambda: not last.alive)

    def _crew_places(self) -> Sequence[str]:
        return (self.project.jobpods, self.project.workers, self.project.workerqueue)

    def _wait(self, over: Callable[[], bool]) -> None:
        until = time.monotonic() + 30.0
        while not over():
            if time.monotonic() > until:
                there = [str(daemon.pids()) for daemon in self._daemons if daemon.alive]
                entries = [os.listdir(place) for place in self._crew_places()]
                raise Failed(f"not over within 30 s: processes {there}, entries {entries}")
            time.sleep(0.01)
            self._reap()

    def audit(self) -> Findings:
        """Return what became of it all."""
        notes = Path(self.notes).read_text().splitlines()
        return Audit(self.project.root, self.jobs, (), notes).run()

    def run(self, tasks: int, seconds: float, limit: float) -> Findings:
        """Let it blow for at least so long, with more tasks if need be; then audit."""
        began = time.monotonic()
        self._start()
        self.submit(tasks)
        self.blow(began + seconds, began + limit)
        self.calm()
        return self.audit()


def _rename_host(name: str) -> None:
    if ctypes.CDLL(None).unshare(_CLONE_NEWUTS) == 0:
        socket.sethostname(name)


def soak(tasks: int, minutes: float, seed: int, limit: float) -> bool:
    """One storm; print what became of it."""
    with Bed("", FJD_LEASE=str(LEASE), FJD_HEARTBEAT=str(HEARTBEAT)) as bed:
        began = time.monotonic()
        storm = Storm(bed, seed)
        try:
            found = storm.run(tasks, 60 * minutes, limit or 60 * minutes + 600)
        except Failed:
            for path in sorted(Path(bed.path).glob("*.log")):
                print(f"--- {path.name}\n{path.read_text(errors='replace')[-1500:]}")
            raise
        for log in Path(bed.path).glob("*.log"):
            text = log.read_text(errors="replace")
            if "Traceback" in text:
                found.problems.append(f"{log.name} tells of a mistake:\n{text[-3000:]}")
        seconds = time.monotonic() - began
    for problem in found.problems[:20]:
        print(f"  {problem}")
    print(
        f"seed {seed}: {found.jobs} tasks, {storm.kills} kills and {storm.stops} stops in"
        f" {seconds:.0f} s; {found.losses} attempts were hit, {found.late} were late\n"
        f"lost {found.lost}, counted twice {found.twice}, attempts spent {found.attempts},"
        f" other problems {len(found.problems)}",
        flush=True,
    )
    return not found.problems


if __name__ == "__main__":
    options = argparse.ArgumentParser("bench.soak", description=__doc__)
    options.add_argument("--tasks", type=int, default=10_000)
    options.add_argument("--minutes", type=float, default=10.0, help="go on at least so long")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--limit", type=float, default=0.0, help="give up after so many seconds")
    given = options.parse_args()
    sys.exit(main(lambda: soak(given.tasks, given.minutes, given.seed, given.limit)))
