"""A dispatcher's time in office: take the lease, serve, give it up.

One dispatcher serves a project. A second one watches the lease: if its holder lives or its
heartbeat moves, the second one says who that is and ends; a dead holder is replaced, at once on
the same host and after a lease elsewhere.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Callable, Optional

from fjd.dispatcher.dispatcher import Dispatcher
from fjd.errors import ConfigError
from fjd.spool import lease as leases
from fjd.spool.lease import Lease
from fjd.spool.project import Project
from fjd.spool.sweeping import sweep
from fjd.spool.timings import Timings
from fjd.system import files, patience
from fjd.system.bell import Bell
from fjd.system.deaths import Deaths
from fjd.system.ears import Ears, unless_nohup
from fjd.system.place import Place
from fjd.system.watch import Watch

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CONTEST = 0.1  # s between two looks at somebody else's lease


class Pulse(threading.Thread):
    """Beats for the lease; ``lost`` once another dispatcher took over."""

    def __init__(self, lease: Lease, seconds: float, wake: Callable[[], None]) -> None:
        super().__init__(name="pulse", daemon=True)
        self.lost = False
        self._lease, self._seconds, self._wake = lease, seconds, wake
        self._end = threading.Event()

    def run(self) -> None:
        """Beat until stopped or lost."""
        while not self._end.wait(self._seconds):
            try:
                self.lost = not (self._lease.beat() and self._lease.held())
            except (files.DiskFull, OSError):
                continue  # the next beat may get through; until then others may take over
            if self.lost:
                self._wake()
                return

    def stop(self) -> None:
        """End the thread."""
        self._end.set()
        self.join()


def taken(project: Project, who: str) -> ConfigError:
    """Say that somebody else serves the project."""
    return ConfigError(
        f'{who} serves project "{project.name}" already',
        remedy="stop that one first, or use another project",
    )


class Contest:
    """Watches somebody else's lease."""

    def __init__(self, project: Project, clock: Callable[[], float] = time.monotonic) -> None:
        self._project, self._clock = project, clock
        self._seen: Optional[leases.Claim] = None
        self._since = 0.0

    def look(self) -> Optional[str]:
        """Return who serves ("" while that is not known, None if nobody is alive)."""
        holder = leases.holder(self._project)
        if holder is None:
            return None
        who = f"a dispatcher (pid {holder.identity.pid} on {holder.identity.host})"
        alive = holder.identity.alive()
        if alive is not None:
            return who if alive else None
        if self._seen is None or self._seen[:2] != holder.claim[:2]:
            self._seen, self._since = holder.claim, self._clock()
        elif self._seen != holder.claim:
            return who  # its heart beats
        return None if self._clock() - self._since > holder.timings.lease else ""

    def win(self, lease: Lease, wait: Callable[[float], object]) -> None:
        """Return once the lease is ours; ConfigError says who else serves."""
        while True:
            who = self.look()
            if who is None and lease.take():
                return
            if who:
                raise taken(self._project, who)
            wait(_CONTEST)


class Service:
    """Runs one dispatcher in this process.

    Attributes:
        interrupted: a signal ended it before the work was done.
    """

    def __init__(self, project: Project, timings: Timings, say: Callable[[str], None]) -> None:
        self.project, self.timings, self.talk = project, timings, say
        self.interrupted = self._in_trouble = False
        self._place = Place()
        self._place.make()
        self._ears = Ears(unless_nohup(_SIGNALS))
        path = f"{self._place.path}/dispatcher-{os.getpid()}.bell"
        self._bell = Bell(path)
        self._ears.listen(self._bell.fd, bell=True)
        self.deaths = Deaths()
        self._ears.listen(self.deaths.fd)
        self._woken = True
        self.lease = Lease(project, path, timings)
        self._watch = Watch(project.jobqueue, self._ears.wake)
        self._quick = min(0.05, timings.settle / 25)

    def take_office(self) -> None:
        """Get the lease, or say who has it (ConfigError)."""
        contest = Contest(self.project)
        patience.insist(lambda: contest.win(self.lease, self._wait), self.talk, self._wait)
        try:
            sweep(self.project)
        except (files.DiskFull, OSError) as error:
            self.talk(f"cannot sweep: {error}; going on")

    def _wait(self, seconds: float) -> None:
        self._hear(seconds)
        if self._ears.heard:
            raise KeyboardInterrupt

    def _hear(self, seconds: float) -> None:
        """Wait; a bell, an event or a death is a reason to look at the workers as well."""
        heard = self._ears.wait(seconds)
        ended = self.deaths.take() if self.deaths.fd in heard else ()
        if self._bell.fd in heard or ended:
            self._woken = True

    def serve(self, dispatcher: Dispatcher) -> None:
        """Let the dispatcher work until it has nothing more to do, or a signal ends it."""
        pulse = Pulse(self.lease, self.timings.heartbeat, self._ears.wake)
        pulse.start()
        try:
            while not pulse.lost and not self._ears.heard[1:]:
                more = self._tick(dispatcher)
                if self._ears.heard and not dispatcher.draining:
                    self._drain(dispatcher)
                    continue
                if not more and (dispatcher.draining or not dispatcher.manner.keep_running):
                    break
                self._sleep(dispatcher)
        finally:
            pulse.stop()
        if pulse.lost:
            raise ConfigError(
                f'another dispatcher took over project "{self.project.name}"',
                remedy="see fjd status",
            )

    def forget_signals(self) -> None:
        """Let ``serve`` go on after the signals that have ended it."""
        self._ears.heard.clear()

    def _tick(self, dispatcher: Dispatcher) -> bool:
        """One pass; on a full disk or a file server in trouble say so, wait, and go on."""
        woken, self._woken = self._woken, False
        try:
            more = dispatcher.tick(self._watch.take(), woken)
        except (files.DiskFull, OSError) as error:
            if not patience.will_pass(error):
                raise
            if not self._in_trouble:
                self.talk(f"{error}; waiting")
            self._in_trouble = self._woken = True
            self._hear(patience.PAUSE)
            return True
        self._in_trouble = False
        return more

    def _drain(self, dispatcher: Dispatcher) -> None:
        self.interrupted = True
        if self._ears.heard[0] != signal.SIGINT:
            self._ears.heard.append(signal.SIGTERM)  # told to end, not asked to finish
            return
        dispatcher.drain()
        self.talk("finishing what runs; Ctrl-C again to stop now (nothing is lost either way)")

    def _sleep(self, dispatcher: Dispatcher) -> None:
        """Wait for the next reason to look."""
        if dispatcher.hot:
            if dispatcher.crowded:
                self._watch.disarm()  # in the thick of it an event per job costs more than a look
            self._hear(self._quick)
        elif not self._watch.armed and self._watch.arm():
            self._woken = True  # something may have come just before the watch was there
        else:
            self._hear(self.timings.poll)

    def leave(self) -> None:
        """Give up the lease and clean up."""
        self._watch.disarm()
        self.lease.release()
        self._bell.close()
        self.deaths.close()
        self._place.clear()
        self._ears.close()
