"""The dispatcher's lease: one per project, for economy and never for safety.

``dispatcher/e<epoch>,<nonce>,<n>``: the highest epoch holds it, of two with the same epoch the one
with the smaller nonce; ``n`` is the heartbeat. The content (written once) says who holds it, where
its bell is, and the timings that the workers obey. A holder that finds a claim above its own, or
its own gone, stops assigning.
"""

from __future__ import annotations

import json
import os
import threading
import time
from typing import NamedTuple, Optional

from fjd.spool.names import is_number
from fjd.spool.project import Project
from fjd.spool.timings import Timings
from fjd.system import files
from fjd.system.identity import Identity


class Claim(NamedTuple):
    """The name of a claim. Claims sort so that the last one holds."""

    epoch: int
    nonce: str
    beat: int

    def __str__(self) -> str:
        return f"e{self.epoch},{self.nonce},{self.beat}"

    @classmethod
    def parse(cls, name: str) -> Optional[Claim]:
        """Read a claim's name; None if it is none."""
        parts = name.split(",")
        if len(parts) != 3 or parts[0][:1] != "e" or len(parts[1]) != 8:
            return None
        if not (is_number(parts[0][1:]) and is_number(parts[2])):
            return None
        return cls(int(parts[0][1:]), parts[1], int(parts[2]))


class Holder(NamedTuple):
    """Who holds the lease, as last seen."""

    claim: Claim
    identity: Identity
    bell: str
    timings: Timings
    since: float

    @classmethod
    def load(cls, claim: Claim, data: bytes) -> Optional[Holder]:
        """Read the content of a claim; None if it is not whole."""
        try:
            fields = json.loads(data)
            identity = Identity.load(fields["identity"])
            timings = Timings.load(fields["timings"])
            if identity is None or timings is None:
                return None
            return cls(claim, identity, str(fields["bell"]), timings, float(fields["since"]))
        except (ValueError, KeyError, TypeError):
            return None


def _claims(project: Project, nudge: bool = False) -> list[Claim]:
    """Return all claims, the holder's last."""
    names = files.listing(project.dispatcher, nudge) or ()
    found = [claim for claim in map(Claim.parse, names) if claim]
    found.sort(key=lambda c: c.nonce, reverse=True)
    found.sort(key=lambda c: c.epoch)
    return found


def holder(project: Project, nudge: bool = False) -> Optional[Holder]:
    """Return who holds the lease now, dead or alive; None if nobody does.

    Without ``nudge``: or if nobody did when this host last looked, some 20 seconds ago on SSHFS.
    """
    for attempt in range(10):
        claims = _claims(project, nudge=nudge or attempt > 0)
        if not claims:
            return None
        try:
            data = files.read(f"{project.dispatcher}/{claims[-1]}")
        except OSError:
            continue  # RACE: it beat between the listing and the read
        return Holder.load(claims[-1], data)
    return None


class Lease:
    """Our own claim."""

    def __init__(self, project: Project, bell: str, timings: Timings) -> None:
        self.project = project
        self.timings = timings
        self.nonce = os.urandom(4).hex()
        content = {
            "identity": list(Identity.of(os.getpid())),
            "bell": bell,
            "timings": list(timings),
            "since": time.time(),
        }
        self._content = (json.dumps(content) + "\n").encode()
        self._claim: Optional[Claim] = None
        self._lock = threading.Lock()

    @property
    def epoch(self) -> int:
        """The epoch of our claim (0 before there is one)."""
        return self._claim.epoch if self._claim else 0

    def take(self) -> bool:
        """Claim the next epoch; False if another one did so at the same time and holds it."""
        others = _claims(self.project, nudge=True)
        claim = Claim(others[-1].epoch + 1 if others else 1, self.nonce, 0)
        target = f"{self.project.dispatcher}/{claim}"
        files.publish(self.project.staging(), target, self._content, sync=False)
        self._claim = claim
        if not self.held(nudge=True):
            self.release()
            return False
        for old in others:
            files.remove(f"{self.project.dispatcher}/{old}")  # its owner's next beat fails
        return True

    def held(self, nudge: bool = False) -> bool:
        """Tell whether ours is the claim that holds, by a fresh listing."""
        claims = _claims(self.project, nudge)
        if not claims or self._claim is None:
            return False
        return claims[-1][:2] == self._claim[:2]

    def beat(self) -> bool:
        """Give a sign of life; False: another dispatcher took over."""
        with self._lock:
            if self._claim is None:
                return False
            base, new = self.project.dispatcher, self._claim._replace(beat=self._claim.beat + 1)
            if not files.move(f"{base}/{self._claim}", f"{base}/{new}"):
                return False
            self._claim = new
            return True

    def release(self) -> None:
        """Give the lease up."""
        with self._lock:
            if self._claim is not None:
                files.remove(f"{self.project.dispatcher}/{self._claim}")
                self._claim = None
