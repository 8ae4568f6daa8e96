"""One process plays everybody: the user who submits, the dispatcher, and the workers.

``tell`` is a short day with every verb of the protocol in it; ``finish`` is what happens after a
crash: another dispatcher and another worker come and go on until nothing is left to do. Both use
the real classes; only the clock of the dispatcher is moved by hand.
"""

from __future__ import annotations

import io
import os
import signal
import tempfile
import time
from typing import Callable

import fjd.worker.heart
from fjd.dispatcher.dispatcher import Dispatcher
from fjd.dispatcher.progress import Progress
from fjd.dispatcher.service import Contest
from fjd.spool import lookup, names, pods, records, submission
from fjd.spool.burial import loss_record
from fjd.spool.crew import Card, Post
from fjd.spool.lease import Lease
from fjd.spool.names import Token
from fjd.spool.project import Project
from fjd.spool.sweeping import sweep
from fjd.spool.timings import Timings
from fjd.system import files
from fjd.system.identity import Identity, hostname
from fjd.worker.guardian import Lifeline
from fjd.worker.worker import Worker

HOUR = 1000.0  # s, by the dispatcher's clock
SLOW = Timings(heartbeat=HOUR, lease=4 * HOUR, far_lease=4 * HOUR, nudge=HOUR)
fjd.worker.heart._SYNC = 10 * HOUR  # the heart beats when the story says so

JOBS = {
    "ok": "true",
    "flaky": 'test "$FJD_ATTEMPT" -gt 2\nretries: 1',
    "doomed": "true",  # the worker that tries it first dies
    "ended": "true",  # and so does this one's, after the record of the end
    "leaver": 'test "$FJD_ATTEMPT" -gt 1 || { kill $PPID; exec sleep 60; }',
}
DROPPED = "bad"


class Boss:
    """A dispatcher in office, with a clock that goes on by an hour at each look."""

    def __init__(self, project: Project) -> None:
        self.now = HOUR
        self.lease = Lease(project, "", SLOW)
        Contest(project).win(self.lease, self._nobody_waits)
        sweep(project)
        progress = Progress(io.StringIO(), 0.0, time.monotonic, live=False)
        self.engine = Dispatcher(
            project, self.lease, SLOW, progress, lambda text: None, clock=lambda: self.now
        )

    def _nobody_waits(self, seconds: float) -> None:
        raise AssertionError("a dead dispatcher was taken for a living one")

    def look(self) -> bool:
        """Look once; True while there is something to do."""
        self.now += HOUR
        self.lease.beat()
        return self.engine.tick(set(), True)

    def leave(self) -> None:
        """End."""
        self.engine.close()
        self.lease.release()


def staff(project: Project) -> Worker:
    """Start a worker in this process."""
    place = tempfile.mkdtemp(prefix="scratch-")
    beat, guardian = os.pipe()[1], os.pipe()
    os.write(guardian[1], b"!")
    me = Identity.of(os.getpid())
    worker = names.new_worker(hostname(), 0)
    card = Card(worker, me, me, "", "", "", f"{place}/bell", place, time.time())
    found = Worker(project, card, place, SLOW, Lifeline(beat, guardian[0]))
    found._say = lambda text, last=False: None  # type: ignore[method-assign]
    found.start()
    return found


class Mortal:
    """A worker that will die: its process is a child of ours; its hand is moved by the story."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._fd, self._pid = os.pipe(), os.fork()
        if not self._pid:
            os.close(self._fd[1])
            os.read(self._fd[0], 1)
            os._exit(0)
        who = Identity.of(self._pid)
        self.id = names.new_worker(hostname(), 0)
        self.post = Post(project, Card(self.id, who, who, "", "", "", "", "/", time.time()))
        self.pod = pods.Pod(project, self.id)
        self.post.announce()

    def accept(self, job: str) -> Token:
        """Accept a job that waits."""
        (held,) = (held for held in self.pod.look() if held.token.job == job)
        assert self.pod.accept(held.token)
        assert self.post.show(busy=True)
        assert self.post.beat()
        with open(os.environ["EXECUTED"], "a") as executed:
            executed.write(f"{held.token.key} {held.token.attempt}\n")
        return held.token

    def record(self, token: Token, event: str = "end") -> None:
        """Write that the job has ended well."""
        ledger = records.Ledger(self.project, self.id)
        fields = {"event": event, "outcome": "ok", "exit": 0}
        ledger.write({**loss_record(token, self.id, ""), **fields})
        ledger.close()

    def die(self) -> None:
        """End the process."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def wake_up(self, token: Token) -> None:
        """Be a zombie: end what was begun, and see that nobody wants it any more."""
        self.record(token)
        if not self.pod.commit(token, "ok"):
            self.record(token, "late")
        self.post.beat()


def write_jobs() -> None:
    """Write the job files where the user has them."""
    for name, command in JOBS.items():
        with open(name, "w") as file:
            note = 'echo "$FJD_JOB $FJD_ATTEMPT" >>"$EXECUTED"'
            first, _, rest = command.partition("\n")
            file.write(f"[control]\nexecutable: {note}; t() {{ {first}; }}; t\n{rest}\n")


def tell(name: str, said: Callable[[str], None]) -> None:
    """A day with every verb in it; ``said`` is told what the user was told is submitted."""
    project, here = Project.open(name), os.getcwd()  # a worker changes it

    def submit(*jobs: str) -> None:
        submission.submit(project, [f"{here}/{job}" for job in jobs])
        for job in jobs:
            said(job)

    boss = Boss(project)
    for job in ("doomed", "ended"):
        mortal = Mortal(project)
        submit(job)
        boss.look()
        token = mortal.accept(job)
        if job == "ended":
            mortal.record(token)
        mortal.die()
        boss.look()
        if job == "doomed":
            mortal.wake_up(token)
    submit("ok", "flaky")
    files.create(f"{here}/dropped", b"[control]\n")
    os.utime(f"{here}/dropped", (1e9, 1e9))
    os.rename(f"{here}/dropped", f"{project.jobqueue}/{DROPPED}")
    said(DROPPED)
    first = staff(project)
    boss.look()
    second = staff(project)
    boss.look()
    work(boss, first, second)
    for found in (*lookup.failed(project), *lookup.rejected(project)):
        assert submission.again(project, found)
    work(boss, first, second)
    first.stop()
    submit("leaver")
    boss.look()
    second.tick()  # the signal reaches it, for it came last
    assert second._should_stop()
    second.stop()
    third = staff(project)
    work(boss, third)
    for now in (False, True):
        assert pods.dismiss(project, third.card.worker, now)
    assert not third.tick()
    assert third._should_stop()
    third.stop()
    assert not pods.dismiss(project, third.card.worker)
    boss.leave()


def work(boss: Boss, *workers: Worker) -> None:
    """Let the workers work until nothing is left to do."""
    for _ in range(50):
        for worker in workers:
            # The last one that was made hears of each end of a task; now it is this one's turn.
            signal.set_wakeup_fd(worker._ears._outlet, warn_on_full_buffer=False)
            worker._heart._beat()
            while worker.tick():
                pass
        if not boss.look():
            return
    raise AssertionError("it never ends")


def finish(name: str) -> None:
    """Go on after a crash, to the end."""
    project = Project.open(name)
    boss = Boss(project)
    worker = staff(project)
    rest = 0
    for _ in range(100):
        rest = 0 if boss.look() else rest + 1
        if rest > 6:
            break  # for longer than a lease
        worker._heart._beat()
        while not worker._should_stop() and worker.tick():
            pass
        if worker._should_stop():
            worker.stop()
            worker = staff(project)
    else:
        raise AssertionError("it never ends")
    worker.stop()
    boss.leave()
