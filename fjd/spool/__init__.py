"""The spool: every hand-over between fjd's processes is a file under ``~/.fjd/<project>/``.

This page is the protocol. Every path is built in this package and every transition below is one
verb of it; nobody else joins a spool path.

The token
    The job file itself. While it lives it is never copied, linked or unlinked: it only moves, by
    ``rename(2)``, to a name that never existed before, and where it lies *is* its state. A rename
    has one winner on every file system that fjd meets, so no lock and no clock is needed; the
    loser finds its source gone and goes on (a return value, never an exception).

States of a job (``T`` = ``KEY,s<serial>,a<attempt>[,c<crashes>][,f<failures>]``; grammar: names.py)

    state     where its token lies                           who moves it on
    queued    jobqueue/<any name> (a new submission)         dispatcher: assign, reject
              requeue/T,r<random>         (on its way back)  dispatcher: assign
    assigned  jobpods/<worker>/T                             worker: accept; dispatcher: reassign
    running   jobpods/<worker>/T,run                         worker: commit, give back
                                                             who buries: take
    taken     jobpods/<worker>/T,<why>    (dead, gone)       who buries: judge
    lost      jobpods/<worker>/T,<why>,lost                  who buries: requeue
    ended     results/T,<worker>,<outcome>                   dispatcher: file (or requeue: retries)
    filed     done/<shard>/T,<worker>,ok                     nobody
              failed/<shard>/T,<worker>,<outcome>            user: retry -> requeue/T
    rejected  rejected/T  and its reason in T.why            user: mv back
    a list    lists/<key>/T,n<n>[,...]                       dispatcher: cut, close

A job of many tasks is worked off as a list: its token stands in lists/ meanwhile, and what lies in
the pods are pieces of it. Their states and transitions have a page of their own: lists/__init__.py.

Whoever moves a token into requeue/ chooses ``r``, so that one of several who do the same at once
knows that it was he; it is dropped when the job is assigned. A filed name is the same for all: two
dispatchers may both believe that they filed a job, and nothing depends on it.

Invariant: every job that nobody removed has exactly one token in jobqueue + requeue + jobpods +
lists + results + done + failed + rejected. Its filed name is what counts: key, attempt, worker
and outcome stand in it. The record of that attempt (records.py) holds the details.

States of a worker (``W`` = ``<host>-<slot>-<random>``, new for every process, never reused)

    announced  workerqueue/W,<n>   idle; n is the heartbeat; the content says who it is
    busy       workers/W,<n>       the same entry, moved
    buried     no entry            its next beat fails, and so it knows: it fences itself
    gone       no entry, no pod    after a clean end

Transitions: who, the one system call that decides, what a crash leaves, who repairs it

    submit     user, fjd    write tmp/, fsync, rename -> jobqueue/NAME, fsync of the directory.
                            Before: a leftover in tmp/ that nobody reads. At the rename the job
                            is queued; submit reports success only after the last sync.
    assign     dispatcher   rename jobqueue/NAME or requeue/T -> jobpods/W/T'. Before: queued.
                            After: assigned; the next dispatcher finds it by listing the pod.
    reassign   dispatcher   rename jobpods/W/T -> jobpods/W2/T' or requeue/T. A worker that
                            accepts at the same moment wins or finds its source gone.
    accept     worker       rename jobpods/W/T -> jobpods/W/T,run; only then is it read and
                            started. Crash after it: bury.
    commit     worker       one write of the record, then rename T,run -> results/T,W,outcome.
                            Crash between the two: whoever buries reads the record and commits in
                            the dead worker's name. A commit that finds its source gone is late:
                            it is noted as such and counts nothing.
    give back  worker       (fired, logged out) rename T,run -> requeue/T with the next attempt
                            number, the crash count unchanged; assigned ones unchanged.
    file       dispatcher   rename results/... -> done/ or failed/, or, with retries left, back
                            to requeue/T with the next attempt number. Seen again after a crash.
    reject     dispatcher   write T.why, then rename -> rejected/T. Crash between: a reason
                            without a token, removed at the next start.
    retry      user, fjd    rename failed/<shard>/... -> requeue/T with the next attempt number;
                            rejected/T -> jobqueue/ under a new key (it is submitted again), then
                            unlink T.why. Crash between: a reason without a token, as above.
    cancel     user         rm of a queued or assigned token. The dispatcher finds it gone from
                            the queue, or from two listings of a pod, and nowhere else
                            (whereabouts.py), and records the job as cancelled. Of one that was
                            running the worker finds the source of its commit gone while its own
                            entry stands: it says so, and the record of that attempt counts.
    announce   worker       mkdir jobpods/W, publish workerqueue/W,0. Crash between: an empty pod
                            without an entry, removed a lease later.
    beat       worker       rename W,n -> W,n+1; between workerqueue/ and workers/ to say idle or
                            busy. Only the worker renames its entry.
    bury       dispatcher   1. unlink the entry: from here on the worker cannot beat; 2. every
               recruiter    token: assigned ones are requeued; T,run is taken; a piece is taken or
                            goes back to its list; 3. rmdir jobpods/W.
                            Crash between: a pod without an entry; the next dispatcher goes on
                            with step 2 after a lease.
    take       who buries   rename T,run -> T,dead or T,gone. From here on its worker can end
                            nothing, so that what is judged is not overtaken.
    judge      who buries   (after take) read the records: what had ended is committed in the dead
                            worker's name; else rename -> T,<why>,lost: a record that comes later
                            is late. Then record the loss unless somebody has, and requeue as the
                            next attempt (dead: one more crash; the fifth crash ends it as lost).
    dismiss    anybody      publish jobpods/W/dismissed: W leaves when the task that runs has ended,
                            and gives back the rest (dismissed,now: as if it was fired). The word
                            goes with the pod; who says it too late finds no pod.
    leave      worker       (its end) give back all, rmdir jobpods/W, then unlink the entry.
    lease      dispatcher   publish dispatcher/e<epoch>,<nonce>,<n>: the highest epoch holds,
                            the smallest nonce of two with the same. Two at once cost work and
                            lose nothing: every assignment is a rename with one winner.

Workers that were hired together are a *context*, those of them on one host an *engine*; who they
are and how they are asked to end stands in contexts.py. No task's fate depends on it.

Safety never depends on the lease, the heartbeat or any clock; they only save time. What an errno
says of a rename is a hint: ``files.move`` answers from fresh listings.
"""
