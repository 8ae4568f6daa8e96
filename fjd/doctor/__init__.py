"""The doctor: does everything that fjd relies on hold, here and on every host of remote.conf?

    check      one finding: a name, a state, the fact, and what to type
    machine    what a machine has: Python, screen, logind, sshd, CPUs, inotify
    disk       what the home and the temporary space can do, tried out
    echo       how late the home is: markers there and back
    examine    all of that on one machine; on another one, what a login runs there
    rounds     this machine, then all others at once, and what follows for the timings
    verdict    what another host's answer means
    page       what is printed

What cannot be found out is told as unknown and is no fault.
"""
