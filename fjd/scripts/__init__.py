"""The commands: one module each; parse, call, return an exit code."""

import sys


def _quietly(kind: type, error: BaseException, trace: object) -> None:
    """Ctrl-C while a command is still being loaded is no traceback either."""
    if kind is not KeyboardInterrupt:
        sys.__excepthook__(kind, error, trace)  # type: ignore[arg-type]  # types costs an import


sys.excepthook = _quietly
