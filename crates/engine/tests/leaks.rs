//! What an engine opens, it closes. One test in a process of its own, because it counts the threads
//! and descriptors of the whole process.

mod common;

use std::time::Duration;

use common::{Threads, descriptors, eventually, threads, timeout};

/// One engine's life: every kind of thread that it may start.
fn live() {
    let engine = Threads::new(3);
    let inside = engine.share();
    let nested = engine.submit(move |_| {
        let inner = inside.submit(|_| Ok(1));
        Ok(inside.result(&inner))
    });
    let endless = engine.hold_with(timeout(Duration::from_millis(5)), Ok(0));
    let lost = engine.submit(|_| panic!("in a test, on purpose"));
    engine.result(&nested);
    engine.error(&endless.task);
    engine.error(&lost);
    let other = engine.open_pool(2);
    other.result(&other.submit(|_| Ok(1)));
    engine.engine.close_pool(other.pool);
    for _ in 0..10 {
        engine.submit(|_| Ok(1)); // left behind
    }
}

#[test]
fn no_thread_and_no_descriptor_outlives_its_engine() {
    live(); // what the first use of the standard library opens stays
    eventually("the first engine's threads end", || threads() <= 2);
    let (threads_before, descriptors_before) = (threads(), descriptors());
    for _ in 0..20 {
        live();
    }
    eventually("all threads end", || threads() <= threads_before);
    assert_eq!(descriptors(), descriptors_before);

    // A defect does not make it leak either.
    for _ in 0..10 {
        let engine = Threads::new(2);
        engine.result(&engine.submit(|_| Ok(1)));
        engine.engine.panic_inside("in a test, on purpose");
    }
    eventually("all threads end", || threads() <= threads_before);
    assert_eq!(descriptors(), descriptors_before);
}
