"""A storm: a project works through short tasks while everybody in it is killed and stopped.

Four workers and two dispatchers that contend for the lease; a tenth of a second passes, on average,
until one of them is killed or stopped for longer than its lease. Whoever died is started again.
Half of them live under another host name, where only the heartbeat tells who is alive. Most tasks
are those of lists, and run in pieces; the others are single jobs. On request recruiters hire more
workers meanwhile, and are killed in the middle of it, as are those whom they hired.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import time
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Callable, Optional

from bench.audit import Attempt, Audit, Findings, what_counts
from bench.common import Bed, Failed
from bench.daemon import Daemon, Role, running
from bench.hiring import Hiring
from fjd.spool.lists import submission
from fjd.spool.lists.covered import Book, Covered, lines

LEASE = 0.6  # s
TIMINGS = {
    "FJD_LEASE": str(LEASE),
    "FJD_HEARTBEAT": str(LEASE / 5),
    "FJD_POLL": str(LEASE / 10),  # a worker is buried after five looks, five of these apart
    "FJD_NUDGE": str(LEASE / 3),
}
PAUSE = 0.1  # s between two faults, on average
PATIENCE = 0.95  # how probably a kill is put off, from moment to moment, until somebody has a task
WORKERS, DISPATCHERS = 4, 2
IN_LISTS = 0.9  # of all tasks
BATCH, SHARE = 60, 50  # more tasks, if not enough happened: so many, or one for so many before
FEW = 30  # tasks left: a new batch, or an end without faults
MANY = 80  # faults after which a slow machine may go on without, if that was enough
END = 90.0  # s that the end without faults may take
MOST_STOPPED = 2  # at once, or nobody is left to do anything
INSIDE, INSIDE_PIECES, LATE = 50, 10, 1  # kills and late records without which it counts not


class Storm:
    """One project with its daemons, and what is done to them.

    Args:
        hires: whether there are recruiters as well.
        change: called in each daemon's process before anything else, with its command's name.

    Attributes:
        in_lists: the share of all tasks that are those of lists.
        kills, stops: how many there were.
        hiring: the recruiters, if there are any.
        hit: attempts that somebody was killed in.
    """

    def __init__(
        self,
        bed: Bed,
        seed: int,
        hires: bool = False,
        change: Callable[[str], None] = lambda role: None,
    ) -> None:
        self.bed, self.dice, self._change = bed, random.Random(seed), change
        self.project = bed.project(f"storm{seed}")
        self.notes, self.witness = f"{bed.path}/notes{seed}", f"{bed.path}/witness{seed}"
        Path(self.notes).touch()
        os.mkdir(self.witness)
        bed.env["NOTES"] = self.notes
        self.jobs: list[str] = []
        self.lists: dict[str, int] = {}
        self._keys: dict[str, str] = {}
        self._tasks, self.in_lists = 0, IN_LISTS
        self._open: list[str] = []  # lists of which tasks are left
        self.hit: set[Attempt] = set()
        self.kills = self.stops = 0
        recruit = partial(self._daemon, "recruiter", 0)
        self.hiring = Hiring(self.project, self.dice, recruit) if hires else None
        self._daemons: list[Daemon] = []
        self._two_hosts = os.geteuid() == 0

    # -- who is there -------------------------------------------------------------------------

    def _daemon(self, name: str, number: int, *words: str) -> Daemon:
        log = f"{self.bed.path}/{name}{number}.log"
        host = "other" if number % 2 and self._two_hosts else ""
        words = ("--project", self.project.name, *words)
        return Daemon(self.bed, Role(name, words, host, log, self._prepare))

    def _prepare(self, role: str) -> None:
        keep_progress(self.witness)
        self._change(role)

    def start(self) -> None:
        """Start everybody."""
        gc.collect()
        gc.freeze()  # a fork copies no page for the sake of the collector
        for number in range(DISPATCHERS):
            words = ("--keep-running", "--retries", "1")
            self._daemons.append(self._daemon("dispatcher", number, *words))
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
            for daemon in [*self._daemons, *self._passing]:
                daemon.alive &= daemon.pid != pid

    @property
    def _passing(self) -> list[Daemon]:
        """Recruiters that run: nobody starts them again."""
        last = self.hiring.last if self.hiring else None
        return [last] if last and last.alive else []

    def _keep_alive(self, now: float) -> None:
        self._reap()
        for daemon in self._daemons:
            if daemon.stopped and now >= daemon.wake_at:
                daemon.wake_up()
            waits = daemon.role.name == "dispatcher" and now - daemon.born < LEASE
            if not daemon.alive and not waits:  # who found the lease taken tries again in a while
                daemon.start()

    # -- what there is to do ------------------------------------------------------------------

    def submit(self, number: int) -> None:
        """Submit so many tasks, most of them as a list."""
        listed = int(number * self.in_lists)
        name = f"list{len(self.lists)}"
        shelf = submission.submit(self.project, name, map(self._command, range(listed)))
        self._keys[name], self.lists[name] = shelf.key, listed
        self.jobs.append(name)
        self._open.append(name)
        base = f"{self.bed.path}/staging"
        os.makedirs(base, exist_ok=True)
        for _ in range(number - listed):
            self._submit_job(base)

    def _command(self, task: int) -> bytes:
        """Return a task of a list: a few last, and a few fail at their first attempt."""
        sleep = ""
        if task % 1000 == 10:
            sleep = "; sleep 1.1"  # who waits behind it in its piece is given to somebody else
        elif self.dice.random() < 0.02:
            sleep = f"; sleep {self.dice.uniform(0.02, 0.1):.2f}"
        end = '; test "$FJD_ATTEMPT" -gt 1' if task % 50 == 7 else ""
        note = f'echo "$FJD_JOB $FJD_TASK $FJD_ATTEMPT $FJD_WORKER" >>"$NOTES"{sleep}{end}'
        return note.encode("ascii")

    def _submit_job(self, base: str) -> None:
        """Queue a single job: a third of them fail at their first attempt."""
        at = len(self.jobs)
        name = f"t{at:05d}"
        sleep = "" if self.dice.random() < 0.8 else f"; sleep {self.dice.uniform(0.02, 0.1):.2f}"
        end = 'test "$FJD_ATTEMPT" -gt 1' if at % 3 == 0 else "true"
        note = f'echo "$FJD_JOB $FJD_ATTEMPT" >>"$NOTES"{sleep}; {end}'
        with open(f"{base}/{name}", "w", encoding="ascii") as file:
            file.write(f"[control]\nexecutable: t() {{ {note}; }}; t\nretries: 2\n")
        os.utime(f"{base}/{name}", (1e9, 1e9))  # older than its rename
        os.rename(f"{base}/{name}", f"{self.project.jobqueue}/{name}")
        self.jobs.append(name)

    def left(self) -> int:
        """Return how many tasks, and lists, have not ended."""
        ends = (self.project.done, self.project.failed)
        filed = sum(
            not name.endswith(".status.txt")
            for end in ends
            for _, _, names in os.walk(end)
            for name in names
        )
        there = {
            name: self.lists[name] - _covered(self.witness, self._keys[name]) for name in self._open
        }
        self._open = [name for name, left in there.items() if left > 0]
        return len(self.jobs) - filed + sum(there.values())

    # -- what is done to it -------------------------------------------------------------------

    def enough(self) -> bool:
        """Tell whether so much was hit that it counts as a storm."""
        broken, late = Audit(self.project.root, ()).hits()
        inside, pieces = self.inside(broken)
        return inside >= INSIDE and pieces >= INSIDE_PIECES and late >= LATE

    def inside(self, broken: Collection[Attempt]) -> tuple[int, int]:
        """Return how many attempts ended by a kill, and how many of them in pieces.

        Their processes were there when the kill came, and their records say that they were lost,
        or broken off by a worker that had lost its guardian.
        """
        keys = set(self._keys.values())
        hit = self.hit & set(broken)
        return len(hit), sum(attempt.key in keys for attempt in hit)

    def blow(self, until: float, limit: float) -> None:
        """Kill and stop until enough was hit and little is left to do; then let it be done."""
        due = counted = time.monotonic()
        left, rough = len(self.jobs), True
        while left:
            now = time.monotonic()
            if now > limit:
                raise Failed(f"{left} of {len(self.jobs)} tasks are left when the time is over")
            self._keep_alive(now)
            if rough and now >= due and self._strike():
                due += self.dice.expovariate(1 / PAUSE)
            if rough and self.hiring:
                self.hiring.tick(now)
            if now >= counted:
                left = self.left()
                if rough and (left < FEW or self.kills + self.stops >= MANY):
                    rough = now < until or not self.enough()
                    if rough and left < FEW:
                        more = max(BATCH, self._tasks // SHARE)
                        self.submit(more)
                        left += more
                counted = time.monotonic() + 0.3
            time.sleep(0.01)

    def _strike(self) -> bool:
        """Do something bad to somebody, mostly to a worker with a task; False: not just now."""
        name = "dispatcher" if self.dice.random() < 0.06 else "worker"
        able = [d for d in self._daemons if d.role.name == name and d.alive and not d.stopped]
        if not able:
            return True
        self.dice.shuffle(able)
        victim = self._victim(able)
        if victim is None and name == "worker" and self.dice.random() < PATIENCE:
            return False  # else many would be hit before they have begun with anything
        daemon, pids, hit = victim or (able[0], able[0].pids(), set())
        stopped = sum(bool(d.stopped) for d in self._daemons)
        if stopped < MOST_STOPPED and self.dice.random() < 0.3:
            self.stops += 1
            some = pids if self.dice.random() < 0.5 else pids[:2]
            daemon.stop(some, LEASE * self.dice.uniform(1.6, 2.4))
        else:
            self.kills += 1
            self.hit |= hit
            some = ()
            daemon.send(signal.SIGKILL, self.dice.choice((pids[:1], pids[:2], pids[1:2] or pids)))
        daemon.send(signal.SIGCONT, pids[max(2, len(some)) :])
        return True

    def _victim(
        self, able: Sequence[Daemon]
    ) -> Optional[tuple[Daemon, Sequence[int], set[Attempt]]]:
        """Return somebody with a task, all processes, and what they run; the task stands still.

        Else a task of milliseconds would have ended before the kill.
        """
        for daemon in able:
            pids = daemon.pids()
            daemon.send(signal.SIGSTOP, pids[2:])
            hit = running(pids[2:])
            if hit:
                return daemon, pids, hit
            daemon.send(signal.SIGCONT, pids[2:])
        return None

    # -- the end ------------------------------------------------------------------------------

    def calm(self) -> None:
        """Let everybody end, and one last dispatcher tidy up."""
        for daemon in self._daemons:
            daemon.end()
        self._wait(lambda: not any(daemon.alive for daemon in self._daemons))
        if self.hiring:
            self._wait(lambda: not self._passing)
            recruiter = self.hiring.fire()
            self._wait(lambda: not recruiter.alive)
        last = self._daemon("dispatcher", 0, "--keep-running")
        self._daemons.append(last)
        self._wait(lambda: not any(map(os.listdir, self._places())))  # a lease later
        last.end()
        self._wait(lambda: not last.alive)

    def _places(self) -> Sequence[str]:
        project = self.project
        return (project.jobpods, project.workers, project.workerqueue, project.lists)

    def _wait(self, over: Callable[[], bool]) -> None:
        until = time.monotonic() + END
        while not over():
            if time.monotonic() > until:
                there = [str(daemon.pids()) for daemon in self._daemons if daemon.alive]
                entries = [found for place in self._places() for found in os.walk(place)]
                raise Failed(f"not over within {END:g} s: processes {there}, entries {entries}")
            time.sleep(0.01)
            self._reap()

    def twice(self) -> list[str]:
        """Return which tasks of lists count twice, also while all are busy."""
        return [
            f"task {task} of {name} counts twice: {sorted(ways)}"
            for name, key in self._keys.items()
            for task, ways in what_counts(self.witness, key).items()
            if len(ways) > 1
        ]

    def audit(self) -> Findings:
        """Return what became of it all."""
        notes = Path(self.notes).read_text().splitlines()
        root = self.project.root
        return Audit(root, self.jobs, (), notes, self.lists, self.witness).run()

    def run(self, tasks: int, seconds: float, limit: float) -> Findings:
        """Let it blow for at least so long, with more tasks if need be; then audit."""
        began = time.monotonic()
        self._tasks = tasks
        self.start()
        self.submit(tasks)
        self.blow(began + seconds, began + limit)
        self.calm()
        return self.audit()


def keep_progress(witness: str) -> None:
    """Let this process keep what counts of a list: the list's end removes its progress files."""
    right = Book.__init__

    def init(self: Book, directory: str, writer: str) -> None:
        right(self, directory, writer)
        path = f"{directory}/progress.{writer}"
        name = f"{os.path.basename(directory)}.{writer}.{os.stat(path).st_ino}"
        if not os.path.exists(f"{witness}/{name}"):
            os.link(path, f"{witness}/{name}")

    Book.__init__ = init  # type: ignore[method-assign]


def _covered(witness: str, key: str) -> int:
    """Return how many tasks of a list are folded."""
    found = Covered()
    for path in Path(witness).glob(f"{key}.*"):
        for line in lines(str(path)):
            found.add(line.lo, line.hi)
    return found.count
