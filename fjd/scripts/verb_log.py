"""fjd log: what a job printed, or what a worker says."""

from __future__ import annotations

import argparse

from fjd.errors import UsageError
from fjd.scripts import verbs
from fjd.spool import lookup, records
from fjd.spool.project import Project
from fjd.views import lists, log


def main(argv: list[str]) -> int:
    """Run the verb."""
    parser = verbs.parser(
        "log",
        "Show what a job printed (its stdout on stdout, its stderr on stderr),"
        " or what a worker says. Control characters are spelled out.",
    )
    parser.add_argument(
        "job", nargs="?", metavar="JOB", help="file name, key, or the beginning of one"
    )
    parser.add_argument("-w", "--worker", metavar="W", help="a worker's own log")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until it ends")
    parser.add_argument("--attempt", type=int, metavar="N", help="this attempt, not the last one")
    parser.add_argument("--task", type=int, metavar="N", help="of a list: this task, from 0 on")
    streams = parser.add_mutually_exclusive_group()
    streams.add_argument("--out", action="store_true", help="its stdout only")
    streams.add_argument("--err", action="store_true", help="its stderr only, on stdout")
    parser.add_argument("--raw", action="store_true", help="every byte as it was printed")
    return verbs.run(parser, _log, argv)


def _log(options: argparse.Namespace) -> int:
    if (options.job is None) == (options.worker is None):
        raise UsageError("name either a job or a worker", remedy="type: fjd log --help")
    if options.json and (options.follow or options.worker is not None):
        raise UsageError("--json shows a job once", remedy="leave out --follow and --worker")
    if options.attempt is not None and options.attempt < 1:
        raise UsageError("attempts are numbered from 1", remedy="type: fjd log --help")
    alone = options.follow or options.attempt is not None or options.worker is not None
    if options.task is not None and alone:
        raise UsageError("--task shows a task once", remedy="leave out the other options")
    project = Project.existing(options.project)
    only = "out" if options.out else "err" if options.err else ""
    if options.worker is not None:
        worker, path = log.worker_log(project, options.worker)
        log.show_worker(project, worker, path, log.Printer("out", options.raw), options.follow)
        return 0
    return _job(project, options, log.Printer(only, options.raw))


def _job(project: Project, options: argparse.Namespace, printer: log.Printer) -> int:
    if options.task is not None:
        return _task(project, options, printer)
    found = log.pick(project, options.job, verbs.talk)
    last = found.token.attempt if found.token else 1
    if options.follow and options.attempt in (None, last) and found.state != lookup.REJECTED:
        log.follow(project, found, printer, verbs.talk)
        return 0
    attempt = log.attempt_of(project, found, options.attempt)
    if options.json:
        verbs.print_json(log.SCHEMA, log.as_json(project, found, attempt))
    else:
        log.show(project, found, attempt, printer, verbs.talk)
    return 0


def _task(project: Project, options: argparse.Namespace, printer: log.Printer) -> int:
    """Show one task of a list."""
    found = lists.key_of(project, options.job) or log.pick(project, options.job, verbs.talk)
    record = lists.end_of_task(project, found, options.task)
    texts = {name: records.output(project, record, name) for name in ("out", "err")}
    if options.json:
        said = {name: data.decode("utf-8", "backslashreplace") for name, data in texts.items()}
        fields = {"project": project.name, "job": found.job, "key": found.key, "record": record}
        verbs.print_json(log.SCHEMA, {**fields, **said})
        return 0
    for name, data in texts.items():
        printer.show(name, data)
    printer.finish()
    cause = record["cause"] or f"exit code {record['exit']}"
    how = record["outcome"] if record["outcome"] == "ok" else f"{record['outcome']}: {cause}"
    verbs.talk(f"{found.job}: task {options.task}, attempt {record['attempt']}: {how}")
    return 0
