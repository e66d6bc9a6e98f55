//! Workers: starting them, feeding them, moving tasks between them, losing them.

mod common;

use common::run;
use insta::assert_snapshot;

#[test]
fn workers_are_started_on_demand_up_to_the_limit() {
    assert_snapshot!(run("
        pool p max=2
        submit a
        submit b
        submit c
        explain c
        up w0
        up w1
        explain c
        finish a
        finish b
        finish c
        counts
        deadline
    "), @"
    pool p max=2                       -
    submit a                           spawn 1 for p
    submit b                           spawn 1 for p
    submit c                           -
    explain c                          queued behind 2: WorkerStarting
    up w0                              run a#1 on w0, run b#1 on w0
    up w1                              run c#1 on w1
    explain c                          handed to w1 as #1
    finish a                           resolve a
    finish b                           resolve b
    finish c                           resolve c
    counts                             waiting 0 ready 0 backoff 0 handed 0 running 0 blocked 0 | up 2 idle 2 blocked 0 starting 0 | cores 0
    deadline                           none
    ");
}

#[test]
fn no_more_workers_are_started_than_cores_can_use() {
    assert_snapshot!(run("
        cores 2
        pool p max=8
        graph a b c d e
        pool q max=8 cores=2
        graph f g h / pool=q
        pool io max=8 cores=0
        graph i j k / pool=io
    "), @"
    cores 2                            -
    pool p max=8                       -
    graph a b c d e                    spawn 2 for p
    pool q max=8 cores=2               -
    graph f g h / pool=q               spawn 1 for q
    pool io max=8 cores=0              -
    graph i j k / pool=io              spawn 3 for io
    ");
}

#[test]
fn cores_are_shared_by_the_pools_in_turn() {
    assert_snapshot!(run("
        cores 1
        pool p prefetch=off
        pool q prefetch=off
        up w0
        up w1 pool=q
        submit a
        submit b
        submit c pool=q
        submit d pool=q
        explain c
        finish a
        finish c
        finish b
        finish d
    "), @"
    cores 1                            -
    pool p prefetch=off                -
    pool q prefetch=off                -
    up w0                              -
    up w1 pool=q                       -
    submit a                           run a#1 on w0
    submit b                           -
    submit c pool=q                    -
    submit d pool=q                    -
    explain c                          queued behind 0: CoresBusy
    finish a                           resolve a, run c#1 on w1
    finish c                           resolve c, run b#1 on w0
    finish b                           resolve b, run d#1 on w1
    finish d                           resolve d
    ");
}

#[test]
fn a_task_that_needs_all_cores_is_not_overtaken_for_ever() {
    assert_snapshot!(run("
        cores 2
        pool p max=2 prefetch=off
        pool q cores=2 prefetch=off
        up w0
        up w1
        up w2 pool=q
        graph a b c d
        submit big pool=q
        finish a
        finish b
        finish big
    "), @"
    cores 2                            -
    pool p max=2 prefetch=off          -
    pool q cores=2 prefetch=off        -
    up w0                              -
    up w1                              -
    up w2 pool=q                       -
    graph a b c d                      run a#1 on w0, run b#1 on w1
    submit big pool=q                  -
    finish a                           resolve a
    finish b                           resolve b, run big#1 on w2
    finish big                         resolve big, run c#1 on w0
    ");
}

#[test]
fn a_task_that_needs_more_cores_than_there_are_runs_alone() {
    assert_snapshot!(run("
        cores 2
        pool p cores=4
        submit a
        up w0
    "), @"
    cores 2                            -
    pool p cores=4                     -
    submit a                           spawn 1 for p
    up w0                              run a#1 on w0
    ");
}

#[test]
fn a_worker_that_cannot_be_started_is_tried_again_later_and_later() {
    assert_snapshot!(run("
        pool p
        submit a
        spawn-failed p
        explain a
        deadline
        tick 50ms
        spawn-failed p
        deadline
        tick 100ms
        up w0
        finish a
        deadline
    "), @"
    pool p                             -
    submit a                           spawn 1 for p
    spawn-failed p                     -
    explain a                          queued behind 0: NoWorker
    deadline                           in 50ms
    tick 50ms                          spawn 1 for p
    spawn-failed p                     -
    deadline                           in 100ms
    tick 100ms                         spawn 1 for p
    up w0                              run a#1 on w0
    finish a                           resolve a
    deadline                           none
    ");
}

#[test]
fn tasks_do_not_wait_for_ever_for_a_worker_that_cannot_be_started() {
    assert_snapshot!(run("
        pool p
        submit a
        graph b c(b)
        spawn-failed p
        tick 50ms
        spawn-failed p
        tick 100ms
        spawn-failed p
        tick 200ms
        spawn-failed p
        tick 400ms
        spawn-failed p
        tick 800ms
        spawn-failed p
        submit d
        deadline
        tick 1600ms
        up w0
        finish d
    "), @"
    pool p                             -
    submit a                           spawn 1 for p
    graph b c(b)                       -
    spawn-failed p                     -
    tick 50ms                          spawn 1 for p
    spawn-failed p                     -
    tick 100ms                         spawn 1 for p
    spawn-failed p                     -
    tick 200ms                         spawn 1 for p
    spawn-failed p                     -
    tick 400ms                         spawn 1 for p
    spawn-failed p                     -
    tick 800ms                         spawn 1 for p
    spawn-failed p                     reject a (NoWorker), reject b (NoWorker), reject c (needs b)
    submit d                           -
    deadline                           in 1.6s
    tick 1600ms                        spawn 1 for p
    up w0                              run d#1 on w0
    finish d                           resolve d
    ");
}

#[test]
fn as_long_as_there_is_another_worker_tasks_wait_for_that() {
    assert_snapshot!(run("
        pool p max=2 prefetch=off
        submit a
        up w0
        submit b
        spawn-failed p
        tick 50ms
        spawn-failed p
        tick 100ms
        spawn-failed p
        tick 200ms
        spawn-failed p
        tick 400ms
        spawn-failed p
        tick 800ms
        spawn-failed p
        tick 1600ms
        block a
        spawn-failed p
    "), @"
    pool p max=2 prefetch=off          -
    submit a                           spawn 1 for p
    up w0                              run a#1 on w0
    submit b                           spawn 1 for p
    spawn-failed p                     -
    tick 50ms                          spawn 1 for p
    spawn-failed p                     -
    tick 100ms                         spawn 1 for p
    spawn-failed p                     -
    tick 200ms                         spawn 1 for p
    spawn-failed p                     -
    tick 400ms                         spawn 1 for p
    spawn-failed p                     -
    tick 800ms                         spawn 1 for p
    spawn-failed p                     -
    tick 1600ms                        spawn 1 for p
    block a                            -
    spawn-failed p                     reject b (NoWorker)
    ");
}

#[test]
fn nothing_is_retried_when_nobody_waits_any_more() {
    assert_snapshot!(run("
        pool p
        submit a
        spawn-failed p
        cancel a
        deadline
    "), @"
    pool p                             -
    submit a                           spawn 1 for p
    spawn-failed p                     -
    cancel a                           reject a (Cancelled)
    deadline                           none
    ");
}

#[test]
fn a_worker_that_dies_before_it_could_do_anything_is_replaced_slowly() {
    assert_snapshot!(run("
        pool p
        submit a
        up w0
        down w0
        deadline
        tick 50ms
        up w1
        down w1
        deadline
    "), @"
    pool p                             -
    submit a                           spawn 1 for p
    up w0                              run a#1 on w0
    down w0                            -
    deadline                           in 50ms
    tick 50ms                          spawn 1 for p
    up w1                              run a#2 on w1
    down w1                            -
    deadline                           in 100ms
    ");
}

#[test]
fn a_broken_pool_rejects_everything_now_and_later() {
    assert_snapshot!(run("
        pool p max=2
        submit a
        submit b(a)
        submit c
        up w0
        spawn-failed p broken
        submit d
        graph e f(e)
        up w1
        finish a
        down w0
        counts
    "), @"
    pool p max=2                       -
    submit a                           spawn 1 for p
    submit b(a)                        -
    submit c                           spawn 1 for p
    up w0                              run a#1 on w0
    spawn-failed p broken              reject a (PoolBroken), reject b (PoolBroken), reject c (PoolBroken), retire w0
    submit d                           reject d (PoolBroken)
    graph e f(e)                       reject e (PoolBroken), reject f (PoolBroken)
    up w1                              retire w1
    finish a                           -
    down w0                            -
    counts                             waiting 0 ready 0 backoff 0 handed 0 running 0 blocked 0 | up 0 idle 0 blocked 0 starting 0 | cores 0
    ");
}

#[test]
fn a_dead_worker_costs_its_running_task_one_death_and_the_others_nothing() {
    assert_snapshot!(run("
        pool p
        up w0
        submit z
        finish z
        submit a deaths=1
        submit b
        submit c
        down w0 running a
        up w1
        down w1 running a
        up w2
        finish b
        finish c
    "), @"
    pool p                             -
    up w0                              -
    submit z                           run z#1 on w0
    finish z                           resolve z
    submit a deaths=1                  run a#1 on w0
    submit b                           run b#1 on w0
    submit c                           -
    down w0 running a                  spawn 1 for p
    up w1                              run a#2 on w1, run b#2 on w1
    down w1 running a                  reject a (WorkerDied), spawn 1 for p
    up w2                              run b#3 on w2, run c#1 on w2
    finish b                           resolve b
    finish c                           resolve c
    ");
}

#[test]
fn a_slow_function_is_handed_ahead_one_task_a_fast_one_many() {
    assert_snapshot!(run("
        pool p
        up w0
        submit a group=fast
        finish a 500us
        graph b c d e f g h i j k l m / group=fast
        pool q
        up w1 pool=q
        graph r s t / pool=q group=slow
        finish r 1s
    "), @"
    pool p                             -
    up w0                              -
    submit a group=fast                run a#1 on w0
    finish a 500us                     resolve a
    graph b c d e f g h i j k l m / group=fast run b#1 on w0, run c#1 on w0, run d#1 on w0, run e#1 on w0, run f#1 on w0
    pool q                             -
    up w1 pool=q                       -
    graph r s t / pool=q group=slow    run r#1 on w1, run s#1 on w1
    finish r 1s                        resolve r, run t#1 on w1
    ");
}

#[test]
fn free_workers_are_served_before_busy_ones_are_fed() {
    assert_snapshot!(run("
        pool p max=3
        up w0
        up w1
        up w2
        graph a b c d e f g
    "), @"
    pool p max=3                       -
    up w0                              -
    up w1                              -
    up w2                              -
    graph a b c d e f g                run a#1 on w0, run b#1 on w1, run c#1 on w2, run d#1 on w0, run e#1 on w1, run f#1 on w2
    ");
}

#[test]
fn what_waits_behind_a_long_task_moves_to_an_idle_worker() {
    assert_snapshot!(run("
        pool p max=2
        up w0
        up w1
        graph a b c d
        finish b 10ms
        finish d 10ms
        retracted w0 c
        finish c 10ms
        deadline
        tick 1s
    "), @"
    pool p max=2                       -
    up w0                              -
    up w1                              -
    graph a b c d                      run a#1 on w0, run b#1 on w1, run c#1 on w0, run d#1 on w1
    finish b 10ms                      resolve b
    finish d 10ms                      resolve d, retract w0
    retracted w0 c                     run c#2 on w1
    finish c 10ms                      resolve c
    deadline                           none
    tick 1s                            -
    ");
}

#[test]
fn a_quiet_worker_loses_what_waits_there_after_two_milliseconds() {
    assert_snapshot!(run("
        pool p max=2
        up w0
        up w1
        graph a b c d
        finish b 1us
        finish d 1us
        deadline
        tick 1ms
        tick 1ms
        tick 1s
        retracted w0
        tick 1s
        deadline
    "), @"
    pool p max=2                       -
    up w0                              -
    up w1                              -
    graph a b c d                      run a#1 on w0, run b#1 on w1, run c#1 on w0, run d#1 on w1
    finish b 1us                       resolve b
    finish d 1us                       resolve d
    deadline                           in 2ms
    tick 1ms                           -
    tick 1ms                           retract w0
    tick 1s                            -
    retracted w0                       -
    tick 1s                            -
    deadline                           none
    ");
}

#[test]
fn an_answer_that_was_not_asked_for_is_dropped() {
    assert_snapshot!(run("
        pool p
        up w0
        submit a
        retracted w0 a
        finish a
    "), @"
    pool p                             -
    up w0                              -
    submit a                           run a#1 on w0
    retracted w0 a                     -
    finish a                           resolve a
    ");
}

#[test]
fn a_blocked_task_makes_room_for_another_worker() {
    assert_snapshot!(run("
        cores 1
        pool p
        up w0
        submit a
        submit b
        block a
        retracted w0 b
        up w1
        counts
        unblock a
        counts
        finish b
        down w1
        finish a
    "), @"
    cores 1                            -
    pool p                             -
    up w0                              -
    submit a                           run a#1 on w0
    submit b                           run b#1 on w0
    block a                            retract w0
    retracted w0 b                     spawn 1 for p
    up w1                              run b#2 on w1
    counts                             waiting 0 ready 0 backoff 0 handed 1 running 0 blocked 1 | up 2 idle 0 blocked 1 starting 0 | cores 1
    unblock a                          -
    counts                             waiting 0 ready 0 backoff 0 handed 1 running 1 blocked 0 | up 2 idle 0 blocked 0 starting 0 | cores 2
    finish b                           resolve b, retire w1
    down w1                            -
    finish a                           resolve a
    ");
}

#[test]
fn nested_calls_deeper_than_the_limit_of_workers_make_progress() {
    assert_snapshot!(run("
        cores 1
        pool p
        submit a
        up w0
        submit b
        block a
        retracted w0 b
        up w1
        submit c
        block b
        retracted w1 c
        up w2
        finish c
        unblock b
        finish b
        unblock a
        finish a
    "), @"
    cores 1                            -
    pool p                             -
    submit a                           spawn 1 for p
    up w0                              run a#1 on w0
    submit b                           run b#1 on w0
    block a                            retract w0
    retracted w0 b                     spawn 1 for p
    up w1                              run b#2 on w1
    submit c                           run c#1 on w1
    block b                            retract w1
    retracted w1 c                     spawn 1 for p
    up w2                              run c#2 on w2
    finish c                           resolve c
    unblock b                          retire w2
    finish b                           resolve b
    unblock a                          retire w1
    finish a                           resolve a
    ");
}

#[test]
fn a_thread_pool_blocks_slot_by_slot() {
    assert_snapshot!(run("
        cores 2
        pool p prefetch=off
        submit x
        up w0 slots=2
        submit a
        submit b
        submit c
        counts
        block x
        counts
        block a
        up w1 slots=2
        counts
        unblock x
        finish x
    "), @"
    cores 2                            -
    pool p prefetch=off                -
    submit x                           spawn 1 for p
    up w0 slots=2                      run x#1 on w0
    submit a                           run a#1 on w0
    submit b                           -
    submit c                           -
    counts                             waiting 0 ready 2 backoff 0 handed 2 running 0 blocked 0 | up 1 idle 0 blocked 0 starting 0 | cores 2
    block x                            -
    counts                             waiting 0 ready 2 backoff 0 handed 1 running 0 blocked 1 | up 1 idle 0 blocked 0 starting 0 | cores 1
    block a                            spawn 1 for p
    up w1 slots=2                      run b#1 on w1, run c#1 on w1
    counts                             waiting 0 ready 0 backoff 0 handed 2 running 0 blocked 2 | up 2 idle 0 blocked 1 starting 0 | cores 2
    unblock x                          -
    finish x                           resolve x
    ");
}

/// ```text
/// a ──> x     b ──> y     c
/// ```
#[test]
fn roots_are_withheld_while_memory_is_short_but_never_for_ever() {
    assert_snapshot!(run("
        memory short
        pool p max=2
        up w0
        up w1
        graph a b x(a) y(b)
        submit c
        explain b
        finish c
        finish a
        finish x
        memory ok
        submit d
        submit z(d)
        memory short
        finish b
        finish y
        finish d
    "), @"
    memory short                       -
    pool p max=2                       -
    up w0                              -
    up w1                              -
    graph a b x(a) y(b)                run a#1 on w0
    submit c                           run c#1 on w1
    explain b                          queued behind 0: Withheld
    finish c                           resolve c
    finish a                           resolve a, run x#1 on w0
    finish x                           resolve x, run b#1 on w0
    memory ok                          -
    submit d                           run d#1 on w1
    submit z(d)                        -
    memory short                       -
    finish b                           resolve b, run y#1 on w0
    finish y                           resolve y
    finish d                           resolve d, run z#1 on w0
    ");
}

#[test]
fn a_root_is_let_through_when_everything_else_is_blocked() {
    assert_snapshot!(run("
        pool p max=2
        up w0
        up w1
        submit a
        start a
        memory short
        graph b c(b)
        explain b
        block a
    "), @"
    pool p max=2                       -
    up w0                              -
    up w1                              -
    submit a                           run a#1 on w0
    start a                            -
    memory short                       -
    graph b c(b)                       -
    explain b                          queued behind 0: Withheld
    block a                            run b#1 on w1
    ");
}
