"""Employing a worker: this process becomes its guardian, and a child of it the worker."""

# No postponed annotations: NamedTuple would compile each of them, and a worker waits for it.

import os
import time
from typing import Callable, NamedTuple

from fjd.errors import UsageError
from fjd.spool import names
from fjd.spool.crew import Card
from fjd.spool.project import Project
from fjd.spool.timings import for_home
from fjd.system.identity import Identity, hostname
from fjd.system.place import Place
from fjd.system.workdir import directory
from fjd.worker.guardian import Lifeline, guard
from fjd.worker.worker import Worker


class Terms(NamedTuple):
    """How a worker is kept.

    Attributes:
        id: its id ("" for a new one); a successor after a stall gets a new one anyway.
        launcher, session, log: what keeps it, for the roster.
        cwd: where its tasks start.
        context, engine, cylinder: with whom it was hired, see ``Card``.
    """

    id: str = ""
    launcher: str = ""
    session: str = ""
    log: str = ""
    cwd: str = ""
    context: str = ""
    engine: int = -1
    cylinder: int = -1


def employ(project: Project, terms: Terms, edge: Callable[[Callable[[], int]], int]) -> int:
    """Run a worker under a guardian in this process until it is fired; return the exit code.

    ``edge`` calls the worker's main function and turns its errors into one line and a code.
    """
    if terms.id and not names.is_pod(terms.id):
        raise UsageError(f"{terms.id!r} cannot name a worker", remedy="leave --id out")
    pace = for_home(project.root)
    cwd = directory(terms.cwd)
    place = Place()
    ids = [terms.id] if terms.id else []
    slot = names.slot_of(terms.id) if terms.id else terms.cylinder + 1

    def work(lifeline: Lifeline) -> int:
        return edge(lambda: serve(lifeline))

    def serve(lifeline: Lifeline) -> int:
        place.make()
        worker = ids.pop() if ids else names.new_worker(hostname(), slot)
        card = Card(
            worker=worker,
            identity=Identity.of(os.getpid()),
            guardian=Identity.of(os.getppid()),
            launcher=terms.launcher,
            session=terms.session,
            log=terms.log,
            bell=f"{place.path}/bell",
            cwd=cwd,
            since=time.time(),
            context=terms.context,
            engine=terms.engine,
            cylinder=terms.cylinder,
        )
        return Worker(project, card, place.path, pace, lifeline).run()

    def clean() -> None:
        ids.clear()
        place.clear()

    return guard(work, clean)
