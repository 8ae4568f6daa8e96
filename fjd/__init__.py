"""fjd: run ten thousand jobs on every CPU that shares a home directory.

``from fjd import Recruiter, Dispatcher, Worker`` gives the three roles to Python programs, and
``from fjd import Batch`` a list of commands that grows.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's costs an import, and every worker pays it
if TYPE_CHECKING:
    from fjd.api import Dispatcher as Dispatcher
    from fjd.api import Recruiter as Recruiter
    from fjd.api import Worker as Worker
    from fjd.batch.client import Batch as Batch

__version__ = "1.0.0"


def __getattr__(name: str) -> object:
    """Import the classes when somebody asks for them: a worker that starts does not."""
    if name == "Batch":
        from fjd.batch.client import Batch

        return Batch
    if name not in ("Dispatcher", "Recruiter", "Worker"):
        raise AttributeError(f"module 'fjd' has no attribute {name!r}")
    from fjd import api

    return getattr(api, name)
