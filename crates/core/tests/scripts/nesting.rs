//! Tasks that were asked for by others: which come first, and whose place they need.

use crate::language::check;

#[test]
fn nested_tasks_take_their_turn_while_workers_are_left() {
    check(
        "
        pool p max=2 prefetch=off
        submit a        spawn 1 for p
        submit b        spawn 1 for p
        submit c
        up w0           run a#1 on w0
        up w1           run b#1 on w1
        submit x in=a
        finish b        resolve b, run c#1 on w1
        finish c        resolve c, run x#1 on w1
    ",
    );
}

#[test]
fn once_all_workers_wait_the_deepest_come_first() {
    check(
        "
        pool p max=1 prefetch=off
        submit a        spawn 1 for p
        submit b
        up w0           run a#1 on w0
        submit x in=a
        submit y in=a
        explain x       queued behind 1: WorkersBusy
        block a         spawn 1 for p
        explain x       queued behind 0: WorkerStarting
        up w1           run x#1 on w1
        submit x1 in=x
        block x         spawn 1 for p
        up w2           run x1#1 on w2
        finish x1       resolve x1, run y#1 on w2
        unblock x
        finish x        resolve x
        finish y        resolve y, run b#1 on w1
    ",
    );
}

#[test]
fn priority_counts_for_more_than_depth() {
    check(
        "
        pool p max=1 prefetch=off
        submit a        spawn 1 for p
        submit b prio=1
        up w0           run b#1 on w0
        submit x in=b
        submit y in=b prio=1
        block b         spawn 1 for p
        up w1           run y#1 on w1
        finish y        resolve y, run x#1 on w1
    ",
    );
}

#[test]
fn roots_of_nested_graphs_are_held_back_like_others() {
    check(
        "
        pool p max=1 prefetch=off
        submit a             spawn 1 for p
        up w0                run a#1 on w0
        memory short
        graph r s(r) t / in=a
        block a              spawn 1 for p
        up w1                run t#1 on w1
        finish t             resolve t, run r#1 on w1
    ",
    );
}

#[test]
fn a_task_that_keeps_its_place_lends_its_core_and_no_more() {
    check("
        cores 1
        pool p max=1
        pool q max=1
        submit a             spawn 1 for p
        up w0                run a#1 on w0
        submit b             run b#1 on w0
        lend a
        counts               waiting 0 ready 0 backoff 0 handed 1 running 0 blocked 1 | up 1 idle 0 blocked 0 starting 0 | cores 0
        submit x pool=q in=a  spawn 1 for q
        up w1 pool=q         run x#1 on w1
        finish x             resolve x
        unblock a
        finish a             resolve a
        finish b             resolve b
    ");
}

#[test]
fn a_task_may_need_its_place_later_and_no_more_after_that() {
    check(
        "
        cores 1
        pool p max=1
        submit a        spawn 1 for p
        up w0           run a#1 on w0
        submit b        run b#1 on w0
        lend a
        block a         retract w0
        retracted w0 b  spawn 1 for p
        up w1           run b#2 on w1
        finish b        resolve b
        lend a
        unblock a
        finish a        resolve a
        tick 2s         retire w1
    ",
    );
}

#[test]
fn nested_tasks_that_never_end_keep_nobody_waiting_for_ever() {
    check(
        "
        pool p max=1 prefetch=off
        submit a        spawn 1 for p
        submit b
        up w0           run a#1 on w0
        submit x in=a
        block a         spawn 1 for p
        up w1           run x#1 on w1
        submit y in=a
        submit x1 in=x
        tick 999ms
        finish x        resolve x, run x1#1 on w1
        submit x2 in=x1
        submit x3 in=x1
        tick 1ms
        finish x1       resolve x1, run b#1 on w1
        finish b        resolve b, run x2#1 on w1
        tick 1s
        finish x2       resolve x2, run y#1 on w1
        finish y        resolve y, run x3#1 on w1
    ",
    );
}

#[test]
fn a_call_on_threads_that_needs_a_place_has_one_even_if_another_keeps_its_own() {
    check(
        "
        cores 2
        pool p prefetch=off
        submit a        spawn 1 for p
        up w0 slots=2   run a#1 on w0
        submit b        run b#1 on w0
        submit x in=b
        lend a
        block b         spawn 1 for p
        up w1 slots=2   run x#1 on w1
        finish x        resolve x
    ",
    );
}

#[test]
fn an_offer_is_not_worth_a_worker_that_stands_in_for_one_that_waits_a_moment() {
    check(
        "
        pool p max=2
        up w0
        up w1
        graph a b            run a#1 on w0, run b#1 on w1
        submit x in=a prio=offer
        block a
        deadline             in 50ms
        tick 49ms
        finish b             resolve b, run x#1 on w1
        deadline             none
    ",
    );
}

#[test]
fn it_is_if_that_waits_for_long() {
    check(
        "
        pool p max=2
        up w0
        up w1
        graph a b            run a#1 on w0, run b#1 on w1
        start b
        submit x in=a prio=offer
        block a
        tick 50ms            spawn 1 for p
        up w2                run x#1 on w2
        finish x             resolve x
    ",
    );
}

#[test]
fn a_call_is_worth_one_at_once() {
    check(
        "
        pool p max=2 prefetch=off
        up w0
        up w1
        graph a b            run a#1 on w0, run b#1 on w1
        submit x in=a prio=offer
        submit y in=a
        block a              spawn 1 for p
        up w2                run y#1 on w2
    ",
    );
}

#[test]
fn an_offer_is_worth_a_worker_that_the_pool_has_room_for() {
    check(
        "
        pool p max=2
        up w0
        submit a             run a#1 on w0
        block a
        submit x in=a prio=offer  spawn 1 for p
        up w1                run x#1 on w1
    ",
    );
}

#[test]
fn an_offer_is_not_handed_to_a_busy_worker() {
    check(
        "
        pool p max=1
        up w0
        submit a             run a#1 on w0
        submit x prio=offer
        submit b             run b#1 on w0
        finish a             resolve a
        finish b             resolve b, run x#1 on w0
    ",
    );
}
