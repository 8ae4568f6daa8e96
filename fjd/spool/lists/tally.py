"""What is counted of a list: which numbers are done with, and how many tasks did not end well."""

from __future__ import annotations

from fjd.spool.lists.covered import Covered, Folded
from fjd.spool.lists.grammar import ENGINE_BASE
from fjd.spool.lists.names import EVER, OFF, PASSED, SKIPPED


class Tally:
    """The counts of one list.

    Attributes:
        done: the tasks that an earlier run has done.
        covered: these, those that are folded, and the barriers that were passed.
        bad: how many of the tasks did not end well, also in an earlier run.
        engines_bad: how many of those are PERENGINE commands.
        cancelled: how many of the tasks were not run, for the list was stopped.
        passed: behind the last barrier that was passed.
    """

    def __init__(self) -> None:
        self.done, self.covered = Covered(), Covered()
        self.bad = self.engines_bad = self.cancelled = self.passed = 0
        self._barriers = 0
        self._learned: list[tuple[int, int]] = []  # failures: from which task on how many
        self._live = 0  # failures that we have counted, since the last barrier

    def learn(self, line: Folded) -> None:
        """Take a line of a progress file; what an earlier run has done comes first."""
        if line.why == SKIPPED:
            self.done.add(line.lo, line.hi)
        if line.why == PASSED:
            self.pass_barriers(line.lo, line.hi)
        elif self.covered.add(line.lo, line.hi) and line.bad:
            self.bad += line.bad
            if line.lo >= ENGINE_BASE:
                self.engines_bad += line.bad
            else:
                self._learned.append((line.lo, line.bad))
                self.cancelled += line.bad if line.why == OFF else 0  # or a few of them failed

    def fail(self, task: int, cancelled: bool = False) -> None:
        """A task did not end well; it is covered now."""
        self.bad += 1
        if task < ENGINE_BASE:
            self._live += 1
            self.cancelled += cancelled
        else:
            self.engines_bad += 1

    def pass_barriers(self, lo: int, hi: int) -> None:
        """Barriers were passed."""
        self._barriers += sum(end - begin for begin, end in self.covered.add(lo, hi))
        if hi > self.passed:
            self.passed, self._live = hi, 0
            self._learned = [found for found in self._learned if found[0] >= hi]

    def failures(self, lo: int, hi: int) -> int:
        """Return how many tasks between two barriers did not end well."""
        live = self._live if lo == self.passed else 0  # all that comes now is behind that one
        return live + sum(number for at, number in self._learned if lo <= at < hi)

    @property
    def tasks(self) -> int:
        """How many tasks are done with, also in an earlier run; PERENGINE commands are none."""
        return self.covered.count - self._barriers - self.covered.within(ENGINE_BASE, EVER)

    @property
    def ended(self) -> int:
        """How many of those have ended."""
        return self.tasks - self.cancelled

    @property
    def failed(self) -> int:
        """How many of those that have ended did not end well."""
        return self.bad - self.engines_bad - self.cancelled
