"""Real daemons in a home of their own, for tests; nothing of them is left afterwards.

``FjdEnv`` starts workers and dispatchers as users do, keeps what each of them says in a file,
looks at the spool, and at the end of the test ends what it started. A test fails if a daemon died
unasked or printed a traceback, if a process, a scratch file or a temporary file is left, if a job
has more or less than one token, or if what was filed has more or less than one record.

Nobody sleeps for a fixed time here: ``wait_until`` looks until something is so.
"""

from __future__ import annotations

import atexit
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, TypeVar, Union

import configobj
import psutil

from fjd.spool import crew, lookup
from fjd.spool.names import short_host
from fjd.spool.project import Project
from fjd.system.identity import hostname

CHECKOUT = Path(__file__).resolve().parents[2]
NOBODY = pwd.getpwnam("nobody")  # a plain user with a name, where the tests are run by root
PLAIN, PLAIN_GROUP = NOBODY.pw_uid, NOBODY.pw_gid
FAST = {"FJD_LEASE": "2", "FJD_HEARTBEAT": "0.5"}

T = TypeVar("T")
Text = Union[str, bytes]


def wait_until(
    fn: Callable[[], T],
    what: str,
    timeout: float = 30.0,
    on_timeout: Callable[[], str] = str,
) -> T:
    """Return what ``fn`` returns as soon as that is true; fail the test if it never is."""
    until = time.monotonic() + timeout
    pause = 0.002
    while True:
        late = time.monotonic() >= until
        value = fn()
        if value:
            return value
        if late:
            raise AssertionError(f"not within {timeout:g} s: {what}\n{on_timeout()}")
        time.sleep(pause)
        pause = min(2 * pause, 0.02)


class Person(NamedTuple):
    """Who runs the daemons, and with which interpreter."""

    uid: int
    gid: int
    python: str

    def as_user(self) -> dict[str, Any]:
        """Return what Popen needs to become that user."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": ()}


@cache
def _python_path() -> str:
    """Return where a plain user finds fjd and what it needs: copies, if ours are for root only."""
    here = os.pathsep.join((str(CHECKOUT), str(Path(configobj.__file__).parents[1])))
    if os.geteuid() or _works("/usr/bin/python3", here):
        return here
    place = tempfile.mkdtemp(prefix="fjd-lib-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    os.chmod(place, 0o755)
    for source in (CHECKOUT / "fjd", *(Path(m.__file__).parent for m in (configobj, psutil))):
        shutil.copytree(source, Path(place, source.name), ignore=shutil.ignore_patterns("*.pyc"))
    watchdog = Path(configobj.__file__).parents[1] / "watchdog"
    shutil.copytree(watchdog, Path(place, "watchdog"), ignore=shutil.ignore_patterns("*.pyc"))
    return place


def _works(python: str, path: str) -> bool:
    """Tell whether a plain user can run fjd with this interpreter."""
    person = Person(PLAIN, PLAIN_GROUP, python)
    words = [python, "-c", "import fjd.worker.worker, fjd.scripts.fjd_dispatcher"]
    env = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": path}
    try:
        done = subprocess.run(
            words, env=env, cwd="/", capture_output=True, check=False, **person.as_user()
        )
    except OSError:
        return False
    return done.returncode == 0


@cache
def plain_person() -> Optional[Person]:
    """Return a plain user who can run fjd; None if root's interpreters are for root only."""
    if os.geteuid():
        return Person(os.geteuid(), os.getegid(), sys.executable)
    for python in (sys.executable, "/usr/bin/python3"):
        if _works(python, _python_path()):
            return Person(PLAIN, PLAIN_GROUP, python)
    return None


@cache
def usual_person() -> Person:
    """Return who runs the tests: a plain user if this very interpreter lets him, else ourselves."""
    plain = plain_person()
    if plain and plain.python == sys.executable:
        return plain
    return Person(os.geteuid(), os.getegid(), sys.executable)


class Done(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


class Daemon:
    """A worker or a dispatcher that the test started; what it says goes to two files.

    Attributes:
        asked: its end is expected.
        killed: it got a SIGKILL from the test and could not clean up.
    """

    def __init__(self, name: str, process: subprocess.Popen[bytes], logs: Path) -> None:
        self.name, self.process, self._logs = name, process, logs
        self.asked = self.killed = False

    @property
    def pid(self) -> int:
        """The pid of what was started (of a worker: its guardian)."""
        return self.process.pid

    def _read(self, stream: str) -> str:
        return (self._logs / f"{self.name}.{stream}").read_text("utf-8", "backslashreplace")

    @property
    def out(self) -> str:
        """What it printed on stdout so far."""
        return self._read("out")

    @property
    def err(self) -> str:
        """What it printed on stderr so far."""
        return self._read("err")

    def show(self) -> str:
        """Return all that it said, for a failed test."""
        code = self.process.poll()
        state = "runs" if code is None else f"ended with {code}"
        return f"--- {self.name} (pid {self.pid}, {state})\n{self.out}{self.err}"

    def says(self, text: str, timeout: float = 30.0) -> None:
        """Return as soon as it has said that."""
        wait_until(
            lambda: text in self.out or text in self.err or self._over(),
            f"{self.name} says {text!r}",
            timeout,
            self.show,
        )
        assert text in self.out or text in self.err, f"it never said {text!r}\n{self.show()}"

    def _over(self) -> bool:
        return self.process.poll() is not None

    # -- workers ------------------------------------------------------------------------------

    @property
    def ids(self) -> list[str]:
        """The ids that this worker and its successors have announced."""
        return re.findall(r"Started with ID (\S+)\.$", self.out, re.MULTILINE)

    @property
    def id(self) -> str:
        """The id it has now."""
        return self.ids[-1]

    @property
    def worker(self) -> psutil.Process:
        """The worker below the guardian."""
        return psutil.Process(self.pid).children()[0]

    # -- ends ---------------------------------------------------------------------------------

    def signal(self, number: int) -> None:
        """Ask it to end, as a user or screen would."""
        self.asked = True
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL what was started (of a worker: its guardian)."""
        self.killed = True
        self.signal(signal.SIGKILL)

    def kill_worker(self) -> None:
        """SIGKILL the worker below its guardian."""
        self.asked = True
        self.worker.kill()

    def ended(self, timeout: float = 30.0) -> int:
        """Wait for its end and return the exit code."""
        self.asked = True
        wait_until(self._over, f"{self.name} ends", timeout, self.show)
        return self.process.returncode

    def fired(self) -> bool:
        """Wait for the end of a worker; True if it ended well.

        It is told twice, and the second signal may reach its guardian on the last metre.
        """
        return self.ended() in (0, -signal.SIGTERM) and "withdrawn." in self.out

    def stop(self) -> int:
        """SIGTERM, and wait for the end."""
        self.signal(signal.SIGTERM)
        return self.ended(10.0)

    def trouble(self) -> Optional[str]:
        """Say what is wrong with it, if anything is."""
        if "Traceback" in self.out + self.err:
            return f"{self.name} printed a traceback\n{self.show()}"
        if self._over() and not self.asked:
            return f"{self.name} died unasked\n{self.show()}"
        return None


class FjdEnv:
    """A home with one project, and the daemons in it.

    Attributes:
        home: ``$FJD_HOME``; ``cwd``: where daemons start; ``tmp``: their local temporary space.
        project: the paths of the project ``default``.
        strict: whether the spool is checked at the end (a test may have spoilt it on purpose).
        known_litter: whether temporary files may be left (a test killed who would remove them).
    """

    def __init__(self, person: Person, home: Optional[Path] = None) -> None:
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.root = Path(tempfile.mkdtemp(prefix="fjd-test-", dir=base))
        self.person = person
        self.home = home or self.root / "h"
        self.cwd, self.tmp, self._logs = (self.root / name for name in ("cwd", "tmp", "logs"))
        self.project = Project("default", f"{self.home}/default")
        self.env = self._environment()
        self.strict, self.known_litter = True, False
        self.daemons: list[Daemon] = []
        self.root.chmod(0o755)
        for path in (self.home, self.project.root, self.project.jobqueue, self.cwd, self.tmp):
            os.makedirs(path, 0o700, exist_ok=True)
            self.own(path)
        self._logs.mkdir()

    def _environment(self) -> dict[str, str]:
        unwanted = ("FJD_", "PYTHONDONTWRITEBYTECODE", "PYTEST_", "COV_")
        env = {k: v for k, v in os.environ.items() if not k.startswith(unwanted)}
        env.update(FJD_HOME=str(self.home), TMPDIR=str(self.tmp), HOME=str(self.cwd))
        return {**env, "PYTHONPATH": _python_path()}

    def own(self, path: str | os.PathLike[str]) -> None:
        """Give a file to who runs the daemons."""
        if self.person.uid != os.geteuid():
            os.lchown(path, self.person.uid, self.person.gid)

    # -- daemons and commands -----------------------------------------------------------------

    def argv(self, program: str, *words: str) -> list[str]:
        """Return the argv of ``fjd-worker`` & Co."""
        return [self.person.python, "-m", f"fjd.scripts.{program.replace('-', '_')}", *words]

    def start(self, program: str, *words: str, **env: str) -> Daemon:
        """Start a daemon."""
        name = f"{program}-{len(self.daemons)}"
        out, err = self._logs / f"{name}.out", self._logs / f"{name}.err"
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                self.argv(program, *words),
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=err_file,
                cwd=self.cwd,
                env={**self.env, **env},
                start_new_session=True,
                **self.person.as_user(),
            )
        self.daemons.append(Daemon(name, process, self._logs))
        return self.daemons[-1]

    def worker(self, *words: str, **env: str) -> Daemon:
        """Start a worker and return when it has announced itself."""
        daemon = self.start("fjd-worker", *words, **env)
        daemon.says("Started with ID ")
        return daemon

    def workers(self, number: int, **env: str) -> list[Daemon]:
        """Start several workers at once."""
        found = [self.start("fjd-worker", **env) for _ in range(number)]
        for daemon in found:
            daemon.says("Started with ID ")
        return found

    def dispatcher(self, *words: str, **env: str) -> Daemon:
        """Start a dispatcher and return when it holds the lease."""
        daemon = self.start("fjd-dispatcher", *words, **env)
        daemon.says("Started on project")
        return daemon

    def serve(self, **env: str) -> Daemon:
        """Start a dispatcher that serves until it is told to end."""
        return self.dispatcher("--keep-running", **env)

    def dispatch(self, *words: str, timeout: float = 60.0, **env: str) -> Done:
        """Run a dispatcher to its end, which is also the end of the workers."""
        for daemon in self.daemons:
            daemon.asked = True
        daemon = self.start("fjd-dispatcher", *words, **env)
        code = daemon.ended(timeout)
        return Done(code, daemon.out, daemon.err)

    def run(self, program: str, *words: str, timeout: float = 60.0, **env: str) -> Done:
        """Run a command to its end."""
        done = subprocess.run(
            self.argv(program, *words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=self.cwd,
            env={**self.env, **env},
            timeout=timeout,
            check=False,
            **self.person.as_user(),
        )
        out, err = (data.decode("utf-8", "backslashreplace") for data in (done.stdout, done.stderr))
        assert "Traceback" not in out + err, f"{program} {words}\n{out}{err}"
        return Done(done.returncode, out, err)

    def python(self, code: str) -> subprocess.Popen[str]:
        """Start a Python program; stdout and stderr are one pipe."""
        return subprocess.Popen(
            [self.person.python, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.cwd,
            env=self.env,
            start_new_session=True,
            **self.person.as_user(),
        )

    # -- job files ----------------------------------------------------------------------------

    def put(self, name: str, data: Text, mode: int = 0o600) -> str:
        """Move a complete file into the queue, as ``mv`` does; return its path there."""
        staged = self.home / ".staged"
        staged.write_bytes(
            data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        )
        staged.chmod(mode)
        self.own(staged)
        age(staged)
        path = f"{self.project.jobqueue}/{name}"
        os.rename(staged, path)
        return path

    def job(self, name: str, executable: str, **options: object) -> str:
        """Put an INI job into the queue."""
        lines = "".join(f"{option}: {value}\n" for option, value in options.items())
        return self.put(name, f"[control]\nexecutable: {executable}\n{lines}")

    # -- looking at the spool -----------------------------------------------------------------

    def everything(self) -> list[lookup.Found]:
        """Return all jobs, each once, wherever they are."""
        while True:
            found = list(lookup.everything(self.project))
            places = {job.key or job.path: job for job in found}
            if len(places) == len(found):  # else one moved while we looked
                return found

    def of(self, job: str) -> list[lookup.Found]:
        """Return all jobs of that file name."""
        return [found for found in self.everything() if found.job == job]

    def filed(self) -> dict[str, lookup.Found]:
        """Return what is filed or rejected, by file name."""
        ends = (lookup.FILED, lookup.REJECTED)
        return {found.job: found for found in self.everything() if found.state in ends}

    def wait_for(self, *jobs: str, timeout: float = 30.0) -> dict[str, lookup.Found]:
        """Wait until these jobs are filed or rejected."""

        def there() -> Optional[dict[str, lookup.Found]]:
            self.check_daemons()
            filed = self.filed()
            return filed if filed.keys() >= set(jobs) else None

        found = wait_until(there, f"{jobs!a} are filed", timeout, self.show)
        assert found
        return found

    def outcomes(self) -> dict[str, str]:
        """Return how each filed job came out ("rejected" if it was not even run)."""
        return {job: found.code or lookup.REJECTED for job, found in self.filed().items()}

    def wait_running(self, job: str, timeout: float = 30.0) -> lookup.Found:
        """Wait until a worker has accepted that job."""

        def running() -> Optional[lookup.Found]:
            return next((f for f in self.of(job) if f.state == lookup.RUNNING), None)

        found = wait_until(running, f"{job!a} runs", timeout, self.show)
        assert found
        return found

    def wait_file(self, name: str, timeout: float = 30.0) -> str:
        """Wait until a job has written a line into a file in its directory; return the text."""
        path = self.cwd / name

        def text() -> str:
            content = path.read_text() if path.exists() else ""
            return content if content.endswith("\n") else ""

        return wait_until(text, f"{name} is written", timeout, self.show)

    def sightings(self) -> dict[str, crew.Sighting]:
        """Return which workers are there."""
        return crew.sightings(self.project)

    def why(self, job: str) -> str:
        """Return why a job was rejected."""
        return Path(self.of(job)[0].path + ".why").read_text("utf-8", "backslashreplace")

    def all_records(self) -> list[dict[str, Any]]:
        """Return all records, whoever wrote them; every line must be one."""
        found = []
        for path in sorted(Path(self.project.records).glob("*.jsonl")):
            for line in path.read_bytes().splitlines(keepends=True):
                assert line.endswith(b"\n"), f"a torn record in {path.name}"
                found.append(json.loads(line.decode("utf-8", "surrogateescape")))
        return found

    def records(self, job: str, event: str = "end") -> list[dict[str, Any]]:
        """Return the records of the jobs of that name, by attempt."""
        found = [r for r in self.all_records() if r["job"] == job and r["event"] == event]
        return sorted(found, key=lambda record: record["attempt"])

    def record(self, job: str) -> dict[str, Any]:
        """Return the one record of a job that was tried once."""
        (record,) = self.records(job)
        return record

    def output(self, job: str, stream: str = "out") -> bytes:
        """Return what a job that was tried once has printed."""
        record = self.record(job)
        start, length = record[stream]
        with open(self.project.output_file(record["worker"], stream), "rb") as file:
            file.seek(start)
            data = file.read(length)
        assert len(data) == length
        return data

    def show(self) -> str:
        """Return what everybody said and where everything lies, for a failed test."""
        places = [f"{f.state} {f.path!a}" for f in lookup.everything(self.project)]
        crewing = [str(sighting) for sighting in self.sightings().values()]
        logs = [daemon.show() for daemon in self.daemons]
        return "\n".join(["--- spool", *places[:60], *crewing, *logs])

    # -- the end ------------------------------------------------------------------------------

    def processes(self) -> list[psutil.Process]:
        """Return everything that runs in this home, daemons and jobs."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("FJD_HOME") == str(self.home)
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def check_daemons(self) -> None:
        """Fail if a daemon died unasked or printed a traceback."""
        for daemon in self.daemons:
            trouble = daemon.trouble()
            assert trouble is None, trouble

    def close(self) -> None:
        """End everything and check that nothing is left."""
        try:
            problems = [daemon.trouble() for daemon in self.daemons]
            problems += [self._end(self._of("fjd-dispatcher")), self._end(self._of("fjd-worker"))]
            problems += [daemon.trouble() for daemon in self.daemons]
            problems += [self._sweep(), *self._litter()]
            if self.strict:
                problems += self._spool_problems()
            wrong = list(dict.fromkeys(filter(None, problems)))
            assert not wrong, "\n".join([*wrong, self.show()])
        finally:
            shutil.rmtree(self.root, ignore_errors=True)

    def _of(self, program: str) -> list[Daemon]:
        return [daemon for daemon in self.daemons if daemon.name.startswith(program)]

    def _end(self, daemons: Sequence[Daemon]) -> Optional[str]:
        """SIGTERM to all, then wait for each; SIGKILL for who does not hear it."""
        left = [daemon for daemon in daemons if daemon.process.poll() is None]
        for daemon in left:
            daemon.signal(signal.SIGTERM)
        stuck = []
        until = time.monotonic() + 10.0
        for daemon in left:
            try:
                daemon.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                stuck.append(daemon.name)
                daemon.kill()
                daemon.process.wait()
        return f"did not end within 10 s of SIGTERM: {stuck}" if stuck else None

    def _sweep(self) -> Optional[str]:
        until = time.monotonic() + 3.0
        left = self.processes()
        while left and time.monotonic() < until:
            time.sleep(0.01)
            left = self.processes()
        shown = [f"{p.pid} {_cmdline(p)!a}" for p in left]
        for process in left:
            try:
                process.kill()
            except psutil.Error:
                continue
        return f"processes are left: {shown}" if left else None

    def _killed(self) -> set[str]:
        return {str(daemon.pid) for daemon in self.daemons if daemon.killed}

    def _litter(self) -> Iterable[str]:
        """Yield what nobody cleaned up."""
        if self.known_litter:
            return
        for place in self.tmp.glob("fjd-*/*"):
            if place.name.partition("-")[0] not in self._killed():
                yield f"scratch files are left: {place} {os.listdir(place)}"
        if self._killed():
            return
        staging = Path(self.project.root, "tmp", short_host(hostname()))
        for directory in (staging, Path(self.project.running), Path(self.project.jobpods)):
            if directory.exists() and os.listdir(directory):
                yield f"left in {directory}: {sorted(directory.rglob('*'))}"
        for directory in map(Path, (self.project.dispatcher, self.project.workers)):
            if directory.exists() and os.listdir(directory):
                yield f"left in {directory}: {os.listdir(directory)}"

    def _spool_problems(self) -> Iterable[str]:
        """Yield jobs with two tokens, and ends without exactly one record."""
        tokens: dict[str, lookup.Found] = {}
        ends = [
            (r["key"], r["attempt"], r["worker"]) for r in self.all_records() if r["event"] == "end"
        ]
        for found in lookup.everything(self.project):
            if found.key and found.key in tokens:
                yield f"one job, two tokens: {found.path} {tokens[found.key].path}"
            tokens[found.key] = found
            if found.token and found.state in (lookup.FILED, lookup.ENDED):
                count = ends.count((found.key, found.token.attempt, found.worker))
                if count != 1:
                    yield f"{count} records of the end of {found.path}"


def _cmdline(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return "?"


def age(path: Path) -> None:
    """Let a file be a second old, so that it looks moved here, however coarse the clock is."""
    past = time.time() - 1.0
    os.utime(path, (past, past))


def gone(pids: Iterable[int]) -> bool:
    """Tell whether all these processes have ended."""
    return not any(_runs(pid) for pid in pids)


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
