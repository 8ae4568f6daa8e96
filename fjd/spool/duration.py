"""Lengths of time as users write them."""

import re

from fjd.system.inifile import shown

_LONGEST = 100 * 365 * 86400.0  # seconds: still fits the clock calls of every system
_NUMBER = "([0-9]{1,12}(?:[.][0-9]{1,12})?)"
_UNITS = f"(?:{_NUMBER}d)? *(?:{_NUMBER}h)? *(?:{_NUMBER}m)? *(?:{_NUMBER}s)?"
_CLOCK = "(?:(?:([0-9]{1,9})-)?([0-9]{1,9}):)?([0-9]{1,9}):([0-9]{1,2})"


def duration(text: str) -> float:
    """Return the seconds that a user's word for a length of time means; ValueError if it is none.

    `90`, `1.5`: seconds. `90s`, `10m`, `1.5h`, `1d 12h 30m`: units, from large to small.
    `MM:SS`, `HH:MM:SS`, `D-HH:MM:SS`: as Slurm and PBS write them; behind the first number,
    minutes and seconds end at 59 and hours at 23.
    """
    word = text.lower() + "s" if text.replace(".", "", 1).isdecimal() else text.lower()
    clock = re.fullmatch(_CLOCK, word)
    found = clock or (re.fullmatch(_UNITS, word) if len(word) < 80 else None)
    if not found:
        raise ValueError(
            f"{shown(text)} is no length of time such as 90, 2h30m, 12:00:00, 1-12:00:00"
        )
    days, hours, minutes, seconds = (float(number or 0) for number in found.groups())
    if clock and (seconds >= 60 or (clock[2] and minutes >= 60) or (clock[1] and hours >= 24)):
        raise ValueError(f"{shown(text)} has a part beyond 23:59:59")
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if total <= 0:
        raise ValueError(f"{shown(text)} is no time at all")
    if total > _LONGEST:
        raise ValueError(f"{shown(text)} is more than a hundred years")
    return total
