"""Launchers: each is one way of starting workers.

screen      a detached GNU screen session on this machine
process     a detached process on this machine
remote      other hosts: there another recruiter is run, and ssh.py (the only importer of fabric)
            carries the command; it is imported when there is a host to call, not before

base.py holds what they share, ending.py ends workers of this machine, whoever started them.
"""
