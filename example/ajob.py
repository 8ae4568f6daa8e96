"""A job: read the job file that is given as the one argument, wait a moment, write the result.

fjd calls it as `python3 ajob.py JOBFILE`. The job file says where the result goes (`logfile` in the
section [control], relative to the working directory) and what to compute (in [params], which means
nothing to fjd).
"""

import configparser
import os
import platform
import sys
import time
from pathlib import Path


def main() -> None:
    """Square a number."""
    config = configparser.ConfigParser(interpolation=None)  # a % in a value is just a %
    config.read_string(Path(sys.argv[1]).read_text(encoding="utf-8"))
    number = config.getint("params", "number")

    time.sleep(config.getfloat("params", "seconds"))  # hard work

    where = f"{platform.node()}, by {os.environ.get('FJD_WORKER', 'nobody')}"
    logfile = Path(config.get("control", "logfile"))
    logfile.parent.mkdir(parents=True, exist_ok=True)
    # The whole file at once, not appended: a job whose computer fails is run again from its start.
    logfile.write_text(f"{number} squared is {number**2} (on {where})\n", encoding="utf-8")
    print(f"wrote {logfile}")  # to be seen with: fjd log


if __name__ == "__main__":
    main()
