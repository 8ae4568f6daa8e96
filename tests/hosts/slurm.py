"""Slurm on the hosts of the test bed: munged and slurmd on each, slurmctld on the first."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Optional

from bed_host import SBIN, wait_for

if TYPE_CHECKING:
    from bed import Bed

TOOLS = {"slurmctld": "slurmctld", "slurmd": "slurmd", "srun": "slurm-client", "munged": "munge"}
CORES = 4  # that each host claims to have
CONF = """\
ClusterName=bed
SlurmctldHost={first}
SlurmUser=slurm
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir=/var/lib/slurm/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=15
InactiveLimit=0
KillWait=3
SlurmdParameters=config_overrides
NodeName={nodes} CPUs={cores} RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES DefaultTime=10 MaxTime=INFINITE State=UP
"""
# The directories and their owners that munged and Slurm insist on; then the daemons.
START = """\
set -eu
umask 022
mkdir -p /etc/slurm /etc/munge /run/munge /var/lib/munge /var/log/munge \
    /var/lib/slurm/slurmctld /var/lib/slurm/slurmd /var/log/slurm
printf %s "$CONF" >/etc/slurm/slurm.conf
echo CgroupPlugin=cgroup/v1 >/etc/slurm/cgroup.conf
(umask 077; printf %s "$KEY" >/etc/munge/munge.key)
chown munge:munge /etc/munge /etc/munge/munge.key /run/munge /var/lib/munge /var/log/munge
chmod 700 /etc/munge /var/lib/munge /var/log/munge
chmod 400 /etc/munge/munge.key
chown slurm:slurm /var/lib/slurm/slurmctld /var/log/slurm
setpriv --reuid munge --regid munge --clear-groups munged --num-threads 2
for daemon in $DAEMONS; do $daemon </dev/null >/dev/null 2>&1; done
"""


def missing() -> Optional[str]:
    """Say what lacks for Slurm; None if all is there."""
    lost = [f"{t} (package {TOOLS[t]})" for t in TOOLS if not shutil.which(t, path=SBIN)]
    return f"not installed: {', '.join(lost)}" if lost else None


def start(bed: Bed) -> None:
    """Start Slurm on all hosts of a bed and wait until every node is idle."""
    first, *_ = bed.nodes
    conf = CONF.format(first=first, nodes=",".join(bed.nodes), cores=CORES)
    key = os.urandom(512).hex()
    for node in bed.nodes:
        daemons = "slurmctld slurmd" if node == first else "slurmd"
        env = {"CONF": conf, "KEY": key, "DAEMONS": daemons, "PATH": SBIN}
        bed.hosts[node].disturbed = True
        bed.run(node, ["sh", "-c", START], as_root=True, env=env)

    def idle() -> bool:
        words = ["sinfo", "--noheader", "--Node", "--format=%T"]
        return bed.run(first, words, check=False).stdout.split().count("idle") == len(bed.nodes)

    wait_for(idle, "all nodes of Slurm are idle", 30)
