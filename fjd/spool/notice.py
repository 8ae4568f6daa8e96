"""A notice that the dispatcher puts up for those who only look: ``dispatcher/notice.json``.

    benched   {host: wall clock until which it gets no tasks, seconds since the epoch}

It is no state: a dispatcher that starts knows nothing of it and takes it down.
"""

from __future__ import annotations

import json

from fjd.spool.project import Project
from fjd.system import files


def _path(project: Project) -> str:
    return f"{project.dispatcher}/notice.json"


def put_up(project: Project, benched: dict[str, float]) -> None:
    """Replace the notice; none is left if there is nothing to say."""
    if not benched:
        files.remove(_path(project))
        return
    data = (json.dumps({"benched": benched}) + "\n").encode()
    files.publish(project.staging(), _path(project), data, sync=False)


def benched(project: Project) -> dict[str, float]:
    """Return the hosts on the bench, as the dispatcher told last."""
    try:
        told = json.loads(files.read(_path(project)))["benched"]
        return {str(host): float(until) for host, until in told.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
