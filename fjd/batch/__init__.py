"""fjd-batch: a file of tasks, worked off in the foreground. A front end: the engine is the list.

Words
    run      one call of fjd-batch: a list of tasks, from its submission to its last status row
    prefix   the path that the files of a run begin with; without -p: TASKFILE_disBatch_TIME_RANDOM
    context  the workers of one hiring: the run's own one, and one for each call of the script
             <prefix>_dbUtil.sh; an *engine* is what a context has on one host
    slot     one task at a time: one worker of an engine

The project
    A run has a project of its own, <name of the prefix>-<digest of its path>, and serves it itself:
    the dispatcher runs in the main thread. It is removed at the end, unless tasks failed or printed
    something: then it is kept for ``fjd log``, until the next run with that prefix. With
    ``--project P`` the list goes to the dispatcher that serves there, the run only follows it, and
    at the end it fires whom it hired.

Files, under the prefix
    _status.txt              one row per task (fjd/spool/lists/statusfile.py); a file of that name
                             that is there already is kept as _status.txt.1, .2 ...
    _driver.log              what was said and done (--logfile: elsewhere)
    _dbUtil.sh               adds contexts, shows the monitor
    _<label>.context.log     one context: whom it hired, who left
    _<label>_<host>_engine_<rank>.log   what the workers of an engine said
    _kvsinfo.txt, _url       addresses of the key-value server and of the web page while they run

Exit codes
    0 the list was worked off, whatever became of its tasks (-e: 1 if one failed); 1 stopped by
    BARRIER CHECK or --fail-fast; 2 usage; 4 nobody is left who could run what remains (-S: waits),
    or nobody came up; 6 a wrong list, status file or environment; 130 interrupted.

Interrupted
    Ctrl-C once: nothing more is started, what runs is finished. Twice, or SIGTERM: the workers are
    ended at once. Both ways every task that has ended has its row when fjd-batch ends.

kill -9, a power cut
    Of fjd-batch alone: its workers finish what lies in their pods, and wait. Of everything: the
    spool has a record of every task that ended, and the status file most of their rows. The next
    run with that prefix, or one that resumes from that status file, first ends the workers that
    are left, and lets the dispatcher fold what they have recorded and write the missing rows; only
    then does it read the status file. So ``-r`` runs exactly the tasks that had not ended. All this
    is done in office (it holds the project's lease): a second run with a prefix that is in use is
    refused before it touches anything. A run that had joined a project leaves its list to the
    dispatcher there, and its workers to ``fjd-recruiter fire --context``; until that list has ended
    nobody else may write its status file.

Resume (-r, resume.py)
    The rows of what is done are written into the new status file, flagged S, before the list is
    submitted; both appear at once, so that a run that is killed again can be resumed from its own
    file alone.
"""
