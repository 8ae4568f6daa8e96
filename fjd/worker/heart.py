"""A worker's heart: a thread that beats, syncs, and listens to what the dispatcher decrees.

It has a thread of its own because one lost reply of a file server can block a call for a minute,
and because a task may keep the main thread waiting for days.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Callable, Optional

from fjd.spool import lease, pods
from fjd.spool.crew import Post
from fjd.spool.timings import Timings
from fjd.system import files
from fjd.worker.guardian import Lifeline
from fjd.worker.purpose import Purpose

_SYNC = 1.0  # s: what a power cut may cost
_LOOK_NEAR = 2.0  # s between two looks where the dispatcher's bell reaches us, or we are busy


class Heart(threading.Thread):
    """Beats until it is stopped or finds that the worker was buried.

    Attributes:
        buried: somebody gave up on this worker; nothing that it does now counts.
        dismissed: the word by which it is told to leave (pods.py), or would be if its run had not
            been killed.
        timings: as the dispatcher publishes them.
    """

    def __init__(
        self,
        post: Post,
        lifeline: Lifeline,
        timings: Timings,
        syncs: Sequence[Callable[[], None]],
        wake: Callable[[], None],
    ) -> None:
        super().__init__(name="heart", daemon=True)
        self.buried, self.dismissed = False, ""
        self.timings = self._own = timings
        self._post, self._lifeline, self._syncs, self._wake = post, lifeline, syncs, wake
        self._end = threading.Event()
        self._holder: Optional[lease.Holder] = None
        self._purpose = Purpose(post.project) if post.card.context else None

    @property
    def bell(self) -> str:
        """The dispatcher's bell, or "" if it cannot be heard from here."""
        holder = self._holder
        return holder.bell if holder and holder.identity.is_here() else ""

    @property
    def lease(self) -> float:
        """How long we may be silent, in seconds."""
        return self.timings.lease if self.bell else self.timings.far_lease

    @property
    def poll(self) -> float:
        """The longest time between two looks at the pod, in seconds."""
        return max(_LOOK_NEAR, self.timings.poll) if self.bell else self.timings.poll

    @property
    def nudge(self) -> float:
        """How long to trust what the file system has cached of the pod, in seconds."""
        return min(self.timings.nudge, self._own.nudge)

    def learn(self) -> None:
        """See who dispatches, and obey the timings.

        Who knows of nobody does not trust what this host has cached: a worker that goes on beating
        slowly would be buried by a dispatcher whose lease is short.
        """
        self._holder = lease.holder(self._post.project, nudge=self._holder is None)
        if self._holder is not None:
            self.timings = self._holder.timings

    def run(self) -> None:
        """One look a second; one beat every ``heartbeat`` seconds.

        A new dispatcher may wait less long than the old one let us be silent: its timings hold
        from the next look on, not from a beat that comes too late for them.
        """
        look = beaten = time.monotonic()
        while not self._end.wait(min(_SYNC, self.timings.heartbeat / 2)):
            if time.monotonic() >= look:
                look = time.monotonic() + max(_LOOK_NEAR, self.timings.poll)
                self._heed()
            if time.monotonic() >= beaten + self.timings.heartbeat:
                beaten = time.monotonic()
                self._beat()
                if self.buried:
                    return
            for sync in self._syncs:
                try:
                    sync()
                except OSError:
                    continue  # the next write to that file meets the same error and says so

    def beat(self) -> bool:
        """Give a sign of life; False: we were buried.

        Both threads ask, and who was stopped with an old answer must not bring us back to life.
        """
        if not self._post.beat():
            self.buried = True
        return not self.buried

    def _beat(self) -> None:
        try:
            alive = self.beat()
            self.learn()
        except (files.DiskFull, OSError):
            return  # no sign of life this time; a lease of these and the guardian ends us
        if alive:
            self._lifeline.alive(self.lease)
        else:
            self._wake()

    def _heed(self) -> None:
        """See whether we are dismissed; a task, or a long piece, keeps the main thread from it."""
        pod = self._post.project.pod(self._post.worker)
        try:
            word = pods.dismissal(files.listing(pod, nudge=not self.bell) or ())
            self.learn()
            if not word and self._purpose and self._purpose.over(self._holder, self.timings):
                word = pods.DISMISSED
        except OSError:
            return  # there is another look soon
        if word != self.dismissed:
            self.dismissed = word
            self._wake()

    def stop(self) -> None:
        """End the thread; what it is doing right now is finished first."""
        self._end.set()
        self.join()
