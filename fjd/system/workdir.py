"""The working directory, by a name that means the same on every host."""

from __future__ import annotations

import os

from fjd.errors import ConfigError


def here() -> str:
    """Return the working directory by the name that the user's shell has for it.

    Behind a link (/home/ada -> /export/disk3/ada) only that name means the same on every host.
    """
    try:
        physical = os.getcwd()
    except FileNotFoundError:
        raise ConfigError("the working directory was deleted", remedy="cd into another") from None
    logical = os.environ.get("PWD", "")
    if os.path.isabs(logical):
        try:
            if os.path.samefile(logical, physical):
                return logical
        except OSError:
            return physical
    return physical


def directory(given: str = "") -> str:
    """Return where tasks are to start, absolute: here, or in ``given``, which must be there."""
    path = os.path.abspath(os.path.join(here(), os.path.expanduser(given))) if given else here()
    if not os.path.isdir(path):
        raise ConfigError(
            f"there is no directory {path} on this host, and tasks are to start in it",
            remedy="make it, or choose another",
        )
    return path
