//! Tasks that wait for others give their core away.

use crate::language::check;

#[test]
fn a_blocked_task_makes_room_for_another_worker() {
    check("
        cores 1
        pool p
        up w0
        submit a         run a#1 on w0
        submit b         run b#1 on w0
        block a          retract w0
        retracted w0 b   spawn 1 for p
        up w1            run b#2 on w1
        counts           waiting 0 ready 0 backoff 0 handed 1 running 0 blocked 1 | up 2 idle 0 blocked 1 starting 0 | cores 1
        unblock a
        counts           waiting 0 ready 0 backoff 0 handed 1 running 1 blocked 0 | up 2 idle 0 blocked 0 starting 0 | cores 2
        finish b         resolve b
        tick 1999ms
        tick 1ms         retire w1
        down w1
        finish a         resolve a
    ");
}

#[test]
fn a_worker_that_was_started_meanwhile_is_there_for_the_next_that_waits() {
    check(
        "
        cores 1
        pool p
        up w0
        submit a         run a#1 on w0
        submit b         run b#1 on w0
        block a          retract w0
        retracted w0 b   spawn 1 for p
        up w1            run b#2 on w1
        finish b         resolve b
        unblock a
        tick 1500ms
        submit c         run c#1 on w0
        block a          retract w0
        retracted w0 c   run c#2 on w1
        finish c         resolve c
        unblock a
        tick 600ms
        tick 1399ms
        tick 1ms         retire w1
        finish a         resolve a
    ",
    );
}

#[test]
fn the_worker_that_was_started_meanwhile_is_let_go_and_not_an_older_one() {
    check("
        cores 2
        pool p
        up w0
        submit a         run a#1 on w0
        submit b         run b#1 on w0
        block a          retract w0
        retracted w0 b   spawn 1 for p
        up w1            run b#2 on w1
        start b
        unblock a
        finish a         resolve a
        counts           waiting 0 ready 0 backoff 0 handed 0 running 1 blocked 0 | up 2 idle 1 blocked 0 starting 0 | cores 1
        finish b         resolve b
        tick 2s          retire w1
    ");
}

#[test]
fn nested_calls_deeper_than_the_limit_of_workers_make_progress() {
    check(
        "
        cores 1
        pool p
        submit a         spawn 1 for p
        up w0            run a#1 on w0
        submit b         run b#1 on w0
        block a          retract w0
        retracted w0 b   spawn 1 for p
        up w1            run b#2 on w1
        submit c         run c#1 on w1
        block b          retract w1
        retracted w1 c   spawn 1 for p
        up w2            run c#2 on w2
        finish c         resolve c
        unblock b
        finish b         resolve b
        unblock a
        tick 2s          retire w2, retire w1
        finish a         resolve a
    ",
    );
}

#[test]
fn a_thread_pool_blocks_slot_by_slot() {
    check("
        cores 2
        pool p prefetch=off
        submit x        spawn 1 for p
        up w0 slots=2   run x#1 on w0
        submit a        run a#1 on w0
        submit b
        submit c
        counts          waiting 0 ready 2 backoff 0 handed 2 running 0 blocked 0 | up 1 idle 0 blocked 0 starting 0 | cores 2
        block x
        counts          waiting 0 ready 2 backoff 0 handed 1 running 0 blocked 1 | up 1 idle 0 blocked 0 starting 0 | cores 1
        block a         spawn 1 for p
        up w1 slots=2   run b#1 on w1, run c#1 on w1
        counts          waiting 0 ready 0 backoff 0 handed 2 running 0 blocked 2 | up 2 idle 0 blocked 1 starting 0 | cores 2
        unblock x
        finish x        resolve x
    ");
}
