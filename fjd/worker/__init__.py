"""The worker: runs tasks, one at a time.

worker     announces itself, takes what lies in its pod, and goes on until it is fired
attempt    one try at one job file, from reading it to the record of its end
task       the process group of one attempt: start, wait, kill, leave nothing behind
scratch    what a task prints, caught in private files and kept in the output files
voice      what it says
heart      the thread that beats and syncs
guardian   the tiny parent that lets no task outlive its worker
"""
