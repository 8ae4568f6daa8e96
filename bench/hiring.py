"""Recruiters in a storm: they hire, and are killed in the middle of it, as is whom they hired."""

from __future__ import annotations

import math
import os
import random
import signal
from typing import Callable, Optional

from bench.daemon import Daemon
from fjd.spool import crew
from fjd.spool.project import Project

HIRED = 2  # workers at a time
_HIRE, _FIRE = ("--local-only", "hire", "1"), ("--local-only", "fire")


class Hiring:
    """One recruiter after the other.

    Args:
        recruit: starts ``fjd-recruiter`` with such arguments.

    Attributes:
        kills: of both kinds; ``recruiters``: how many of those were recruiters.
    """

    def __init__(
        self, project: Project, dice: random.Random, recruit: Callable[..., Daemon]
    ) -> None:
        self._project, self._dice, self._recruit = project, dice, recruit
        self.kills = self.recruiters = 0
        self.last: Optional[Daemon] = None
        self._due, self._doom = 0.0, math.inf

    def tick(self, now: float) -> None:
        """Hire somebody every few seconds; kill every other recruiter, or one who was hired."""
        busy = self.last is not None and self.last.alive
        if self.last is not None and busy and now > self._doom:
            self.kills, self.recruiters, self._doom = self.kills + 1, self.recruiters + 1, math.inf
            self.last.send(signal.SIGKILL, [self.last.pid])
        if now < self._due:
            return
        self._due = now + self._dice.uniform(0.5, 1.5)
        cards = [card for _, card in crew.cards(self._project).values()]
        hired = [card for card in cards if card and card.launcher]
        if len(hired) < HIRED and not busy:
            killed = self._dice.random() < 0.5
            self._doom = now + self._dice.uniform(0.0, 0.4) if killed else math.inf
            self.last = self._recruit(*_HIRE)
        elif hired:
            self._kill(self._dice.choice(hired))

    def _kill(self, card: crew.Card) -> None:
        who = self._dice.choice((card.identity, card.guardian))
        if who.alive():
            self.kills += 1
            os.kill(who.pid, signal.SIGKILL)

    def fire(self) -> Daemon:
        """Let a recruiter fire everybody; it ends by itself."""
        self.last = self._recruit(*_FIRE)
        return self.last
