"""All measurements, one after the other: ``python -m bench [--quick]``."""

from __future__ import annotations

import argparse
import sys
from typing import Callable

from bench import burial, idle, latency, startup, throughput
from bench.common import main


def _all(quick: bool) -> list[Callable[[], bool]]:
    if quick:
        return [
            lambda: throughput.measure(500, 3),
            lambda: latency.measure(5),
            lambda: burial.measure(3),
            lambda: idle.measure(8.0),
            lambda: startup.measure(7),
        ]
    return [
        lambda: throughput.measure(5000, 5),
        lambda: latency.measure(30),
        lambda: idle.measure(30.0),
        lambda: startup.measure(21),
    ]


if __name__ == "__main__":
    options = argparse.ArgumentParser("bench", description=__doc__)
    options.add_argument("--quick", action="store_true", help="a rough look: a minute or two")
    given = options.parse_args()
    codes = []
    for each in _all(given.quick):
        codes.append(main(each))
        if codes[-1] == 130:
            break
    sys.exit(max(codes))
