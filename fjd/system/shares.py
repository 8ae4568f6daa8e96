"""Shares: what lists the things of a host (``CUDA_VISIBLE_DEVICES=3,5``), split over its workers.

Value k of the comma list goes to worker k. A variable that is not set, or empty, is left alone.
"""

# No postponed annotations: a worker waits for it.

from collections.abc import Mapping, Sequence

GPUS = ("CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")

NOTHING_LEFT = "and nothing of it is left for cylinder"  # says a worker that gets no share


def names(words: Sequence[str]) -> list[str]:
    """Return the variables that ``VAR[,VAR]`` words name, each once, in their order."""
    found = [name.strip() for word in words for name in word.split(",")]
    return list(dict.fromkeys(name for name in found if name))


def values(environ: Mapping[str, str], name: str) -> list[str]:
    """Return what is to be shared; none if there is no such variable, or nothing in it."""
    return [value.strip() for value in environ.get(name, "").split(",") if value.strip()]


def slots(environ: Mapping[str, str], variables: Sequence[str], number: int) -> tuple[int, str]:
    """Return how many of ``number`` workers get a share of everything, and a remark ("": none)."""
    remarks = []
    for name in variables:
        count = len(values(environ, name))
        if not count and name in GPUS and any(values(environ, gpus) for gpus in GPUS):
            continue  # a host sets the one or the other
        if not count:
            remarks.append(f"{name} is not set here, so nothing of it is shared")
        elif count < number:
            remarks.append(f"{name} has {count} for {number} slots: {count} will be used")
            number = count
        elif count > number:
            remarks.append(f"{name} has {count} for {number} slots: {count - number} not used")
    return number, "; ".join(remarks)


def share(environ: Mapping[str, str], variables: Sequence[str], k: int) -> dict[str, str]:
    """Return what worker ``k`` finds in those variables; KeyError if one is used up before it."""
    found = {}
    for name in variables:
        shared = values(environ, name)
        if shared and k >= len(shared):
            raise KeyError(name)
        if shared:
            found[name] = shared[k]
    return found
