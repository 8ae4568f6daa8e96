"""What another host's answer means, and what a measurement does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Optional

from fjd.doctor import echo
from fjd.doctor.check import FAIL, OK, WARN, Check, Clock, Findings, Latency
from fjd.launchers import remote
from fjd.launchers.errand import Reply
from fjd.launchers.remoteconf import Host
from fjd.spool import timings

SCHEMA = "fjd.doctor/1"

_LATE = 1.0  # s: a home that is later than that is worth a word


def read(text: str) -> Optional[Findings]:
    """Return the findings in what a host printed, whatever its log-in scripts print before."""
    at = text.find(f'{{\n "schema": "{SCHEMA}"')
    if at < 0:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(text, at)
    except (ValueError, RecursionError):
        return None
    hosts = value.get("hosts")
    return Findings.load(hosts[0]) if isinstance(hosts, list) and hosts else None


def no_findings(host: Host, reply: Reply) -> Check:
    """Say why a host that we got into has not told anything."""
    if reply.exit == 2:
        remedy = "install the same fjd there"
        return Check("fjd", FAIL, "it is an older one, without `fjd doctor`", remedy)
    talk = remote.judge(host, reply).talk or ["nothing came back"]
    what, _, remedy = talk[0].partition("; ")
    return Check("fjd", FAIL, what, remedy or f"log in there and type: {remote.python_of(host)}")


def milliseconds(seconds: float) -> str:
    """Return ``12 ms`` or ``1.4 s``."""
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def latency(late: Optional[Latency]) -> Check:
    """Say what a measurement means."""
    if late is None:
        what = f"no marker came back within {echo.PATIENCE:.0f} s"
        return Check("latency", FAIL, what, "look whether the home hangs on either side")
    fact = (
        f"p50 {milliseconds(late.p50)}, p95 {milliseconds(late.p95)}"
        f" (half the way there and back, {late.markers} markers)"
    )
    if late.p95 > _LATE:
        remedy = "jobs begin so much later there: let them take a minute and more"
        return Check("latency", WARN, fact, remedy)
    return Check("latency", OK, fact)


def clock(lead: Clock) -> Check:
    """Tell the offset of a clock; it is never right or wrong."""
    way = "ahead" if lead.ahead >= 0 else "behind"
    fact = f"{abs(lead.ahead):.3f} s {way}, +- {lead.within:.3f} s; nothing depends on it"
    return Check("clock", OK, fact)


def slowest(
    known: Mapping[str, Latency], before: Optional[timings.Measured], hosts: set[str]
) -> Optional[timings.Measured]:
    """Return what to write down; None: leave what is there.

    A host that was slower and was not heard from this time keeps its say.
    """
    if not known:
        return None
    host = max(known, key=lambda name: known[name].p95)
    silent = before and before.host in hosts - known.keys()
    if before and silent and before.p95 > known[host].p95:
        return None
    return timings.Measured(known[host].p50, known[host].p95, host, "", 0.0)
