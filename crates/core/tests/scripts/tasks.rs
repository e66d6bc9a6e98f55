//! The life of tasks: dependencies, order, retries, time limits, cancellation.

use crate::language::check;

/// ```text
/// a ──> b
/// ```
#[test]
fn a_task_runs_when_what_it_needs_has_finished() {
    check("
        pool p
        submit a    spawn 1 for p
        submit b(a)
        up w0       run a#1 on w0
        explain b   waits for 1: a
        finish a    resolve a, run b#1 on w0
        finish b    resolve b
        counts      waiting 0 ready 0 backoff 0 handed 0 running 0 blocked 0 | up 1 idle 1 blocked 0 starting 0 | cores 0
        deadline    none
    ");
}

#[test]
fn a_finished_dependency_counts_as_finished() {
    check(
        "
        pool p
        submit a      spawn 1 for p
        up w0         run a#1 on w0
        finish a      resolve a
        submit b(a)   run b#1 on w0
    ",
    );
}

/// ```text
/// a ──> b ──> c
/// └───────────^
/// ```
#[test]
fn each_edge_is_told_once_when_its_result_is_there() {
    check(
        "
        pool p
        submit a         spawn 1 for p
        edges
        graph b(a) c(a,b)
        up w0            run a#1 on w0
        edges
        finish a         resolve a, run b#1 on w0
        edges            b by a, c by a
        finish b         resolve b, run c#1 on w0
        edges            b by a, c by a, c by b
        finish c         resolve c
        submit d given=a  run d#1 on w0
        edges            b by a, c by a, c by b, d by a
    ",
    );
}

#[test]
fn greater_priority_runs_first_then_the_order_of_submission() {
    check(
        "
        pool p prefetch=off
        up w0
        submit a    run a#1 on w0
        submit b
        submit c prio=1
        submit d prio=1
        explain b   queued behind 2: WorkersBusy
        finish a    resolve a, run c#1 on w0
        finish c    resolve c, run d#1 on w0
        finish d    resolve d, run b#1 on w0
    ",
    );
}

/// ```text
/// a1 a2   b1 b2
///   \/      \/
///   a        b
///     \    /
///       c
/// ```
#[test]
fn a_graph_runs_one_branch_after_the_other() {
    check("
        pool p prefetch=off
        up w0
        graph a1 b1 a2 b2 a(a1,a2) b(b1,b2) c(a,b)   run a1#1 on w0
        finish a1   resolve a1, run a2#1 on w0
        finish a2   resolve a2, run a#1 on w0
        finish a    resolve a, run b1#1 on w0
        finish b1   resolve b1, run b2#1 on w0
        finish b2   resolve b2, run b#1 on w0
        finish b    resolve b, run c#1 on w0
        finish c    resolve c
        counts      waiting 0 ready 0 backoff 0 handed 0 running 0 blocked 0 | up 1 idle 1 blocked 0 starting 0 | cores 0
    ");
}

#[test]
fn a_failure_is_retried_after_a_wait_that_doubles() {
    check("
        pool p
        up w0
        submit a retries=2 backoff=10ms   run a#1 on w0
        submit b(a)
        fail a
        explain a                         backs off for 10ms
        deadline                          in 10ms
        tick 5ms
        tick 5ms                          run a#2 on w0
        fail a
        deadline                          in 20ms
        tick 20ms                         run a#3 on w0
        fail a                            reject a (Failed), reject b (needs a)
        counts                            waiting 0 ready 0 backoff 0 handed 0 running 0 blocked 0 | up 1 idle 1 blocked 0 starting 0 | cores 0
        deadline                          none
    ");
}

#[test]
fn an_exception_that_can_only_repeat_itself_is_final() {
    check(
        "
        pool p
        up w0
        submit a retries=5   run a#1 on w0
        fail a final         reject a (Failed)
    ",
    );
}

#[test]
fn what_runs_out_of_time_by_its_own_count_has_timed_out() {
    check(
        "
        pool p
        up w0
        submit a retries=1   run a#1 on w0
        fail a late          run a#2 on w0
        fail a late          reject a (TimedOut)
    ",
    );
}

#[test]
fn what_is_given_up_while_it_runs_is_cancelled_and_not_retried() {
    check(
        "
        pool p
        up w0
        submit a retries=1   run a#1 on w0
        fail a cancelled     reject a (Cancelled)
    ",
    );
}

#[test]
fn a_batch_whose_worker_dies_is_rejected_as_one_whose_items_run_again() {
    check(
        "
        pool p
        up w0
        submit a items=again     run a#1 on w0
        down w0 running a        reject a (ItemsRunAgain)
    ",
    );
}

#[test]
fn a_retry_goes_ahead_of_later_tasks() {
    check(
        "
        pool p prefetch=off
        up w0
        submit a retries=1   run a#1 on w0
        submit b
        fail a               run a#2 on w0
        finish a             resolve a, run b#1 on w0
    ",
    );
}

/// ```text
/// a ──> b ──> d ──> e
///  └──> c ────┘
/// ```
#[test]
fn a_rejection_names_the_task_that_failed_itself() {
    check("
        pool p
        up w0
        submit a   run a#1 on w0
        submit b(a)
        submit c(a)
        submit d(b,c)
        submit e(d)
        submit f   run f#1 on w0
        fail a     reject a (Failed), reject b (needs a), reject d (needs a), reject e (needs a), reject c (needs a)
        finish f   resolve f
    ");
}

#[test]
fn messages_about_an_old_attempt_change_nothing() {
    check(
        "
        pool p
        up w0
        submit a retries=1   run a#1 on w0
        fail a#1             run a#2 on w0
        finish a#1
        fail a#1
        block a#1
        finish a#3
        finish a#2           resolve a
        finish a#2
    ",
    );
}

#[test]
fn a_task_out_of_time_is_stopped_once_and_counts_as_a_failure() {
    check(
        "
        pool p
        up w0
        submit a timeout=1s retries=1   run a#1 on w0
        deadline                        none
        start a
        deadline                        in 1s
        tick 1s                         time out a#1 on w0
        tick 1s
        fail a                          run a#2 on w0
        start a
        tick 1s                         time out a#2 on w0
        down w0 running a               reject a (TimedOut)
        deadline                        none
    ",
    );
}

#[test]
fn a_task_that_finished_in_time_after_all_has_finished() {
    check(
        "
        pool p
        up w0
        submit a timeout=1s   run a#1 on w0
        start a
        tick 1s               time out a#1 on w0
        finish a              resolve a
        deadline              none
    ",
    );
}

#[test]
fn a_task_with_nobody_is_cancelled_at_once_with_its_dependents() {
    check("
        pool p
        submit a   spawn 1 for p
        submit b(a)
        submit c(b)
        cancel b   reject b (Cancelled), reject c (needs b)
        cancel a   reject a (Cancelled)
        cancel a
        counts     waiting 0 ready 0 backoff 0 handed 0 running 0 blocked 0 | up 0 idle 0 blocked 0 starting 1 | cores 0
    ");
}

#[test]
fn a_backing_off_task_is_cancelled_at_once() {
    check(
        "
        pool p
        up w0
        submit a retries=1 backoff=1s   run a#1 on w0
        fail a
        cancel a                        reject a (Cancelled)
        deadline                        none
    ",
    );
}

#[test]
fn cancelling_what_was_handed_over_asks_the_worker() {
    check(
        "
        pool p
        up w0
        submit a         run a#1 on w0
        submit b         run b#1 on w0
        cancel b         retract w0
        cancel b kill
        retracted w0 b   reject b (Cancelled)
        finish a         resolve a
    ",
    );
}

#[test]
fn a_cancelled_task_that_turns_out_to_run_is_killed_or_left() {
    check("
        pool p
        up w0
        submit a retries=9 deaths=9   run a#1 on w0
        cancel a                      retract w0
        retracted w0
        cancel a
        cancel a kill                 kill w0 for a
        down w0 running a             reject a (Cancelled)
        submit b deaths=9             spawn 1 for p
        up w1                         run b#1 on w1
        cancel b kill                 retract w1
        retracted w1                  kill w1 for b
        down w1 running b             reject b (Cancelled)
        counts                        waiting 0 ready 0 backoff 0 handed 0 running 0 blocked 0 | up 0 idle 0 blocked 0 starting 0 | cores 0
    ");
}

#[test]
fn a_timed_task_starts_once_for_readers_also_if_it_is_known_to_run() {
    check(
        "
        pool p
        up w0
        submit a timeout=1s   run a#1 on w0
        cancel a              retract w0
        retracted w0
        deadline              none
        starts
        start a
        deadline              in 1s
        starts                a
        start a
        starts                a
    ",
    );
}

#[test]
fn a_closed_pool_takes_its_tasks_with_it() {
    check("
        pool p
        pool q
        up w0
        up w1 pool=q
        submit a              run a#1 on w0
        submit b(a)
        submit c(b) pool=q
        submit d(c)
        submit e timeout=1s   run e#1 on w0
        remove p              reject a (Cancelled), reject b (Cancelled), reject c (needs b), reject d (needs b), reject e (Cancelled), retire w0
        finish a
        submit f              reject f (Cancelled)
        down w0
        up w9                 retire w9
        counts                waiting 0 ready 0 backoff 0 handed 0 running 0 blocked 0 | up 1 idle 1 blocked 0 starting 0 | cores 0
    ");
}

#[test]
fn internal_tasks_run_like_others_and_are_told_of_to_nobody() {
    check(
        "
        pool p max=2 prefetch=off
        graph a b end(a,b) / internal=yes  spawn 2 for p
        counts                            waiting 0 ready 0 backoff 0 handed 0 running 0 blocked 0 | up 0 idle 0 blocked 0 starting 2 | cores 0
        submit c(a)
        counts                            waiting 1 ready 0 backoff 0 handed 0 running 0 blocked 0 | up 0 idle 0 blocked 0 starting 2 | cores 0
        up w0                             run a#1 on w0
        up w1                             run b#1 on w1
        start a
        block a
        unblock a
        counts                            waiting 1 ready 0 backoff 0 handed 0 running 0 blocked 0 | up 2 idle 0 blocked 0 starting 0 | cores 2
        finish a                          resolve a, run c#1 on w0
        fail b                            reject b (Failed), reject end (needs b)
        submit d retries=1 internal=yes   run d#1 on w1
        fail d                            run d#2 on w1
        start d
        cancel d kill                     kill w1 for d
        down w1 running d                 reject d (Cancelled)
        finish c                          resolve c
        edges                             c by a
        seen                              c
        ",
    );
}
