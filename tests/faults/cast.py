"""One process plays everybody: the dispatcher, workers that live, and workers that die.

They are the real classes; only the clock of the dispatcher is moved by hand, and nobody waits.
"""

from __future__ import annotations

import io
import os
import signal
import tempfile
import time
from typing import Callable

import fjd.worker.heart
from fjd.dispatcher.dispatcher import Dispatcher, Manner
from fjd.dispatcher.progress import Progress
from fjd.dispatcher.service import Contest
from fjd.spool import names, pods, records
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
from fjd.worker.pieces import Pieces, Turn
from fjd.worker.worker import Worker

HOUR = 1000.0  # s, by the dispatcher's clock
SLOW = Timings(heartbeat=HOUR, lease=4 * HOUR, far_lease=4 * HOUR, nudge=HOUR)
fjd.worker.heart._SYNC = 10 * HOUR  # the heart beats when the story says so


class Boss:
    """A dispatcher in office, with a clock that goes on by an hour at each look."""

    def __init__(self, project: Project) -> None:
        self.now = HOUR
        self.lease = Lease(project, "", SLOW)
        Contest(project).win(self.lease, self._nobody_waits)
        sweep(project)
        progress = Progress(io.StringIO(), 0.0, time.monotonic, live=False)
        self.engine = Dispatcher(
            project,
            self.lease,
            SLOW,
            progress,
            lambda text: None,
            Manner(retries=1),
            lambda: self.now,
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


def executed(what: str) -> None:
    """Note that an attempt was started, as the tasks themselves do."""
    note = os.open(os.environ["EXECUTED"], os.O_WRONLY | os.O_APPEND)
    files.write_all(note, f"{what}\n".encode(), "executed")
    os.close(note)


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
        executed(f"{held.token.key} {held.token.attempt}")
        return held.token

    def run_piece(self, task: int, dies: Callable[[], None]) -> None:
        """Run the piece that waits, up to a task that lasts, and in which it dies.

        Then it ends that task all the same, as a zombie.
        """
        ledger = records.Ledger(self.project, self.id)
        over: list[int] = []

        def execute(turn: Turn, lasts: Callable[[], None]) -> records.Record:
            token = Token(turn.key, 0, turn.attempt)
            executed(f"{turn.key} {turn.number} {turn.attempt} {self.id}")
            if turn.number == task:
                lasts()
                self.die()
                dies()
                over.append(task)
            words = {"task": turn.number, "line": turn.task.line, "repeat": turn.task.repeat}
            return {**loss_record(token, self.id, ""), "outcome": "ok", "exit": 0, **words}

        pieces = Pieces(
            self.project, self.id, ledger, execute, lambda verb: verb(), lambda: bool(over)
        )
        self.pod.look(nudge=True)
        held = pieces.take(self.pod.others[0])
        assert held is not None
        assert self.post.show(busy=True)
        pieces.run(held)
        ledger.close()

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


def work(boss: Boss, *workers: Worker, until: Callable[[], bool] = lambda: False) -> None:
    """Let the workers work until nothing is left to do, or until something has happened."""
    for _ in range(50):
        for worker in workers:
            # The last one that was made hears of each end of a task; now it is this one's turn.
            signal.set_wakeup_fd(worker._ears._outlet, warn_on_full_buffer=False)
            worker._heart._beat()
            while worker.tick():
                pass
        if until() or not boss.look():
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
