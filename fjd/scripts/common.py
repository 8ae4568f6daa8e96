"""What the commands take from the edge."""

from __future__ import annotations

from fjd.talk import BUG, INTERRUPTED, one_line, run, say, warn_root

__all__ = ["BUG", "INTERRUPTED", "one_line", "run", "say", "warn_root"]
