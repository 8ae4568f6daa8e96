"""What the submitter asks for: ``lists/<key>/terms``, written before the list's token arrives.

One JSON object. A list that was dropped into the queue has none, and gets the defaults.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import NamedTuple, Optional

from fjd.errors import JobFileError
from fjd.system import files
from fjd.system.identity import Identity

TERMS = "terms"
_LARGEST = 4 << 20  # bytes, environment included
_RETRIES = 1000  # as in a job file


class Terms(NamedTuple):
    """The terms of one list.

    Attributes:
        name, run: what its tasks find as DISBATCH_NAMETASKS and DISBATCH_JOBID.
        cwd: where its tasks start ("": where their worker's do).
        status: absolute path of the status file ("": status.txt in the list's directory).
        header: whether the status file begins with a header.
        fail_fast: whether the first failure stops the list.
        cores: cores per task, as the submitter wrote it.
        kvs: HOST:PORT of the key-value server ("" without).
        retries: further attempts of a task after a failure (None: as the dispatcher has it).
        writer: who still writes a growing list; None for one that is there as a whole.
        resumed: whether a part of it is covered from the start.
        env: what its tasks find in their environment besides.
    """

    name: str = ""
    run: str = ""
    cwd: str = ""
    status: str = ""
    header: bool = False
    fail_fast: bool = False
    cores: str = "1"
    kvs: str = ""
    retries: Optional[int] = None
    writer: Optional[Identity] = None
    resumed: bool = False
    env: Mapping[str, str] = {}  # nobody writes to it

    def dump(self) -> bytes:
        """Return the content of the file."""
        fields = self._asdict()
        fields["env"] = dict(self.env)
        fields["writer"] = list(self.writer) if self.writer else None
        return (json.dumps(fields) + "\n").encode()

    @classmethod
    def load(cls, data: bytes) -> Optional[Terms]:
        """Read what ``dump`` wrote, or an older fjd; None if it is something else.

        A field that this fjd does not know may change what the list means, so it is not read past.
        """
        try:
            fields = json.loads(data)
        except (ValueError, RecursionError):
            return None
        if not isinstance(fields, dict) or not fields.keys() <= set(cls._fields):
            return None
        writer = fields.get("writer")
        if writer is not None:
            fields["writer"] = Identity.load(writer)
            if fields["writer"] is None:
                return None
        terms = cls(**fields)
        return terms if _sound(terms) else None


def _sound(terms: Terms) -> bool:
    """Tell whether everything is of its kind, and can be given to a process."""
    texts = (terms.name, terms.run, terms.cwd, terms.status, terms.cores, terms.kvs)
    flags = (terms.header, terms.fail_fast, terms.resumed)
    if not all(map(_text, texts)) or not all(isinstance(flag, bool) for flag in flags):
        return False
    if not all(path == "" or os.path.isabs(path) for path in (terms.cwd, terms.status)):
        return False
    retries = 0 if terms.retries is None else terms.retries
    if type(retries) is not int or not 0 <= retries <= _RETRIES:
        return False
    return _amount(terms.cores) and _environment(terms.env)


def _text(value: object) -> bool:
    """Tell whether it is a text that can stand in an environment or a path."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def _amount(text: str) -> bool:
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isfinite(value) and value >= 0


def _environment(env: object) -> bool:
    if not isinstance(env, dict):
        return False
    return all(_text(k) and k and "=" not in k and _text(v) for k, v in env.items())


def write(directory: str, terms: Terms) -> None:
    """Write the terms into a list's directory, before its token is there; synced.

    Raises:
        DiskFull: there is no room; nothing was written.
        FileExistsError: it has some.
    """
    files.create(f"{directory}/{TERMS}", terms.dump(), sync=True)


def read(directory: str) -> Terms:
    """Return the terms of a list; the defaults if it has none.

    Raises:
        JobFileError: there are some, and they are not what fjd wrote.
    """
    path = f"{directory}/{TERMS}"
    try:
        data = files.read(path, _LARGEST)
    except FileNotFoundError:
        return Terms()
    except OSError as error:
        raise JobFileError(f"cannot be read: {error.strerror}", where=path) from None
    terms = Terms.load(data)
    if terms is None:
        raise JobFileError(
            "is not what this fjd writes of a list", where=path, remedy="submit the list again"
        )
    return terms
