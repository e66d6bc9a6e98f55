//! What workers run before their first task.

use lineshaft_engine::{Payload, PoolOptions, TaskError, TaskRequest};

use crate::common::eventually;
use crate::setup::{Hold, Processes, bytes, kill, pool_initialized_by};

tests![
    an_initializer_runs_first,
    an_initializer_that_fails_breaks_its_pool,
    an_initializer_that_dies_each_time_breaks_its_pool,
    workers_that_cannot_start_do_not_take_one_that_runs_along,
    workers_that_cannot_start_break_a_pool_whose_others_wait_for_them,
    idle_workers_may_be_killed_before_they_had_anything_to_do,
];

fn an_initializer_runs_first() {
    let plain = Processes::new(1);
    let hold = Hold::new();
    hold.release();
    let options = pool_initialized_by(&plain, "hold", hold.args());
    let pool = plain.engine.open_pool(options).expect("open");
    let processes = Processes { pool, ..plain };
    processes.check();
    assert!(hold.0.with_extension("began").exists());
}

fn an_initializer_that_fails_breaks_its_pool() {
    let plain = Processes::new(1);
    plain.check();
    let open = |words: &str| {
        let options = pool_initialized_by(&plain, "raise", words.as_bytes());
        plain.engine.open_pool(options).expect("open")
    };
    let pools = ["one", "two"].map(|words| (words, open(words)));
    let in_pool = |pool| {
        let request = plain.request("echo", Payload::inline(b""));
        let request = TaskRequest { pool, ..request };
        plain.engine.submit(request).expect("open")
    };
    for _ in 0..2 {
        for (words, pool) in pools {
            let task = in_pool(pool);
            match plain.error(&task) {
                TaskError::PoolBroken(Ok(payload)) => {
                    assert_eq!(&*payload.data, words.as_bytes(), "its own exception");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    plain.check();
}

/// Whatever it is that kills it.
fn an_initializer_that_dies_each_time_breaks_its_pool() {
    let plain = Processes::new(1);
    let options = pool_initialized_by(&plain, "die", b"");
    let pool = plain.engine.open_pool(options).expect("open");
    let processes = Processes { pool, ..plain };
    let task = processes.submit("echo", b"");
    match processes.error(&task) {
        TaskError::PoolBroken(Err(why)) => {
            assert!(why.contains("before they begin a task"), "{why}");
            assert!(why.contains("killed by signal 9"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

/// A pool of two workers of which only the first can start.
fn pool_of_one_that_starts() -> (Processes, Hold) {
    let plain = Processes::new(2);
    let first = Hold::new();
    let options = PoolOptions {
        workers: 2,
        ..pool_initialized_by(&plain, "die unless first", first.args())
    };
    let pool = plain.engine.open_pool(options).expect("open");
    (Processes { pool, ..plain }, first)
}

fn workers_that_cannot_start_do_not_take_one_that_runs_along() {
    let (processes, _first) = pool_of_one_that_starts();
    let hold = Hold::new();
    let held = processes.submit("hold", hold.args());
    hold.began();
    let tasks: Vec<_> = (0..4).map(|_| processes.submit("echo", b"late")).collect();
    eventually("many have died", || processes.engine.stats().deaths > 6);
    hold.release();
    assert_eq!(processes.result(&held), b"held");
    for task in &tasks {
        assert_eq!(processes.result(task), b"late");
    }
}

fn workers_that_cannot_start_break_a_pool_whose_others_wait_for_them() {
    let (processes, _first) = pool_of_one_that_starts();
    let task = processes.submit("nest", &bytes(2));
    match processes.error(&task) {
        TaskError::PoolBroken(Err(why)) => assert!(why.contains("begin a task"), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// Whoever kills them, for lack of memory or by mistake, the next task gets a new one.
fn idle_workers_may_be_killed_before_they_had_anything_to_do() {
    const WORKERS: usize = 8;
    let processes = Processes::new(8);
    let unwanted: Vec<_> = (0..WORKERS)
        .map(|_| processes.submit("echo", b""))
        .collect();
    for task in &unwanted {
        processes.engine.cancel(task, false);
    }
    for pid in processes.pids_of::<WORKERS>() {
        kill(pid);
    }
    eventually("no worker", || processes.pids().is_empty());
    processes.check();
}
