"""A project's directory: where everything lies, and whether it is safe to use.

One object owns every path (``Project``); the verbs of the other modules are the only ones who
join a name to it. The page that explains them all is the docstring of ``fjd.spool``.
"""

from __future__ import annotations

import os
import stat
from typing import Optional

from fjd.errors import ConfigError, NothingToDo
from fjd.spool.names import check_project, short_host
from fjd.system import files
from fjd.system.identity import hostname

FORMAT = "fjd spool 1\n"
INTRODUCTION = """\
This directory belongs to fjd, which distributes jobs to CPUs; it is one project's queue.
Drop job files into jobqueue/; `fjd status` explains what lies here. What you may do by hand:
rm a file in jobqueue/ (cancels the job), mv one from failed/ or rejected/ back to jobqueue/.
"""
DIRECTORIES = (
    "jobqueue",
    "workerqueue",
    "workers",
    "jobpods",
    "running",
    "results",
    "requeue",
    "lists",
    "contexts",
    "done",
    "failed",
    "rejected",
    "records",
    "output",
    "dispatcher",
    "screenrcs",
    "screenlogs",
    "tmp",
)


def home() -> str:
    """Return where the projects lie: ``$FJD_HOME`` or ``~/.fjd``."""
    path = os.environ.get("FJD_HOME") or os.path.expanduser("~/.fjd")
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        raise ConfigError(
            f"the home {path} is relative, and the working directory was deleted",
            remedy="cd into another",
        ) from None


def carried_home() -> Optional[str]:
    """Return what processes elsewhere must be told of our FJD_HOME (None: nothing)."""
    return home() if os.environ.get("FJD_HOME") else None


def _mkdir(path: str) -> None:
    try:
        files.make_directory(path)
    except OSError as error:
        raise ConfigError(
            f"cannot make the directory: {error.strerror}",
            where=path,
            remedy="set FJD_HOME to a directory that you may write to",
        ) from error


def _quoted(path: str) -> str:
    from shlex import quote  # a worker that starts does not wait for it

    return quote(path)


def _not_a_directory(path: str) -> ConfigError:
    return ConfigError("is not a directory", where=path, remedy="move it away")


def _a_link(path: str) -> ConfigError:
    return ConfigError(
        "is a symbolic link, and fjd writes through none",
        where=path,
        remedy=f"type: rm {_quoted(path)} (what it leads to stays)",
    )


def _check(path: str) -> int:
    """Refuse a directory that somebody else owns or could write to; return its mode."""
    found = os.stat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise _not_a_directory(path)
    if found.st_uid != os.geteuid():
        raise ConfigError(
            f"belongs to uid {found.st_uid}, and you are uid {os.geteuid()}",
            where=path,
            remedy="run fjd as its owner or set FJD_HOME to a directory of your own",
        )
    if found.st_mode & 0o022:
        raise ConfigError(
            f"others can write to it (mode {stat.S_IMODE(found.st_mode):04o}),"
            " and what lies in it is run in your name",
            where=path,
            remedy=f"look through it, then type: chmod go-w {_quoted(path)}",
        )
    return found.st_mode


class Project:
    """One queue and its directory. ``Project.open`` makes and checks it.

    Attributes:
        name: the project's name.
        root: its directory, absolute.
        remote_conf, timings: the files of the user and of ``fjd doctor``; they may be missing.
        and one for each directory of the spool, absolute, named as in ``DIRECTORIES``.
    """

    def __init__(self, name: str, root: str) -> None:
        self.name, self.root = name, root
        self.jobqueue = f"{root}/jobqueue"
        self.workerqueue = f"{root}/workerqueue"
        self.workers = f"{root}/workers"
        self.jobpods = f"{root}/jobpods"
        self.running = f"{root}/running"
        self.results = f"{root}/results"
        self.requeue = f"{root}/requeue"
        self.lists = f"{root}/lists"
        self.contexts = f"{root}/contexts"
        self.done = f"{root}/done"
        self.failed = f"{root}/failed"
        self.rejected = f"{root}/rejected"
        self.records = f"{root}/records"
        self.output = f"{root}/output"
        self.dispatcher = f"{root}/dispatcher"
        self.screenrcs = f"{root}/screenrcs"
        self.screenlogs = f"{root}/screenlogs"
        self.tmp = f"{root}/tmp/{short_host(hostname())}"
        self.remote_conf = f"{root}/remote.conf"
        self.timings = f"{root}/timings"
        self._staged = 0

    @classmethod
    def existing(cls, name: Optional[str] = None) -> Project:
        """Return the project of that name, like ``open``, but never make one.

        Raises:
            NothingToDo: there is no such project.
        """
        name = check_project(name if name is not None else os.environ.get("FJD_PROJECT", "default"))
        root = f"{home()}/{name}"
        if not os.path.lexists(root):
            raise NothingToDo(
                f'there is no project "{name}"',
                where=root,
                remedy=f"make it by its first job: fjd submit --project {name} FILE",
            )
        return cls.open(name)

    @classmethod
    def open(cls, name: Optional[str] = None) -> Project:
        """Return the project of that name (``default`` if none is given), made if need be.

        Raises:
            UsageError: the name cannot name a project.
            ConfigError: the directory is not safe to use or has an unknown format.
        """
        name = check_project(name if name is not None else os.environ.get("FJD_PROJECT", "default"))
        base = home()
        if not os.path.isdir(base):
            _mkdir(base)
        _check(base)
        project = cls(name, f"{base}/{name}")
        if not os.path.isdir(project.root):
            _mkdir(project.root)
        project._complete(reached=bool(_check(project.root) & 0o011))
        return project

    def _complete(self, reached: bool) -> None:
        """Make what is missing; ``reached``: others get as far as what is inside."""
        with os.scandir(self.root) as entries:
            there = {entry.name: entry for entry in entries}
        for directory in DIRECTORIES:
            path = f"{self.root}/{directory}"
            if directory not in there:
                _mkdir(path)
            elif there[directory].is_symlink():
                raise _a_link(path)
            elif not there[directory].is_dir():
                raise _not_a_directory(path)
            elif reached:
                _check(path)
        if os.path.islink(self.tmp):
            raise _a_link(self.tmp)
        if not os.path.isdir(self.tmp):
            _mkdir(self.tmp)
        for path, text in (("README", INTRODUCTION), ("VERSION", FORMAT)):
            if path not in there:
                files.publish(
                    self.staging(), f"{self.root}/{path}", text.encode(), path == "VERSION"
                )
        if "VERSION" in there:
            if not there["VERSION"].is_file(follow_symlinks=False):
                path = f"{self.root}/VERSION"
                raise ConfigError("is no plain file", where=path, remedy="move it away")
            found = files.read(f"{self.root}/VERSION").decode("utf-8", "replace")
            if found != FORMAT:
                raise ConfigError(
                    f"is in the format {found.strip()!r}, and this fjd knows {FORMAT.strip()!r}",
                    where=self.root,
                    remedy="use the fjd that made it, or another project",
                )

    def staging(self) -> str:
        """Return a fresh path for a file that is being written."""
        self._staged += 1
        return f"{self.tmp}/{os.getpid()}.{os.urandom(4).hex()}.{self._staged}"

    def server_now(self) -> float:
        """Return the time by the clock of the file system that holds the project."""
        path = self.staging()
        try:
            files.create(path, b"")
        except files.DiskFull:  # who only looks needs no room; SSHFS would give our own time
            os.utime(self.tmp)
            return os.stat(self.tmp).st_mtime
        try:
            return os.stat(path).st_mtime
        finally:
            files.remove(path)

    def pod(self, worker: str) -> str:
        """Return a worker's pod."""
        return f"{self.jobpods}/{worker}"

    def record_file(self, writer: str) -> str:
        """Return the record file of a worker or a dispatcher."""
        return f"{self.records}/{writer}.jsonl"

    def output_file(self, worker: str, stream: str) -> str:
        """Return a worker's output file; ``stream`` is ``out`` or ``err``."""
        return f"{self.output}/{worker}.{stream}"

    def log_file(self, worker: str) -> str:
        """Return where a worker's own log (its screen) is written."""
        return f"{self.screenlogs}/{worker}.log"

    def rc_file(self, worker: str) -> str:
        """Return where the configuration of a worker's screen is written."""
        return f"{self.screenrcs}/{worker}.rc"
