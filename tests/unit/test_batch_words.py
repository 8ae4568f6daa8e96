"""The words of fjd-batch: options, hosts, prefixes, the progress bar."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from fjd.batch import bar, context, ending, nodes, options, prefix, sources, verdict
from fjd.batch.bar import Display, Standing
from fjd.batch.dbutil import Run
from fjd.batch.ending import Counts, End
from fjd.batch.nodes import Node
from fjd.batch.options import ContextOptions
from fjd.batch.prefix import Prefix
from fjd.batch.serving import How
from fjd.errors import ConfigError, UsageError
from fjd.scripts import batch_words
from fjd.spool import outcomes
from fjd.spool.lists import halt
from fjd.system.identity import hostname


def read(*words: str) -> options.Options:
    """Read a command line."""
    return options.read(batch_words.parser("0").parse_args(words))


def nothing(text: str) -> None:
    """Take talk that must not come."""
    raise AssertionError(text)


# -- options --------------------------------------------------------------------------------------


def test_defaults() -> None:
    """Without options: files in the working directory, one core per task."""
    found = read("tasks")
    assert (found.source, found.prefix, found.mail_every, found.project) == ("tasks", ".", 1, None)
    assert found.context == ContextOptions()
    assert found.kvs_server is None
    assert found.task_server is None


def test_every_option() -> None:
    """Every word of the two tables is taken."""
    words = (
        "-e --force-resume --kvsserver h:1 --logfile L --mailFreq 3 --mailTo A -p P -r S1"
        " --resume-from S2 -R --status-header -w -f -C 7 -c 0.5 --fill -g --no-retire -l lab"
        " -s a:1 --ssh-node b:2,c:3 -t 4 -E X,Y --project Q T"
    )
    found = read(*words.split())
    assert found.resume == ("S1", "S2")
    assert (found.exit_code, found.force_resume, found.retry, found.header) == (True,) * 4
    assert (found.web, found.fail_fast, found.kvs_server) == (True, True, "h:1")
    assert (found.logfile, found.mail_to, found.mail_every) == ("L", "A", 3)
    assert found.context == ContextOptions(
        limit=7,
        cpus=0.5,
        most=4,
        fill=True,
        resources=("X", "Y", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"),
        label="lab",
        nodes=("a:1", "b:2,c:3"),
        retire="",
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "neither a task file nor a program"),
        ("a --taskcommand b", "a task file and --taskcommand together"),
        ("--taskserver --taskcommand b", "--taskcommand and --taskserver together"),
        ("a --mailFreq 2", "--mailFreq needs --mailTo"),
        ("a --mailTo x --mailFreq 0", "is not a number from 1 on"),
        ("a -S -s h:1", "-s does not go with -S"),
        ("a -S -g", "-g does not go with -S"),
        ("a -S -E X", "-E does not go with -S"),
        ("a -S --retire-cmd x", "--retire-cmd does not go with -S"),
        ("a --no-retire --retire-cmd x", "not allowed with argument"),
        ("a --retire-cmd x -s h:1", "--retire-cmd does not go with -s"),
        ("a -c 0", "is no number of cores"),
        ("a -c nan", "is no number of cores"),
        ("a -t 0", "is not a number from 1 on"),
        ("a -C -1", "is not a number from 0 on"),
        ("a -E 1x", "is no name of a variable"),
        ("--taskcommand x -r s", "-r needs a task file"),
        ("--taskserver h:1 --kvsserver g:1", "cannot use different"),
        ("a b", "unrecognized arguments: b"),
        ("a --fail", "unrecognized arguments: --fail"),
    ],
)
def test_conflicts(words: str, says: str) -> None:
    """What makes no sense is refused in one line."""
    with pytest.raises(UsageError) as refused:
        read(*words.split())
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_startup_only_takes_an_empty_retirement() -> None:
    """An empty --retire-cmd retires nobody, and so goes with -S."""
    assert read("a", "-S", "--retire-cmd", "").context.retire == ""
    assert read("a", "-S", "--no-retire").startup_only


def test_server_address() -> None:
    """The address of a server stands in the option or in the environment."""
    env = {"KVSSTCP_HOST": "h", "KVSSTCP_PORT": "7"}
    assert options.server_address("", env) == ("h", 7)
    assert options.server_address("g:8", env) == ("g", 8)
    for text, where in (("", {}), ("g", env), ("g:x", env), (":3", env), ("g:70000", env)):
        with pytest.raises(UsageError):
            options.server_address(text, where)


# -- hosts ----------------------------------------------------------------------------------------


def test_nodes() -> None:
    """Empty items are nothing, ``localhost`` is this machine."""
    found = nodes.parse(["localhost:1,,one:2,", "other:3"], "-s", nothing)
    assert found == [Node(hostname(), 1), Node("one", 2), Node("other", 3)]


def test_same_host_twice() -> None:
    """A host that is named several times is added up, and that is said once."""
    said: list[str] = []
    found = nodes.parse(["a:1,b:2", "a:2,a:2"], "-s", said.append)
    assert found == [Node("a", 5), Node("b", 2)]
    assert said == ["-s: a is named twice or more; its counts are added up"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("host", "'host' has no count; write host:4"),
        ("a:1,host", "'host' has no count"),
        ("host:", "'' in 'host:' is no count"),
        ("host:x", "'x' in 'host:x' is no count"),
        ("host:0", "'0' in 'host:0' is no count"),
        ("host:99999", "is no count"),
        ("-oProxyCommand=x:1", "is no host name"),
        ("me@host:1", "belongs into ~/.ssh/config"),
        (":3", "'' is no host name"),
        (",,", "-s names no host"),
        ("", "-s names no host"),
    ],
)
def test_wrong_nodes(text: str, says: str) -> None:
    """A host without a count, and other nonsense, is refused at once."""
    with pytest.raises(UsageError) as refused:
        nodes.parse([text], "-s", nothing)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("cores", "cpus", "most", "slots"),
    [(4, 1, None, 4), (4, 2, None, 2), (5, 2, None, 2), (1, 0.5, None, 2), (4, 1, 3, 3)]
    + [(4, 2, 9, 2), (3, 0.1, None, 30), (1, 2, None, 0)],
)
def test_slots(cores: int, cpus: float, most: int, slots: int) -> None:
    """-c says what a task needs, -t bounds it."""
    assert nodes.slots(cores, cpus, most) == slots


def test_too_few_cores() -> None:
    """A host on which not a single task fits is refused."""
    with pytest.raises(UsageError, match=r"h has 1 core\(s\), and -c asks for 2 per task"):
        nodes.with_slots([Node("h", 1)], 2, None)


def test_plan() -> None:
    """-s comes first, then the allocation, then DISBATCH_SSH_NODELIST, then this machine."""
    job = {"SLURM_JOB_ID": "77", context.NODELIST: "b:4"}
    ssh = context.Plan(context.SSH, (Node("a", 2),), "")
    assert context.make(ContextOptions(nodes=("a:2",)), nothing, job) == ssh
    job.update(SLURM_JOB_NODELIST="n1,n2", SLURM_JOB_CPUS_PER_NODE="4(x2)", SLURM_NTASKS="6")
    job.update(SLURM_TASKS_PER_NODE="3(x2)")
    slurm = context.Plan(context.SLURM, (Node("n1", 3), Node("n2", 3)), "J77")
    assert context.make(ContextOptions(), nothing, job) == slurm
    per_task = context.make(ContextOptions(), nothing, {**job, "SLURM_CPUS_PER_TASK": "4"})
    assert per_task.cores == 4.0
    listed = context.make(ContextOptions(cpus=2, label="x"), nothing, {context.NODELIST: "b:4"})
    assert listed == context.Plan(context.SSH, (Node("b", 2),), "x", 2.0)
    cpus = len(os.sched_getaffinity(0))
    here = context.make(ContextOptions(), nothing, {})
    assert here == context.Plan(context.LOCAL, (Node(hostname(), cpus),), "")
    with pytest.raises(UsageError, match="cannot name a context"):
        context.make(ContextOptions(label="a b"), nothing, {})
    with pytest.raises(UsageError, match="DISBATCH_SSH_NODELIST: 'b' has no count"):
        context.make(ContextOptions(), nothing, {context.NODELIST: "b"})


# -- prefix ---------------------------------------------------------------------------------------


def test_prefix_in_a_directory(tmp_path: Path) -> None:
    """In a directory the files are called after the tasks, the time and a number."""
    found = prefix.resolve(str(tmp_path), "Tasks", 0.0)
    stamp = time.strftime("%y%m%d%H%M%S", time.localtime(0.0))
    assert Path(found.path).parent == tmp_path.resolve()
    assert found.name.startswith(f"Tasks_disBatch_{stamp}_")
    assert len(found.name.rpartition("_")[2]) == 3
    assert found.status == f"{found.path}_status.txt"


def test_prefix_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything that is no directory is the prefix itself."""
    monkeypatch.chdir(tmp_path)
    assert prefix.resolve("run1", "T").path == f"{tmp_path.resolve()}/run1"
    (tmp_path / "d").mkdir()
    assert prefix.resolve("d/x", "T").path == f"{tmp_path.resolve()}/d/x"


@pytest.mark.parametrize("given", ["missing/x", "missing/", "file/", "file/x", ""])
def test_prefix_nowhere(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prefix in a directory that does not exist is refused in one line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"directory \S+ does not exist|an empty path"):
        prefix.resolve(given, "T")


def test_prefix_where_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that cannot be written to is refused at once."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConfigError, match="cannot be written there"):
        prefix.resolve("/x", "T")


def test_project_of_a_prefix() -> None:
    """Its name begins as the prefix does, and is another one in another directory."""
    one, two = Prefix("/a/run1").project, Prefix("/b/run1").project
    assert one != two
    assert one.startswith("run1-")
    for odd in ("/a/ä b\n", "/a/" + "x" * 300, "/a/-", "/a/.x", os.fsdecode(b"/a/\xff")):
        from fjd.spool.names import check_project

        assert check_project(Prefix(odd).project)


def test_prefix_of_a_status_file(tmp_path: Path) -> None:
    """The status file says which run it is of, unless it was renamed."""
    found = Prefix.of_status(f"{tmp_path}/run1_status.txt")
    assert found == Prefix(f"{tmp_path.resolve()}/run1")
    assert Prefix.of_status(f"{tmp_path}/run1_status.txt.1") is None
    assert Prefix.of_status(f"{tmp_path}/_status.txt") is None


def test_task_name() -> None:
    """Tasks are called after their file."""
    assert [prefix.task_name(x) for x in ("-", "", "/a/b.txt")] == ["stdin", "STREAM", "b.txt"]


# -- the script -----------------------------------------------------------------------------------


def test_inherited_options() -> None:
    """A context that does not say how many cores and which variables has those of the run."""
    run = Run("/p", "proj", "key", "/", 2.0, 3, ("A",), "host", True)
    assert run.inherit(ContextOptions()) == ContextOptions(cpus=2.0, most=3, resources=("A",))
    said = ContextOptions(cpus=1.0, most=1, resources=("B",))
    assert run.inherit(said) == said


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"prefix": 1}', '{"resources": 3}'])
def test_a_changed_script(text: str) -> None:
    """A script that was changed is refused in one line."""
    with pytest.raises(UsageError, match="this script was changed"):
        Run.load(text)


# -- the bar --------------------------------------------------------------------------------------


class Screen:
    """Takes what is printed."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        """Take some text."""
        self.text += text
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""

    def isatty(self) -> bool:
        """Say that nobody looks."""
        return False


def test_durations() -> None:
    """Durations are short."""
    found = [bar.duration(s) for s in (0, 59.4, 59.6, 185, 7620, 363600)]
    assert found == ["0s", "59s", "1m00s", "3m05s", "2h07m", "4d05h"]


@pytest.mark.parametrize("columns", [10, 40, 60, 80, 200])
@pytest.mark.parametrize("tasks", [None, 0, 5, 10**7])
def test_bar_fits(columns: int, tasks: int) -> None:
    """The bar is one line that never reaches the last column."""
    done = min(tasks or 3, 12345)
    text = bar.bar(Standing(tasks, done, 7, 2, 1e6), columns)
    assert len(text) < columns
    assert text.isprintable()


def test_eta() -> None:
    """The guess goes by what this run has done, not by what it found done."""
    assert bar.eta(Standing(100, 50, 0, 0, 10.0)) == 10.0
    assert bar.eta(Standing(100, 50, 0, 0, 10.0, before=40)) == 50.0
    assert bar.eta(Standing(100, 40, 0, 0, 10.0, before=40)) is None
    assert bar.eta(Standing(None, 40, 0, 0, 10.0)) is None


def test_in_a_pipe() -> None:
    """Where nobody looks there is a line now and then, without control characters."""
    screen = Screen()
    display = Display(screen, "fjd-batch", live=False)  # type: ignore[arg-type]
    for seconds in (1.0, 61.0, 62.0, 122.0):
        display.show(Standing(10, int(seconds) // 20, 0, 1, seconds))
    display.say("x\x1b[2J")
    display.end()
    first, second, said = screen.text.splitlines()
    assert first.startswith("[fjd-batch] 3 of 10 tasks done, 1 running, about ")
    assert second.startswith("[fjd-batch] 6 of 10")
    assert said == "[fjd-batch] x\\x1b[2J"
    assert screen.text.replace("\n", "").isprintable()


def test_on_a_terminal() -> None:
    """On a terminal one line is rewritten, talk gets lines of its own, and nothing is left."""
    screen = Screen()
    display = Display(screen, "fjd-batch", live=True)  # type: ignore[arg-type]
    display.show(Standing(10, 5, 0, 1, 5.0))
    display.say("hello")
    display.show(Standing(10, 6, 0, 1, 6.0))
    display.end()
    assert "\r[##########----------]" in screen.text
    assert "\r[fjd-batch] hello\n" in screen.text
    assert screen.text.endswith(" \r")
    assert "\x1b" not in screen.text


# -- the end --------------------------------------------------------------------------------------


def test_counts(tmp_path: Path) -> None:
    """Rows are counted by their flags; barriers and the header are none."""
    path = tmp_path / "s"
    rows = ["ROE[ PSZ]\tTaskID", "    \t0", "R   \t1", "ROES\t2", "   S\t3", "B    \t4", "R  P\t0"]
    path.write_text("".join(f"{row}\tx\n" for row in rows))
    assert ending.count(str(path)) == (4, 2, 2, 1)
    assert ending.count(f"{path}.missing") == (0, 0, 0, 0)


def test_set_aside(tmp_path: Path) -> None:
    """The status file of an earlier run is kept under another name."""
    path = tmp_path / "s"
    assert ending.set_aside(str(path)) == ""
    for number in (1, 2):
        path.write_text(str(number))
        assert ending.set_aside(str(path)) == f"{path}.{number}"
        path.unlink()
    assert [(tmp_path / f"s.{n}").read_text() for n in (1, 2)] == ["1", "2"]


@pytest.mark.parametrize(
    ("end", "strict", "code"),
    [
        (End(outcomes.OK), True, 0),
        (End(outcomes.FAILED, "barrier check: line 3 is wrong", halt.WRONG), False, 6),
        (End(outcomes.FAILED, "whatever it says", halt.FAILURE), False, 1),
        (End(outcomes.FAILED, "barrier check: it was not", ""), False, 0),
        (End(outcomes.CANCELLED), False, 1),
        (None, False, 1),
    ],
)
def test_exit_code_of_an_end(end: End, strict: bool, code: int) -> None:
    """The kind of end decides, not how its cause is worded."""
    counts = Counts(3, 0, 0, 0)
    where = Prefix("/x/run1")
    found = verdict.judge(How.OVER, end, counts, None, where, "tasks", strict, lambda _: None)
    assert found == code


@pytest.mark.parametrize(("failed", "per_engine"), [(1, 0), (0, 1)])
def test_failures_count_if_asked(failed: int, per_engine: int) -> None:
    """With -e a failed task makes the run fail, also one of an engine."""
    said: list[str] = []
    for strict, code in ((True, 1), (False, 0)):
        counts = Counts(3, failed, 0, per_engine)
        where = Prefix("/x/run1")
        end = End(outcomes.FAILED, "1 of 3 tasks did not end well")
        judged = verdict.judge(How.OVER, end, counts, None, where, "tasks", strict, said.append)
        assert judged == code
    asked, unasked = said
    number = "0 of 3, and 1 of PERENGINE" if per_engine else "1 of 3"
    assert asked.startswith(f"Some tasks failed with non-zero exit codes: {number}; the rows of")
    assert unasked.startswith("the rows of what failed begin with R")
    assert ("type the same command with -R -r /x/run1_status.txt" in unasked) is bool(failed)


@pytest.mark.parametrize(("reason", "again"), [(halt.FAILURE, True), (halt.WRONG, False)])
def test_a_stop_says_how_failures_are_run_again(reason: str, again: bool) -> None:
    """After a failure has stopped a run, -r alone would meet it again: -R is named as well."""
    said: list[str] = []
    end = End(outcomes.FAILED, "why", reason)
    counts = Counts(2, 1, 0, 0)
    verdict.judge(How.OVER, end, counts, None, Prefix("/a/run"), "tasks", False, said.append)
    assert ("-R" in said[-1]) is again
    assert "-r /a/run_status.txt" in said[-1]


@pytest.mark.parametrize("how", list(How))
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("reason", ["", halt.FAILURE, halt.WRONG])
def test_tasks_of_a_program_cannot_be_resumed(how: How, strict: bool, reason: str) -> None:
    """Nobody is told to type -r, which would be refused; where the rows are is said."""
    said: list[str] = []
    end, counts = End(outcomes.FAILED, "why", reason), Counts(2, 1, 0, 0)
    verdict.judge(how, end, counts, None, Prefix("/a b/run"), "", strict, said.append)
    assert said
    assert not any(" -r" in line or "-R" in line for line in said)
    assert any("'/a b/run_status.txt'" in line for line in said)


def test_no_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks cannot come from a stdin that is closed."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="stdin is closed"):
        sources.is_stream("-")
