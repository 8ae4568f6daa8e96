"""Engines work lists off: what each runs first and last, how many tasks, how it leaves."""

from __future__ import annotations

import os
from pathlib import Path

from harness import Daemon, FjdEnv, wait_until

from fjd.batch import board
from fjd.spool import contexts
from fjd.spool.contexts import Context
from fjd.spool.lists import shelf, statusfile
from fjd.system.identity import hostname

TASKS = "x.tasks"
START = "#FJD PERENGINE START echo start $DISBATCH_ENGINE_RANK >> log\n"
STOP = "#FJD PERENGINE STOP echo stop $DISBATCH_ENGINE_RANK >> log\n"
RUN = "echo run $DISBATCH_ENGINE_RANK >> log\n"


def context(env: FjdEnv, label: str, limit: int = 0) -> Context:
    """Announce a context with one engine on this host."""
    found = contexts.begin(env.project, label, [(hostname(), 1)], contexts.LOCAL, limit)
    for name in os.listdir(env.project.contexts):
        env.own(f"{env.project.contexts}/{name}")
    return found


def hire(env: FjdEnv, where: Context, cylinder: int = 0) -> Daemon:
    """Start a worker of a context."""
    words = ("--context", where.label, "--engine", str(where.first), "--cylinder", str(cylinder))
    return env.worker(*words)


def rows(env: FjdEnv) -> list[tuple[str, int, int]]:
    """Return kind, number and code of each row, in order."""
    path = Path(f"{env.filed()[TASKS].path}.status.txt")
    found = [statusfile.parse(line) for line in path.read_bytes().splitlines(keepends=True)]
    assert all(found)
    return [(row.kind, row.number, row.code) for row in found if row]


def log(env: FjdEnv) -> list[str]:
    """Return what the tasks have noted."""
    return (env.cwd / "log").read_text().splitlines()


def wait_filed(env: FjdEnv) -> None:
    """Wait until the list is filed."""
    wait_until(lambda: TASKS in env.filed(), "the list is filed", on_timeout=env.show)


def test_first_and_last(env: FjdEnv) -> None:
    """Each engine runs START once before its tasks and STOP once behind them; both have rows."""
    env.worker().stop()  # the project is there
    places = [context(env, label) for label in ("one", "two")]
    for place in places:
        for cylinder in range(2):
            hire(env, place, cylinder)
    env.put(TASKS, START + STOP + STOP + RUN * 40)
    env.serve()
    wait_filed(env)
    said = log(env)
    ranks = {line.split()[1] for line in said if line.startswith("start")}
    assert ranks
    for rank in ranks:
        mine = [line.split()[0] for line in said if line.split()[1] == rank]
        assert (mine[0], mine[-2:]) == ("start", ["stop", "stop"])
        assert mine.count("start") == 1
        assert mine.count("stop") == 2
    found = rows(env)
    assert sorted(found) == sorted(
        [("P", 0, 0)] * len(ranks) * 2
        + [("P", 1, 0)] * len(ranks)
        + [(" ", n, 0) for n in range(40)]
    )


def test_one_after_the_other(env: FjdEnv) -> None:
    """Its first commands run one by one, and its other workers wait; so do its last ones."""
    env.worker().stop()
    one = context(env, "one")
    for cylinder in range(3):
        hire(env, one, cylinder)
    first = [
        f"#FJD PERENGINE {word} echo {word}{n} >> log; sleep 0.4; echo /{word}{n} >> log\n"
        for word in ("START", "STOP")
        for n in range(2)
    ]
    env.put(TASKS, "".join(first) + "echo run >> log; sleep 0.2; echo /run >> log\n" * 9)
    env.serve()
    wait_filed(env)
    said = log(env)
    assert said[:4] == ["START0", "/START0", "START1", "/START1"]
    assert sorted(said[4:-4]) == ["/run"] * 9 + ["run"] * 9
    assert said[-4:] == ["STOP0", "/STOP0", "STOP1", "/STOP1"]


HELD = "#FJD PERENGINE START echo start >> log; until [ -e go ]; do sleep 0.02; done\n"


def test_start_and_the_death_of_the_dispatcher(env: FjdEnv) -> None:
    """What an engine runs is a token like any task: the next dispatcher does not begin it again."""
    env.worker().stop()
    one = context(env, "one")
    for cylinder in range(2):
        hire(env, one, cylinder)
    env.put(TASKS, HELD + STOP + RUN * 6)
    first = env.serve()
    wait_until(lambda: (env.cwd / "log").exists(), "START runs", on_timeout=env.show)
    first.kill()
    first.ended()
    env.serve()
    (env.cwd / "go").touch()
    wait_filed(env)
    assert log(env) == ["start", *[f"run {one.first}"] * 6, f"stop {one.first}"]
    assert sorted(rows(env)) == [*((" ", n, 0) for n in range(6)), ("P", 0, 0), ("P", 0, 0)]


def test_start_and_the_death_of_its_worker(env: FjdEnv) -> None:
    """Another worker of the engine runs it as the next attempt; one row says how that ended."""
    env.worker().stop()
    one = context(env, "one")
    workers = [hire(env, one, cylinder) for cylinder in range(2)]
    env.put(TASKS, HELD + RUN * 6)
    env.serve()
    wait_until(lambda: (env.cwd / "log").exists(), "START runs", on_timeout=env.show)
    busy = next(w for w in workers if w.worker.children())
    busy.kill_worker()
    wait_until(lambda: len(log(env)) == 2, "somebody else runs it", on_timeout=env.show)
    (env.cwd / "go").touch()
    wait_filed(env)
    assert log(env) == ["start", "start", *[f"run {one.first}"] * 6]
    assert sorted(rows(env)) == [*((" ", n, 0) for n in range(6)), ("P", 0, 0)]


def test_plain_workers(env: FjdEnv) -> None:
    """Workers of no context are one engine on each host; a START that fails stops nobody."""
    env.workers(2)
    env.put(
        TASKS, "#FJD PERENGINE START echo start >> log; exit 4\n" + STOP + "echo run >> log\n" * 6
    )
    env.serve()
    wait_filed(env)
    said = log(env)
    assert (said[0], said[-1]) == ("start", "stop -1")
    assert said[1:-1] == ["run"] * 6
    assert ("P", 0, 4) in rows(env)
    assert env.outcomes() == {TASKS: "x1"}


def test_start_of_the_dead(env: FjdEnv) -> None:
    """What an engine that is gone began is not waited for; others run their own."""
    env.worker().stop()
    one, two = context(env, "one"), context(env, "two")
    first = hire(env, one)
    env.put(
        TASKS, "#FJD PERENGINE START echo >> began; until [ -e go ]; do sleep 0.02; done\n" + RUN
    )
    env.serve()
    env.wait_file("began")
    first.kill()
    hire(env, two)
    (env.cwd / "go").touch()
    wait_filed(env)
    assert log(env) == [f"run {two.first}"]
    assert sorted(rows(env)) == [(" ", 0, 0), ("P", 0, 0)]


def test_limit_counts_retries(env: FjdEnv) -> None:
    """What a context ran and somebody tries again is among the tasks that it has had."""
    env.worker().stop()
    short = context(env, "short", limit=3)
    worker = hire(env, short)
    env.put(TASKS, f"{RUN.strip()}; [ $DISBATCH_ENGINE_RANK != {short.first} ]\n" * 5)
    env.dispatcher("--keep-running", "--retries", "1")
    assert worker.ended() == 0
    assert log(env) == [f"run {short.first}"] * 3
    env.worker()
    wait_filed(env)
    assert sorted(log(env)) == ["run -1"] * 5 + [f"run {short.first}"] * 3
    assert env.outcomes() == {TASKS: "ok"}


def test_limit_counts_losses(env: FjdEnv) -> None:
    """So is what it lost with a worker."""
    env.worker().stop()
    short = context(env, "short", limit=2)
    first = hire(env, short)
    env.put(TASKS, f"{RUN.strip()}; until [ -e go ]; do sleep 0.02; done\n" * 5)
    dispatcher = env.serve()
    wait_until(lambda: (env.cwd / "log").exists(), "a task runs", on_timeout=env.show)
    first.kill()
    dispatcher.says("no workers")
    second = hire(env, short, 1)
    wait_until(lambda: len(log(env)) == 2, "it runs again", on_timeout=env.show)
    (env.cwd / "go").touch()
    assert second.ended() == 0
    env.worker()
    wait_filed(env)
    assert sorted(log(env)) == ["run -1"] * 4 + [f"run {short.first}"] * 2


def test_limit(env: FjdEnv) -> None:
    """A context gets as many tasks as it may have, and leaves; others do the rest."""
    env.worker().stop()
    short = context(env, "short", limit=3)
    worker = hire(env, short)
    env.put(TASKS, STOP + RUN * 10)
    env.serve()
    assert worker.ended() == 0
    assert log(env) == [f"run {short.first}"] * 3 + [f"stop {short.first}"]
    other = context(env, "other")
    hire(env, other)
    wait_filed(env)
    assert log(env)[4:] == [f"run {other.first}"] * 7 + [f"stop {other.first}"]


def test_asked_to_stop(env: FjdEnv) -> None:
    """An engine that is asked to stop ends what runs, runs STOP and leaves; nothing is lost."""
    env.worker().stop()
    one = context(env, "one")
    worker = hire(env, one)
    hold = "echo >> began; until [ -e go ]; do sleep 0.02; done; "
    env.put(TASKS, STOP + (hold + RUN) * 3)
    daemon = env.serve()
    env.wait_file("began")
    contexts.ask_to_stop(env.project, one.ranks)
    for name in os.listdir(env.project.contexts):
        env.own(f"{env.project.contexts}/{name}")

    def alone() -> bool:
        (seen,) = (board.read(env.project, key) for key in shelf.keys(env.project))
        return seen is not None and seen.engines[0].assigned == 1

    wait_until(alone, "what waits is taken back", on_timeout=env.show)
    (env.cwd / "go").touch()
    assert worker.ended() == 0
    assert log(env) == [f"run {one.first}", f"stop {one.first}"]
    two = context(env, "two")
    hire(env, two)
    wait_filed(env)
    assert log(env)[2:] == [f"run {two.first}"] * 2 + [f"stop {two.first}"]
    daemon.stop()


def test_board(env: FjdEnv) -> None:
    """The board says where a list stands, and who does what."""
    env.worker().stop()
    one = context(env, "one")
    hire(env, one)
    hold = "echo >> began; until [ -e go ]; do sleep 0.02; done\n"
    env.put(TASKS, "true\nfalse\n#FJD BARRIER\n" + hold + "#FJD BARRIER\n#FJD REPEAT 1000 true\n")
    env.serve()
    env.wait_file("began")

    def seen() -> board.Board:
        (key,) = shelf.keys(env.project)
        return board.read(env.project, key) or board.Board(None, 0, 0, 0, True, None, 0.0, ())

    wait_until(
        lambda: (seen().finished, seen().barrier) == (2, 4), "it says so", on_timeout=env.show
    )
    said = seen()
    assert (said.tasks, said.failed, said.running) == (1003, 1, 1)
    (engine,) = said.engines
    assert engine[:8] == (one.first, "one", hostname(), 1, 0, 3, 2, 1)
    (env.cwd / "go").touch()
    wait_filed(env)
