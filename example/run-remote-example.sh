#!/bin/bash
# Ten jobs in a project of their own, on the hosts in remote.conf. The results are in logfiles/ then.
set -eu
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
if ! command -v fjd-recruiter >/dev/null; then
    echo "no fjd on your PATH; type: export PATH=~/.local/bin:\$PATH   or first: ${PWD%/*}/INSTALL" >&2
    exit 6
fi

python3 create_jobs.py remote-example
hosts=${FJD_HOME:-$HOME/.fjd}/remote-example/remote.conf
if [ -e "$hosts" ]; then
    echo "The hosts are those in $hosts." >&2
else
    cp remote.conf "$hosts"
fi
# Exit code 4: a host is out of reach. It has been named; the others can do the work.
fjd-recruiter --project remote-example hire || [ $? = 4 ]
fjd-dispatcher --project remote-example --no-wait
