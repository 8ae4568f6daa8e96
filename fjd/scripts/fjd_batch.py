"""fjd-batch: work off a file of tasks, one shell command per line, and follow it to its end."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Optional

from fjd import __version__
from fjd.batch import dbutil, options
from fjd.batch.prefix import Prefix
from fjd.scripts import batch_words
from fjd.talk import run, warn_root


def _batch(words: Sequence[str]) -> int:
    if words[:1] == [dbutil.FLAG]:
        return _script(words[1:])
    told = options.read(batch_words.parser(__version__).parse_args(words))
    warn_root(options.PROGRAM)
    from fjd.batch.driver import Driver

    return Driver(told).run()


def _script(words: Sequence[str]) -> int:
    """Do what ``<prefix>_dbUtil.sh`` was called for."""
    from fjd.batch.joining import join

    told = dbutil.Run.load(words[0] if words else "")
    program = os.path.basename(Prefix(told.prefix).script)
    return join(told, batch_words.context_parser(program).parse_args(words[1:]))


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command and return its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    return run(options.PROGRAM, lambda: _batch(words))


if __name__ == "__main__":
    sys.exit(main())
