"""Rejecting: what cannot be run goes to ``rejected/``, with the reason beside it."""

from __future__ import annotations

from fjd.spool.names import WHY, Token
from fjd.spool.project import Project
from fjd.system import files


def reject(project: Project, path: str, token: Token, reason: str) -> bool:
    """Queued -> rejected; the reason is there first. False: the file was gone."""
    why = f"{project.rejected}/{token}{WHY}"
    text = (reason + "\n").encode("utf-8", "backslashreplace")
    files.publish(project.staging(), why, text, sync=False)
    if files.move(path, f"{project.rejected}/{token}"):
        return True
    files.remove(why)
    return False
