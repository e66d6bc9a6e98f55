//! Defects of runners, callbacks and checks, and of the engine itself, harm nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use lineshaft_engine::{EngineError, Promise, TaskError, TaskRequest, Waited};

use crate::common;
use crate::common::{Gate, PATIENCE, Seeded, Threads, error, eventually, timeout};
use crate::moments::{Check, Moment, Waiting};
use crate::nesting::nest;

#[test]
fn a_panic_of_the_runner_costs_its_call_only() {
    let threads = Threads::new(1);
    for _ in 0..3 {
        let lost = threads.submit(|_| panic!("in a test, on purpose"));
        let next = threads.submit(|_| Ok(1));
        assert!(matches!(threads.error(&lost), TaskError::Transfer(_)));
        assert_eq!(threads.result(&next), 1);
    }
    // What the panicking call was is forgotten: this one is not taken for nested in it.
    assert_eq!(threads.result(&nest(&threads, 3)), 3);
}

#[test]
fn a_panic_of_a_callback_harms_nobody() {
    let threads = Threads::new(1);
    let held = threads.hold(Ok(1));
    let called = Arc::new(AtomicUsize::new(0));
    for index in 0..3 {
        let called = Arc::clone(&called);
        held.task.on_done(move || {
            called.fetch_add(1, Ordering::Relaxed);
            assert!(index == 2, "in a test, on purpose");
        });
    }
    held.release();
    assert_eq!(threads.result(&held.task), 1);
    eventually("all callbacks", || called.load(Ordering::Relaxed) == 3);
    let next = threads.submit(|_| Ok(2));
    assert_eq!(threads.result(&next), 2);
}

#[test]
fn a_panic_of_a_check_leaves_the_others_a_leader() {
    let threads = Threads::new(2);
    let held = threads.hold(Ok(1));
    let waits = || {
        let (threads, task) = (threads.share(), Arc::clone(&held.task));
        move |check: &mut Check| threads.engine.wait(&task, Some(PATIENCE), Some(check))
    };
    let leader = Waiting::spawn(waits());
    let wait = waits();
    let follower = thread::spawn(move || wait(&mut || panic!("in a test, on purpose")));
    assert!(follower.join().is_err());
    leader.goes_on();
    held.release();
    assert_eq!(leader.join(), Waited::Done);
}

/// What a caller gave may call the engine when it is dropped.
#[test]
fn bodies_and_results_are_dropped_without_the_lock() {
    struct Nosy(Threads);
    impl Drop for Nosy {
        fn drop(&mut self) {
            self.0.engine.stats();
            // At last its pool is closed.
            if let Ok(task) = self.0.engine.submit(self.0.request(|_| Ok(0))) {
                self.0.engine.cancel(&task, false);
            }
        }
    }
    let threads = Threads::new(1);
    let gate = Gate::new();
    let mut tasks = Vec::new();
    let nosy = || Nosy(threads.share());
    let held = Arc::clone(&gate);
    tasks.push(threads.submit(move |_| {
        held.pass();
        Ok(0)
    }));
    for index in 0..10 {
        let (body, held) = (nosy(), Arc::clone(&gate));
        tasks.push(threads.submit_with(timeout(PATIENCE), move |_| {
            let _body = &body;
            held.pass();
            if index % 2 == 0 {
                Ok(1)
            } else {
                Err("odd".into())
            }
        }));
    }
    threads.engine.cancel(&tasks[9], false);
    gate.open();
    for task in &tasks {
        threads.wait(task);
    }
    let pool = threads.pool;
    let late = nosy();
    threads.engine.close_pool(pool);
    let refused = threads.engine.submit(threads.request(move |_| {
        let _body = &late;
        Ok(0)
    }));
    assert!(matches!(refused, Err(EngineError::PoolClosed)));
}

#[test]
fn a_panic_inside_ends_every_promise() {
    let threads = Threads::new(2);
    let held = threads.hold(Ok(0));
    let queued: Vec<_> = (0..100).map(|_| threads.submit(|_| Ok(0))).collect();
    let waiting = threads.submit_after(&[&held.task], |_| Ok(0));
    let waiter = {
        let (threads, task) = (threads.share(), Arc::clone(&held.task));
        Waiting::spawn(move |check| threads.engine.wait(&task, Some(PATIENCE), Some(check)))
    };
    let idle_waiter = {
        let threads = threads.share();
        Waiting::spawn(move |check| threads.engine.wait_idle(None, Some(PATIENCE), Some(check)))
    };
    threads.engine.panic_inside("in a test, on purpose");
    assert_eq!(waiter.join(), Waited::Done);
    assert_eq!(idle_waiter.join(), Waited::Done);
    for task in [&held.task, &waiting] {
        match error(task) {
            TaskError::Poisoned(message) => assert_eq!(message, "in a test, on purpose"),
            other => panic!("{other:?}"),
        }
    }
    for task in &queued {
        threads.wait(task); // some had run before
    }
    let request = threads.request(|_| Ok(0));
    match threads.engine.submit(request) {
        Err(EngineError::Poisoned(message)) => assert_eq!(message, "in a test, on purpose"),
        other => panic!("{other:?}"),
    }
    assert!(threads.engine.open_pool(common::thread_pool(1)).is_err());
    assert!(!threads.engine.cancel(&held.task, true));
    assert_eq!(threads.engine.stats().unfinished, 0);
    held.release();
    threads.engine.shut_down();
}

/// Panics at a random moment, while several threads submit, wait and cancel.
#[test]
fn nobody_hangs_on_an_engine_that_breaks() {
    for seed in 0..60 {
        let threads = Threads::new(2);
        let moment = Moment::after(20 * seed);
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let (threads, moment) = (threads.share(), Arc::clone(&moment));
                thread::spawn(move || {
                    let mut random = Seeded(seed * 4 + caller);
                    let mut last: Option<Arc<Promise>> = None;
                    loop {
                        moment.step();
                        let request = TaskRequest {
                            inputs: last.iter().cloned().collect(),
                            ..threads.request(|_| Ok(0))
                        };
                        let Ok(task) = threads.engine.submit(request) else {
                            return;
                        };
                        if random.below(3) == 0 {
                            threads.wait(&task);
                        } else if random.below(5) == 0 {
                            threads.engine.cancel(&task, false);
                        }
                        last = (random.below(2) == 0).then_some(task);
                    }
                })
            })
            .collect();
        moment.pass();
        threads.engine.panic_inside("in a test, on purpose");
        for caller in callers {
            caller.join().expect("no panic");
        }
    }
}
