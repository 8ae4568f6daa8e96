"""One measurement of HyperQueue, in a process of its own: ``... -m bench.hyperqueue N DIR [FILE]``.

HyperQueue's package for Python brings its server and its worker along as a library, and no
command. One job of N programs ``true``, or ``bash -c`` with each line of a file, with two CPUs and
no output files. The time is taken from
HyperQueue's own counters, which its library hands out once a second: the rate is that of the last
counters before the end, so that waiting for the next second costs it nothing. Prints JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from typing import Any

from bench.common import LIMIT, Bed, Failed

CORES = 2


def rate_of(bed: Bed, number: int, path: str = "") -> float:
    """Let a process of its own run the job; return the rate."""
    directory = f"{bed.path}/hq"
    os.mkdir(directory)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    done = subprocess.run(
        [sys.executable, "-m", "bench.hyperqueue", str(number), directory, *([path] * bool(path))],
        cwd=root,
        env=bed.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    shutil.rmtree(directory)
    if done.returncode:
        raise Failed(f"HyperQueue: {(done.stderr or done.stdout).strip()[-200:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["rate"])


def _programs(number: int, path: str) -> list[list[str]]:
    if not path:
        return [["true"]] * number
    with open(path, encoding="utf-8") as file:
        return [["bash", "-c", line.rstrip("\n")] for line in file]


def measure(number: int, directory: str, path: str = "") -> dict[str, float]:
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
        for argv in _programs(number, path):
            job.program(argv, stdout=None, stderr=None)
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
    print(json.dumps(measure(int(sys.argv[1]), *sys.argv[2:])), flush=True)
