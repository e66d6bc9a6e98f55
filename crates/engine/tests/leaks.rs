//! What an engine opens, it closes. One test in a process of its own, because it counts the threads
//! and descriptors of the whole process.

#![expect(
    clippy::disallowed_methods,
    reason = "calls that take a while are what is tested"
)]

mod common;

use std::time::Duration;

use common::{Threads, descriptors, eventually, threads};
use lineshaft_engine::Policy;

/// One engine's life: every kind of thread that it may start.
fn live() {
    let engine = Threads::new(3);
    let inside = engine.share();
    let nested = engine.submit(move |_| {
        let inner = inside.submit(|_| Ok(1));
        Ok(inside.result(&inner))
    });
    let policy = Policy {
        timeout: Some(Duration::from_millis(5)),
        ..Policy::default()
    };
    let endless = engine.submit_with(policy, |_| {
        std::thread::sleep(Duration::from_millis(15));
        Ok(0)
    });
    let lost = engine.submit(|_| panic!("in a test, on purpose"));
    engine.result(&nested);
    engine.error(&endless);
    engine.error(&lost);
    let pool = engine
        .engine
        .open_pool(common::thread_pool(2))
        .expect("open");
    let other = Threads {
        pool,
        ..engine.share()
    };
    other.result(&other.submit(|_| Ok(1)));
    engine.engine.close_pool(pool);
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
