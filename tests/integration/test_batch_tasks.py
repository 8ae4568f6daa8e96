"""Tasks of fjd-batch as they are run: by which shell, with which words, how many of them."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from batchrun import HOLD, batch, codes, lines_of, rows, status, tasks, wait_lines
from harness import FjdEnv, wait_until

from fjd.batch.prefix import Prefix
from fjd.spool.lists import shelf, statusfile
from fjd.spool.lists.shelf import Shelf
from fjd.spool.project import Project

MIB = 1 << 10  # KiB
LINES = 1_000_000


def test_shell(env: FjdEnv) -> None:
    """Each line is run by /bin/bash -c, alone in its session, with nothing to read."""
    shown = "read -r _ _ _ _ group session _ < /proc/self/stat; echo $$ $group $session $PWD > pid"
    # `read` is bash's own: /proc/self is the shell itself
    tasks(env, f"if [[ $BASH == /bin/bash && $0 == */bash ]]; then {shown}; cat > in; fi")
    assert batch(env, "-p", "run1", "tasks").code == 0
    (row,) = rows(env)
    assert lines_of(env, "pid") == [str(row.pid)] * 3 + [str(env.cwd.resolve())]
    assert (env.cwd / "in").read_bytes() == b""


def test_lines_within_a_task(env: FjdEnv) -> None:
    """A task with line breaks, or of bytes that are no text, has one row, and is known again."""
    text = b"#FJD TASK 29\necho a >> ran\n\n\techo b >> ran\necho $'\xff' >> ran\necho d >> ran\n"
    (env.cwd / "tasks").write_bytes(text)
    done = batch(env, "-p", "run1", "tasks")
    assert done.code == 0, done.err
    assert len(rows(env)) == 3
    found = {row.number: row.command for row in rows(env)}
    assert found[0] == b"echo a >> ran\n\n\techo b >> ran"
    assert found[1] == b"echo $'\xff' >> ran"
    last = (env.cwd / "ran").read_bytes()
    assert sorted(last.split()) == [b"a", b"b", b"d", b"\xff"]
    status(env).write_bytes(b"".join(
        line for line in status(env).read_bytes().splitlines(keepends=True) if b"echo d" not in line
    ))  # fmt: skip
    again = batch(env, "-p", "run2", "-r", "run1_status.txt", "tasks")
    assert again.code == 0, again.err
    assert (env.cwd / "ran").read_bytes() == last + b"d\n"
    assert {row.number: row.kind for row in rows(env, "run2")} == {0: "S", 1: "S", 2: " "}


def test_environment_of_engines(env: FjdEnv) -> None:
    """What an engine runs first and last has numbers of its own, and belongs to no slot."""
    shown = "$DISBATCH_TASKID,$DISBATCH_STREAM_INDEX,$DISBATCH_CYLINDER_RANK,$DISBATCH_ENGINE_RANK"
    tasks(env, *[f"#DISBATCH PERENGINE {w} echo {w},{shown} >> log" for w in ("START",) * 2],
          f"#DISBATCH PERENGINE STOP echo STOP,{shown} >> log", "true")  # fmt: skip
    assert batch(env, "-p", "run1", "tasks").code == 0
    assert lines_of(env, "log") == ["START,0,1,-1,0", "START,1,2,-1,0", "STOP,0,3,-1,0"]


def test_names_of_a_context(env: FjdEnv) -> None:
    """-l names the context of the run, and with it its logs; --no-retire calls nobody."""
    tasks(env, "true")
    done = batch(env, "-l", "lab", "--no-retire", "-p", "run1", "tasks")
    assert done.code == 0, done.err
    assert (env.cwd / "run1_lab.context.log").exists()
    assert len(list(env.cwd.glob("run1_lab_*_engine_0.log"))) == 1


def test_where_the_rows_of_a_dropped_list_are(env: FjdEnv) -> None:
    """While it is worked off they lie in its directory, one by one, and then beside the job."""
    env.worker()
    env.put("x.tasks", f"true\n{HOLD}\n")
    env.serve()

    def said() -> list[bytes]:
        return [path.read_bytes() for path in Path(env.project.lists).glob("*/status.txt")]

    wait_until(lambda: b"".join(said()).count(b"\n") == 1, "a row", on_timeout=env.show)
    (line,) = said()
    row = statusfile.parse(line)
    assert row is not None
    assert (row.number, row.command) == (0, b"true")
    (env.cwd / "go").touch()
    env.wait_for("x.tasks")
    filed = Path(f"{env.filed()['x.tasks'].path}.status.txt")
    assert filed.read_bytes().startswith(line)
    assert filed.read_bytes().count(b"\n") == 2


def test_a_million_lines(env: FjdEnv) -> None:
    """The first task is run before the list is looked through; memory and files are few."""
    text = f"{HOLD}\n" + "echo some words that nobody reads # {}\n" * (LINES - 1)
    (env.cwd / "tasks").write_text(text)
    env.own(env.cwd / "tasks")
    run = env.start("fjd-batch", "-t", "1", "-p", "run1", "tasks")
    wait_lines(env, "began", 1)
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{run.pid}/status").read_text())
    assert peak
    assert int(peak[1]) < 100 * MIB
    name = Prefix(f"{env.cwd.resolve()}/run1").project
    project = Project(name, f"{env.home}/{name}")
    (mark,) = (Shelf(project, key).look().mark for key in shelf.keys(project))
    assert mark is not None
    assert 1 <= mark.n < 1000
    assert sum(1 for path in (env.home / name).rglob("*") if path.is_file()) < 100
    run.signal(signal.SIGINT)
    run.says("finishing what runs")
    (env.cwd / "go").touch()
    assert run.ended(60.0) == 130
    assert set(codes(env).values()) == {0}
