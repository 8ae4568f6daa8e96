"""Who gets the next job, and how much may wait in a pod; pure functions.

A worker should never idle for a round trip, so work lies ready in its pod: about a quarter second
of it, two assignments at least. Towards the end everybody gets a fair share only, and what waits
behind a long task is handed on to who is idle.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Callable, Optional

from fjd.dispatcher.muster import Member
from fjd.spool.names import Token

AHEAD = 0.25  # s of work that lie ready in a pod
DEEPEST = 256  # assignments in one pod at most
_WORTH = 0.05  # s that an assignment must be expected to wait before it is handed on


def depth(member: Member, share: int) -> int:
    """Return how many assignments a worker should have in hand."""
    ahead = math.ceil(AHEAD / member.mean) if member.mean else 2
    return max(1, min(DEEPEST, max(2, ahead), share))


def hungriest(members: list[Member], queued: int) -> Optional[Member]:
    """Return who has the least in hand, if that is less than it should have."""
    if not members:
        return None
    in_hand = sum(len(member.hand) for member in members)
    share = math.ceil((queued + in_hand) / len(members))
    member = min(members, key=lambda m: len(m.hand))
    return member if len(member.hand) < depth(member, share) else None


def spare(
    members: Iterable[Member], suits: Callable[[Token], bool] = lambda token: True
) -> Optional[tuple[Member, Token]]:
    """Return an assignment that waits behind others, and who has it; the longest queue first."""
    rich = max(members, key=lambda m: len(m.hand), default=None)
    if rich is None or len(rich.hand) < 2:
        return None
    if rich.mean is not None and rich.mean * len(rich.hand) < _WORTH:
        return None
    waiting = [token for token, accepted in rich.hand.items() if not accepted and suits(token)]
    return (rich, waiting[-1]) if waiting else None
