"""The prefix: how the files of a run are called, and the project that belongs to it."""

from __future__ import annotations

import hashlib
import os
import random
import re
import time
from typing import NamedTuple, Optional

from fjd.errors import ConfigError, UsageError

STATUS = "_status.txt"
STREAM = "STREAM"  # what tasks that come from a program are called
LONGEST = 215  # bytes: with what is added, names have at most 255
_LONGEST = 46  # characters of a project's name that are the prefix's own


class Prefix(NamedTuple):
    """The paths of a run: ``<path>_status.txt`` and so on; ``path`` is absolute."""

    path: str

    @property
    def name(self) -> str:
        """The last part, which tasks find in DISBATCH_JOBID."""
        return os.path.basename(self.path)

    @property
    def status(self) -> str:
        """The status file."""
        return self.path + STATUS

    @property
    def log(self) -> str:
        """The driver's log."""
        return f"{self.path}_driver.log"

    @property
    def script(self) -> str:
        """The script that adds contexts and watches the run."""
        return f"{self.path}_dbUtil.sh"

    @property
    def kvsinfo(self) -> str:
        """Where the address of the key-value server stands while it runs."""
        return f"{self.path}_kvsinfo.txt"

    @property
    def url(self) -> str:
        """Where the address of the web page stands while it is served."""
        return f"{self.path}_url"

    def context_log(self, label: str) -> str:
        """The log of one context."""
        return f"{self.path}_{label}.context.log"

    def engine_log(self, label: str, host: str, rank: int) -> str:
        """The log of one engine: what its workers said."""
        return f"{self.path}_{label}_{host}_engine_{rank}.log"

    @property
    def project(self) -> str:
        """The name of the run's own project.

        It ends in a digest of the whole path: prefixes of one name in two directories have two
        projects, and nobody calls a project of his own so.
        """
        kept = re.sub(r"[^A-Za-z0-9._-]", "_", self.name).lstrip("._-")[:_LONGEST]
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        return f"{kept or 'run'}-{digest}"

    @classmethod
    def of_status(cls, path: str) -> Optional[Prefix]:
        """Return the prefix of the run that wrote a status file, if it still has its name."""
        path = os.path.realpath(path)
        if not path.endswith(STATUS) or path.endswith(f"/{STATUS}"):
            return None
        return cls(path[: -len(STATUS)])


def task_name(source: str) -> str:
    """Return what the list of a source is called: DISBATCH_NAMETASKS."""
    if source == "-":
        return "stdin"
    return os.path.basename(source) or STREAM


def resolve(given: str, name: str, now: Optional[float] = None) -> Prefix:
    """Return the prefix that ``-p`` means; ``name`` is that of the tasks.

    A directory: files in it, called ``<name>_disBatch_<yymmddHHMMSS>_<three digits>...``. Anything
    else is the prefix itself, in a directory that exists.

    Raises:
        UsageError: there is no such directory, or nothing behind it.
        ConfigError: nothing can be written there.
    """
    if os.path.isdir(given):
        stamp = time.strftime("%y%m%d%H%M%S", time.localtime(now))
        number = random.SystemRandom().randrange(1000)
        directory, last = given, f"{name}_disBatch_{stamp}_{number:03}"
    else:
        directory, last = os.path.split(given)
        if not given:
            raise UsageError("-p: an empty path is no prefix", remedy="use . for this directory")
        if not last or not os.path.isdir(directory or "."):
            raise UsageError(
                f"-p: directory {directory or '.'} does not exist",
                remedy="make it first, or use another prefix",
            )
    if len(os.fsencode(last)) > LONGEST:
        raise UsageError(
            f"-p: the files of the run would have names of more than {LONGEST} bytes and an ending",
            remedy="use a shorter prefix",
        )
    directory = os.path.realpath(directory or ".")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ConfigError(
            "the run's files cannot be written there", where=directory, remedy="use another -p"
        )
    return Prefix(f"{directory}/{last}")
