"""Ending workers on this host: asked first, then forced, then swept; all within five seconds.

Whoever is signalled is known by pid and start ticks, never by a name.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

from fjd.spool.crew import Card
from fjd.system import processes
from fjd.system.identity import Identity

PATIENCE = 3.0  # s for a worker to end its task (which has 2 s) and to give back what it holds
LIMIT = 4.5  # s after which we stop trying to kill what does not die

_LOOK = 0.01  # s between two looks at processes


def send(identity: Identity, number: signal.Signals) -> bool:
    """Signal a process of this host; False if it has ended."""
    if not identity.alive():
        return False
    try:
        os.kill(identity.pid, number)
    except ProcessLookupError:
        return False  # RACE: it ended just now
    return True


def is_running(card: Card) -> bool:
    """Tell whether a worker of this host, or the guardian that may replace it, still runs."""
    return bool(card.guardian.alive() or card.identity.alive())


def ask(cards: Sequence[Card], gently: bool) -> None:
    """Tell workers to end: at once, or after their task.

    The guardian passes it on, which also reaches a worker that is just being replaced; a worker
    that was stopped is woken to hear it.
    """
    number = signal.SIGUSR1 if gently else signal.SIGTERM
    for card in cards:
        for identity in (card.identity, card.guardian):
            send(identity, number)
            send(identity, signal.SIGCONT)


def wait(cards: Sequence[Card], until: float) -> list[Card]:
    """Return who still runs at ``until`` (of the monotonic clock), or as soon as nobody does."""
    while True:
        left = [card for card in cards if is_running(card)]
        if not left or time.monotonic() >= until:
            return left
        time.sleep(_LOOK)


def end(project: str, cards: Sequence[Card], patience: float = PATIENCE) -> list[Card]:
    """End workers of this host and all that they have started; return who could not be ended."""
    started = time.monotonic()
    ask(cards, gently=False)
    left = wait(cards, started + patience)
    if left:
        _force(left, started + LIMIT)
    sweep(project, [card.worker for card in cards], started + LIMIT)
    return wait(left, started + LIMIT)


def _force(cards: Sequence[Card], until: float) -> None:
    """Kill workers that do not listen; their guardians kill the rest, or we do."""
    below = processes.tree([card.guardian.pid for card in cards if card.guardian.alive()])
    below += processes.tree([card.identity.pid for card in cards if card.identity.alive()])
    for card in cards:
        send(card.identity, signal.SIGKILL)
    wait(cards, min(until, time.monotonic() + 0.3))
    for identity in [card.guardian for card in cards] + below:
        send(identity, signal.SIGKILL)


def sweep(project: str, workers: Sequence[str], until: float) -> None:
    """Kill what tasks of these workers have left behind, wherever it hides."""
    while workers:
        found = [send(one, signal.SIGKILL) for one in processes.started_by(project, workers)]
        if not any(found) or time.monotonic() >= until:
            return
        time.sleep(_LOOK)
