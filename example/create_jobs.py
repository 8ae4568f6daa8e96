"""Put ten jobs into the queue of a project: `python3 create_jobs.py [PROJECT]`.

This is all a program needs to know of fjd: make the directory, write a file under a hidden name,
and rename it when it is complete. (`fjd submit FILE...` does the same for files that you have.)
"""

import os
import sys
from pathlib import Path

JOB = """\
[control]
executable: python3 ajob.py
logfile: logfiles/job{number}.dat

[params]
number: {number}
seconds: 1
"""


def main() -> None:
    """Make the queue if it is missing, and ten jobs in it."""
    project = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("FJD_PROJECT", "default")
    home = Path(os.environ.get("FJD_HOME") or "~/.fjd").expanduser()

    Path(__file__).with_name("logfiles").mkdir(exist_ok=True)  # where the results will be
    os.umask(0o077)  # what lies in the queue is run in your name: keep others out
    queue = home / project / "jobqueue"
    queue.mkdir(parents=True, exist_ok=True)

    for number in range(10):
        hidden = queue / f".job{number}.conf"  # fjd leaves alone what begins with a dot
        hidden.write_text(JOB.format(number=number), encoding="utf-8")
        hidden.rename(queue / f"job{number}.conf")


if __name__ == "__main__":
    main()
