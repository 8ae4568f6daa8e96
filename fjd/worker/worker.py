"""The worker: announces itself, runs what lies in its pod, records it, announces itself again.

It lives under a guardian (guardian.py) and meets everybody else only in the spool. One pass of
``tick`` takes what the pod holds now; between two passes it waits for its bell, for a signal, or
for as long as the dispatcher's timings say.

What only a job or a heartbeat needs is loaded once the worker is announced: meanwhile the
dispatcher takes notice and looks for a job.
"""

# No postponed annotations: NamedTuple would compile each of them, and a worker waits for it.

import os
import signal
import time
from typing import TYPE_CHECKING, Callable, Optional, TypeVar

from fjd.spool import pods
from fjd.spool.crew import Card, Post
from fjd.spool.names import Token
from fjd.spool.pods import Held, Pod
from fjd.spool.project import Project
from fjd.spool.records import Ledger
from fjd.spool.timings import Timings
from fjd.system import bell, files, patience
from fjd.system.ears import Ears
from fjd.system.identity import hostname
from fjd.worker.guardian import AGAIN, Family, Lifeline, adopt
from fjd.worker.scratch import Stream
from fjd.worker.voice import Voice

if TYPE_CHECKING:
    from fjd.spool.records import Record
    from fjd.worker.attempt import Report
    from fjd.worker.pieces import Pieces, Turn

_Result = TypeVar("_Result")
_NOW, _GENTLY = "its worker was fired", "gently"
_ORPHANED = "its worker lost its guardian"
_LIED_TO = -1.0  # a listing shows what has ended: it is an old one, look past it
_SIGNALS = {
    signal.SIGTERM: _NOW,
    signal.SIGHUP: _NOW,
    signal.SIGINT: _NOW,
    signal.SIGUSR1: _GENTLY,
}
_START = 60.0  # s without a sign of life of a worker that waits for room, and has no task yet


class Worker:
    """One worker process, from its announcement to its end.

    Args:
        scratch: a private directory in local temporary space; the guardian removes it.
        lifeline: the pipes to the guardian.
    """

    def __init__(
        self, project: Project, card: Card, scratch: str, timings: Timings, lifeline: Lifeline
    ) -> None:
        self.project, self.card = project, card
        self._timings, self._lifeline, self._scratch = timings, lifeline, scratch
        self._stop = ""
        self._ears = Ears(_SIGNALS)
        self._bell = bell.Bell(card.bell)
        self._ears.listen(self._bell.fd, bell=True)
        self._voice = Voice(card.worker)
        self._post, self._pod = Post(project, card), Pod(project, card.worker)
        self._ledger = self._first(lambda: Ledger(project, card.worker))
        outputs = [self._first(lambda: self._output(name)) for name in ("out", "err")]  # noqa: B023
        self._syncs = [self._ledger.sync, outputs[0].sync, outputs[1].sync]
        self._out = Stream(scratch, "out", outputs[0])
        self._err = Stream(scratch, "err", outputs[1])
        self._family = Family(os.getppid())
        self._codes: dict[Token, str] = {}  # what we committed since the pod was last empty
        self._pieces: Optional[Pieces] = None
        self._nudged = 0.0

    # -- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Announce the worker; from here on the dispatcher may fill its pod."""
        self._first(self._post.announce)
        self._equip()
        self._lifeline.alive(self._heart.lease)
        self._lifeline.wait_until_guarded()
        self._ears.listen(self._lifeline.guardian)
        self._voice.say(f"Started with ID {self.card.worker}.")
        self._heart.learn()
        self._heart.start()
        bell.ring(self._heart.bell)

    def _output(self, stream: str) -> files.Appender:
        return files.Appender(self.project.output_file(self.card.worker, stream))

    def _equip(self) -> None:
        from fjd.worker.attempt import Attempts
        from fjd.worker.heart import Heart

        project, card = self.project, self.card
        env = dict(os.environ, FJD_PROJECT=project.name, FJD_WORKER=card.worker)
        self._attempts = Attempts(
            self._pod,
            hostname(),
            card.cwd,
            env,
            self._out,
            self._err,
            self._ears,
            self._should_end_task,
            self._insist,
            self._ledger.write,
        )
        self._heart = Heart(self._post, self._lifeline, self._timings, self._syncs, self._ears.wake)

    def run(self) -> int:
        """Work until told to stop; return the exit code for the guardian."""
        self.start()
        while not self._should_stop():
            if not self.tick() and not self._pod.dismissed:
                self._voice.idle()
                self._ears.wait(self._heart.poll)
        return self.stop()

    def tick(self) -> bool:
        """Run what lies in the pod now; False if it was empty."""
        worked = False
        for held in self._look():
            if self._should_stop():
                break
            if held.accepted and held.token in self._codes:
                self._commit_again(held.token)
            elif held.accepted or self._accept(held.token):
                self._run(held.token)
            worked = True
        for name in self._pod.others:
            worked = (not self._should_stop() and self._run_piece(name)) or worked
        if not worked and not self._stop:
            self._codes.clear()
            self._insist(lambda: self._post.show(busy=False))
        return worked

    def stop(self) -> int:
        """Give everything back and withdraw."""
        if self._heart.buried:
            then = "ending" if self._stop else "starting over"
            self._voice.tell(f"somebody gave up on me; {then}.")
            self._heart.stop()
            pods.remove_pod(self.project, self.card.worker)  # a look may have made it again
            return 0 if self._stop else AGAIN
        self._insist(lambda: self._pod.take_down(crashed=self._stop == _ORPHANED))
        self._heart.stop()
        self._insist(self._post.leave)
        pods.clear_running(self.project, self.card.worker)
        self._ledger.close()
        bell.ring(self._heart.bell)
        self._voice.idle()
        self._voice.tell("withdrawn.", at_once=True)
        return 0

    def _look(self) -> list[Held]:
        """Look into the pod; where no bell reaches us, past what the file system has cached."""
        now, heart = time.monotonic(), self._heart
        nudge = self._nudged < 0 or (not heart.bell and now - self._nudged >= heart.nudge)
        if nudge:
            self._nudged = now
        return self._insist(lambda: self._pod.look(nudge))

    def _accept(self, token: Token) -> bool:
        return self._insist(lambda: self._pod.accept(token))

    # -- stopping -----------------------------------------------------------------------------

    def _listen(self) -> None:
        while self._ears.heard:
            reason = _SIGNALS[signal.Signals(self._ears.heard.pop(0))]
            if self._stop in ("", _GENTLY):
                self._stop = reason
        word = self._heart.dismissed or self._pod.dismissed
        if word and self._stop in ("", _GENTLY):
            self._stop = _NOW if word == pods.DISMISSED_NOW else _GENTLY
        if not self._stop and self._lifeline.is_cut():
            adopt()
            self._stop = _ORPHANED
            self._ears.ignore(self._lifeline.guardian)  # it would end every wait from now on

    def _should_stop(self) -> bool:
        self._listen()
        return bool(self._stop) or self._heart.buried

    def _should_end_task(self) -> str:
        """Return why the running task must end now ("" if it need not)."""
        self._listen()
        if self._heart.buried:
            return "its worker was given up, and the job runs elsewhere"
        if self._pieces is not None and self._pieces.taken(nudge=not self._heart.bell):
            return "its list was stopped"
        return "" if self._stop == _GENTLY else self._stop

    # -- one task -----------------------------------------------------------------------------

    def _run(self, token: Token) -> None:
        self._insist(lambda: self._post.show(busy=True))
        self._voice.found()
        report = self._attempts.run(token)
        fatal = self._stop == _ORPHANED  # it may have taken our guardian down on purpose
        if fatal and report.record.get("returned") and pods.is_last(token):
            report = report.lost()
        self._insist(lambda: self._ledger.write(report.record))
        if not report.record.get("returned"):
            self._commit(token, report)
        elif not self._insist(lambda: self._return(token, fatal)):
            self._explain_loss(token)
        self._renew_scratch()

    def _return(self, token: Token, fatal: bool) -> bool:
        """Give a stopped task back; also who was buried does: whoever did it may have died then."""
        if fatal:
            return self._pod.crash(token)
        return self._pod.give_back(Held(token, accepted=True))

    def _commit(self, token: Token, report: "Report") -> None:
        if self._insist(lambda: self._pod.commit(token, report.code)):
            self._codes[token] = report.code
            self._voice.finished()
        else:
            self._explain_loss(token)
        seconds = report.record["seconds"]
        if seconds > 0.02:  # else the dispatcher looks by itself; many short tasks, one ring
            bell.ring(self._heart.bell)

    def _commit_again(self, token: Token) -> None:
        """A reply was lost, and we believed the commit to be done or somebody else's."""
        code, self._nudged = self._codes[token], _LIED_TO
        self._insist(lambda: self._pod.commit(token, code))

    def _explain_loss(self, token: Token) -> None:
        """The token is gone: either we are, or somebody removed it while our entry stands."""
        removed = self._insist(self._heart.beat)
        event = "removed" if removed else "late"
        note = {"event": event, "key": token.key, "job": token.job, "attempt": token.attempt}
        self._insist(lambda: self._ledger.write({**note, "worker": self.card.worker}))
        what = "was removed while I ran it" if removed else "ended too late to count"
        self._voice.tell(f"{token.job} {what}.")

    def _run_piece(self, name: str) -> bool:
        """Run a piece of a list; False if there was nothing to run."""
        from fjd.worker.order import Orders
        from fjd.worker.pieces import Pieces

        if self._pieces is None:
            self._orders = self._insist(lambda: Orders(self.project, self.card, self._scratch))
            who, run, stop = self.card.worker, self._run_task, self._should_stop
            self._pieces = Pieces(self.project, who, self._ledger, run, self._insist, stop)
        held = self._pieces.take(name)
        if held is None:
            return False
        self._insist(lambda: self._post.show(busy=True))
        self._nudged = _LIED_TO if self._pieces.has_ended(held) else self._nudged
        if not self._pieces.run(held):
            self._insist(self._heart.beat)
        bell.ring(self._heart.bell)
        return True

    def _run_task(self, turn: "Turn", lasts: Callable[[], None]) -> "Record":
        """Run one task of a piece."""
        token, task, orders = Token(turn.key, 0, turn.attempt), turn.task, self._orders
        report = self._attempts.run_task(
            token, task, lambda: orders.of_task(task, turn.common), lasts
        )
        if self._stop == _ORPHANED:
            report.record["orphaned"] = True
        self._renew_scratch()
        return report.record

    def _renew_scratch(self) -> None:
        """Whatever escaped from the task is our guardian's child now, and may still print."""
        if len(self._family.pids()) > 1:
            self._out.renew()
            self._err.renew()

    # -- words and waiting --------------------------------------------------------------------

    def _insist(self, verb: Callable[[], _Result]) -> _Result:
        """Do it; wait while the disk is full or the file server in trouble; the heart beats on."""
        return patience.insist(verb, self._say_at_once, self._ears.wait)

    def _first(self, verb: Callable[[], _Result]) -> _Result:
        """Do what comes before the heart beats; whoever is fired meanwhile just ends."""
        return patience.insist(verb, self._say_at_once, self._wait_for_room)

    def _say_at_once(self, text: str) -> None:
        self._voice.tell(text, at_once=True)

    def _wait_for_room(self, seconds: float) -> None:
        self._lifeline.alive(_START)
        self._ears.wait(seconds)
        if self._ears.heard or os.getppid() != self.card.guardian.pid:
            raise SystemExit(0)
