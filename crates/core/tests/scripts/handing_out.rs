//! Tasks are handed to workers ahead of time, and moved from busy ones to idle ones.

use crate::language::check;

#[test]
fn a_slow_function_is_handed_ahead_one_task_a_fast_one_many() {
    check("
        pool p
        up w0
        submit a group=fast               run a#1 on w0
        finish a 500us                    resolve a
        graph b c d e f g h i j k l m / group=fast   run b#1 on w0, run c#1 on w0, run d#1 on w0, run e#1 on w0, run f#1 on w0
        pool q
        up w1 pool=q
        graph r s t / pool=q group=slow   run r#1 on w1, run s#1 on w1
        finish r 1s                       resolve r, run t#1 on w1
    ");
}

#[test]
fn over_a_short_way_only_short_tasks_are_handed_ahead() {
    check(
        "
        pool p prefetch=short
        up w0
        graph a b / group=fast            run a#1 on w0
        finish a 100us                    resolve a, run b#1 on w0
        graph c d e / group=fast          run c#1 on w0, run d#1 on w0
        finish b 100us                    resolve b, run e#1 on w0
        pool q prefetch=short
        up w1 pool=q
        graph r s t / pool=q group=slow   run r#1 on w1
        finish r 1s                       resolve r, run s#1 on w1
    ",
    );
}

#[test]
fn few_roots_are_handed_ahead_before_what_could_run_right_after_them() {
    check(
        "
        pool p prefetch=short
        up w0
        submit a group=fast                                run a#1 on w0
        finish a 1us                                       resolve a
        graph b c(b) d e(d) f g(f) h i(h) j k(j) l m(l) / group=fast   run b#1 on w0, run d#1 on w0, run f#1 on w0, run h#1 on w0, run j#1 on w0
        finish b 1us                                       resolve b, run c#1 on w0
    ",
    );
    check(
        "
        pool p prefetch=short
        up w0
        submit a group=fast                                run a#1 on w0
        finish a 1us                                       resolve a
        graph b c d e f g h(b,c,d,e,f,g) / group=fast      run b#1 on w0, run c#1 on w0, run d#1 on w0, run e#1 on w0, run f#1 on w0, run g#1 on w0
    ",
    );
}

#[test]
fn free_workers_are_served_before_busy_ones_are_fed() {
    check("
        pool p max=3
        up w0
        up w1
        up w2
        graph a b c d e f g   run a#1 on w0, run b#1 on w1, run c#1 on w2, run d#1 on w0, run e#1 on w1, run f#1 on w2
    ");
}

#[test]
fn what_waits_behind_a_long_task_moves_to_an_idle_worker() {
    check(
        "
        pool p max=2
        up w0
        up w1
        graph a b c d    run a#1 on w0, run b#1 on w1, run c#1 on w0, run d#1 on w1
        finish b 10ms    resolve b
        finish d 10ms    resolve d, retract w0
        retracted w0 c   run c#2 on w1
        finish c 10ms    resolve c
        deadline         none
        tick 1s
    ",
    );
}

#[test]
fn a_quiet_worker_loses_what_waits_there_after_two_milliseconds() {
    check(
        "
        pool p max=2
        up w0
        up w1
        graph a b c d   run a#1 on w0, run b#1 on w1, run c#1 on w0, run d#1 on w1
        finish b 1us    resolve b
        finish d 1us    resolve d
        deadline        in 2ms
        tick 1ms
        tick 1ms        retract w0
        tick 1s
        retracted w0
        tick 1s
        deadline        none
    ",
    );
}

#[test]
fn what_a_worker_has_that_is_late_moves_to_an_idle_one() {
    check(
        "
        pool p max=2
        up w0
        submit a        run a#1 on w0
        submit b        spawn 1 for p
        up w1           run b#1 on w1
        tick 5ms
        finish a        resolve a, retract w1
        retracted w1 b  run b#2 on w0
        finish b        resolve b
        deadline        none
    ",
    );
}

#[test]
fn what_has_just_been_handed_to_it_has_two_milliseconds() {
    check(
        "
        pool p max=2
        up w0
        graph a b   run a#1 on w0, spawn 1 for p
        up w1       run b#1 on w1
        finish a    resolve a
        deadline    in 2ms
        tick 1ms
        tick 1ms    retract w1
        retracted w1
        deadline    none
        finish b    resolve b
    ",
    );
}

#[test]
fn what_is_known_to_have_begun_stays() {
    check(
        "
        pool p max=2
        up w0
        graph a b   run a#1 on w0, spawn 1 for p
        up w1       run b#1 on w1
        start b
        tick 5ms
        finish a    resolve a
        deadline    none
    ",
    );
}

#[test]
fn nothing_moves_between_workers_of_which_none_is_there() {
    check(
        "
        pool p max=3
        up w0
        up w1
        up w2
        graph a b   run a#1 on w0, run b#1 on w1
        tick 1s
        deadline    none
    ",
    );
}

#[test]
fn an_answer_that_was_not_asked_for_is_dropped() {
    check(
        "
        pool p
        up w0
        submit a   run a#1 on w0
        retracted w0 a
        finish a   resolve a
    ",
    );
}

#[test]
fn what_waits_behind_a_long_task_moves_to_a_worker_that_is_started_for_it() {
    check(
        "
        pool p max=2
        up w0
        up w1
        graph a b          run a#1 on w0, run b#1 on w1
        start a
        start b
        cancel b kill      kill w1 for b
        submit c           run c#1 on w0
        down w1 running b  reject b (Cancelled)
        tick 2ms           retract w0
        retracted w0 c     spawn 1 for p
        up w2              run c#2 on w2
    ",
    );
}

#[test]
fn it_moves_when_a_worker_may_be_started_again() {
    check(
        "
        pool p max=2
        up w0
        submit a        run a#1 on w0
        start a
        submit b        spawn 1 for p
        spawn-failed p  run b#1 on w0
        deadline        in 50ms
        tick 50ms       retract w0
        retracted w0 b  spawn 1 for p
        up w1           run b#2 on w1
    ",
    );
}

#[test]
fn it_moves_to_an_idle_worker_though_a_root_is_withheld() {
    check(
        "
        pool p max=2
        up w0
        up w1
        submit a        run a#1 on w0
        submit b        run b#1 on w1
        start a
        start b
        submit c        run c#1 on w0
        memory short
        graph x y(x)
        finish b        resolve b, retract w0
        retracted w0 c  run c#2 on w1
    ",
    );
}
