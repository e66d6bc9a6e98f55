//! What calls give back, and how they fail and are tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::{Threads, eventually, raised, retries};

#[test]
fn a_result_arrives() {
    let threads = Threads::new(2);
    let answer = threads.submit(|_| Ok(42));
    assert_eq!(threads.result(&answer), 42);
}

#[test]
fn what_a_task_raises_arrives() {
    let threads = Threads::new(1);
    let failing = threads.submit(|_| Err("broken".into()));
    assert_eq!(raised(threads.error(&failing)), "broken");
}

#[test]
fn a_retry_runs_the_task_again() {
    let threads = Threads::new(1);
    let runs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&runs);
    let third_time_lucky = threads.submit_with(retries(2, Duration::ZERO), move |_| match counted
        .fetch_add(1, Ordering::Relaxed)
    {
        2 => Ok(3),
        run => Err(format!("run {run}")),
    });
    assert_eq!(threads.result(&third_time_lucky), 3);
    assert_eq!(runs.load(Ordering::Relaxed), 3);
}

#[test]
fn the_last_failure_counts() {
    let threads = Threads::new(1);
    let runs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&runs);
    let hopeless = threads.submit_with(retries(3, Duration::ZERO), move |_| {
        Err(format!("run {}", counted.fetch_add(1, Ordering::Relaxed)))
    });
    assert_eq!(raised(threads.error(&hopeless)), "run 3");
}

#[test]
fn a_retry_waits_for_its_backoff() {
    let threads = Threads::new(1);
    let began = Instant::now();
    let policy = retries(2, Duration::from_millis(40));
    let hopeless = threads.submit_with(policy, |_| Err("again".into()));
    threads.error(&hopeless);
    // 40 ms, then 80 ms.
    assert!(began.elapsed() >= Duration::from_millis(120));
}

/// Each round a deadline appears while some thread is falling asleep: the waiting caller, or the
/// loop thread that it has just taken the poll role from. Whoever sleeps must see it.
#[test]
fn a_backoff_ends_whoever_sleeps() {
    let threads = Threads::new(1);
    for round in 0..300 {
        let tried = AtomicBool::new(false);
        let policy = retries(1, Duration::from_micros(200 + 37 * (round % 20)));
        let second = threads.submit_with(policy, move |_| {
            if tried.swap(true, Ordering::Relaxed) {
                Ok(1)
            } else {
                Err("once".into())
            }
        });
        if round % 3 == 0 {
            // Nobody waits, so the loop thread has to be the one.
            eventually("the retry", || second.is_done());
        }
        assert_eq!(threads.result(&second), 1);
    }
}
