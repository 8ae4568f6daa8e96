"""fjd: submit jobs, look at them, put them right; the one command in front of the others.

Only the module of the chosen verb is imported, and the help needs none at all: whoever types
``fjd`` on a network home does not wait for a parser that he does not use.
"""

from __future__ import annotations

import os
import sys

from fjd import __version__

VERBS = {
    "submit": ("fjd.scripts.verb_submit", "put job files into the queue"),
    "status": (
        "fjd.scripts.verb_status",
        "show what is queued, running, done and failed, and where",
    ),
    "log": ("fjd.scripts.verb_log", "show what a job printed, or what a worker says"),
    "retry": ("fjd.scripts.verb_retry", "put failed jobs back into the queue"),
    "doctor": ("fjd.scripts.verb_doctor", "examine this machine and the hosts of remote.conf"),
}
_EXITS = """\
exit codes: 0 all good, 2 usage, 3 no such job or nothing to do, 6 environment
or configuration wrong, 130 interrupted
"""


def usage() -> str:
    """Return the help."""
    lines = ["usage: fjd VERB [OPTION...] [FILE or JOB...]", ""]
    lines += [f"  {verb:<8} {summary}" for verb, (_, summary) in VERBS.items()]
    lines += [
        "",
        "  fjd VERB --help shows what a verb takes; --project NAME chooses the queue",
        "  (else $FJD_PROJECT, else default). fjd-recruiter hires and fires workers,",
        "  fjd-dispatcher gives them the jobs.",
        "",
    ]
    return "\n".join(lines) + _EXITS


def _show(text: str) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads on, and that is all right
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter would try once more
        print(f"[fjd] cannot write: {error.strerror}", file=sys.stderr)
        return 6
    return 0


def _distance(left: str, right: str) -> int:
    """Return how many letters must be added, dropped or changed to get from one to the other."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def _unknown(verb: str) -> int:
    shown = ascii(verb[:40])
    if verb.startswith("-"):
        advice = "options stand behind the verb: fjd VERB OPTION"
    else:
        near = min(VERBS, key=lambda known: _distance(verb[:40], known))
        if near.startswith(verb) or _distance(verb[:40], near) <= 2:
            advice = f"did you mean: fjd {near}"
        else:
            advice = f"there are: {', '.join(VERBS)}"
    print(f"[fjd] {shown} is no verb; {advice}", file=sys.stderr)
    return 2


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  descriptor 1 must not become a spool file
    verb, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if verb == "help" and rest:
        verb, rest = rest[0], ["--help"]
    if verb in ("-h", "--help", "help"):
        return _show(usage())
    if verb in ("-V", "--version"):
        return _show(f"fjd {__version__}\n")
    if verb not in VERBS:
        return _unknown(verb)
    module = VERBS[verb][0]
    try:
        # Imported here and nowhere else in the house: one verb does not wait for the others.
        __import__(module)
        return int(sys.modules[module].main(rest))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
