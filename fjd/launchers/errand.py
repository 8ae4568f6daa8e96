"""What is asked of another host, and what it answers."""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional, Union

from fjd.errors import FjdError
from fjd.launchers.remoteconf import Host


class Reply(NamedTuple):
    """What the command did over there."""

    exit: int
    out: str
    err: str


class HostError(FjdError):
    """A host could not be asked. ``password``: one might help."""

    exit_code = 4

    def __init__(self, what: str, remedy: str = "", password: bool = False) -> None:
        super().__init__(what, remedy=remedy)
        self.password = password


class Errand(NamedTuple):
    """One host, and the command line for it; ``limit``: seconds until we stop waiting for it."""

    host: Host
    command: str
    limit: float


Answer = Union[Reply, HostError]
Transport = Callable[[Errand, Optional[str]], Reply]
