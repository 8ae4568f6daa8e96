"""What a task of a list is given, what its row says, and how it is ended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

import pytest
from harness import FjdEnv, wait_until

from fjd.spool.lists import statusfile, submission
from fjd.spool.lists.shelf import Shelf
from fjd.spool.lists.terms import Terms
from fjd.spool.project import Project


class Listed:
    """A list with a status file, submitted as who runs the daemons."""

    def __init__(self, env: FjdEnv, text: bytes, terms: Optional[Terms] = None) -> None:
        self.env, self.status = env, env.cwd / "status.txt"
        terms = (terms or Terms())._replace(status=str(self.status))
        source = env.cwd / "tasks"
        source.write_bytes(text)
        project = Project(env.project.name, env.project.root)
        project.tmp = env.project.lists  # the same file system, and nobody sweeps it
        self.place: Shelf = submission.submit(project, "tasks", str(source), terms)
        for path in (self.place.path, *(self.place.place(n) for n in os.listdir(self.place.path))):
            env.own(path)

    def rows(self) -> dict[int, statusfile.Row]:
        """Return the rows that are there."""
        if not self.status.exists():
            return {}
        lines = self.status.read_bytes().splitlines(keepends=True)
        return {row.number: row for row in map(statusfile.parse, lines) if row}

    def halt(self) -> None:
        """Stop it at once, as who runs the daemons: they read what only its owner may read."""
        code = (
            "from fjd.spool.project import Project; from fjd.spool.lists.halt import Halt, publish;"
            " from fjd.spool.lists.shelf import Shelf;"
            f" place = Shelf(Project.open({self.env.project.name!r}), {self.place.key!r});"
            " publish(place, Halt('enough', now=True))"
        )
        assert self.env.python(code).wait(20) == 0

    def wait(self) -> dict[int, statusfile.Row]:
        """Wait until the list is filed; return its rows."""
        self.env.serve()
        wait_until(lambda: "tasks" in self.env.filed(), "it is filed", on_timeout=self.env.show)
        return self.rows()


def test_environment(env: FjdEnv) -> None:
    """A task finds where it stands, under disBatch's names, and starts where the terms say."""
    (env.cwd / "below").mkdir()
    env.own(env.cwd / "below")
    env.worker("--context", "lab", "--engine", "3", "--cylinder", "2")
    terms = Terms(name="T", run="run1", cwd=str(env.cwd / "below"), cores="0.5", kvs="h:1",
                  env={"MORE": "than that"})  # fmt: skip
    show = b"{ pwd; env | grep -E '^(DISBATCH|MORE)' | sort; } > ../"
    rows = Listed(env, b"#FJD REPEAT 1 start 7 %brep\n%bplain\n" % (show, show), terms).wait()
    assert [rows[n].code for n in (0, 1)] == [0, 0]
    where, *said = (env.cwd / "rep").read_text().splitlines()
    assert where == str(env.cwd / "below")
    assert said == [
        "DISBATCH_CORES_PER_TASK=0.5",
        "DISBATCH_CYLINDER_RANK=2",
        "DISBATCH_ENGINE_RANK=3",
        "DISBATCH_JOBID=run1",
        "DISBATCH_KVSSTCP_HOST=h:1",
        "DISBATCH_NAMETASKS=T",
        "DISBATCH_REPEAT_INDEX=7",
        "DISBATCH_REPEAT_INDEX_ZP=000007",
        "DISBATCH_STREAM_INDEX=1",
        "DISBATCH_STREAM_INDEX_ZP=000001",
        "DISBATCH_TASKID=0",
        "DISBATCH_TASKID_ZP=000000",
        "MORE=than that",
    ]
    plain = (env.cwd / "plain").read_text()
    assert "DISBATCH_REPEAT_INDEX=-1\nDISBATCH_REPEAT_INDEX_ZP=-00001\n" in plain
    assert "DISBATCH_STREAM_INDEX=2\n" in plain


def test_rows(env: FjdEnv) -> None:
    """A row says what was printed, how it ended, and the command byte for byte."""
    env.worker()
    lines = [
        b"echo leak; echo err >&2; exit 3",
        b"printf '%0.sx' {1..100}",
        b"kill -9 $$",
        b"nosuchcommand 2> /dev/null",
        b"printf '\xff\t' > bytes",
        b"exit 300",
    ]
    rows = Listed(env, b"".join(line + b"\n" for line in lines)).wait()
    assert [rows[n].command for n in range(6)] == lines
    assert [rows[n].code for n in range(6)] == [3, 0, -9, 127, 0, 44]
    assert [(rows[n].out, rows[n].err) for n in (0, 1)] == [(5, 4), (100, 0)]
    text = (env.cwd / "status.txt").read_bytes()
    assert b"ROE \t0\t1\t-1\t" in text
    assert b"\t5\t'leak\\n'\t4\t'err\\n'\techo leak;" in text
    shown = b"x" * 40
    assert b"\t100\t'%b...%b'\t0\t''\t" % (shown, shown) in text
    assert (env.cwd / "bytes").read_bytes() == b"\xff\t"


def test_long_command(env: FjdEnv) -> None:
    """A line of a megabyte runs, and so does one that is just too long for a command line."""
    env.worker()
    sizes = [1000, (128 << 10) - 12, (128 << 10) - 11, (1 << 20) - 100]
    lines = [b"echo %d >> ran #" % n + b"." * size for n, size in enumerate(sizes)]
    rows = Listed(env, b"".join(line + b"\n" for line in lines)).wait()
    assert [rows[n].code for n in range(4)] == [0, 0, 0, 0]
    assert [rows[n].command for n in range(4)] == lines
    assert (env.cwd / "ran").read_text() == "0\n1\n2\n3\n"


def test_nowhere(env: FjdEnv) -> None:
    """A directory that is not there fails the task, with a code and a reason."""
    env.worker()
    rows = Listed(env, b"true\n", Terms(cwd="/no/such/place")).wait()
    assert rows[0].code == 126


@pytest.mark.parametrize("how", ["cancel", "fail fast"])
def test_interrupted(env: FjdEnv, how: str) -> None:
    """What runs is ended when its list is told to halt at once; only what ended has a row."""
    env.workers(2)
    hold = "echo $$ > %s; exec sleep 1000\n"
    fails = "until [ -s one ]; do sleep 0.02; done; exit 5\n"
    text = hold % "one" + (fails if how == "fail fast" else hold % "two") + hold % "three"
    listed = Listed(env, text.encode(), Terms(fail_fast=how == "fail fast"))
    env.serve()
    env.wait_file("one")
    if how == "cancel":
        env.wait_file("two")
        listed.halt()
    wait_until(lambda: "tasks" in env.filed(), "it is filed", on_timeout=env.show)
    pid = int((env.cwd / "one").read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the task is ended", on_timeout=env.show)
    codes = {number: row.code for number, row in listed.rows().items()}
    assert codes == ({1: 5} if how == "fail fast" else {})
