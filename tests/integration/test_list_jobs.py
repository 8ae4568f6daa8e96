"""A file of tasks that is dropped into the queue is a job like any other."""

from __future__ import annotations

import json
from pathlib import Path

from harness import FjdEnv, wait_until

from fjd.spool.lists import statusfile

TASKS = "x.tasks"


def rows(env: FjdEnv) -> dict[int, tuple[str, int]]:
    """Return kind and code of each row of the status file that lies beside the list."""
    path = Path(f"{env.filed()[TASKS].path}.status.txt")
    found = [statusfile.parse(line) for line in path.read_bytes().splitlines(keepends=True)]
    return {row.number: (row.kind, row.code) for row in found if row}


def test_dropped(env: FjdEnv) -> None:
    """It is worked off, and lies in done/ with its status file."""
    env.workers(2)
    env.put(TASKS, "# words\n#FJD PREFIX echo \na\n#FJD BARRIER CHECK\nb > $DISBATCH_NAMETASKS\n")
    env.dispatch()
    assert env.outcomes() == {TASKS: "ok"}
    assert rows(env) == {0: (" ", 0), 1: ("C", 0), 2: (" ", 0)}
    assert (env.cwd / TASKS).read_text() == "b\n"


def test_something_else_in_its_directory(env: FjdEnv) -> None:
    """What a user leaves in the directory of a list neither holds up its end nor gets lost."""
    env.known_litter = True  # it is moved out of the way into tmp/
    env.worker()
    env.put(TASKS, "cd $FJD_HOME/default/lists/*; mkdir notes; echo a > notes/b; echo c > .c.swp\n")
    env.dispatch()
    assert env.outcomes() == {TASKS: "ok"}
    assert list(Path(env.project.lists).iterdir()) == []
    kept = [path for path in Path(env.project.tmp).rglob("*") if path.is_file()]
    assert sorted(path.read_text() for path in kept) == ["a\n", "c\n"]


def test_rejected(env: FjdEnv) -> None:
    """One with a wrong line is rejected before anything of it runs, and the reason names it."""
    env.worker()
    env.put(TASKS, "echo > ran\n#FJD BARIER\n")
    env.dispatch(FJD_SETTLE="0.1")
    assert "line 2" in env.why(TASKS)
    assert not (env.cwd / "ran").exists()


def test_retry(env: FjdEnv) -> None:
    """What failed of it is run again, and only that; its status file then tells of all."""
    worker = env.worker()
    env.put(TASKS, "echo >> one\ntest -e two\n#FJD BARRIER\necho >> three\n")
    env.dispatch()
    assert env.outcomes() == {TASKS: "x1"}
    assert rows(env) == {0: (" ", 0), 1: (" ", 1), 2: ("B", 0), 3: (" ", 0)}
    assert "1 of 3 tasks did not end well" in env.run("fjd", "log", TASKS).err
    (env.cwd / "two").touch()
    assert env.run("fjd", "retry", TASKS).code == 0
    assert worker.fired()
    env.worker()
    env.dispatch()
    assert env.outcomes() == {TASKS: "ok"}
    assert rows(env) == {0: ("S", 0), 1: (" ", 0), 2: ("B", 0), 3: ("S", 0)}
    assert [(env.cwd / name).read_text() for name in ("one", "three")] == ["\n", "\n"]
    assert not list(Path(env.project.failed).rglob("*.txt"))


def test_submitted(env: FjdEnv) -> None:
    """``fjd submit`` takes it, however long it is, unless a line is wrong."""
    long = env.cwd / TASKS
    long.write_text("#FJD REPEAT 3 true\n" + "# a comment of some length\n" * 100_000)
    wrong = env.cwd / "wrong.tasks"
    wrong.write_text("true\n#FJD\n")
    env.own(long)
    env.own(wrong)
    refused = env.run("fjd", "submit", str(long), str(wrong))
    assert refused.code != 0
    assert "line 2" in refused.err
    assert env.run("fjd", "submit", str(long)).code == 0
    env.worker()
    env.dispatch()
    assert rows(env) == dict.fromkeys(range(3), (" ", 0))


def test_removed(env: FjdEnv) -> None:
    """Who removes the token of a list has cancelled it; nothing is left of it."""
    env.worker()
    env.put(TASKS, "echo > began; until [ -e go ]; do sleep 0.02; done\ntrue\ntrue\n")
    daemon = env.serve()
    env.wait_file("began")
    (token,) = Path(env.project.lists).glob("*/*,n*")
    token.unlink()
    (env.cwd / "go").touch()
    wait_until(
        lambda: not list(Path(env.project.lists).iterdir()), "it is gone", on_timeout=env.show
    )
    daemon.stop()
    causes = [r["cause"] for r in env.all_records() if r["event"] == "end" and r["task"] is None]
    assert causes == ["its file was removed"]


def test_shown(env: FjdEnv) -> None:
    """``fjd status`` says where it stands, ``fjd log --task`` what one of its tasks printed."""
    env.worker()
    hold = "echo >> began; until [ -e go ]; do sleep 0.02; done\n"
    env.put(TASKS, "echo zero; echo bad >&2; exit 3\n" + hold)
    daemon = env.serve()
    env.wait_file("began")

    def said() -> dict[str, object]:
        (listed,) = json.loads(env.run("fjd", "status", "--json").out)["lists"]
        return {name: listed[name] for name in ("job", "tasks", "finished", "failed", "running")}

    wait_until(
        lambda: said() == {"job": TASKS, "tasks": 2, "finished": 1, "failed": 1, "running": 1},
        "it says so",
        on_timeout=env.show,
    )
    assert f"list\t{TASKS}\t" in env.run("fjd", "status").out
    shown = env.run("fjd", "log", TASKS, "--task", "0")
    assert (shown.code, shown.out) == (0, "zero\n")
    assert "bad\n" in shown.err
    assert "exit code 3" in shown.err
    assert env.run("fjd", "log", TASKS, "--task", "1").code == 3
    (env.cwd / "go").touch()
    wait_until(lambda: TASKS in env.filed(), "it is filed", on_timeout=env.show)
    daemon.stop()
    found = json.loads(env.run("fjd", "log", TASKS, "--task", "1", "--json").out)
    assert (found["record"]["task"], found["out"]) == (1, "")
