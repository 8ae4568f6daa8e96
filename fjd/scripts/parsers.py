"""Command lines: what argparse makes of them, complaints in one line."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn, Optional, TextIO, cast

from fjd.errors import UsageError


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line like every other."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise UsageError(message, remedy=f"type: {self.prog} --help")

    def _print_message(self, message: str, file: Optional[object] = None) -> None:
        """Print help or version; argparse would not tell that it could not."""
        print(message, end="", file=cast(TextIO, file or sys.stderr))
