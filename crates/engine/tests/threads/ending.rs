//! Engines are shut down, dropped, and closed by what they run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lineshaft_engine::{EngineError, TaskError, TaskRequest};

use crate::common;
use crate::common::{Gate, PATIENCE, Seeded, Threads, error, eventually};
use crate::moments::Moment;

#[test]
fn shutting_down_cancels_what_is_left() {
    let threads = Threads::new(1);
    let held = threads.hold(Ok(1));
    let ran = Arc::new(AtomicBool::new(false));
    let queued: Vec<_> = (0..50)
        .map(|_| {
            let ran = Arc::clone(&ran);
            threads.submit(move |_| {
                ran.store(true, Ordering::Relaxed);
                Ok(0)
            })
        })
        .collect();
    held.began();
    threads.engine.shut_down();
    threads.engine.shut_down();
    for task in queued.iter().chain([&held.task]) {
        assert!(matches!(error(task), TaskError::Cancelled));
    }
    assert!(threads.engine.is_closed());
    let request = threads.request(|_| Ok(0));
    assert!(matches!(
        threads.engine.submit(request),
        Err(EngineError::Closed)
    ));
    held.release();
    eventually("the calls are dropped", || Arc::strong_count(&ran) == 1);
    assert!(!ran.load(Ordering::Relaxed), "cancelled tasks never run");
}

#[test]
fn nobody_hangs_when_an_engine_shuts_down_under_them() {
    for seed in 0..100 {
        let threads = Threads::new(2);
        let moment = Moment::after(4 * seed);
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let (threads, moment) = (threads.share(), Arc::clone(&moment));
                thread::spawn(move || {
                    let mut random = Seeded(seed * 4 + caller);
                    loop {
                        moment.step();
                        let Ok(task) = threads.engine.submit(threads.request(|_| Ok(0))) else {
                            return;
                        };
                        match random.below(4) {
                            0 => threads.wait(&task),
                            1 => {
                                let dependent = threads.request(|_| Ok(0));
                                let dependent = TaskRequest {
                                    inputs: vec![Arc::clone(&task)],
                                    ..dependent
                                };
                                if let Ok(dependent) = threads.engine.submit(dependent) {
                                    threads.wait(&dependent);
                                }
                            }
                            2 => {
                                threads.engine.wait_idle(None, Some(PATIENCE), None);
                            }
                            _ => {
                                if let Ok(pool) = threads.engine.open_pool(common::thread_pool(1)) {
                                    let other = Threads {
                                        pool,
                                        ..threads.share()
                                    };
                                    if let Ok(task) = other.engine.submit(other.request(|_| Ok(0)))
                                    {
                                        other.wait(&task);
                                    }
                                    threads.engine.close_pool(pool);
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        moment.pass();
        threads.engine.shut_down();
        for caller in callers {
            caller.join().expect("no panic");
        }
    }
}

#[test]
fn an_engine_may_be_shut_down_by_its_own_task_or_callback() {
    let threads = Threads::new(1);
    let inside = threads.share();
    let task = threads.submit(move |_| {
        inside.engine.shut_down();
        Ok(1)
    });
    threads.wait(&task);

    let threads = Threads::new(1);
    let task = threads.submit(|_| Ok(1));
    let inside = threads.share();
    let (done, seen) = (Gate::new(), Gate::new());
    let opens = Arc::clone(&done);
    task.on_done(move || {
        inside.engine.shut_down();
        opens.open();
    });
    seen.open();
    done.pass();
}

#[test]
fn dropping_the_engine_ends_its_tasks() {
    let threads = Threads::new(1);
    let held = threads.hold(Ok(1));
    let queued = threads.submit(|_| Ok(1));
    drop(threads);
    assert!(matches!(error(&held.task), TaskError::Cancelled));
    assert!(matches!(error(&queued), TaskError::Cancelled));
}
