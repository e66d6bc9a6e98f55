//! Workers are started, cannot be started, and die.

use crate::language::check;

#[test]
fn workers_are_started_on_demand_up_to_the_limit() {
    check("
        pool p max=2
        submit a    spawn 1 for p
        submit b    spawn 1 for p
        submit c
        explain c   queued behind 2: WorkerStarting
        up w0       run a#1 on w0, run b#1 on w0
        up w1       run c#1 on w1
        explain c   handed to w1 as #1
        finish a    resolve a
        finish b    resolve b
        finish c    resolve c
        counts      waiting 0 ready 0 backoff 0 handed 0 running 0 blocked 0 | up 2 idle 2 blocked 0 starting 0 | cores 0
        deadline    none
    ");
}

#[test]
fn no_more_workers_are_started_than_cores_can_use() {
    check(
        "
        cores 2
        pool p max=8
        graph a b c d e         spawn 2 for p
        pool q max=8 cores=2
        graph f g h / pool=q    spawn 1 for q
        pool io max=8 cores=0
        graph i j k / pool=io   spawn 3 for io
    ",
    );
}

#[test]
fn a_worker_that_cannot_be_started_is_tried_again_later_and_later() {
    check(
        "
        pool p
        submit a     spawn 1 for p
        spawn-failed p
        explain a    queued behind 0: NoWorker
        deadline     in 50ms
        tick 50ms    spawn 1 for p
        spawn-failed p
        deadline     in 100ms
        tick 100ms   spawn 1 for p
        up w0        run a#1 on w0
        finish a     resolve a
        deadline     none
    ",
    );
}

#[test]
fn tasks_do_not_wait_for_ever_for_a_worker_that_cannot_be_started() {
    check(
        "
        pool p
        submit a         spawn 1 for p
        graph b c(b)
        spawn-failed p
        tick 50ms        spawn 1 for p
        spawn-failed p
        tick 100ms       spawn 1 for p
        spawn-failed p
        tick 200ms       spawn 1 for p
        spawn-failed p
        tick 400ms       spawn 1 for p
        spawn-failed p
        tick 800ms       spawn 1 for p
        spawn-failed p   reject a (NoWorker), reject b (NoWorker), reject c (needs b)
        submit d
        deadline         in 1.6s
        tick 1600ms      spawn 1 for p
        up w0            run d#1 on w0
        finish d         resolve d
    ",
    );
}

#[test]
fn a_worker_that_was_taken_for_granted_is_tried_again_later_and_later() {
    check(
        "
        pool p max=2
        graph a b         spawn 2 for p
        up w0             run a#1 on w0
        up w1             run b#1 on w1
        never-started w0  run a#2 on w1
        never-started w1
        explain a         queued behind 0: NoWorker
        deadline          in 50ms
        tick 50ms         spawn 2 for p
        up w2             run a#3 on w2
        up w3             run b#2 on w3
        never-started w2  run a#4 on w3
        never-started w3
        deadline          in 100ms
        tick 100ms        spawn 2 for p
        up w4             run a#5 on w4
        finish a          resolve a, run b#3 on w4
        finish b          resolve b
    ",
    );
}

#[test]
fn nor_do_tasks_wait_for_ever_for_workers_that_were_taken_for_granted() {
    check(
        "
        pool p
        submit a            spawn 1 for p
        up w0               run a#1 on w0
        never-started w0
        tick 50ms           spawn 1 for p
        up w1               run a#2 on w1
        never-started w1
        tick 100ms          spawn 1 for p
        up w2               run a#3 on w2
        never-started w2
        tick 200ms          spawn 1 for p
        up w3               run a#4 on w3
        never-started w3
        tick 400ms          spawn 1 for p
        up w4               run a#5 on w4
        never-started w4
        tick 800ms          spawn 1 for p
        up w5               run a#6 on w5
        never-started w5    reject a (NoWorker)
    ",
    );
}

#[test]
fn as_long_as_there_is_another_worker_tasks_wait_for_that() {
    check(
        "
        pool p max=2 prefetch=off
        submit a         spawn 1 for p
        up w0            run a#1 on w0
        submit b         spawn 1 for p
        spawn-failed p
        tick 50ms        spawn 1 for p
        spawn-failed p
        tick 100ms       spawn 1 for p
        spawn-failed p
        tick 200ms       spawn 1 for p
        spawn-failed p
        tick 400ms       spawn 1 for p
        spawn-failed p
        tick 800ms       spawn 1 for p
        spawn-failed p
        tick 1600ms      spawn 1 for p
        block a
        spawn-failed p   reject b (NoWorker)
    ",
    );
}

#[test]
fn nothing_is_retried_when_nobody_waits_any_more() {
    check(
        "
        pool p
        submit a   spawn 1 for p
        spawn-failed p
        cancel a   reject a (Cancelled)
        deadline   none
    ",
    );
}

#[test]
fn a_worker_that_dies_before_it_could_do_anything_is_replaced_slowly() {
    check(
        "
        pool p
        submit a    spawn 1 for p
        up w0       run a#1 on w0
        down w0
        deadline    in 50ms
        tick 50ms   spawn 1 for p
        up w1       run a#2 on w1
        down w1
        deadline    in 100ms
    ",
    );
}

#[test]
fn a_broken_pool_rejects_everything_now_and_later() {
    check("
        pool p max=2
        submit a                spawn 1 for p
        submit b(a)
        submit c                spawn 1 for p
        up w0                   run a#1 on w0
        spawn-failed p broken   reject a (PoolBroken), reject b (PoolBroken), reject c (PoolBroken), retire w0
        submit d                reject d (PoolBroken)
        graph e f(e)            reject e (PoolBroken), reject f (PoolBroken)
        up w1                   retire w1
        finish a
        down w0
        counts                  waiting 0 ready 0 backoff 0 handed 0 running 0 blocked 0 | up 0 idle 0 blocked 0 starting 0 | cores 0
    ");
}

#[test]
fn a_dead_worker_costs_its_running_task_one_death_and_the_others_nothing() {
    check(
        "
        pool p
        up w0
        submit z            run z#1 on w0
        finish z            resolve z
        submit a deaths=1   run a#1 on w0
        submit b            run b#1 on w0
        submit c
        down w0 running a   spawn 1 for p
        up w1               run a#2 on w1, run b#2 on w1
        down w1 running a   reject a (WorkerDied), spawn 1 for p
        up w2               run b#3 on w2, run c#1 on w2
        finish b            resolve b
        finish c            resolve c
    ",
    );
}
