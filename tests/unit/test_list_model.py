"""The protocol of lists as a model: every system call is a point at which anything else may happen.

Nothing of fjd runs here: the model is the page in ``fjd/spool/lists/__init__.py`` in sixty lines of
actors, so that a wrong idea shows before it is code. Actors are generators; each ``yield`` stands
before one system call. They crash (never resumed), stand still and go on as zombies, read listings
that are stale, and get no reply from renames that took place; two dispatchers work at once, with
different ideas of how large a piece is and of who may try again.

More schedules: FJD_MODEL=20000 (or any number) in the environment.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Generator
from typing import Any, NamedTuple, Optional

import pytest

SCHEDULES = int(os.environ.get("FJD_MODEL", "0")) or 200
LIMIT = 3  # crashes before a task is lost; fewer than fjd has, so that it happens more often
TASKS = 9

Step = Generator[None, None, Any]


class P(NamedTuple):
    """A piece's name (or the mark's: ``birth`` is then "mark", and ``hi`` the number)."""

    birth: Any
    lo: int
    hi: int
    s: int = 0
    a: int = 1
    f: int = 0
    e: int = 0
    c: int = 0
    b: Any = None
    state: str = ""
    worker: str = ""
    k: int = -1
    z: int = -1

    def next(self, **changes: Any) -> P:  # noqa: ANN401
        """Return the name after one more rename."""
        return self._replace(s=self.s + 1, **changes)


class Violation(AssertionError):
    """What must never be."""


def need(condition: object, *what: object) -> None:
    """Let the schedule fail unless the condition holds."""
    if not condition:
        raise Violation(*what)


Path = tuple[str, P]


class World:
    """The file system, the actors, and what an observer knows who sees everything."""

    def __init__(
        self, seed: int, mutant: str = "", faults: bool = True, harsh: bool = False
    ) -> None:
        self.dice = random.Random(seed)
        self.mutant, self.faults = mutant, faults
        self.no_reply, self.suspicion = (0.5, 0.3) if harsh else (0.1, 0.06)
        self.dirs: dict[str, set[P]] = {"list": {P("mark", 0, 0)}}
        self.old: dict[str, set[P]] = {}
        self.ever: set[Path] = {("list", P("mark", 0, 0))}
        self.records: dict[str, list[tuple[int, int, str]]] = {}
        self.progress: dict[str, list[tuple[int, int, str, int, int]]] = {}
        self.births = self.names = self.crashes = 0
        self.begun: list[tuple[int, int, str]] = []
        self.held: dict[tuple[Any, str], int] = {}  # records there were when a piece was taken
        self.late = 0
        self.failing = {t: self.dice.choice([0, 0, 0, 1, 2]) for t in range(TASKS)}
        self.poison = self.dice.randrange(TASKS) if faults and seed % 3 == 0 else -1
        self.dead: set[str] = set()  # workers that do nothing more
        self.buried: set[str] = set()
        self.actors: dict[str, Step] = {}
        self.frozen: dict[str, int] = {}

    # -- system calls; the caller yields before each ------------------------------------------

    def ls(self, where: str, nudge: bool = False) -> list[P]:
        """List a directory; without a nudge perhaps as it was a while ago."""
        now = self.dirs.get(where, set())
        if not nudge and self.faults and self.dice.random() < 0.2:
            now = self.old.get(where, now)
        if self.dice.random() < 0.3:
            self.old[where] = set(self.dirs.get(where, set()))
        return sorted(now, key=lambda p: (p.lo, p.hi, str(p)))

    def create(self, where: str, name: P) -> None:
        """Write a file under a fresh name."""
        need((where, name) not in self.ever, "a name comes twice", name)
        self.ever.add((where, name))
        self.dirs[where].add(name)
        self.check()

    def remove(self, where: str, name: P) -> None:
        """Unlink."""
        self.dirs[where].discard(name)
        self.check()

    def move(self, source: Path, target: Path) -> Step:
        """Rename as ``files.move`` does; False may be wrong if the reply was lost."""
        while True:
            if target[0] in self.dirs and source[1] in self.dirs.get(source[0], ()):
                need(target not in self.ever, "a name comes twice", target)
                self.ever.add(target)
                self.dirs[source[0]].discard(source[1])
                self.dirs[target[0]].add(target[1])
                self.observe(source[1], target[1])
                self.check()
                if not self.faults or self.dice.random() > self.no_reply:
                    return True
                for _ in range(self.dice.choice([0, 0, 5, 60])):
                    yield  # the reply is lost, and the question is asked again much later
            yield
            if target[1] in self.dirs.get(target[0], ()):
                return True
            yield
            if source[1] not in self.dirs.get(source[0], ()) or target[0] not in self.dirs:
                return False

    # -- what must hold -----------------------------------------------------------------------

    def observe(self, old: P, new: P) -> None:
        """Note what had been done when a piece was taken from its worker; judge the judges."""
        if new.worker and new.k < 0:
            self.held[new.birth, new.worker] = self.prefix(new, new.worker)
        elif old.worker and old.k < 0 <= new.k:
            need(new.k >= self.held[new.birth, new.worker], "finished in time, not counted", new)

    def prefix(self, piece: P, worker: str) -> int:
        """Return the first task of a piece of which there is no record."""
        done = {(t, a) for t, a, _ in self.records[worker]}
        k = piece.lo
        while k < piece.hi and (k, attempt(piece, k)) in done:
            k += 1
        return k

    def tokens(self) -> list[tuple[P, str]]:
        """Return every token that is born."""
        found = [(p, where) for where, names in self.dirs.items() for p in names]
        bearers = {p.b for p, _ in found}
        return [(p, w) for p, w in found if p.birth != "mark"
                and (p.state != "new" or p.birth in bearers)]  # fmt: skip

    def mark(self) -> P:
        """Return the mark."""
        (mark,) = (p for p in self.dirs["list"] if p.birth == "mark")
        return mark

    def check(self) -> None:
        """Each task below the mark lies in one token, or is folded, or both by the same worker."""
        where: dict[int, P] = {}
        for piece, _ in self.tokens():
            for t in range(piece.lo, piece.hi):
                need(t not in where, "two tokens", t, piece, where.get(t))
                where[t] = piece
        counted = self.counted()
        for t in range(self.mark().hi):
            need(t in where or t in counted, "no token", t)
            if t in where and t in counted:
                piece = where[t]
                need(piece.k > t and piece.worker == counted[t][0], "counted and alive", t, piece)

    def counted(self) -> dict[int, tuple[str, int, str]]:
        """Return who counts for each folded task: (worker, attempt, outcome)."""
        found: dict[int, tuple[str, int, str]] = {}
        for lines in self.progress.values():
            for lo, hi, worker, a, e in lines:
                for t in range(lo, hi):
                    number = a + (e if t == lo else 0)
                    ends = [o for u, b, o in self.records.get(worker, ()) if (u, b) == (t, number)]
                    end = (worker, number, ends[0] if ends else "lost")
                    need(found.setdefault(t, end) == end, "counted twice", t, end, found[t])
        return found

    # -- time ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Let everybody act in any order until all is folded; then look at the sums."""
        self.actors = {"d0": dispatcher(self, "d0"), "d1": dispatcher(self, "d1")}
        for _ in range(3):
            self.hire()
        for step in range(6000):
            if step % 8 == 0 and self.mark().hi == TASKS and not self.tokens():
                break
            self.one(calm=step > 2500)
        else:
            raise Violation("it does not end", self.dirs)
        self.sum_up()

    def hire(self) -> None:
        """A new worker comes."""
        self.names += 1
        name = f"w{self.names}"
        self.records[name], self.dirs[name] = [], set()
        self.actors[name] = worker(self, name)

    def one(self, calm: bool) -> None:
        """Let somebody make one step, or let something happen."""
        name = self.dice.choice(list(self.actors))
        chance = self.dice.random()
        if self.faults and not calm and chance < 0.01:
            self.crash(name)
            return
        if self.faults and not calm and chance < 0.02:
            self.frozen[name] = self.dice.choice([10, 100, 300])
        if self.frozen.get(name, 0) > 0:
            self.frozen[name] -= self.dice.randrange(20)
            return
        try:
            next(self.actors[name])
        except StopIteration:
            self.crash(name)

    def crash(self, name: str) -> None:
        """Somebody never comes back; another one takes the place."""
        self.crashes += 1
        del self.actors[name]
        if name[0] == "d":
            fresh = f"d{len(self.progress) + self.crashes + 2}"
            self.actors[fresh] = dispatcher(self, fresh)
        else:
            self.dead.add(name)
            self.hire()

    def sum_up(self) -> None:
        """Everything is counted once, and the attempts add up."""
        counted = self.counted()
        need(len(counted) == TASKS, "not all are counted", counted)
        for twice, count in Counter(self.begun).items():
            need(count == 1, "one worker ran one attempt twice", twice)
        for t, (_, number, outcome) in counted.items():
            numbers = [a for u, a, _ in self.begun if u == t]
            need(max(numbers, default=1) <= number, "an attempt after the last", t, numbers)
            need(outcome != "lost" or t == self.poison or self.crashes >= LIMIT, "lost", t)
            if not self.faults:
                need(len(numbers) == number <= 3, "ran again without a reason", t, numbers)
        ran = Counter((t, a) for t, a, _ in self.begun)
        self.late = sum(ran.values()) - len(ran)


def attempt(piece: P, t: int) -> int:
    """Return the number of the attempt at one task of a piece."""
    return piece.a + (piece.e if t == piece.lo else 0)


# -- the actors ----------------------------------------------------------------------------------


def deliver(w: World, name: P) -> Step:
    """Let the child that a name speaks of be a token of its own."""
    if name.b is None or w.mutant == "not delivered":
        return
    yield
    for child in w.ls("list", nudge=True):
        if child.birth == name.b and child.state == "new":
            yield
            yield from w.move(("list", child), ("list", born(child)))


def born(child: P) -> P:
    """Return what an unborn piece is called when it is delivered."""
    return child.next(state="end" if child.worker else "")


def bear(w: World, parent: Path, target: P, child: dict[str, Any]) -> Step:
    """Give a range of a token to a new one; True if that was decided through us."""
    yield from deliver(w, parent[1])
    w.births += 1
    new = P(w.births, state="new", **child)
    yield
    w.create("list", new)
    yield
    won = yield from w.move(parent, (parent[0], target._replace(b=new.birth)))
    if not won:
        if w.mutant == "loser unlinks":
            yield
            w.remove("list", new)
        return False
    yield
    yield from w.move(("list", new), ("list", born(new)))
    return True


def dispatcher(w: World, me: str) -> Step:
    """Look and do whatever comes to mind first, for ever."""
    w.progress[me] = []
    size = w.dice.choice([1, 2, 3, 5])
    retries = w.dice.choice([0, 1, 2]) if w.faults else 2
    memory = 0
    while True:
        yield
        names = w.ls("list")
        few = sum(p.state != "new" for p in names) < 6
        for p in names:
            if p.birth == "mark":
                yield from deliver(w, p)
                lo = min(memory, TASKS) if w.mutant == "cut by memory" else p.hi
                hi = min(lo + size, TASKS)
                if lo < hi and few and w.mutant == "cut by memory":
                    yield
                    w.births += 1
                    w.create("list", P(w.births, lo, hi))
                    memory = hi
                    yield
                    yield from w.move(("list", p), ("list", p.next(hi=max(hi, p.hi))))
                elif lo < hi and few:
                    yield from bear(w, ("list", p), p.next(hi=hi), {"lo": lo, "hi": hi})
            elif p.state == "new":
                continue
            elif not p.worker:
                to = w.dice.choice(list(w.records))
                if to not in w.buried:
                    yield
                    yield from deliver(w, p)
                    yield
                    yield from w.move(("list", p), (to, p.next(b=None)))
            elif p.k < 0:
                yield from judge(w, p)
            else:
                yield from fold(w, me, p, retries)
        for name in list(w.records):
            holds = any(p.state == "run" for p in w.dirs.get(name, ()))
            suspect = w.faults and holds and w.dice.random() < w.suspicion
            if name in w.buried and w.dirs.get(name):
                yield from bury(w, name)
            elif name not in w.buried and (name in w.dead or suspect):
                yield
                w.buried.add(name)
                yield from bury(w, name)


def bury(w: World, name: str) -> Step:
    """Take everything away from a worker."""
    why = "dead" if name in w.dead else "gone"
    yield
    for p in w.ls(name, nudge=True):
        rest = p.next(state="")
        if p.state != "run":
            yield from deliver(w, p)
            yield
            yield from w.move((name, p), ("list", rest._replace(b=None)))
        elif w.mutant == "remainder first":
            yield
            k = w.prefix(p, name)
            w.births += 1
            w.create("list", P(w.births, k, p.hi, a=p.a, e=1))
            yield
            yield from w.move((name, p), ("list", p.next(state=why, worker=name, k=k, hi=k)))
        elif w.mutant == "records first":
            yield
            k = w.prefix(p, name)
            yield
            taken = p.next(state=why, worker=name)
            if (yield from w.move((name, p), ("list", taken))):
                yield
                yield from judge(w, taken, k)
        else:
            yield
            yield from w.move((name, p), ("list", p.next(state=why, worker=name)))


def judge(w: World, p: P, known: Optional[int] = None) -> Step:
    """Say how far the records of a taken piece count."""
    yield from deliver(w, p)
    yield
    k = w.prefix(p, p.worker) if known is None else known
    state = p.state
    if k < p.hi and state == "dead" and (p.c if k == p.lo else 0) + 1 >= LIMIT:
        k, state = k + 1, "lost"
    yield
    yield from w.move(("list", p), ("list", p.next(state=state, k=k, b=None)))


def fold(w: World, me: str, p: P, retries: int) -> Step:
    """Count what is final, seal or retry what failed, let the rest go on."""
    yield from deliver(w, p)
    yield
    k = w.prefix(p, p.worker) if w.mutant == "late counted" and p.state in ("gone", "dead") else p.k
    ends = {(t, a): o for t, a, o in w.records[p.worker]}

    def failed(t: int) -> bool:
        return ends.get((t, attempt(p, t)), "") == "failed"

    final = p.lo
    while final < k and (final < p.z or not failed(final)):
        final += 1
    if final > p.lo:
        yield
        w.progress[me].append((p.lo, final, p.worker, p.a, p.e))
        w.check()
    if final < k:
        stop = final
        while stop < k and failed(stop):
            stop += 1
        if p.f < retries:
            child = {"lo": final, "hi": stop, "a": attempt(p, final) + 1, "f": p.f + 1}
            yield from bear(w, ("list", p), p.next(lo=stop, e=0, c=0), child)
        elif w.mutant == "not sealed":
            yield
            w.progress[me].append((final, stop, p.worker, p.a, p.e if final == p.lo else 0))
            yield
            yield from w.move(("list", p), ("list", p.next(lo=stop, e=0, c=0, b=None)))
        else:
            yield
            yield from w.move(("list", p), ("list", p.next(z=stop, b=None)))
        return
    if k == p.hi:
        yield
        w.remove("list", p)
        return
    first = k == p.lo
    # A crash counts for the task at which the records stop, unless the worker was merely given up.
    crashes = (p.c if first else 0) + (p.state == "dead")
    rest = p.next(lo=k, state="", worker="", k=-1, z=-1, b=None)
    rest = rest._replace(c=crashes, e=(p.e if first else 0) + 1)
    if p.state == "lost":
        rest = rest._replace(c=0, e=0)
    yield
    yield from w.move(("list", p), ("list", rest))


def worker(w: World, me: str) -> Step:
    """Run what lies in the pod; notice now and then that one was buried."""
    while not (me in w.buried and w.dice.random() < 0.3):
        yield
        for p in w.ls(me):
            if p.state == "":
                yield
                if (yield from w.move((me, p), (me, p._replace(state="run")))):
                    yield from run(w, me, p._replace(state="run"))


def run(w: World, me: str, p: P) -> Step:
    """Run the tasks of a piece in order, one record each before the next begins."""
    t = p.lo
    while t < p.hi:
        number = attempt(p, t)
        w.begun.append((t, number, me))
        for _ in range(w.dice.choice([0, 2, 4])):
            yield
        if t == w.poison:
            while True:  # it takes its worker down
                w.frozen.pop(me, None)
                w.crash(me)
                yield
        if t > p.lo and w.dice.random() < 0.15:
            rest = p.next(lo=t, e=0, c=0)
            head = {"lo": p.lo, "hi": t, "a": p.a, "f": p.f, "e": p.e, "c": p.c}
            if not (yield from bear(w, (me, p), rest, {**head, "worker": me, "k": t})):
                return
            p = rest._replace(b=w_child(w, me, rest))
        if p.hi > t + 1 and w.dice.random() < 0.15:
            short = p.next(hi=t + 1)
            child = {"lo": t + 1, "hi": p.hi, "a": p.a, "f": p.f}
            if not (yield from bear(w, (me, p), short, child)):
                return
            p = short._replace(b=w_child(w, me, short))
        yield
        failed = w.failing[t] >= number and p.f < w.failing[t]
        w.records[me].append((t, number, "failed" if failed else "ok"))
        t += 1
    yield
    if me in w.dirs:
        yield from w.move((me, p), ("list", p.next(state="end", worker=me, k=p.hi)))


def w_child(w: World, me: str, short: P) -> Any:  # noqa: ANN401
    """Return what a worker knows of the name that it has just given to its piece."""
    return next((p.b for p in w.dirs[me] if p._replace(b=None) == short._replace(b=None)), None)


# -- the tests -----------------------------------------------------------------------------------


def test_schedules() -> None:
    """Whatever happens in whatever order, each task is counted once."""
    late = crashes = 0
    for seed in range(SCHEDULES):
        world = World(seed, harsh=seed % 4 == 0)
        try:
            world.run()
        except Violation as error:
            pytest.fail(f"schedule {seed}: {error}")
        late, crashes = late + world.late, crashes + world.crashes
    assert late > SCHEDULES / 20  # there were zombies
    assert crashes > SCHEDULES


def test_without_faults() -> None:
    """Two dispatchers and nothing else: no task runs once more than its failures allow."""
    for seed in range(SCHEDULES // 4):
        World(seed, faults=False).run()


MUTANTS = [
    "late counted",
    "cut by memory",  # a range cut twice
    "remainder first",
    "records first",
    "not delivered",
    "loser unlinks",
    "not sealed",
]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutants(mutant: str) -> None:
    """A protocol that is wrong in one point is found out."""
    for seed in range(20 * SCHEDULES):
        try:
            World(seed, mutant, harsh=seed % 2 == 0).run()
        except Violation:
            return
    pytest.fail(f"nothing was noticed: {mutant}")
