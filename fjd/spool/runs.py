"""A run's own project: a spool that lives as long as one run of ``fjd-batch``.

The file ``run`` in it says whose it is. Only a project that has one is ever removed as a whole.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import Optional

from fjd.errors import ConfigError
from fjd.spool.project import Project, home
from fjd.system import files

_GONE = ".gone."


def claim(project: Project, prefix: str) -> None:
    """Say that a project belongs to the run with that prefix.

    Raises:
        ConfigError: it is somebody else's.
    """
    before = owner(project)
    if before == prefix:
        return
    if before is not None or _used(project):
        raise ConfigError(
            f'the project "{project.name}" is not of this run',
            where=project.root,
            remedy="use another -p",
        )
    files.publish(project.staging(), f"{project.root}/run", os.fsencode(prefix))


def owner(project: Project) -> Optional[str]:
    """Return the prefix of the run that a project belongs to; None if it is nobody's."""
    try:
        return os.fsdecode(files.read(f"{project.root}/run"))
    except FileNotFoundError:
        return None


def exists(name: str) -> bool:
    """Tell whether there is such a project."""
    return os.path.isdir(f"{home()}/{name}")


def _used(project: Project) -> bool:
    places = (project.jobqueue, project.requeue, project.lists, project.jobpods)
    return any(files.listing(place) for place in places)


def remove(project: Project) -> None:
    """Remove a run's own project: first its name, then what was in it.

    Whoever is killed meanwhile leaves a hidden directory, which the next one removes.
    """
    if owner(project) is None:
        return
    gone = f"{os.path.dirname(project.root)}/{_GONE}{project.name}.{os.urandom(4).hex()}"
    with contextlib.suppress(FileNotFoundError):  # RACE: the user was faster
        os.rename(project.root, gone)
    for name in files.listing(os.path.dirname(gone)) or ():
        if name.startswith(f"{_GONE}{project.name}."):
            shutil.rmtree(f"{os.path.dirname(gone)}/{name}", ignore_errors=True)


def wipe(project: Project) -> None:
    """Forget what earlier runs in it have left; nobody works in it, and it has no lists."""
    if owner(project) is None:
        return
    places = (project.done, project.failed, project.rejected, project.records, project.output)
    for place in (*places, project.screenlogs, project.contexts):
        for name in files.listing(place) or ():
            path = f"{place}/{name}"
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                files.remove(path)


def printed(project: Project) -> bool:
    """Tell whether any task has printed something that is kept."""
    try:
        with os.scandir(project.output) as entries:
            return any(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except FileNotFoundError:
        return False  # the user has removed the project
