"""fjd retry: put failed jobs back into the queue."""

from __future__ import annotations

import argparse

from fjd.errors import NothingToDo
from fjd.scripts import verbs
from fjd.spool import lookup, presence, submission
from fjd.spool.project import Project
from fjd.views import hints

SCHEMA = "fjd.retry/1"


def main(argv: list[str]) -> int:
    """Run the verb."""
    parser = verbs.parser(
        "retry", "Put jobs back into the queue: all that failed, or those that are named."
    )
    parser.add_argument(
        "jobs",
        nargs="*",
        metavar="JOB",
        help="file name, key, or the beginning of one, of a failed or rejected job",
    )
    return verbs.run(parser, _retry, argv)


def _retry(options: argparse.Namespace) -> int:
    project = Project.existing(options.project)
    chosen = _named(project, options.jobs) if options.jobs else _all(project)
    back = [found for found in chosen if submission.again(project, found)]
    if not back:
        raise NothingToDo("somebody else has just put them back")
    presence.ring(project)
    if options.json:
        jobs = [{"job": found.job, "key": found.key, "was": found.code} for found in back]
        verbs.print_json(SCHEMA, {"project": project.name, "jobs": jobs})
    else:
        jobs_word = "1 job" if len(back) == 1 else f"{len(back)} jobs"
        print(f'Put {jobs_word} back into the queue of project "{project.name}".', flush=True)
    for line in hints.missing(project):
        verbs.talk(line)
    return 0


def _all(project: Project) -> list[lookup.Found]:
    chosen = list(lookup.failed(project))
    if chosen:
        return chosen
    what = f'nothing has failed in project "{project.name}"'
    waiting = sum(1 for found in lookup.ended(project) if found.code != "ok")
    refused = sum(1 for _ in lookup.rejected(project))
    if waiting:
        what += f" that a dispatcher has filed; {waiting} failed and wait for one"
        raise NothingToDo(what, remedy=f"type: {hints.typed(project, 'fjd-dispatcher')}")
    if refused:
        what += f"; {refused} rejected, which go back only by name"
        raise NothingToDo(what, remedy=f"see them with: {hints.typed(project, 'fjd status')}")
    raise NothingToDo(what)


def _named(project: Project, texts: list[str]) -> list[lookup.Found]:
    """Return what is meant by all of them, before anything moves."""
    candidates = [*lookup.failed(project), *lookup.rejected(project)]
    chosen: dict[str, lookup.Found] = {}
    for text in texts:
        found = lookup.select(iter(candidates), text)
        if not found:
            raise _why_not(project, text)
        chosen.update((item.path, item) for item in found)
    return list(chosen.values())


def _why_not(project: Project, text: str) -> NothingToDo:
    others = lookup.select(lookup.everything(project), text)
    if not others:
        return hints.no_such_job(project, text)
    last = others[-1]
    state = "done" if last.code == "ok" else last.state
    return NothingToDo(
        f"{last.job} is {state}; only failed and rejected jobs can be put back",
        remedy=f"see what it printed with: {hints.log_of(project, last.job, last.key)}",
    )
