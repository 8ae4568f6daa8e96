"""The command ``fjd`` as a user meets it: a real process, real files, hostile names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Optional, Union

import pytest

from fjd.spool import pods
from fjd.spool.filing import Cabinet
from fjd.spool.names import Result, Token, new_key, new_worker
from fjd.spool.project import Project
from fjd.spool.records import Ledger

ROOT = str(Path(__file__).parents[2])
INI = "[control]\nexecutable: true\n"
HOSTILE = [
    b"new\nline.conf",
    b"\x1b]0;title\x07.conf",
    b"two words.conf",
    b"-rf.conf",
    b"caf\xe9.conf",
    b"$(touch x);&.conf",
    b"x,s1,a1.conf",
    b"n" * 250 + b".conf",
]

Arg = Union[str, bytes]


class Command:
    """``fjd`` with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {**os.environ, "FJD_HOME": str(home), "PYTHONPATH": ROOT}
        self.env.pop("FJD_PROJECT", None)

    def __call__(
        self, *args: Arg, code: Optional[int] = 0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "fjd.scripts.fjd", *args],
            env={**self.env, **env},
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert code is None or done.returncode == code, (done.returncode, done.stderr)
        return done


@pytest.fixture
def fjd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    home = tmp_path / "home"
    monkeypatch.setenv("FJD_HOME", str(home))
    return Command(home)


@pytest.fixture
def job(tmp_path: Path) -> str:
    (tmp_path / "job.conf").write_text(INI)
    return "job.conf"


def filed(job_name: str, code: str = "x3", out: bytes = b"hello\n") -> Result:
    """Play a worker and a dispatcher for one job."""
    project, worker = Project.open(), new_worker("node1", 0)
    os.mkdir(project.pod(worker))
    token = Token(new_key(job_name), 1)
    Path(f"{project.jobqueue}/{token}").write_text(INI)
    assert pods.assign(project, f"{project.jobqueue}/{token}", token, worker)
    assert pods.Pod(project, worker).accept(token)
    Path(project.output_file(worker, "out")).write_bytes(out)
    ledger = Ledger(project, worker)
    fields = {"event": "end", "key": token.key, "attempt": 1, "worker": worker, "job": token.job}
    ledger.write({**fields, "outcome": "failed", "exit": 3, "out": [0, len(out)], "err": None})
    ledger.close()
    assert pods.commit(project, worker, token, code)
    result = Result(token, worker, code)
    assert Cabinet(project).file(result)
    return result


# -- the command itself -------------------------------------------------------------------------


@pytest.mark.parametrize("args", [(), ("--help",), ("-h",), ("help",), ("--version",)])
def test_the_help_imports_nothing_that_it_does_not_need(fjd: Command, args: tuple[str]) -> None:
    script = (
        "import os, sys; before = set(sys.modules)\n"
        "from fjd.scripts.fjd import main; code = main(sys.argv[1:])\n"
        "print(*sorted(set(sys.modules) - before), sep='\\n', file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script, *args],
        env=fjd.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith(("usage: fjd", "fjd 1."))
    assert done.stderr.split() == ["__future__", "fjd", "fjd.scripts", "fjd.scripts.fjd"]


def test_every_verb_has_its_help(fjd: Command) -> None:
    for verb in ("submit", "status", "log", "retry"):
        assert f"  {verb}" in fjd("--help").stdout
        assert fjd(verb, "--help").stdout.startswith(f"usage: fjd {verb}")
        assert fjd("help", verb).stdout.startswith(f"usage: fjd {verb}")


@pytest.mark.parametrize(
    ("verb", "advice"),
    [
        ("stauts", "did you mean: fjd status"),
        ("stat", "did you mean: fjd status"),
        ("sumbit", "did you mean: fjd submit"),
        ("frobnicate", "there are: submit, status, log, retry"),
        ("--project", "options stand behind the verb"),
        ("\x1b[31m", "is no verb"),
        ("", "is no verb"),
    ],
)
def test_an_unknown_verb_gets_one_line_of_advice(fjd: Command, verb: str, advice: str) -> None:
    done = fjd(verb, code=2)
    assert advice in done.stderr
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("submit",),
        ("submit", "--nonsense"),
        ("status", "extra"),
        ("log",),
        ("log", "job", "--worker", "w"),
        ("log", "job", "--json", "-f"),
        ("log", "job", "--attempt", "0"),
        ("log", "job", "--attempt", "one"),
        ("log", "job", "--out", "--err"),
        ("status", "--project", "../x"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_code_2(fjd: Command, args: tuple[str]) -> None:
    assert fjd(*args, code=2).stderr.count("\n") == 1


@pytest.mark.parametrize("args", [("status",), ("log", "job"), ("retry",), ("log", "-w", "w")])
def test_a_project_that_is_not_there_is_not_made(fjd: Command, args: tuple[str]) -> None:
    assert "there is no project" in fjd(*args, code=3).stderr
    assert not fjd.home.exists()


# -- submit, status, retry ----------------------------------------------------------------------


def test_submitted_jobs_are_queued_and_what_is_missing_is_said(fjd: Command, job: str) -> None:
    done = fjd("submit", job, job, job)
    assert done.stdout == 'Submitted 3 jobs to project "default".\n'
    assert "hire some with: fjd-recruiter hire" in done.stderr
    assert "start one with: fjd-dispatcher" in done.stderr
    assert "queued\t3\n" in fjd("status").stdout
    assert json.loads(fjd("status", "--json").stdout)["jobs"]["queued"] == 3


def test_the_project_comes_from_the_option_or_the_environment(fjd: Command, job: str) -> None:
    assert 'project "a"' in fjd("submit", job, "--project", "a").stdout
    assert 'project "b"' in fjd("submit", job, FJD_PROJECT="b").stdout
    assert "queued\t1\n" in fjd("status", "-p", "b", FJD_PROJECT="a").stdout


def test_a_bad_file_is_refused_before_anything_is_queued(
    fjd: Command, job: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.conf").write_text("nonsense")
    done = fjd("submit", job, "bad.conf", "none.conf", code=6)
    assert "[fjd] bad.conf" in done.stderr
    assert "[fjd] none.conf" in done.stderr
    assert "nothing was submitted: 2 of 3 files" in done.stderr
    assert "queued\t0\n" in fjd("status").stdout


@pytest.mark.parametrize("name", HOSTILE)
def test_a_job_of_any_name_can_be_submitted_shown_and_put_back(
    fjd: Command, tmp_path: Path, name: bytes
) -> None:
    (tmp_path / os.fsdecode(name)).write_text(INI)
    assert fjd("submit", "--", name).stdout.startswith("Submitted 1 job ")
    result = filed(os.fsdecode(name))
    shown = fjd("status", LC_ALL="C", PYTHONIOENCODING="ascii").stdout
    assert not set(shown) & set("\x1b\x07")
    assert [line.count("\t") for line in shown.splitlines() if line.startswith("job\t")] == [7]
    assert json.loads(fjd("status", "--json").stdout)["failures"][0]["key"] == result.token.key
    assert fjd("log", result.token.key).stdout == "hello\n"
    assert "Put 1 job back" in fjd("retry", "--", name).stdout
    assert "nothing has failed" in fjd("retry", code=3).stderr


def test_retry_names_what_cannot_be_put_back(fjd: Command) -> None:
    filed("good", "ok")
    filed("bad", "x3")
    assert "good is done; only failed" in fjd("retry", "bad", "good", code=3).stderr
    assert "no job 'none'" in fjd("retry", "bad", "none", code=3).stderr
    done = json.loads(fjd("retry", "--json").stdout)
    assert [job["job"] for job in done["jobs"]] == ["bad"]


def test_ten_thousand_jobs_are_submitted_at_once(fjd: Command, tmp_path: Path) -> None:
    names = [f"job{i}.conf" for i in range(10_000)]
    for name in names:
        (tmp_path / name).write_text(INI)
    fjd("submit", *names)
    assert "queued\t10000\n" in fjd("status").stdout


def test_a_submit_that_is_killed_leaves_only_whole_jobs(fjd: Command, tmp_path: Path) -> None:
    for i in range(2000):
        (tmp_path / f"job{i}.conf").write_text(INI)
    project = Project.open()
    for wait in (0.1, 0.2, 0.3, 0.4):
        command = [sys.executable, "-m", "fjd.scripts.fjd", "submit"]
        command += [f"job{i}.conf" for i in range(2000)]
        child = subprocess.Popen(
            command,
            env=fjd.env,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(wait)
        child.kill()
        child.wait()
    for name in os.listdir(project.jobqueue):
        assert Token.parse(name) is not None
        assert Path(f"{project.jobqueue}/{name}").read_text() == INI


# -- log and pipes ------------------------------------------------------------------------------


def test_escapes_in_output_are_spelled_out_unless_raw_is_asked_for(fjd: Command) -> None:
    filed("j", out=b"\x1b[31mred\x9b \xff \xe2\x80\xae\n")
    assert fjd("log", "j").stdout == "\\x1b[31mred\\x9b \\xff \\u202e\n"
    assert os.fsencode(fjd("log", "j", "--raw").stdout) == b"\x1b[31mred\x9b \xff \xe2\x80\xae\n"
    assert "\x1b" not in fjd("log", "j", "--json").stdout
    assert json.loads(fjd("log", "j", "--json").stdout)["record"]["exit"] == 3


@pytest.mark.parametrize("args", ["--help", "submit --help", "status", "status --json", "log j"])
def test_a_reader_that_leaves_early_is_no_error(fjd: Command, args: str) -> None:
    filed("j", out=b"line\n" * 200_000)
    done = subprocess.run(
        [
            "bash",
            "-c",
            f"{sys.executable} -m fjd.scripts.fjd {args} | true; echo ${{PIPESTATUS[0]}}",
        ],
        env=fjd.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "0\n"
    assert "BrokenPipe" not in done.stderr


def test_a_closed_stdout_is_no_traceback(fjd: Command, job: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m fjd.scripts.fjd submit {job} >&-"],
        env=fjd.env,
        cwd=fjd.home.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "queued\t1\n" in fjd("status").stdout


@pytest.mark.parametrize("verb", ["--help", "status"])
def test_a_full_disk_under_stdout_is_one_line_and_code_6(fjd: Command, job: str, verb: str) -> None:
    fjd("submit", job)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fjd.scripts.fjd", verb],
            env=fjd.env,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr
    assert done.returncode == 6


def test_ctrl_c_ends_following_with_130(fjd: Command) -> None:
    project = Project.open()
    Path(f"{project.jobqueue}/j").write_text(INI)
    child = subprocess.Popen(
        [sys.executable, "-m", "fjd.scripts.fjd", "log", "-f", "j"],
        env=fjd.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    assert "queued" in child.stderr.readline()  # it waits now
    child.send_signal(2)
    _, err = child.communicate(timeout=20)
    assert child.returncode == 130
    assert "Traceback" not in err
