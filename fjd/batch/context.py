"""A context: the hosts that one call adds to a run, and their workers from hiring to retirement."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Callable, NamedTuple, Optional

from fjd.batch import nodes
from fjd.batch.nodes import Node
from fjd.batch.options import ContextOptions
from fjd.errors import UsageError
from fjd.launchers import slurm
from fjd.spool.contexts import LOCAL, SLURM, SSH
from fjd.spool.names import check_label
from fjd.system.identity import hostname

Say = Callable[[str], None]

NODELIST = "DISBATCH_SSH_NODELIST"


class Plan(NamedTuple):
    """What a context is to be.

    Attributes:
        how: ``local``, ``ssh`` or ``slurm``.
        nodes: the hosts with their slots.
        label: what it is called; "": as its first engine's rank says.
        cores: per task.
    """

    how: str
    nodes: tuple[Node, ...]
    label: str
    cores: float = 1.0


def make(options: ContextOptions, talk: Say, env: Optional[Mapping[str, str]] = None) -> Plan:
    """Say what a context is to be, by its options and the environment.

    Raises:
        UsageError: the options, or what the environment says, make no sense.
    """
    env = os.environ if env is None else env
    if options.label:
        check_label(options.label)
    cpus = 1.0 if options.cpus is None else options.cpus
    if options.nodes:
        found = nodes.parse(options.nodes, "-s", talk)
    elif job := env.get("SLURM_JOB_ID") or env.get("SLURM_JOBID"):
        given = slurm.allocation(env)
        cpus = float(given.per_task) if options.cpus is None else options.cpus
        return Plan(SLURM, _allocated(options, given), options.label or f"J{job}", cpus)
    elif env.get(NODELIST):
        found = nodes.parse([env[NODELIST]], NODELIST, talk)
    else:
        here = [Node(hostname(), len(os.sched_getaffinity(0)))]
        slots = nodes.with_slots(here, cpus, options.most)
        return Plan(LOCAL, tuple(slots), options.label, cpus)
    if options.retire:
        raise UsageError("--retire-cmd does not go with hosts that are reached by SSH")
    return Plan(SSH, tuple(nodes.with_slots(found, cpus, options.most)), options.label, cpus)


def _allocated(options: ContextOptions, given: slurm.Allocation) -> tuple[Node, ...]:
    """Return the nodes of our allocation with their slots; some may have too few cores for one."""
    found = slurm.slots(given, options.cpus, options.most, options.fill)
    nodes_ = tuple(Node(host, number) for host, number in found if number)
    if not nodes_:
        raise UsageError(
            "no node of the allocation has enough cores for one task", remedy="use a smaller -c"
        )
    return nodes_
