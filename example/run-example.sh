#!/bin/bash
# Ten jobs and four workers on this machine. The results are in logfiles/ then.
set -eu
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
if ! command -v fjd-recruiter >/dev/null; then
    echo "no fjd on your PATH; type: export PATH=~/.local/bin:\$PATH   or first: ${PWD%/*}/INSTALL" >&2
    exit 6
fi

python3 create_jobs.py
fjd-recruiter hire 4
fjd-dispatcher
