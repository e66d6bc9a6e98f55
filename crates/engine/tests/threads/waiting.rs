//! Threads that wait: for a task, for a time, for all; and callbacks, which wait for nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lineshaft_engine::{Policy, Waited};

use crate::common::{PATIENCE, Seeded, Threads, eventually};

#[test]
fn a_wait_may_run_out_of_time() {
    let threads = Threads::new(1);
    let held = threads.hold(Ok(1));
    let wait = |millis| {
        let timeout = Some(Duration::from_millis(millis));
        threads.engine.wait(&held.task, timeout, None)
    };
    assert_eq!(wait(0), Waited::TimedOut);
    let began = Instant::now();
    assert_eq!(wait(30), Waited::TimedOut);
    assert!(began.elapsed() >= Duration::from_millis(30));
    let idle = threads
        .engine
        .wait_idle(None, Some(Duration::from_millis(10)), None);
    assert_eq!(idle, Waited::TimedOut);
    held.release();
    assert_eq!(threads.result(&held.task), 1);
    assert_eq!(wait(0), Waited::Done);
}

#[test]
fn the_end_of_a_program_does_not_wait_for_daemons() {
    let threads = Threads::new(2);
    let policy = Policy {
        daemon: true,
        ..Policy::default()
    };
    let daemon = threads.hold_with(policy, Ok(1));
    let (other_pool, engine) = (threads.open_pool(1), &threads.engine);
    let ordinary = other_pool.hold(Ok(2));
    let wait = |pool, timeout| engine.wait_for_exit(pool, Some(timeout), None);
    assert_eq!(wait(None, Duration::ZERO), Waited::TimedOut);
    assert_eq!(
        wait(Some(other_pool.pool), Duration::ZERO),
        Waited::TimedOut
    );
    assert_eq!(wait(Some(threads.pool), PATIENCE), Waited::Done);
    ordinary.release();
    assert_eq!(wait(None, PATIENCE), Waited::Done);
    assert_eq!(
        engine.wait_idle(None, Some(Duration::ZERO), None),
        Waited::TimedOut
    );
    daemon.release();
    assert_eq!(threads.result(&daemon.task), 1);
    assert_eq!(engine.wait_idle(None, Some(PATIENCE), None), Waited::Done);
}

/// Leader and followers: each thread waits for its own promises, which finish in random order, so
/// that the leader changes all the time.
#[test]
fn many_threads_wait_at_once() {
    const WAITERS: u64 = 16;
    const ROUNDS: u64 = 150;
    let threads = Threads::new(2);
    let waiters: Vec<_> = (0..WAITERS)
        .map(|waiter| {
            let threads = threads.share();
            thread::spawn(move || {
                let mut random = Seeded(waiter);
                for round in 0..ROUNDS {
                    let tasks: Vec<_> = (0..=random.below(4))
                        .map(|_| {
                            let micros = random.below(80);
                            threads.submit(move |_| {
                                let until = Instant::now() + Duration::from_micros(micros);
                                while Instant::now() < until {
                                    std::hint::spin_loop();
                                }
                                Ok(round)
                            })
                        })
                        .collect();
                    for task in &tasks {
                        if random.below(8) == 0 {
                            // Somebody who gives up early must not take the others' wake-up along.
                            let soon = Some(Duration::from_micros(random.below(60)));
                            threads.engine.wait(task, soon, None);
                        }
                        assert_eq!(threads.result(task), round);
                    }
                }
            })
        })
        .collect();
    for waiter in waiters {
        waiter.join().expect("no panic");
    }
}

#[test]
fn all_wait_for_one() {
    let threads = Threads::new(1);
    for _ in 0..100 {
        let held = threads.hold(Ok(1));
        let waiters: Vec<_> = (0..8)
            .map(|_| {
                let (threads, task) = (threads.share(), Arc::clone(&held.task));
                thread::spawn(move || threads.result(&task))
            })
            .collect();
        held.release();
        for waiter in waiters {
            assert_eq!(waiter.join().expect("no panic"), 1);
        }
    }
}

/// Idle waiters and task waiters change places as leader while tasks end.
#[test]
fn waiting_for_idleness_beside_waiting_for_tasks() {
    let threads = Threads::new(2);
    for round in 0..300 {
        let tasks: Vec<_> = (0..4).map(|i| threads.submit(move |_| Ok(i))).collect();
        // At most one of them polls; the others have to be told.
        let idle = [(); 3].map(|()| {
            let threads = threads.share();
            thread::spawn(move || threads.engine.wait_idle(None, Some(PATIENCE), None))
        });
        for task in &tasks {
            threads.wait(task);
        }
        for idle in idle {
            let waited = idle.join().expect("no panic");
            assert_eq!(waited, Waited::Done, "round {round}");
        }
    }
}

#[test]
fn a_callback_comes_once_whenever_it_is_added() {
    let threads = Threads::new(2);
    let called = Arc::new(AtomicUsize::new(0));
    for _ in 0..500 {
        let task = threads.submit(|_| Ok(1));
        for _ in 0..3 {
            let called = Arc::clone(&called);
            task.on_done(move || {
                called.fetch_add(1, Ordering::Relaxed);
            });
        }
        threads.wait(&task);
    }
    eventually("all callbacks", || called.load(Ordering::Relaxed) == 1_500);
}
