"""Lists: jobs of many tasks, worked off in pieces. This page is their part of the protocol.

Tasks have numbers, from 0 on, and so have the barriers between them (grammar.py). A *piece* is a
run of consecutive tasks, ``lo <= number < hi``, and never holds a barrier: a token like any other,
which only moves, by a rename, to a name that never existed before. Three ideas carry everything
else:

The list's own token is the cut mark
    ``lists/<key>/T,n<n>``: the job file itself, never changed, and every task below ``n`` was cut.
    Renaming it to a higher ``n`` is the decision; two dispatchers cannot cut one range twice,
    whatever the sizes of their pieces, and a restart goes on where the mark is.

A token bears another one before it says so
    A range cannot leave one token for two in one rename. So the new piece is written first, as
    ``...,p<birth>,...,new``: no token yet. Then its parent (the mark, or a piece that is split)
    is renamed to a name that ends at the new range and says ``b<birth>``: that is the decision.
    Then the child is *delivered*: ``new`` is dropped. Whoever moves a token on whose name says
    ``b<birth>`` first delivers the child; so no range is ever without a token, and nobody has to
    guess. A ``new`` one that nobody bears (its writer died, or lost the race) is *void*. It is left
    where it is until the list is closed: who lost may have won and only the reply was lost.

What is left of a piece is the same token
    Burying renames the piece away from its worker, reads the records, and renames it again to a
    name that says how far they count. What is behind goes on under the next name: nothing is
    published, nothing is copied, and records that come later are beyond the limit.

Beside the tokens in ``lists/<key>/`` lie files that are none: ``progress.<writer>`` (covered.py;
``progress.resume``: what an earlier run has done, there from the start, and a piece may span it),
``terms`` (what the submitter asks for), ``halt`` (why it is to stop), ``status.txt`` (rows.py of
the dispatcher; unless the terms say where), ``board`` (where it stands, for those who look).

States of a list (key: its directory in lists/)

    state     its token                                   who moves it on
    queued    jobqueue/, requeue/ as any job              dispatcher: open
    open      lists/<key>/T,n<n>[,b<birth>]               dispatcher: cut, skip, stop, close
    stopped   lists/<key>/T,n<n>[,b<birth>],stop          dispatcher: close (cancel, fail-fast)
    closed    lists/<key>/T,n<n>,<outcome>                dispatcher: commit
    ended     results/T,<who>,<outcome>                   as any job

States of a piece (``P`` = ``p<birth>,<lo>-<hi>,s<serial>,a<attempt>[,...]``; names.py)

    state     where it lies                               who moves it on
    unborn    lists/<key>/P,new  (P,end,W,o,k,new)        who wrote it, or any dispatcher: deliver
    waiting   lists/<key>/P                               dispatcher: assign
    assigned  jobpods/<worker>/<key>,P                    worker: accept; dispatcher: withdraw
    running   jobpods/<worker>/<key>,P,run                worker: split, hand in, end
                                                          dispatcher: take
    taken     lists/<key>/P,<why>,<worker>                dispatcher: judge
    judged    lists/<key>/P,<why>,<worker>,o<at>,k<k>     dispatcher: seal, fold, retry, go on
    folded    none; its range stands in the progress      nobody

Why: ``end`` (the worker did them all), ``back`` (it was fired), ``torn`` (its content was lost in
a power cut), ``gone`` (its lease ran out), ``dead`` (it died), ``lost`` (the fifth time). ``k`` is
the first task that did not end, ``o`` where in the worker's records those of the piece begin.

Invariant: each task below ``n``, and each command of an engine that was born, lies in exactly one
of: the range of one token that is born, or the ranges of the progress files; both only while a
judged one is being folded, and then both say the same worker. Each task is counted once: by the
record that this worker wrote of it.

Numbers: ``a`` is the attempt of every task of a piece, and ``f`` how often they failed; ``e`` and
``c`` are for the first task alone: further attempts that were broken off, and those that took a
worker down. So a crash counts against the one task that was running.

Transitions: who, the system calls in order, what a crash leaves, who repairs it

    submit    user, fjd   write a directory under tmp/ with the token at n0, terms, progress.resume;
                          sync; rename it -> lists/<key>. Before: it is swept a day later. Who
                          still writes a list (terms: ``writer``) adds to the token itself, which
                          is his file whatever its name, and gives a sign of life (writing.py);
                          the tasks end at ``#FJD END``, or with him: then the list fails.
    open      dispatcher  mkdir lists/<key>; rename the job -> lists/<key>/T,n0. Between: an empty
                          directory, removed at the next start.
    cut       dispatcher  deliver what the mark bore; create P,new; rename the mark [decides];
                          rename P,new -> a pod. Before the decision: a void file. After: the mark
                          says whose birth it is; the next one who cuts delivers it.
    skip      dispatcher  (barriers, once all below has ended for ever; what comes last and was done
                          by an earlier run) write it to the progress, sync, deliver, rename the
                          mark. Between: a range above the mark in the progress; said again.
    call      dispatcher  (what an engine runs first or last; its numbers are behind all others)
                          deliver what the mark bore; create P,new; rename the mark, which says its
                          birth [decides]; deliver. Who loses looks again for what was born.
    assign    dispatcher  rename P -> jobpods/W/. Withdraw, reassign: the same back, or across. What
                          failed goes to another host first; ``f`` is one less if that was the fault
                          of a host that eats tasks.
    part      dispatcher  (a waiting piece, of which a host that is to prove itself gets one task)
                          create P,new for those behind; rename P -> shorter, b<birth> [decides];
                          deliver.
    accept    worker      rename -> ,run; only then is it read and started.
    run       worker      per task: spawn, wait, one write of its record; then the next. Nothing
                          of the spool is touched between two tasks.
    split     worker      (a task lasts, others wait behind it) create P,new for those behind;
                          rename its own ,run -> shorter, b<birth> [decides]; deliver. Gone
                          meanwhile: it is late, the file void, and no further task is begun. After
                          an error its own name in the pod tells whether that was decided.
    hand in   worker      (a task lasts, others of its piece have ended before it, and their rows
                          shall not wait) sync the records; create P,end,W,o,k,new for those; rename
                          its own ,run -> to begin at the task that runs, b<birth> [decides];
                          deliver: it is born judged. Gone meanwhile, or an error: as for split.
    end       worker      sync the records, rename ,run -> P,end,W,o,k (fired: ``back``, and k is
                          the task that it broke off). Nothing left in the pod: it is late.
    take      who buries  rename ,run -> P,<why>,W. From here on its worker can end nothing.
    judge     dispatcher  (after take) read the records, first missing one is k; record its loss
                          unless somebody has; deliver; rename
                          -> ...,o,k [decides]. A worker that still runs writes more: beyond k,
                          so late. Two who judge: one limit holds. The fifth crash of the task at k:
                          ``lost``, k counts as ended.
    seal      dispatcher  (a failed task that may not be tried again) rename -> ...,z<z>: what
                          ended below z is final. What ended well is final without being said,
                          so that a piece without failures costs no rename.
    fold      dispatcher  write lo, the limit, worker to its progress file; sync (many at once).
                          If all of it is folded: unlink it. A crash between: folded again, the
                          same words. Only what is final may be folded.
    retry     dispatcher  (the failed tasks t..u-1, all below t folded and synced) create P,new for
                          t..u-1 with the next attempt; rename the judged one to begin at u,
                          b<birth> [decides]; deliver. Of a torn piece, all tasks so; and if the
                          list has them no more, they are called off.
    go on     dispatcher  (judged, folded up to k and synced, something left) rename -> P, waiting,
                          beginning at k (the next attempt of that task), with the crash count.
    halt      user, fjd,  publish ``halt``: why, with what outcome, and whether what runs is ended.
              dispatcher  (A CHECK with failures, --fail-fast, a wrong line, a cancel.)
    stop      dispatcher  (after halt) rename the mark -> ,stop. Nobody cuts any more; what waits,
                          in pods too, is withdrawn and folded as cancelled. What runs ends as it
                          does, or is taken (``off``): its worker finds it gone and ends the task.
    close     dispatcher  all tasks folded, and no more to cut or stopped: rename the mark to say
                          the outcome [decides]; write the list's own record; move status.txt
                          -> results/; unlink void files and the progress; rename the token
                          -> results/; rmdir. Crash between: done again from its name. Whoever
                          files the token takes the rows along, in whoever's name they lie there.
                          What is not ours is moved to tmp/: else the directory would stay.

A list whose token is gone while other files stand in its directory was removed by the user: it is
treated as stopped, and that is recorded. If its whole directory is gone, what waits in pods is
unlinked, and what runs when it has ended.

The number of files: pieces in pods and in hand, never one per task.
"""
