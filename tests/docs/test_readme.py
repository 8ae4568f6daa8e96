"""README.rst holds: what it shows happens, and what it lists is what there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest
from readme_shell import BIN, Shell, plain
from readme_text import CHECKOUT, TEXT, block, blocks, first_column

from fjd import errors, talk
from fjd.launchers import remoteconf
from fjd.spool import jobfile
from fjd.spool.project import DIRECTORIES
from fjd.spool.timings import Timings
from fjd.system import inifile

# Shown in README, run elsewhere or by nobody.
ELSEWHERE = {
    "./INSTALL": "tests/install",
    "screen ": "shows what this machine has; -r takes the terminal",
}
COMMANDS = (
    "fjd-batch",
    "fjd-dispatcher",
    "fjd-worker",
    "fjd-recruiter",
    "fjd-recruiter hire",
    "fjd-recruiter fire",
    "fjd-recruiter roster",
    "fjd submit",
    "fjd status",
    "fjd log",
    "fjd retry",
    "fjd doctor",
)
OTHERS = {"--fast", "--quick", "--scope", "--user", "--ntasks-per-node"}  # not of fjd's commands
OTHERS.add("--mon")  # of the script that fjd-batch writes
RECRUITERS_OWN = {"--id", "--launcher", "--session", "--log", "--cwd"}  # for fjd-worker

RESULTS = [f"{n} squared is {n * n}" for n in range(10)]


def options_in(text: str) -> set[str]:
    """Return the long options in a text."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """Return what each command says about itself."""
    found = {}
    for command in COMMANDS:
        program, *verb = command.split()
        argv = [str(BIN / program), *verb, "--help"]
        found[command] = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return found


# -- what it shows --------------------------------------------------------------------------------


def test_every_command_in_it_does_what_it_shows(shell: Shell) -> None:
    """Typed from top to bottom, each section in the home directory."""
    section = ""
    for shown in blocks():
        if shown.section != section:
            section = shown.section
            shell.cwd = str(shell.home)
        if shown.file:
            Path(shell.cwd, shown.file).write_text(shown.text)
        if not shown.is_shell:
            continue
        for command, expected in shown.commands():
            if command.startswith(tuple(ELSEWHERE)):
                continue
            printed = shell.type(command).splitlines()
            assert plain(printed) == plain(expected), f"{section}: $ {command}\n" + "\n".join(
                printed
            )
    assert "/default/requeue/broken.sh." in "".join(shell.leftovers())  # the retry waits
    assert not shell.processes()


def test_files_that_it_shows_are_what_it_says() -> None:
    """Job files parse as job files; remote.conf as remote.conf, and the example's does too."""
    shown = {b.file: b.text.encode() for b in blocks() if b.file}
    job = jobfile.parse(shown["fit.conf"], 0o600, "fit.conf")
    assert (job.executable, job.timeout, job.retries) == ("python3 fit.py --fast", 9000.0, 2)
    for name in ("hello.sh", "broken.sh"):
        assert jobfile.parse(shown[name], 0o700, name).kind == "script"
    hosts, remarks = remoteconf.parse(block("Several hosts", "[host1]"), "remote.conf")
    assert ([(h.name, h.workers) for h in hosts], remarks) == ([("localhost", 3), ("hyuga", 5)], [])
    example = (CHECKOUT / "example" / "remote.conf").read_text()
    as_shipped, _ = remoteconf.parse(example, "remote.conf")
    filled_in, _ = remoteconf.parse(re.sub(r"(?m)^#([\[nw])", r"\1", example), "remote.conf")
    assert [host.name for host in as_shipped] == ["localhost"]
    assert [(host.section, host.workers) for host in filled_in] == [("host1", 3), ("host2", 5)]


def test_its_python_program_runs(shell: Shell) -> None:
    """The three classes as shown, with one job."""
    shell.type("mkdir study; cd study")
    Path(shell.cwd, "study.py").write_text(block("From Python", "from fjd import D"))
    Path(shell.cwd, "job.sh").write_text("#!/bin/sh\necho $FJD_PROJECT\n")
    shell.type("chmod +x job.sh; fjd submit --project study job.sh")
    printed = shell.type("python3 study.py")
    assert printed.splitlines()[-2:] == ["all done", "0"], printed
    assert shell.type("fjd log --project study job.sh") == "study\n"
    assert not shell.leftovers()


def test_its_batch_runs(shell: Shell) -> None:
    """The class for commands, as shown."""
    shell.type("mkdir commands; cd commands")  # at home there is a directory called fjd
    Path(shell.cwd, "commands.py").write_text(block("From Python", "from fjd import Batch"))
    printed = shell.type("python3 commands.py")
    assert sorted(printed.splitlines()) == ["0", "exit 0 0", "exit 1 1", "exit 2 2"], printed
    assert not shell.leftovers()
    assert not shell.processes()


# -- the examples ---------------------------------------------------------------------------------


def results(shell: Shell) -> list[str]:
    """Return what the example's jobs wrote."""
    files = sorted((shell.home / "fjd" / "example" / "logfiles").iterdir())
    return [re.sub(r" \(on .*\)\n", "", file.read_text()) for file in files]


def test_example_of_a_task_list(shell: Shell) -> None:
    """Ten squares by one command."""
    printed = shell.type("cd fjd/example; ./run-batch-example.sh 2> /dev/null")
    rows = [line.split("\t") for line in printed.splitlines()]
    assert sorted(int(row[0]) for row in rows) == list(range(11)), printed
    assert {row[2] for row in rows} == {"0"}
    squares = (shell.home / "fjd" / "example" / "logfiles" / "squares.txt").read_text().split()
    assert sorted(map(int, squares)) == [n * n for n in range(1, 11)]
    assert not shell.leftovers()


def without_screen(tmp_path: Path) -> str:
    """Return a PATH with everything that this one has, but no screen."""
    there = tmp_path / "bin"
    there.mkdir()
    for directory in os.environ["PATH"].split(os.pathsep):
        if os.path.isdir(directory):
            for name in set(os.listdir(directory)) - {"screen"} - set(os.listdir(there)):
                os.symlink(f"{directory}/{name}", there / name)
    return str(there)


def test_example_runs_from_any_directory_and_without_screen(
    tmp_path: Path, new_shell: Callable[..., Shell]
) -> None:
    """Ten results, exit code 0, and nothing left."""
    shell = new_shell(without_screen(tmp_path))
    shell.cwd = "/"
    printed = shell.type("~/fjd/example/run-example.sh")
    assert shell.code == 0, printed
    assert "GNU screen is not installed" in printed
    assert results(shell) == RESULTS
    assert not shell.leftovers()


def test_remote_example_goes_on_without_a_host_that_is_not_there(shell: Shell) -> None:
    """The user's own remote.conf stays; what the others can do is done."""
    own = "[host1]\nname: localhost\nworkers: 5\n[host2]\nname: 127.0.0.1\nport: 1\nworkers: 5\n"
    shell.type("mkdir -p -m 700 ~/.fjd ~/.fjd/remote-example")
    conf = shell.home / ".fjd" / "remote-example" / "remote.conf"
    conf.write_text(own)
    printed = shell.type("fjd/example/run-remote-example.sh")
    assert shell.code == 0, printed
    assert "Host 127.0.0.1: cannot connect" in printed
    assert 'Hired 5 workers in project "remote-example"' in printed
    assert conf.read_text() == own
    assert results(shell) == RESULTS
    assert not shell.leftovers()


@pytest.mark.parametrize("name", ["run-example.sh", "run-remote-example.sh"])
def test_example_says_what_to_type_where_fjd_is_not_installed(shell: Shell, name: str) -> None:
    """One line, and nothing done."""
    shell.env["PATH"] = "/usr/bin:/bin"
    if "/fjd" in shell.type("command -v fjd-recruiter"):
        pytest.skip("fjd is installed for everybody here")
    printed = shell.type(f"fjd/example/{name}")
    assert shell.code == 6
    (line,) = printed.splitlines()
    assert line.startswith("no fjd on your PATH; type: ")
    assert line.endswith(f"{shell.home}/fjd/INSTALL")
    assert not shell.projects()


def test_jobs_of_the_example_are_put_where_nobody_else_can_write(shell: Shell) -> None:
    """Whatever the umask is; and whole, under their names."""
    shell.type("umask 0; FJD_HOME=~/a/b python3 fjd/example/create_jobs.py mine")
    mine = shell.home / "a" / "b" / "mine"
    modes = {path.stat().st_mode & 0o777 for path in (mine.parent, mine, mine / "jobqueue")}
    assert modes == {0o700}
    jobs = sorted((mine / "jobqueue").iterdir())
    assert [path.name for path in jobs] == [f"job{n}.conf" for n in range(10)]
    assert all(jobfile.parse(path.read_bytes(), 0o600, path.name).executable for path in jobs)


# -- what it lists --------------------------------------------------------------------------------


def test_options_in_it_exist(helps: dict[str, str]) -> None:
    """No option that no command knows."""
    install = (CHECKOUT / "INSTALL").read_text()
    known = options_in("".join(helps.values())) | options_in(install)
    assert options_in(TEXT) - OTHERS - known == set()


def test_options_that_exist_are_in_it(helps: dict[str, str]) -> None:
    """But for those that only the recruiter gives to a worker."""
    known = options_in("".join(helps.values())) - RECRUITERS_OWN
    assert known - options_in(TEXT) == set()


def test_exit_codes_in_it_are_those_of_the_code(helps: dict[str, str]) -> None:
    """Those of the errors, of the helps, and the three that are no errors."""
    listed = {int(word) for word in first_column("Exit codes")}
    kinds = [k for k in vars(errors).values() if isinstance(k, type)]
    raised = {k.exit_code for k in kinds if issubclass(k, errors.FjdError)}
    assert listed == raised | {0, 1, talk.INTERRUPTED}
    said = " ".join(helps.values()).partition("exit codes: ")[2]
    in_helps = re.findall(r"(?:exit codes:|[;,])\s+(\d+) ", f"exit codes: {said}")
    assert {int(code) for code in in_helps} <= listed


def test_commands_end_with_the_exit_codes_in_it(shell: Shell) -> None:
    """One way to get each of them; 0 and 1 are in the session above."""
    shell.type("printf '#!/bin/sh\n' >job; chmod +x job; touch empty")
    there = "until ls ~/.fjd/default/dispatcher | grep -q .; do sleep 0.02; done"
    codes = {
        "fjd nonsense": 2,
        "fjd-recruiter hire nobody": 2,
        "fjd submit job": 0,
        "fjd log nothing": 3,
        "fjd submit empty": 6,
        "fjd-dispatcher --no-wait": 4,
        f"fjd-dispatcher & {there}; kill -INT $!; wait $!": talk.INTERRUPTED,
    }
    ended = {}
    for command in codes:
        printed = shell.type(command)
        ended[command] = shell.code
        assert "Traceback" not in printed
    assert ended == codes


def test_directory_in_it_is_the_one_of_the_code(shell: Shell) -> None:
    """Every directory, in the code's order, and the three files."""
    listed = [line.split()[0] for line in block("The directory", "README").splitlines()]
    at_need = ["remote.conf", "timings"]
    assert listed == ["README", "VERSION", *at_need, *(f"{name}/" for name in DIRECTORIES)]
    shell.type("fjd submit fjd/example/run-example.sh")
    made = {path.name for path in (shell.home / ".fjd" / "default").iterdir()}
    assert made == {word.rstrip("/") for word in listed} - set(at_need)


def test_variables_in_it_are_those_of_the_source() -> None:
    """Settings, and what a job gets."""
    variable = re.compile(r"\bFJD_[A-Z]+(?:_[A-Z]+)*\b")
    found = {f"FJD_{field.upper()}" for field in Timings._fields}
    sources = [CHECKOUT / "INSTALL", CHECKOUT / "tests" / "hosts" / "conftest.py"]
    for path in [*sources, *(CHECKOUT / "fjd").rglob("*.py")]:
        found |= set(variable.findall(path.read_text()))
    assert set(variable.findall(TEXT)) == found - {"FJD_INSTALL_SOURCED"}


def test_tables_in_it_are_those_of_the_code() -> None:
    """The options of a job file and of a host."""
    job = [field for field in jobfile.Job._fields if field != "kind"]
    listed = first_column("Job files")
    assert listed[: len(job)] == job
    assert listed[len(job) :] == [
        "FJD_PROJECT",
        "FJD_JOB",
        "FJD_JOBFILE",
        "FJD_TASK",
        "FJD_ATTEMPT",
        "FJD_WORKER",
    ]
    assert first_column("Several hosts") == list(remoteconf.OPTIONS)


def test_example_of_a_value_is_taken_as_it_stands() -> None:
    """`%`, `#`, comma and quotes in a value are the shell's."""
    value = """sh -c 'printf "%s, #%d" a 1' # "b"""
    section = inifile.read(f"[control]\nexecutable = {value} \n", "x")["control"]
    assert section.text("executable") == value


def test_tree_in_it_is_there() -> None:
    """Every path that the section on development names, and every benchmark."""
    paths = [line.split()[0] for line in block("Development", "fjd/scripts").splitlines()]
    paths += [f"bench/{name}.py" for name in first_column("Speed")]
    assert len(paths) > 15
    assert [path for path in paths if not (CHECKOUT / path).exists()] == []


@pytest.mark.parametrize("name", ["README.rst", "CHANGES.rst"])
def test_text_is_valid(name: str) -> None:
    """As strict as docutils can be, where it is installed."""
    if subprocess.run([sys.executable, "-c", "import docutils"], capture_output=True).returncode:
        pytest.skip("docutils is not installed")
    argv = [sys.executable, "-m", "docutils", "--strict", str(CHECKOUT / name), os.devnull]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
