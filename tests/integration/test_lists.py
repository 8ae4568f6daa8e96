"""Lists with real processes: every task is counted once, whoever is killed meanwhile."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
from harness import FjdEnv, wait_until

from fjd.spool.lists import covered, ends, shelf, statusfile, submission
from fjd.spool.lists.names import Piece
from fjd.spool.lists.shelf import Shelf
from fjd.spool.project import Project

TASKS = 700
FAST = {"FJD_LEASE": "2", "FJD_HEARTBEAT": "0.4", "FJD_POLL": "0.2", "FJD_NUDGE": "0.4"}
HOLD = "if [ %d = 1 ]; then echo 1 > began; until [ -e go ]; do sleep 0.02; done; fi"


def submit(env: FjdEnv, count: int, command: str) -> Shelf:
    """Submit a list as who runs the daemons; they have made the project."""
    project = Project(env.project.name, env.project.root)
    project.tmp = env.project.lists  # the same file system, and nobody sweeps it
    place = submission.submit(project, "x.tasks", (os.fsencode(command % n) for n in range(count)))
    for path in (place.path, *(f"{place.path}/{name}" for name in os.listdir(place.path))):
        env.own(path)
    return place


class Witness:
    """Keeps the progress files of a list beyond its end, by a second name for each."""

    def __init__(self, env: FjdEnv, place: Shelf) -> None:
        self.place, self.kept = place, env.root / "witness"
        self.project = env.project
        self.kept.mkdir()

    def look(self) -> bool:
        """See what there is; True once the list is gone."""
        try:
            names = os.listdir(self.place.path)
        except FileNotFoundError:
            return True
        assert len(names) < 100
        for name in names:
            if name.startswith(covered.PROGRESS) and not (self.kept / name).exists():
                os.link(self.place.place(name), self.kept / name)
        return False

    def counted(self) -> dict[int, tuple[str, int, str]]:
        """Return (worker, attempt, outcome) of each task; nobody may be counted twice."""
        found: dict[int, tuple[str, int, str]] = {}
        for path in self.kept.iterdir():
            for line in covered.lines(str(path)):
                piece = Piece("a" * 10, line.lo, line.hi, 0, line.attempt, 0, line.extra)
                seen = ends.read(self.project, self.place.key, piece, line.worker, line.at)
                for task in piece.tasks():
                    record = seen.records.get(task)
                    end = (line.worker, piece.number(task), record["outcome"] if record else "lost")
                    assert found.setdefault(task, end) == end
        return found


def test_list(env: FjdEnv) -> None:
    """A list is worked off beside single jobs, with its output and its records."""
    env.workers(2)
    env.job("single", "echo single; :")
    place = submit(env, 50, 'echo "%d $FJD_TASK $FJD_ATTEMPT"; exit 0')
    witness = Witness(env, place)
    daemon = env.serve()
    wait_until(witness.look, "the list is done", on_timeout=env.show)
    wait_until(lambda: len(env.filed()) == 2, "both are filed", on_timeout=env.show)
    daemon.stop()
    assert env.outcomes() == {"single": "ok", "x.tasks": "ok"}
    records = {
        r["task"]: r
        for r in env.all_records()
        if r["event"] == "end" and r["key"] == place.key and r["task"] is not None
    }
    assert records.keys() == set(range(50))
    for task, record in records.items():
        start, length = record["out"]
        path = Path(env.project.output_file(record["worker"], "out"))
        assert path.read_bytes()[start : start + length] == b"%d %d 1\n" % (task, task)


def test_killed(env: FjdEnv) -> None:
    """Hundreds of tasks while workers and dispatchers are killed: each is counted once."""
    chance = random.Random(5)
    crew, daemon, kills = env.workers(3), env.serve(), 0
    place = submit(env, TASKS, f"echo %d >> {env.cwd}/ran")
    witness = Witness(env, place)
    until = time.monotonic() + 60.0
    while not witness.look() and time.monotonic() < until:
        time.sleep(0.1)
        if kills < 12:
            kills += 1
            victim = crew.pop(chance.randrange(len(crew)))
            victim.says("Started with ID ")
            victim.kill_worker() if chance.random() < 0.7 else victim.kill()
            crew.append(env.start("fjd-worker"))
            if kills % 5 == 0:
                daemon.kill()
                daemon.ended()
                daemon = env.serve()
        witness.look()
    wait_until(lambda: "x.tasks" in env.filed(), "the list is filed", on_timeout=env.show)
    counted = witness.counted()
    assert counted.keys() == set(range(TASKS))
    assert {outcome for _, _, outcome in counted.values()} == {"ok"}
    with open(f"{env.filed()['x.tasks'].path}.status.txt", "rb") as status:
        rows = [row for row in map(statusfile.parse, status) if row]
    assert Counter(row.number for row in rows) == Counter(range(TASKS)), "one row each"
    ran = Counter(map(int, (env.cwd / "ran").read_text().split()))
    assert ran.keys() == set(range(TASKS))
    extra = sum(ran.values()) - TASKS
    print(f"{kills} kills, {extra} tasks ran again")
    assert extra <= 2 * kills
    assert kills >= 5
    assert shelf.keys(env.project) == []


def test_frozen(env: FjdEnv) -> None:
    """A worker that stood still in the middle of a piece goes on in vain; what it did counts."""
    env.env.update(FAST)
    frozen, dispatcher = env.worker(), env.serve()
    place = submit(env, 4, HOLD)
    witness = Witness(env, place)
    env.wait_file("began")
    first = frozen.id
    # Guardian, worker and the task's shell; what the shell starts are short sleeps.
    processes = [psutil.Process(frozen.pid), frozen.worker, *frozen.worker.children()]
    for process in processes:
        process.suspend()
    try:
        other = env.worker()
        dispatcher.says(f"worker {first} on {os.uname().nodename} gave no sign of life for 2 s")
        witness.look()
        (env.cwd / "go").touch()
        wait_until(witness.look, "the list is done", on_timeout=env.show)
    finally:
        for process in reversed(processes):
            with suppress(psutil.NoSuchProcess):  # what thaws first ends the others
                process.resume()
    counted = witness.counted()
    assert counted[0] == (first, 1, "ok")
    assert counted[1] == (other.id, 2, "ok")
    assert counted[3] == (other.id, 1, "ok")
    assert counted.keys() == set(range(4))
    wait_until(lambda: len(frozen.ids) == 2, "it starts over", 10.0, env.show)
