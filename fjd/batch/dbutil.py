"""``<prefix>_dbUtil.sh``: the script that adds contexts to a run and watches it.

It finds its way alone: the run, its home, the directory where tasks start and the interpreter stand
in it, each as one word for the shell, so that it works from any directory and on any node.
"""

from __future__ import annotations

import json
import os
import shlex
from typing import NamedTuple, Optional

from fjd.batch.options import ContextOptions
from fjd.batch.prefix import Prefix
from fjd.errors import UsageError
from fjd.spool.project import home
from fjd.system import files

FLAG = "--of-run"  # the first word of an internal call; what follows is for a context

_TEXT = """\
#!/bin/sh
# Adds hosts to the run of fjd-batch with this prefix, or watches it:
#     %(name)s -s host:4,other:2      by SSH
#     sbatch -N 5 --ntasks-per-node 7 %(name)s
#     %(name)s --mon
cd -- %(cwd)s || exit 6
FJD_HOME=%(home)s
export FJD_HOME
exec %(command)s %(flag)s %(run)s "$@"
"""


class Run(NamedTuple):
    """What a script knows of its run.

    Attributes:
        prefix: the path that its files begin with.
        key: its list.
        cwd: where its tasks start.
        cpus, most, resources: ``-c``, ``-t`` and ``-E`` of the run, for contexts that say nothing.
        driver: the host of the driver.
        own: whether the project is the run's own.
    """

    prefix: str
    project: str
    key: str
    cwd: str
    cpus: Optional[float]
    most: Optional[int]
    resources: tuple[str, ...]
    driver: str
    own: bool

    def dump(self) -> str:
        """Return it as one word."""
        return json.dumps(self._asdict(), separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> Run:
        """Read what ``dump`` wrote.

        Raises:
            UsageError: it is something else.
        """
        try:
            fields = json.loads(text)
            fields["resources"] = tuple(fields["resources"])
            return cls(**fields)
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                "this script was changed, or is of another version of fjd",
                remedy="start the run again",
            ) from None

    def inherit(self, options: ContextOptions) -> ContextOptions:
        """Fill in what a context did not say."""
        return options._replace(
            cpus=self.cpus if options.cpus is None else options.cpus,
            most=self.most if options.most is None else options.most,
            resources=options.resources or self.resources,
        )


def text(prefix: Prefix, run: Run, command: list[str]) -> bytes:
    """Return the script."""
    name = "".join(c if c.isprintable() else "?" for c in os.path.basename(prefix.script))
    words = {
        "name": name,
        "cwd": shlex.quote(run.cwd),
        "home": shlex.quote(home()),
        "command": shlex.join(command),
        "flag": FLAG,
        "run": shlex.quote(run.dump()),
    }
    return os.fsencode(_TEXT % words)


def write(prefix: Prefix, run: Run, command: list[str]) -> None:
    """Put the script in its place, whole, for its owner alone."""
    staging = f"{os.path.dirname(prefix.path)}/.{os.getpid()}.{os.urandom(4).hex()}.dbUtil"
    files.create(staging, text(prefix, run, command), mode=0o700)
    os.replace(staging, prefix.script)
