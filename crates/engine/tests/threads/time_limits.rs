//! Calls that run out of time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lineshaft_engine::{Policy, TaskError, Waited};

use crate::common::{Gate, PATIENCE, Threads, retries, timeout};

#[test]
fn a_call_beyond_its_time_limit_fails_and_its_thread_is_replaced() {
    let threads = Threads::new(1);
    for _ in 0..3 {
        let endless = threads.hold_with(timeout(Duration::from_millis(20)), Ok(1));
        let next = threads.submit(|_| Ok(2));
        assert!(matches!(
            threads.error(&endless.task),
            TaskError::TimedOut { stack: None }
        ));
        assert_eq!(threads.result(&next), 2, "while the first still runs");
        endless.release();
    }
    let after = threads.submit(|_| Ok(3));
    assert_eq!(threads.result(&after), 3);
    assert!(matches!(
        threads.engine.wait_idle(None, Some(PATIENCE), None),
        Waited::Done
    ));
}

#[test]
fn a_time_limit_counts_from_the_start_of_the_call() {
    const LIMIT: Duration = Duration::from_millis(500);
    let threads = Threads::new(1);
    let held = threads.hold(Ok(1));
    held.began();
    let behind = threads.submit_with(timeout(LIMIT), |_| Ok(2));
    let waited = threads.engine.wait(&behind, Some(2 * LIMIT), None);
    assert_eq!(waited, Waited::TimedOut, "it has not begun");
    held.release();
    assert_eq!(threads.result(&behind), 2);
}

#[test]
fn running_out_of_time_can_be_retried() {
    let threads = Threads::new(1);
    let (runs, gate) = (AtomicU64::new(0), Gate::new());
    let held = Arc::clone(&gate);
    let policy = Policy {
        timeout: Some(Duration::from_millis(500)),
        ..retries(1, Duration::ZERO)
    };
    let second_is_fast = threads.submit_with(policy, move |_| {
        let run = runs.fetch_add(1, Ordering::Relaxed);
        if run == 0 {
            held.pass();
        }
        Ok(run)
    });
    assert_eq!(threads.result(&second_is_fast), 1);
    gate.open();
}
