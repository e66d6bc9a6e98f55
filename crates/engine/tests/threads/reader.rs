//! Looking at an engine without touching it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lineshaft_engine::{Since, WorkerKind};

use crate::common::{Threads, wait};

#[test]
fn who_waits_for_events_is_woken_by_the_one_wanted() {
    let threads = Threads::new(1);
    let reader = threads.engine.reader();
    let next = reader.totals().expect("a sound engine").next_event;
    thread::scope(|scope| {
        // Submitted, ready, handed over, finished.
        let waiter = scope.spawn(|| reader.wait_for_events(next + 4, None));
        wait(&threads.engine, &threads.submit(|_| Ok(1)));
        waiter.join().expect("it returns");
    });
    assert!(reader.totals().expect("a sound engine").next_event >= next + 4);
}

#[test]
fn what_is_there_already_is_not_waited_for() {
    let threads = Threads::new(1);
    wait(&threads.engine, &threads.submit(|_| Ok(1)));
    let reader = threads.engine.reader();
    let next = reader.totals().expect("a sound engine").next_event;
    reader.wait_for_events(next, None);
}

#[test]
fn a_waiter_is_woken_also_if_it_has_not_begun_to_wait() {
    let threads = Threads::new(1);
    let reader = threads.engine.reader();
    reader.wake();
    reader.wait_for_events(u64::MAX - 1, None);
    // One call, one waking.
    reader.wait_for_events(u64::MAX - 1, Some(Duration::from_millis(1)));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| reader.wait_for_events(u64::MAX - 1, None));
        reader.wake();
        waiter.join().expect("it returns");
    });
}

#[test]
fn what_an_engine_did_can_be_read_after_its_end() {
    let threads = Threads::new(1);
    let reader = threads.engine.reader();
    wait(&threads.engine, &threads.submit(|_| Ok(1)));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| reader.wait_for_events(u64::MAX - 1, None));
        threads.engine.shut_down();
        waiter.join().expect("the end of the engine ends the wait");
    });
    assert!(reader.has_ended());
    let totals = reader.totals().expect("a sound engine");
    let [(group, summary)] = totals.groups[..] else {
        panic!("one function ran: {totals:?}");
    };
    assert_eq!(reader.group_name(group).shown, "test");
    assert_eq!((summary.submitted, summary.finished), (1, 1));
    let Some(Since::Batch { next, .. }) = reader.events(0, usize::MAX) else {
        panic!("a few events fit the log");
    };
    assert_eq!(next, totals.next_event);
}

#[test]
fn totals_tell_tasks_and_workers_by_state() {
    let threads = Threads::new(2);
    let reader = threads.engine.reader();
    let held = threads.hold(Ok(1));
    held.began();
    let waiting = threads.submit_after(&[&held.task], |_| Ok(2));
    let totals = reader.totals().expect("a sound engine");
    assert_eq!(totals.counts.total.waiting, 1);
    assert_eq!(totals.counts.total.in_flight(), 1);
    let [worker] = totals.workers[..] else {
        panic!("the threads of a pool are one worker: {totals:?}");
    };
    assert_eq!(
        (worker.slots, worker.kind, worker.pid),
        (2, WorkerKind::Threads, None)
    );
    let unfinished = || reader.are_unfinished(&[held.task.task(), waiting.task()]);
    assert_eq!(unfinished(), [true, true]);
    held.release();
    wait(&threads.engine, &waiting);
    assert_eq!(unfinished(), [false, false]);
    assert_eq!(reader.explain(waiting.task()), "it has ended");
}

#[test]
fn who_looks_is_answered_while_others_submit_without_a_pause() {
    // Whoever submits so much at once would fill the memory.
    const SUBMITTED_MAX: usize = 1_000_000;
    let threads = Threads::new(1);
    let reader = threads.engine.reader();
    let looked = AtomicBool::new(false);
    let submitted = thread::scope(|scope| {
        let submitting = scope.spawn(|| {
            let mut submitted = 0;
            while submitted < SUBMITTED_MAX && !looked.load(Ordering::Relaxed) {
                threads.submit(|_| Ok(1));
                submitted += 1;
            }
            submitted
        });
        for _ in 0..100 {
            assert!(reader.totals().is_some());
        }
        looked.store(true, Ordering::Relaxed);
        submitting.join().expect("it submits")
    });
    // A look that waited for others to stop would have waited for the last one.
    assert!(submitted < SUBMITTED_MAX);
}
