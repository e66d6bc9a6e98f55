//! What has not run can be cancelled.

use lineshaft_engine::{Promise, TaskError};

use crate::common::{Threads, error};

#[test]
fn what_has_not_run_can_be_cancelled_and_what_runs_cannot() {
    let threads = Threads::new(1);
    let held = threads.hold(Ok(7));
    let queued: Vec<_> = (0..1_000).map(|_| threads.submit(|_| Ok(0))).collect();
    let dependent = threads.submit_after(&[&queued[0]], |_| Ok(0));
    held.began();
    assert!(!threads.engine.cancel(&held.task, false));
    for task in queued.iter().rev() {
        assert!(threads.engine.cancel(task, false));
        assert!(threads.engine.cancel(task, false), "twice is once");
        assert!(matches!(error(task), TaskError::Cancelled));
    }
    assert!(matches!(error(&dependent), TaskError::Dependency(_)));
    held.release();
    assert_eq!(threads.result(&held.task), 7);
    assert!(!threads.engine.cancel(&held.task, false), "it has ended");
}

#[test]
fn cancelling_all_spares_what_runs() {
    let threads = Threads::new(1);
    let held = threads.hold(Ok(7));
    let queued: Vec<_> = (0..100).map(|_| threads.submit(|_| Ok(0))).collect();
    held.began();
    threads.engine.cancel_all(Some(threads.pool), false);
    for task in &queued {
        assert!(matches!(threads.error(task), TaskError::Cancelled));
    }
    held.release();
    assert_eq!(threads.result(&held.task), 7);
}

#[test]
fn a_call_that_is_killed_on_a_thread_is_given_up_and_its_thread_replaced() {
    let threads = Threads::new(1);
    let held = threads.hold(Ok(1));
    held.began();
    let next = threads.submit(|_| Ok(2));
    assert!(threads.engine.cancel(&held.task, true));
    assert!(matches!(error(&held.task), TaskError::Cancelled));
    assert_eq!(threads.result(&next), 2, "while the first still runs");
    held.release();
}

#[test]
fn calls_on_threads_outlive_being_killed_together_and_so_does_their_pool() {
    let threads = Threads::new(1);
    for kill in [
        (|threads, _| threads.engine.cancel_all(None, true)) as fn(&Threads, &Promise),
        |threads, running| {
            threads
                .engine
                .cancel_within(running.task()..=running.task(), true);
        },
    ] {
        let held = threads.hold(Ok(1));
        held.began();
        kill(&threads, &held.task);
        let next = threads.submit(|_| Ok(2));
        held.release();
        assert_eq!(threads.result(&held.task), 1);
        assert_eq!(threads.result(&next), 2);
    }
}
