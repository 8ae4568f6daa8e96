"""Running one job file: read it, start it, watch it, and write the record of how it came out."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple, Optional

from fjd.errors import JobFileError
from fjd.spool import jobfile, outcomes, records
from fjd.spool.lists.task import Task
from fjd.spool.names import Token
from fjd.spool.pods import Pod
from fjd.spool.records import Record
from fjd.system import files
from fjd.system.ears import Ears
from fjd.worker import memory, task
from fjd.worker.order import Order, of_job
from fjd.worker.scratch import Stream

_VISIBLE = 1.0  # s: output and the start of a longer task are seen by others so late at most
_CANNOT_START = 126  # exit code of what could not even be started, as shells have it


class Report(NamedTuple):
    """How an attempt came out: the outcome's code for the name, and the record."""

    code: str
    record: Record

    def lost(self) -> Report:
        """Return it as the end of a task that took a worker down once too often."""
        record = {**self.record, "outcome": outcomes.LOST}
        del record["returned"]
        return Report(outcomes.LOST, record)


class Attempts:
    """What all attempts of one worker share.

    Args:
        should_stop: asked whenever something happens; True ends the attempt at once.
        insist: calls a verb again while the disk is full or the file server in trouble.
        note: takes the ``start`` record of an attempt that lasts.
    """

    def __init__(
        self,
        pod: Pod,
        host: str,
        cwd: str,
        env: Mapping[str, str],
        out: Stream,
        err: Stream,
        ears: Ears,
        should_stop: Callable[[], str],
        insist: Callable[[Callable[[], Any]], Any],
        note: Callable[[Record], None],
    ) -> None:
        self._pod, self._host, self._cwd, self._env = pod, host, cwd, dict(env)
        self._out, self._err, self._ears = out, err, ears
        self._should_stop, self._insist, self._note = should_stop, insist, note
        self._copies = f"{pod.project.running}/{pod.worker}"
        self._kills = memory.oom_kills()
        self._stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def run(self, token: Token) -> Report:
        """Run an accepted job to its end; everything that it printed is kept when this returns.

        ``record["returned"]`` is true if the attempt was stopped from outside and the job is to
        go back into the queue.
        """
        record = self._blank(token)
        began = self._begin(1, None)
        copy = ""
        try:
            path = self._pod.job_file(token)
            data, mode = self._insist(lambda: jobfile.read_bytes(path))
            job = jobfile.parse(data, mode, token.job)
            record["command"] = job.executable or token.job
            copy = self._insist(lambda: self._copy(token.job, data, job.kind == "script"))
            self._touch(job)
            report = self._execute(token, lambda: of_job(job, copy), copy, record, began)
        except (JobFileError, FileNotFoundError) as error:
            report = self._failed(record, str(error))
        finally:
            if copy:
                self._remove_copy(copy)
        self._finish(record, began)
        return report

    def run_task(
        self, token: Token, task: Task, order: Callable[[], Order], lasts: Callable[[], None]
    ) -> Report:
        """Run one task of a list to its end; ``lasts`` is called once if it takes a while."""
        command = task.command.decode("utf-8", "surrogateescape")
        record = {**self._blank(token), "task": task.number, "line": task.line}
        record.update(repeat=task.repeat, command=command)
        began = self._begin(task.number, lasts)
        report = self._execute(token, order, "", record, began)
        self._finish(record, began)
        if self._out.printed[0] or self._err.printed[0]:
            from fjd.spool.lists.statusfile import leak  # few tasks print something

            record["leak"] = {"out": leak(*self._out.printed), "err": leak(*self._err.printed)}
        return report

    def _begin(self, number: int, lasts: Optional[Callable[[], None]]) -> float:
        self._task, self._lasts = number, lasts
        self._out.begin()
        self._err.begin()
        return time.monotonic()

    def _finish(self, record: Record, began: float) -> None:
        """The attempt has ended: keep what is left of its output."""
        record["end"] = time.time()
        record["seconds"] = round(time.monotonic() - began, 6)
        record["out"], record["err"] = (
            self._insist(self._out.finish),
            self._insist(self._err.finish),
        )

    def _blank(self, token: Token) -> Record:
        return {
            **records.attempt(token, self._pod.worker),
            "host": self._host,
            "pid": None,
            "outcome": outcomes.FAILED,
            "exit": None,
            "signal": None,
            "cause": "",
            "start": time.time(),
            "end": None,
            "seconds": None,
            "cpu": None,
            "rss_kib": None,
            "out": None,
            "err": None,
            "command": "",
        }

    def _failed(self, record: Record, cause: str) -> Report:
        """The job could not be started; say why where its errors are looked for."""
        record["exit"], record["cause"] = _CANNOT_START, cause
        self._complain(cause)
        return Report(outcomes.code(outcomes.FAILED, _CANNOT_START), record)

    def _copy(self, name: str, data: bytes, script: bool) -> str:
        """Give the job a readable copy of its file under its own name."""
        path = f"{self._copies}/{name}"
        mode = 0o700 if script else 0o600
        for _ in range(3):
            try:
                files.create(path, data, mode)
                return path
            except FileNotFoundError:
                os.makedirs(self._copies, 0o700, exist_ok=True)
            except NotADirectoryError:
                files.move(self._copies, self._pod.project.staging())
            except FileExistsError:  # an attempt was killed, or left something else in its place
                files.move(path, self._pod.project.staging())
        files.create(path, data, mode)
        return path

    def _remove_copy(self, path: str) -> None:
        try:
            files.remove(path)
        except OSError:
            return  # the job put something else in its place; the next one moves it away

    def _touch(self, job: jobfile.Job) -> None:
        """Create the log file, so that the job can append to it, as it always was in fjd."""
        if not job.logfile:
            return
        path = os.path.join(self._directory(job.cwd or ""), os.path.expanduser(job.logfile))
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
            os.utime(fd)
            os.close(fd)
        except OSError as error:
            self._complain(f"cannot touch the logfile {path}: {error.strerror}")

    def _complain(self, text: str) -> None:
        """Say it where the errors of the job are looked for."""
        try:
            os.write(self._err.fd, f"fjd: {text}\n".encode("utf-8", "backslashreplace"))
        except OSError:
            return  # no room in local temporary space; what matters stands in the record

    def _directory(self, cwd: str) -> str:
        return os.path.join(self._cwd, cwd) if cwd else self._cwd

    def _start(self, token: Token, order: Order, copy: str) -> int:
        own = {
            "FJD_JOB": token.key,
            "FJD_TASK": str(self._task),
            "FJD_ATTEMPT": str(token.attempt),
            "FJD_JOBFILE": copy,
        }
        directory = self._directory(order.cwd)
        os.chdir(directory)
        try:
            env = {**self._env, **order.env, **own}
            return task.spawn(order.argv, env, self._stdin, self._out.fd, self._err.fd)
        finally:
            if directory != self._cwd:
                os.chdir("/")

    def _execute(
        self, token: Token, what: Callable[[], Order], copy: str, record: Record, began: float
    ) -> Report:
        try:
            order = what()
            pid = self._start(token, order, copy)
        except OSError as error:
            where = f" {error.filename}" if error.filename else ""
            return self._failed(record, f"cannot start it:{where} {error.strerror}")
        record["pid"] = pid
        end, verdict = self._wait(pid, order.timeout, record, began)
        task.clear_group(pid)
        record["exit"], record["signal"] = end.exit, end.signal
        record["cpu"], record["rss_kib"] = round(end.cpu, 6), end.rss_kib
        return self._judge(end, verdict, order, record)

    def _wait(
        self, pid: int, timeout: Optional[float], record: Record, began: float
    ) -> tuple[task.End, str]:
        """Wait for the end; the second value is why we ended it ourselves ("" if we did not)."""
        pause, told = 0.05, False
        deadline = began + timeout if timeout else None
        while True:
            now = time.monotonic()
            wait = pause if deadline is None else min(pause, deadline - now)
            self._ears.wait(wait)
            end = task.poll(pid)
            if end is not None:
                return end, ""
            verdict = self._should_stop()
            if not verdict and deadline is not None and time.monotonic() >= deadline:
                verdict = outcomes.TIMEOUT
            if verdict:
                return self._end(pid), verdict
            if time.monotonic() - now < wait:
                continue  # a bell, not the clock
            much = self._flush()
            pause = 0.05 if much else min(2 * pause, _VISIBLE)
            if not told and time.monotonic() - began >= _VISIBLE:
                told = self._tell_start(record)
                if self._lasts is not None:
                    self._lasts()

    def _flush(self) -> bool:
        try:
            return self._out.flush() | self._err.flush()
        except files.DiskFull:
            return False  # it stays in the scratch file; the end of the task insists

    def _tell_start(self, record: Record) -> bool:
        spans = {"out": [self._out.start, 0], "err": [self._err.start, 0]}
        fields = {k: v for k, v in record.items() if v is not None and k != "outcome"}
        try:
            self._note({**fields, "event": "start", **spans})
        except files.DiskFull:
            return False
        return True

    def _end(self, pid: int) -> task.End:
        """TERM to the whole group, KILL after the grace."""
        task.signal_group(pid, signal.SIGTERM)
        limit = time.monotonic() + task.GRACE
        while True:
            end = task.poll(pid)
            if end is not None:
                return end
            left = limit - time.monotonic()
            if left <= 0:
                task.signal_group(pid, signal.SIGKILL)
                left = 1.0
            self._ears.wait(left)

    def _judge(self, end: task.End, verdict: str, order: Order, record: Record) -> Report:
        number = 0
        if verdict == outcomes.TIMEOUT:
            outcome = outcomes.TIMEOUT
            record["cause"] = f"it ran longer than its timeout of {order.timeout:g} s"
        elif verdict:
            outcome, record["cause"], record["returned"] = outcomes.CANCELLED, verdict, True
        elif end.signal is not None:
            outcome, number = outcomes.KILLED, end.signal
            record["cause"] = memory.cause(number, end.rss_kib, self._kills)
            self._kills = memory.oom_kills()
        elif end.exit:
            outcome, number = outcomes.FAILED, end.exit
        else:
            outcome = outcomes.OK
        record["outcome"] = outcome
        return Report(outcomes.code(outcome, number), record)
