"""Shares: comma lists of the environment, split over the workers of a host."""

from __future__ import annotations

import pytest

from fjd.system import shares

CUDA = {"CUDA_VISIBLE_DEVICES": "3,5", "GPU_DEVICE_ORDINAL": "3,5"}


def test_each_worker_gets_its_own() -> None:
    """Value k goes to worker k, in all variables."""
    found = [shares.share(CUDA, shares.GPUS, k) for k in (0, 1)]
    assert found == [dict.fromkeys(shares.GPUS, "3"), dict.fromkeys(shares.GPUS, "5")]
    with pytest.raises(KeyError, match="CUDA_VISIBLE_DEVICES"):
        shares.share(CUDA, shares.GPUS, 2)


@pytest.mark.parametrize(
    ("environ", "number", "left", "said"),
    [
        (CUDA, 2, 2, ""),
        ({"A": "3,5"}, 3, 2, "A has 2 for 3 slots: 2 will be used"),
        ({"A": "0,1,2,3"}, 2, 2, "A has 4 for 2 slots: 2 not used"),
        ({}, 3, 3, "A is not set here"),
        ({"A": " , "}, 3, 3, "A is not set here"),
        ({"A": "1,2,3", "B": "7"}, 4, 1, "B has 1 for 3 slots"),
    ],
)
def test_slots(environ: dict[str, str], number: int, left: int, said: str) -> None:
    """Fewer values than slots: fewer slots, and it is said; none at all: as if nobody had asked."""
    variables = [name for name in ("A", "B") if name in environ] or ["A"]
    if environ is CUDA:
        variables = list(shares.GPUS)
    count, remark = shares.slots(environ, variables, number)
    assert count == left
    assert said in remark
    assert bool(said) == bool(remark)


def test_one_of_the_variables_of_gpus_is_enough() -> None:
    """Hosts set the one or the other: that one is missing is said only if both are."""
    for name in shares.GPUS:
        assert shares.slots({name: "3,5"}, shares.GPUS, 2) == (2, "")
        assert shares.slots({name: "3,5"}, shares.GPUS, 3)[1].startswith(f"{name} has 2 for 3")
    count, remark = shares.slots({}, shares.GPUS, 2)
    assert count == 2
    assert all(f"{name} is not set here" in remark for name in shares.GPUS)


def test_what_is_not_there_is_left_alone() -> None:
    """A worker without a share of nothing works all the same."""
    assert shares.share({"B": ""}, ["A", "B"], 5) == {}


def test_names() -> None:
    """Options may be repeated and may be lists."""
    assert shares.names(["A,B", "C,", "A"]) == ["A", "B", "C"]
