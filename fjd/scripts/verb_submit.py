"""fjd submit: put job files into the queue, all of them or none."""

from __future__ import annotations

import argparse

from fjd.scripts import verbs
from fjd.spool import presence, submission
from fjd.spool.project import Project
from fjd.views import hints

SCHEMA = "fjd.submit/1"


def main(argv: list[str]) -> int:
    """Run the verb."""
    parser = verbs.parser("submit", "Put copies of job files into the queue, all or none.")
    parser.add_argument("files", nargs="+", metavar="FILE", help="an INI job or a script")
    return verbs.run(parser, _submit, argv)


def _submit(options: argparse.Namespace) -> int:
    project = Project.open(options.project)
    try:
        tokens = submission.submit(project, options.files)
    except submission.Refused as error:
        for problem in error.problems:
            verbs.talk(str(problem))
        raise
    presence.ring(project)
    if options.json:
        # No key: the dispatcher gives each job its own when it takes it up.
        jobs = [{"file": path, "job": token.job} for path, token in zip(options.files, tokens)]
        verbs.print_json(SCHEMA, {"project": project.name, "jobs": jobs})
    else:
        jobs_word = "job" if len(tokens) == 1 else "jobs"
        print(f'Submitted {len(tokens)} {jobs_word} to project "{project.name}".', flush=True)
    for line in hints.missing(project):
        verbs.talk(line)
    return 0
