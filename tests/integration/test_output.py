"""What jobs print: all of it, by job, whatever they do with the files they are given."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from harness import FjdEnv, gone, wait_until

KEEP = 64 << 20  # bytes of one stream of one job

BYSTANDER = "echo out of $FJD_JOB; echo err of $FJD_JOB >&2; :"


@pytest.fixture
def served(env: FjdEnv) -> FjdEnv:
    """A home with a worker and a dispatcher."""
    env.worker()
    env.serve()
    return env


def run_between(env: FjdEnv, name: str, command: str, **options: object) -> None:
    """Run a job between two others of the same worker, whose output must be unharmed."""
    env.job("1 before", BYSTANDER)
    env.job(f"2 {name}", command, **options)
    env.job("3 after", BYSTANDER)
    filed = env.wait_for("1 before", f"2 {name}", "3 after", timeout=60.0)
    for other in ("1 before", "3 after"):
        key = filed[other].key.encode()
        assert env.output(other) == b"out of " + key + b"\n"
        assert env.output(other, "err") == b"err of " + key + b"\n"


def test_exactly_what_was_printed(served: FjdEnv) -> None:
    """Output is kept byte for byte: no line end is added, nothing is decoded."""
    (served.cwd / "bytes").write_bytes(bytes(range(256)) * 1000)
    run_between(served, "bytes", "cat bytes; head -c 1000 bytes >&2; :")
    assert served.output("2 bytes") == bytes(range(256)) * 1000
    assert served.output("2 bytes", "err") == (bytes(range(256)) * 4)[:1000]


def test_no_output(served: FjdEnv) -> None:
    """A job that prints nothing has empty ranges."""
    run_between(served, "silent", ":")
    record = served.record("2 silent")
    assert (record["out"][1], record["err"][1]) == (0, 0)


def test_many_jobs_do_not_mix(env: FjdEnv) -> None:
    """The ranges of all attempts of a worker follow each other without a gap or an overlap."""
    env.workers(2)
    env.serve()
    names = [f"job{number}" for number in range(100)]
    for number, name in enumerate(names):
        env.job(name, f"seq {number * 10} {number * 10 + number}; echo {name} >&2; :")
    env.wait_for(*names, timeout=60.0)
    for number, name in enumerate(names):
        lines = [str(n) for n in range(number * 10, number * 11 + 1)]
        assert env.output(name).decode().split() == lines
        assert env.output(name, "err").decode() == f"{name}\n"
    ends = [record for record in env.all_records() if record["event"] == "end"]
    for worker in {record["worker"] for record in ends}:
        for stream in ("out", "err"):
            size = os.path.getsize(env.project.output_file(worker, stream))
            spans = sorted(record[stream] for record in ends if record["worker"] == worker)
            at = 0
            for start, length in spans:
                assert start == at
                at += length
            assert at == size


@pytest.mark.parametrize(
    ("command", "out", "err"),
    [
        ("echo lost >&2; echo x > /dev/stderr; echo more >&2; :", b"", b"x\nmore\n"),
        ("echo lost; echo x > /dev/stdout; echo more; :", b"x\nmore\n", b""),
        ("echo x | tee /dev/stdout | cat; :", b"x\nx\n", b""),
        ("echo x | tee /dev/stderr; :", b"x\n", b"x\n"),
        ("echo x >> /dev/stdout; echo y >> /dev/stderr; :", b"x\n", b"y\n"),
        ("echo x > /proc/self/fd/1; :", b"x\n", b""),
        ("truncate -s 0 /dev/stdout; echo x; :", b"x\n", b""),
        ("echo old; truncate -s 100 /dev/stdout; echo x; :", b"old\n" + b"\0" * 96 + b"x\n", b""),
        ("exec 1<>/dev/null 2>&1; echo x; :", b"", b""),
    ],
)
def test_own_streams_reopened(served: FjdEnv, command: str, out: bytes, err: bytes) -> None:
    """A job that opens its own output anew, which truncates it, harms only itself."""
    run_between(served, "tee", command)
    assert served.output("2 tee") == out
    assert served.output("2 tee", "err") == err
    assert served.outcomes()["2 tee"] == "ok"


def test_closed_streams(served: FjdEnv) -> None:
    """A job that closes its output and goes on is not taken for ended."""
    run_between(served, "closing", "echo first; exec >&- 2>&-; sleep 0.3; echo > proof; :")
    assert served.output("2 closing") == b"first\n"
    assert served.record("2 closing")["seconds"] >= 0.3
    assert (served.cwd / "proof").exists()


def test_scratch_file_deleted(served: FjdEnv) -> None:
    """A job that deletes its scratch files harms nobody; what it printed is kept."""
    command = "echo kept; rm -f $(readlink /proc/self/fd/1) $(readlink /proc/$$/fd/2); echo on; :"
    run_between(served, "deleting", command)
    assert served.output("2 deleting").endswith(b"on\n")


def test_daemon_prints_later(served: FjdEnv) -> None:
    """What escaped from a job cannot print into another one's output, and dies with the worker."""
    late = "while :; do echo LATE; echo LATE >&2; sleep 0.01; done"
    command = (
        f"setsid sh -c 'echo $$ > daemon.pid; {late}' & while ! test -s daemon.pid; do :; done; :"
    )
    served.job("1 forking", command)
    served.wait_for("1 forking")
    (pid,) = [int(word) for word in served.wait_file("daemon.pid").split()[:1]]
    names = [f"2 after {number}" for number in range(10)]
    for name in names:
        served.job(name, "sleep 0.05; echo mine; echo mine >&2; :")
    served.wait_for(*names)
    assert psutil.pid_exists(pid), "the test wants it to live on"
    for name in names:
        assert (served.output(name), served.output(name, "err")) == (b"mine\n", b"mine\n")
    assert served.outcomes()["1 forking"] == "ok"
    served.daemons[0].stop()
    assert gone([pid])


def test_background_process_prints_later(served: FjdEnv) -> None:
    """What a job left in its own group is given a moment, then ended, and harms nobody."""
    run_between(served, "forking", "(sleep 0.02; echo soon; sleep 100; echo LATE) & echo now; :")
    assert served.output("2 forking") == b"now\nsoon\n"


def test_one_gigabyte(served: FjdEnv) -> None:
    """Of a runaway output head and tail are kept, and its middle is not hoarded anywhere."""
    peak = 0

    def done() -> bool:
        nonlocal peak
        used = 0
        for path in served.tmp.glob("fjd-*/*/*"):
            try:
                used += path.stat().st_blocks * 512
            except FileNotFoundError:
                continue
        peak = max(peak, used)
        return "3 after" in served.filed()

    served.job("1 before", BYSTANDER)
    served.job("2 runaway", "echo HEAD; head -c 1073741824 /dev/zero; echo TAIL; :")
    served.job("3 after", BYSTANDER)
    wait_until(done, "it is filed", 60.0, served.show)
    output = served.output("2 runaway")
    assert KEEP <= len(output) < KEEP + 100
    assert output.startswith(b"HEAD\n\0\0\0")
    assert output.endswith(b"\0\0\0TAIL\n")
    middle = output[len(output) // 2 - 200 : len(output) // 2 + 200].strip(b"\0")
    left_out = (1 << 30) + 10 - KEEP
    assert middle == f"\n[fjd: {left_out} bytes left out here]\n".encode()
    assert served.output("3 after").startswith(b"out of 3%20after")
    assert peak < 800 << 20, f"{peak >> 20} MiB were in scratch files at once"
    scratch = [path for path in served.tmp.glob("fjd-*/*/*") if path.is_file()]
    assert sum(path.stat().st_blocks for path in scratch) == 0
    assert served.outcomes()["2 runaway"] == "ok"


def test_long_job_is_followed(served: FjdEnv) -> None:
    """What a longer job prints is in the output file within about a second of its printing."""
    worker = served.daemons[0]
    command = "for i in 1 2 3 4; do echo $i; while ! test -e go$i; do sleep 0.02; done; done; :"
    served.job("long", command)
    output = Path(served.project.output_file(worker.id, "out"))
    for number in range(1, 5):
        expected = "".join(f"{n}\n" for n in range(1, number + 1)).encode()
        wait_until(lambda: output.read_bytes() == expected, f"{number} is there", 3.0)  # noqa: B023
        (served.cwd / f"go{number}").touch()
    served.wait_for("long")
    assert served.output("long") == b"1\n2\n3\n4\n"


def test_long_job_truncates_its_output(served: FjdEnv) -> None:
    """What was kept before a job truncated its output stays; what follows is added."""
    worker = served.daemons[0]
    hold = "while ! test -e go; do sleep 0.02; done"
    served.job("long", f"echo first line; {hold}; echo x > /dev/stdout; :")
    output = Path(served.project.output_file(worker.id, "out"))
    wait_until(lambda: output.read_bytes() == b"first line\n", "it is there")
    (served.cwd / "go").touch()
    served.wait_for("long")
    assert served.output("long") == b"first line\nx\n"
