"""Command lines: what argparse makes of them, complaints in one line."""

from __future__ import annotations

import argparse
from typing import NoReturn

from fjd.errors import UsageError


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line like every other."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise UsageError(message, remedy=f"type: {self.prog} --help")
