"""Slurm: what an allocation gives, and steps of it that hold workers.

Pure functions read what Slurm says in the environment. One ``srun`` per node starts that node's
workers; it stays until the last of them has ended, and whoever started it stays with it.

    cores on a node   those that were asked for: tasks x cores per task; with ``fill`` all of it
    slots             so many tasks of ``cpus`` cores fit into those, and ``most`` at most
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Callable, NamedTuple, Optional

from fjd.errors import ConfigError
from fjd.launchers.base import Place, command
from fjd.spool.project import Project, carried_home

NAME = "slurm"

_COUNT = re.compile(r"([0-9]+)(?:\(x([0-9]+)\))?")
_LARGEST = 100_000  # nodes in an allocation; a typing error must not fill the memory
_PATIENCE = 30.0  # s for scontrol

# Set where nobody else has: sruns of a site that knows nothing of them ignore them.
_DEFAULTS = {
    "SLURM_OVERLAP": "1",  # the driver may run in a step that has all cores already
    "SLURM_MPI_TYPE": "none",
}


class Node(NamedTuple):
    """One node of the allocation: the tasks that were asked for there, and its cores for us."""

    host: str
    tasks: int
    cores: int


class Allocation(NamedTuple):
    """What Slurm gives to a job; ``per_task``: the cores that each task was asked to have."""

    job: str
    nodes: tuple[Node, ...]
    per_task: int


def hostnames(text: str) -> list[str]:
    """Return the hosts of Slurm's notation (``node[1-3,7]``), as scontrol says."""
    if "[" not in text:
        return [name for name in text.split(",") if name]
    try:
        done = subprocess.run(
            ["scontrol", "show", "hostnames", text],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"scontrol does not say what {text} are: {error}") from error
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ConfigError(f"scontrol does not say what {text} are: {why}")
    return done.stdout.split()


def counts(text: str, variable: str = "the list") -> list[int]:
    """Read ``40,128(x3)``: 40, 128, 128, 128."""
    found: list[int] = []
    for item in text.split(","):
        match = _COUNT.fullmatch(item.strip())
        times = int(match[2] or 1) if match else 0
        if match is None or len(found) + times > _LARGEST:
            raise ConfigError(f"{variable} is {text[:80]!r}, and that is no list of counts")
        found += [int(match[1])] * times
    return found


def allocation(
    environ: Mapping[str, str], expand: Callable[[str], list[str]] = hostnames
) -> Allocation:
    """Return the allocation in which we run.

    Raises:
        ConfigError: the environment does not say, or contradicts itself.
    """
    job = environ.get("SLURM_JOB_ID") or environ.get("SLURM_JOBID") or ""
    nodes = environ.get("SLURM_JOB_NODELIST") or environ.get("SLURM_NODELIST") or ""
    if not job or not nodes:
        lost = "SLURM_JOB_NODELIST" if job else "SLURM_JOB_ID"
        raise ConfigError(f"{lost} is not set: this is no allocation", remedy="use sbatch or -s")
    hosts = expand(nodes)
    per_task = _each(environ, "SLURM_CPUS_PER_TASK", "1", 1)[0]
    tasks = _each(environ, "SLURM_TASKS_PER_NODE", "1", len(hosts))
    cores = _each(environ, "SLURM_JOB_CPUS_PER_NODE", "", len(hosts))
    cores = cores or [number * per_task for number in tasks]
    return Allocation(job, tuple(map(Node, hosts, tasks, cores)), per_task)


def _each(environ: Mapping[str, str], variable: str, default: str, number: int) -> list[int]:
    text = environ.get(variable) or default
    if not text:
        return []
    found = counts(text, variable)
    if len(found) == 1:
        found *= number
    if len(found) != number:
        raise ConfigError(f"{variable} is {text!r}, and there are {number} nodes")
    return found


def slots(
    given: Allocation, cpus: Optional[float], most: Optional[int], fill: bool
) -> list[tuple[str, int]]:
    """Return how many workers each node gets; who has too few cores for one gets none.

    Args:
        cpus: the cores that one of our tasks uses; None: as Slurm was asked for.
        most: no more than so many on a node; None: as many as fit.
        fill: use all cores of ours on the node, also those that nobody asked for.
    """
    each = float(given.per_task) if cpus is None else cpus
    found = []
    for node in given.nodes:
        cores = node.tasks * given.per_task
        number = int((max(node.cores, cores) if fill else cores) / each + 1e-9)
        found.append((node.host, number if most is None else min(number, most)))
    return found


def missing() -> str:
    """Say why no step can be started here; "" if one can."""
    return "" if shutil.which("srun") else "srun is not installed"


class Step(NamedTuple):
    """The workers of one node, before they are started."""

    host: str
    slots: int
    place: Place
    python: str
    cwd: str
    nice: Optional[int] = None


def log(project: Project, place: Place, cylinder: int | str = "%t") -> str:
    """Return where a worker of a step writes what it says; ``%t``: one for each."""
    return project.log_file(f"{place.context}-{place.engine}-{cylinder}")


def said(project: Project, place: Place) -> str:
    """Return where srun itself writes what it says."""
    return project.log_file(f"{place.context}-{place.engine}-srun")


def argv(project: Project, step: Step) -> list[str]:
    """Return the srun that starts a step, and ends with it."""
    place = step.place
    words = ["--project", project.name, "--launcher", NAME, "--cwd", step.cwd]
    words += ["--log", log(project, place)]
    words += ["--context", place.context, "--engine", str(place.engine)]
    words += ["--env-resource", ",".join(place.resources)] if place.resources else []
    words += [] if step.nice is None else ["--nice", str(step.nice)]
    directory, name = os.path.split(log(project, place))
    return [
        *("srun", "--nodes=1", f"--ntasks={step.slots}", f"--ntasks-per-node={step.slots}"),
        *(f"--nodelist={step.host}", "--overcommit", "--export=ALL"),
        # A worker that has ended must not take the others along: neither its code nor after a wait.
        *("--kill-on-bad-exit=0", "--wait=0", "--input=none", "--open-mode=append"),
        f"--output={directory.replace('%', '%%')}/{name}",
        f"--job-name=fjd-{place.context}",
        *command(step.python, "fjd.scripts.fjd_worker", words),
    ]


def start(project: Project, step: Step) -> subprocess.Popen[bytes]:
    """Start a step; what srun itself says has a log of its own."""
    home = carried_home()
    env = {**_DEFAULTS, **os.environ, **({"FJD_HOME": home} if home else {})}
    with open(said(project, step.place), "ab", opener=_private) as file:
        return subprocess.Popen(
            argv(project, step),
            cwd="/",
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
