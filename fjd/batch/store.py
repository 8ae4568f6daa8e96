"""What a key-value store holds: values in queues, who waits for one, and who is told of it.

A key has any number of values. ``get`` takes the oldest, ``view`` looks at the newest, and both
wait for one that is not there yet. A value is a coding of four letters and bytes; nobody here
looks into it. What a hostile or forgetful client leaves is bounded: by bytes, not by good will.
"""

from __future__ import annotations

import pickle
from collections import deque
from typing import Callable, NamedTuple

ROOM = 256 << 20  # bytes of all keys and values together
MONITORS, EVENTS = 1000, 10_000  # how many monitors there may be; what an unread one remembers
_OVERHEAD = 900  # what a value under a key of its own costs besides its bytes
_EVENTS = {b"g": b"get", b"p": b"put", b"v": b"view", b"w": b"wait"}
_SHOWN = 50  # bytes of a value that a dump shows


class Value(NamedTuple):
    """What was put: ``ASTR`` (bytes as they are), ``JSON``, or whatever two programs agreed on."""

    coding: bytes
    data: bytes


class Waiter(NamedTuple):
    """Somebody who waits for a value.

    Attributes:
        take: the value is to be removed (``get``), or left (``view``).
        deliver: what hands the value over; False if there is nobody any more who would take it.
    """

    key: bytes
    take: bool
    deliver: Callable[[Value], bool]


class Store:
    """Keys, their values, and who waits. Used by one thread."""

    def __init__(self, room: int = ROOM) -> None:
        self.room, self.size = room, 0
        self._values: dict[bytes, deque[Value]] = {}
        self._waiters: dict[bytes, list[Waiter]] = {}
        self._monitors: dict[bytes, dict[bytes, set[bytes]]] = {}  # monitor -> key -> events
        self._counts = {b"get": 0, b"put": 0, b"view": 0, b"wait": 0}
        self._parked, self._released = 0, 0

    def put(self, key: bytes, value: Value) -> bool:
        """Hand a value to who waits for it, or keep it; False if there is no room for it now."""
        if not self._hand_out(key, value):
            if self.size and self.size + _cost(key, value) > self.room:
                return False
            self._keep(key, value, last=True)
        self._counts[b"put"] += 1
        self._tell(b"put", key)
        return True

    def put_back(self, key: bytes, value: Value) -> None:
        """Let a value that was taken and never arrived be the oldest again."""
        if not self._hand_out(key, value):
            self._keep(key, value, last=False)

    def wait(self, waiter: Waiter) -> bool:
        """Deliver a value; True if that was possible at once, else it is delivered later."""
        self._tell(b"get" if waiter.take else b"view", waiter.key)
        values = self._values.get(waiter.key)
        if not values:
            self._waiters.setdefault(waiter.key, []).append(waiter)
            self._counts[b"wait"] += 1
            self._parked += 1
            self._tell(b"wait", waiter.key)
            return False
        if waiter.deliver(values[0] if waiter.take else values[-1]):
            self._counts[b"get" if waiter.take else b"view"] += 1
            if waiter.take:
                self._drop_oldest(waiter.key)
        return True

    def cancel(self, waiter: Waiter) -> None:
        """Forget somebody who waits no more."""
        waiting = self._waiters.get(waiter.key, [])
        if waiter in waiting:
            waiting.remove(waiter)
        if not waiting:
            self._waiters.pop(waiter.key, None)

    def monitor(self, monitor: bytes, spec: bytes) -> bool:
        """Put ``<event> <key>`` under ``monitor`` at each of those events: ``key:gpvw``.

        ``g``, ``p``, ``v`` and ``w`` are get, put, view and wait; those that are left out are not
        told any more. Without a key, the events of all keys are told. False: too many monitors.
        """
        key, colon, letters = spec.rpartition(b":")
        if not colon:
            return True
        watched = self._monitors.get(monitor, {})
        if key not in watched and sum(map(len, self._monitors.values())) >= MONITORS:
            return False
        watched[key] = {_EVENTS[bytes((c,))] for c in letters if bytes((c,)) in _EVENTS}
        self._monitors[monitor] = watched
        return True

    def dump(self) -> bytes:
        """Describe everything, as clients of this protocol expect it: pickled plain tuples.

        To write a pickle is harmless; nothing of fjd ever reads one.
        """
        counts = [self._counts[op] for op in (b"get", b"put", b"view", b"wait")]
        waiting = [(key, len(waiters)) for key, waiters in self._waiters.items()]
        values = [(key, len(all_), _shown(all_[-1])) for key, all_ in self._values.items()]
        return pickle.dumps(([*counts, self._parked, self._released], waiting, values), 2)

    def _hand_out(self, key: bytes, value: Value) -> bool:
        """Give a value to all who only look, up to the first who takes it: True if there is one."""
        waiting = self._waiters.get(key)
        while waiting:
            waiter = waiting.pop(0)
            self._released += 1
            if not waiter.deliver(value):
                continue
            self._counts[b"get" if waiter.take else b"view"] += 1
            if waiter.take:
                break
        else:
            self._waiters.pop(key, None)
            return False
        if not waiting:
            self._waiters.pop(key, None)
        return True

    def _keep(self, key: bytes, value: Value, last: bool) -> None:
        values = self._values.setdefault(key, deque())
        if last:
            values.append(value)
        else:
            values.appendleft(value)
        self.size += _cost(key, value)

    def _drop_oldest(self, key: bytes) -> None:
        values = self._values[key]
        self.size -= _cost(key, values.popleft())
        if not values:
            del self._values[key]

    def _tell(self, event: bytes, key: bytes) -> None:
        if not self._monitors or key in self._monitors:  # what happens to a monitor is not told
            return
        for monitor, watched in self._monitors.items():
            if event in watched.get(b"", ()) or event in watched.get(key, ()):
                value = Value(b"ASTR", event + b" " + key)
                if self._hand_out(monitor, value):
                    continue
                if len(self._values.get(monitor, ())) >= EVENTS:
                    self._drop_oldest(monitor)
                if self.size + _cost(monitor, value) <= self.room:
                    self._keep(monitor, value, last=True)


def _cost(key: bytes, value: Value) -> int:
    return len(key) + len(value.data) + _OVERHEAD


def _shown(value: Value) -> tuple[object, ...]:
    """Return coding and text; of a long one its ends and its length, of others only that."""
    coding, data = value
    if coding in (b"JSON", b"HTML") and len(data) <= 1000:
        return (coding, data)
    if coding != b"ASTR":
        return (coding, None, len(data))
    if len(data) <= _SHOWN:
        return (coding, data)
    return (coding, data[:24] + b"..." + data[-23:], len(data))
