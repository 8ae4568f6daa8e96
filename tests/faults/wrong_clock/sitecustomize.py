"""A fake: the wall clock of this Python process is wrong by ``FJD_TEST_CLOCK`` seconds.

Python imports a module of this name when it starts, from a directory on ``PYTHONPATH``, so each
process of a test can have its own time of day. That is what hosts whose clocks differ see of each
other on a shared home: what a process says about now is wrong, the times of files are those of the
file server, and the monotonic clock, by which everybody waits, is right.
"""

import datetime
import os
import time

WRONG = int(os.environ["FJD_TEST_CLOCK"])

_time, _time_ns, _clock_gettime = time.time, time.time_ns, time.clock_gettime


def _shifted(seconds: float) -> float:
    return seconds + WRONG


time.time = lambda: _shifted(_time())
time.time_ns = lambda: _time_ns() + WRONG * 10**9
time.clock_gettime = lambda clock: (
    _shifted(_clock_gettime(clock)) if clock == time.CLOCK_REALTIME else _clock_gettime(clock)
)
for _name in ("localtime", "gmtime", "ctime"):
    _real = getattr(time, _name)
    setattr(
        time,
        _name,
        lambda seconds=None, real=_real: real(time.time() if seconds is None else seconds),
    )


class _WrongDatetime(datetime.datetime):
    @classmethod
    def now(cls, tz: "datetime.tzinfo | None" = None) -> "_WrongDatetime":
        return cls.fromtimestamp(time.time(), tz)

    @classmethod
    def today(cls) -> "_WrongDatetime":
        return cls.now()

    @classmethod
    def utcnow(cls) -> "_WrongDatetime":
        return cls.now(datetime.timezone.utc).replace(tzinfo=None)


datetime.datetime = _WrongDatetime  # type: ignore[misc]
