"""One measurement of HyperQueue, in a process of its own: ``python -m bench.hyperqueue N DIR``.

HyperQueue's package for Python brings its server and its worker along as a library, and no
command. One job of N programs ``true`` with two CPUs and no output files. The time is taken from
HyperQueue's own counters, which its library hands out once a second: the rate is that of the last
counters before the end, so that waiting for the next second costs it nothing. Prints JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

CORES = 2


def measure(number: int, directory: str) -> dict[str, float]:
    """Run the job and return its rate and the seconds of start and stop."""
    cluster_module: Any = importlib.import_module("hyperqueue.cluster")
    job_module: Any = importlib.import_module("hyperqueue.job")
    began = time.monotonic()
    cluster = cluster_module.LocalCluster(server_dir=directory)
    try:
        cluster.start_worker(cluster_module.WorkerConfig(cores=CORES))
        client = cluster.client()
        start = time.monotonic() - began
        job = job_module.Job(default_workdir=directory)
        for _ in range(number):
            job.program(["true"], stdout=None, stderr=None)
        seen: list[tuple[float, int]] = []

        def note(jobs: dict[int, dict[str, Any]]) -> None:
            seen.append((time.monotonic(), sum(int(c["finished"]) for c in jobs.values())))

        submitted = time.monotonic()
        handle = client.submit(job)
        failed = client.connection.wait_for_jobs((handle.id,), note)
        if failed:
            raise SystemExit("HyperQueue says that tasks failed")
        seen.append((time.monotonic(), number))
        whole = [(when, count) for when, count in seen if 0 < count < number] or seen[-1:]
        when, count = whole[-1]
    finally:
        stopping = time.monotonic()
        cluster.stop()
    stop = time.monotonic() - stopping
    return {"rate": count / (when - submitted), "start": start, "stop": stop}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), sys.argv[2])), flush=True)
