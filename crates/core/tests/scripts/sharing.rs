//! What pools share: cores, and memory while it is short.

use crate::language::check;

#[test]
fn cores_are_shared_by_the_pools_in_turn() {
    check(
        "
        cores 1
        pool p prefetch=off
        pool q prefetch=off
        up w0
        up w1 pool=q
        submit a    run a#1 on w0
        submit b
        submit c pool=q
        submit d pool=q
        explain c   queued behind 0: CoresBusy
        finish a    resolve a, run c#1 on w1
        finish c    resolve c, run b#1 on w0
        finish b    resolve b, run d#1 on w1
        finish d    resolve d
    ",
    );
}

#[test]
fn a_task_that_needs_all_cores_is_not_overtaken_for_ever() {
    check(
        "
        cores 2
        pool p max=2 prefetch=off
        pool q cores=2 prefetch=off
        up w0
        up w1
        up w2 pool=q
        graph a b c d   run a#1 on w0, run b#1 on w1
        submit big pool=q
        finish a        resolve a
        finish b        resolve b, run big#1 on w2
        finish big      resolve big, run c#1 on w0
    ",
    );
}

#[test]
fn a_task_that_needs_more_cores_than_there_are_runs_alone() {
    check(
        "
        cores 2
        pool p cores=4
        submit a   spawn 1 for p
        up w0      run a#1 on w0
    ",
    );
}

/// ```text
/// a ──> x     b ──> y     c
/// ```
#[test]
fn roots_are_withheld_while_memory_is_short_but_never_for_ever() {
    check(
        "
        memory short
        pool p max=2
        up w0
        up w1
        graph a b x(a) y(b)   run a#1 on w0
        submit c              run c#1 on w1
        explain b             queued behind 0: Withheld
        finish c              resolve c
        finish a              resolve a, run x#1 on w0
        finish x              resolve x, run b#1 on w0
        memory ok
        submit d              run d#1 on w1
        submit z(d)
        memory short
        finish b              resolve b, run y#1 on w0
        finish y              resolve y
        finish d              resolve d, run z#1 on w0
    ",
    );
}

#[test]
fn a_root_is_let_through_when_everything_else_is_blocked() {
    check(
        "
        pool p max=2
        up w0
        up w1
        submit a    run a#1 on w0
        start a
        memory short
        graph b c(b)
        explain b   queued behind 0: Withheld
        block a     run b#1 on w1
    ",
    );
}
