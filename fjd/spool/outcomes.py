"""How an attempt ends. A *state* says where a job is; an *outcome* says how it came out.

outcome    code in a name   meaning
ok         ok               exit code 0
failed     x<exit code>     it ended by itself, with another exit code
killed     sig<signal>      a signal ended it that fjd did not send
timeout    timeout          it ran longer than its job file allows
cancelled  cancelled        the user took it away, or its worker was fired meanwhile
lost       lost             it took down its worker five times
"""

from __future__ import annotations

OK = "ok"
FAILED = "failed"
KILLED = "killed"
TIMEOUT = "timeout"
CANCELLED = "cancelled"
LOST = "lost"

OUTCOMES = (OK, FAILED, KILLED, TIMEOUT, CANCELLED, LOST)


def code(outcome: str, number: int = 0) -> str:
    """Return the code for a name; ``number`` is the exit code or the signal."""
    if outcome == FAILED:
        return f"x{number}"
    if outcome == KILLED:
        return f"sig{number}"
    return outcome


def outcome(code: str) -> str:
    """Return the outcome that a code stands for (an unknown one counts as failed)."""
    if code in OUTCOMES:
        return code
    return KILLED if code.startswith("sig") else FAILED
