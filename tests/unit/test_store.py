"""What a key-value store keeps, hands out and tells, without any socket."""

from __future__ import annotations

import pickle
from typing import Callable

from fjd.batch import store
from fjd.batch.store import Store, Value, Waiter


def text(data: bytes) -> Value:
    """Return a plain value."""
    return Value(b"ASTR", data)


class Taker:
    """Somebody who waits, and remembers what came."""

    def __init__(self, alive: bool = True) -> None:
        self.got: list[bytes] = []
        self.alive = alive

    def deliver(self, value: Value) -> bool:
        """Take a value, unless gone."""
        if self.alive:
            self.got.append(value.data)
        return self.alive

    def asks(self, shop: Store, key: bytes, take: bool = True) -> Waiter:
        """Wait for a value."""
        waiter = Waiter(key, take, self.deliver)
        shop.wait(waiter)
        return waiter


def taken(shop: Store, key: bytes) -> list[bytes]:
    """Take all that lies under a key."""
    taker = Taker()
    while True:
        waiter = Waiter(key, True, taker.deliver)
        if not shop.wait(waiter):
            shop.cancel(waiter)
            return taker.got


def test_get_takes_the_oldest_and_view_leaves_the_newest() -> None:
    """As programs know it."""
    shop, taker = Store(), Taker()
    for data in (b"one", b"two"):
        shop.put(b"k", text(data))
    taker.asks(shop, b"k", take=False)
    taker.asks(shop, b"k")
    taker.asks(shop, b"k")
    assert taker.got == [b"two", b"one", b"two"]
    assert shop.size == 0


def test_a_value_goes_to_all_who_look_and_the_first_who_takes() -> None:
    """Whoever waits behind him waits on."""
    shop, looker, first, second = Store(), Taker(), Taker(), Taker()
    looker.asks(shop, b"k", take=False)
    first.asks(shop, b"k")
    second.asks(shop, b"k")
    shop.put(b"k", text(b"x"))
    assert (looker.got, first.got, second.got) == ([b"x"], [b"x"], [])
    shop.put(b"k", text(b"y"))
    assert second.got == [b"y"]


def test_who_is_gone_gets_nothing() -> None:
    """The value goes to the next one, or stays."""
    shop, gone, there = Store(), Taker(alive=False), Taker()
    gone.asks(shop, b"k")
    there.asks(shop, b"k")
    shop.put(b"k", text(b"x"))
    assert there.got == [b"x"]
    gone.asks(shop, b"k")
    shop.put(b"k", text(b"y"))
    gone.asks(shop, b"k")
    assert taken(shop, b"k") == [b"y"]


def test_who_has_cancelled_gets_nothing() -> None:
    """It stays for somebody else."""
    shop, taker = Store(), Taker()
    shop.cancel(taker.asks(shop, b"k"))
    shop.put(b"k", text(b"x"))
    assert taker.got == []
    assert taken(shop, b"k") == [b"x"]


def test_what_is_put_back_is_the_oldest_again() -> None:
    """Nothing changes its place by being taken in vain."""
    shop = Store()
    shop.put(b"k", text(b"two"))
    shop.put_back(b"k", text(b"one"))
    assert taken(shop, b"k") == [b"one", b"two"]


def test_the_room_is_bounded() -> None:
    """What nobody fetches stops growing; what somebody waits for always fits."""
    shop, taker = Store(room=10_000), Taker()
    while shop.put(b"k", text(b"x" * 1000)):
        assert shop.size <= 10_000
    taker.asks(shop, b"other")
    assert shop.put(b"other", text(b"y" * 1000))
    assert len(taker.got) == 1
    taker.asks(shop, b"k")
    assert shop.put(b"k", text(b"x" * 1000))


def test_a_value_larger_than_the_room_fits_into_an_empty_store() -> None:
    """Else who puts it would wait for ever."""
    assert Store(room=10).put(b"k", text(b"x" * 1000))


def test_monitors_are_told_what_they_asked_for() -> None:
    """``<event> <key>`` of one key, or of all."""
    shop, taker = Store(), Taker()
    shop.monitor(b"M", b"a:gpw")
    shop.monitor(b"N", b":v")
    taker.asks(shop, b"a")
    shop.put(b"a", text(b"1"))
    shop.put(b"b", text(b"2"))
    taker.asks(shop, b"b", take=False)
    assert taken(shop, b"M") == [b"get a", b"wait a", b"put a"]
    assert taken(shop, b"N") == [b"view b"]


def test_a_monitor_is_told_no_more_what_it_leaves_out() -> None:
    """The last word holds, also if it is nothing; what is no event is nothing."""
    shop = Store()
    shop.monitor(b"M", b"a:gp")
    shop.monitor(b"M", b"a:gx")
    shop.monitor(b"M", b"no colon")
    shop.put(b"a", text(b"1"))
    Taker().asks(shop, b"a")
    assert taken(shop, b"M") == [b"get a"]


def test_monitors_are_bounded() -> None:
    """Neither their number nor what nobody reads of them grows for ever."""
    shop = Store()
    shop.monitor(b"M", b":p")
    for number in range(store.EVENTS + 10):
        shop.put(b"k%d" % number, text(b""))
    assert len(taken(shop, b"M")) == store.EVENTS
    said = [shop.monitor(b"M", b"%d:p" % number) for number in range(store.MONITORS)]
    assert said.count(False) == 1


def test_a_dump_shows_numbers_and_short_texts() -> None:
    """In the form that clients of this protocol decode: plain tuples."""
    shop = Store()
    shop.put(b"a", text(b"short"))
    shop.put(b"b", text(b"x" * 60))
    shop.put(b"c", Value(b"PYPK", b"secret"))
    shop.put(b"d", Value(b"JSON", b"{}"))
    Taker().asks(shop, b"w")
    counts, waiting, values = pickle.loads(shop.dump())
    assert counts == [0, 4, 0, 1, 1, 0]
    assert waiting == [(b"w", 1)]
    assert values == [
        (b"a", 1, (b"ASTR", b"short")),
        (b"b", 1, (b"ASTR", b"x" * 24 + b"..." + b"x" * 23, 60)),
        (b"c", 1, (b"PYPK", None, 6)),
        (b"d", 1, (b"JSON", b"{}")),
    ]


def test_delivering_may_change_the_store() -> None:
    """A client that is found dead while a value is handed out leaves at that moment."""
    shop = Store()
    waiters: list[Waiter] = []

    def die(_: Value) -> bool:
        for waiter in waiters:
            shop.cancel(waiter)
        return False

    deliver: Callable[[Value], bool] = die
    waiters += [Waiter(b"k", True, deliver), Waiter(b"k", False, deliver)]
    for waiter in waiters:
        shop.wait(waiter)
    shop.put(b"k", text(b"x"))
    assert taken(shop, b"k") == [b"x"]
