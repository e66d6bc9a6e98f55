//! What pools share and what they do not.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lineshaft_engine::{
    Calls, Engine, EngineError, Outcome, Policy, PoolKind, PoolOptions, Runner, TaskError,
    TaskRequest,
};

use crate::common;
use crate::common::{Threads, wait};

/// A pool whose calls take no core.
fn waiting_pool(workers: u32, threads_max: Option<u32>) -> PoolOptions {
    PoolOptions {
        kind: PoolKind::Threads {
            runner: Arc::new(common::Closures),
            threads_max,
            takes_core: false,
            stack_bytes: None,
            idle_max: None,
        },
        ..common::thread_pool(workers)
    }
}

#[test]
fn a_closed_pool_runs_what_it_has_and_takes_no_more() {
    let threads = Threads::new(1);
    let tasks: Vec<_> = (0..100).map(|i| threads.submit(move |_| Ok(i))).collect();
    threads.engine.close_pool(threads.pool);
    threads.engine.close_pool(threads.pool);
    let refused = threads.engine.submit(threads.request(|_| Ok(0)));
    assert!(matches!(refused, Err(EngineError::PoolClosed)));
    for (task, i) in tasks.iter().zip(0..) {
        assert_eq!(threads.result(task), i);
    }
    let nobody_is_there = threads.open_pool(3);
    threads.engine.close_pool(nobody_is_there.pool);
    let refused = (nobody_is_there.engine).submit(nobody_is_there.request(|_| Ok(0)));
    assert!(matches!(refused, Err(EngineError::PoolClosed)));
}

#[test]
fn a_pool_may_have_fewer_threads_than_calls() {
    let threads = Threads::with(waiting_pool(64, Some(1)));
    let seen = Arc::new(Mutex::new(std::collections::HashSet::new()));
    let tasks: Vec<_> = (0..500)
        .map(|_| {
            let seen = Arc::clone(&seen);
            threads.submit(move |_| {
                seen.lock()
                    .expect("no panic")
                    .insert(thread::current().id());
                Ok(1)
            })
        })
        .collect();
    let sum: u64 = tasks.iter().map(|task| threads.result(task)).sum();
    assert_eq!(sum, 500);
    assert_eq!(seen.lock().expect("no panic").len(), 1);
}

/// Tells when a thread ends.
struct TellsOfEnds(Sender<()>);

impl Runner for TellsOfEnds {
    fn run(&self, calls: &mut Calls<'_>) {
        common::Closures.run(calls);
    }

    fn around(&self, serve: &mut (dyn FnMut() + Send)) {
        serve();
        let _: Result<(), _> = self.0.send(());
    }
}

#[test]
fn threads_that_have_been_idle_for_long_end_and_others_start() {
    let (ended, ends) = channel();
    let threads = Threads::with(PoolOptions {
        kind: PoolKind::Threads {
            runner: Arc::new(TellsOfEnds(ended)),
            threads_max: None,
            takes_core: true,
            stack_bytes: None,
            idle_max: Some(Duration::from_millis(10)),
        },
        ..common::thread_pool(2)
    });
    for round in 0..3 {
        assert_eq!(threads.result(&threads.submit(move |_| Ok(round))), round);
        ends.recv().expect("a thread ends");
    }
}

#[test]
fn a_pool_for_waiting_runs_more_calls_than_cores() {
    let threads = Threads::with(waiting_pool(32, None));
    let met = Arc::new(std::sync::Barrier::new(32));
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let met = Arc::clone(&met);
            threads.submit(move |_| {
                met.wait();
                Ok(1)
            })
        })
        .collect();
    let sum: u64 = tasks.iter().map(|task| threads.result(task)).sum();
    assert_eq!(sum, 32);
}

#[test]
fn two_pools_share_the_cores() {
    let threads = Threads::new(2);
    let other = threads.open_pool(2);
    let held = [threads.hold(Ok(1)), threads.hold(Ok(1))];
    for task in &held {
        task.began();
    }
    let waits = other.submit(|_| Ok(2));
    assert_eq!(
        threads.engine.explain(&waits),
        "it is the next of its pool; a worker is free, but other pools take all cores"
    );
    held[0].release();
    assert_eq!(threads.result(&waits), 2, "as soon as one core is free");
}

#[test]
fn greater_priority_runs_earlier() {
    let threads = Threads::new(1);
    let held = threads.hold(Ok(0));
    held.began();
    let ran = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for priority in [0, 3, -1, 2, 1] {
        let ran = Arc::clone(&ran);
        let policy = Policy {
            priority,
            ..Policy::default()
        };
        tasks.push(threads.submit_with(policy, move |_| {
            ran.lock().expect("no panic").push(priority);
            Ok(0)
        }));
    }
    held.release();
    for task in &tasks {
        threads.wait(task);
    }
    let ran = ran.lock().expect("no panic").clone();
    // The one that was handed over before the others came is not taken back.
    let sorted: Vec<i32> = ran
        .iter()
        .copied()
        .filter(|priority| *priority != 0)
        .collect();
    assert_eq!(sorted, [3, 2, 1, -1], "{ran:?}");
}

#[test]
fn an_engine_without_processes_says_so() {
    let engine = Engine::new(common::options(1)).expect("starts");
    let pool = engine
        .open_pool(PoolOptions {
            name: "processes".into(),
            workers: 1,
            kind: PoolKind::Processes {
                initializer: None,
                definitions: Vec::new(),
                tasks_per_worker_max: None,
                growth_bytes_max: None,
                patient: false,
            },
        })
        .expect("opens");
    let code = engine.code(
        engine.group("", "f"),
        lineshaft_engine::Payload::inline(b""),
        Vec::new(),
    );
    let task = engine
        .submit(TaskRequest {
            pool,
            group: engine.group("", "f"),
            work: lineshaft_engine::Work::Remote {
                code,
                definitions: Vec::new(),
                args: lineshaft_engine::Payload::inline(b""),
                each: false,
            },
            inputs: Vec::new(),
            policy: Policy::default(),
        })
        .expect("open");
    wait(&engine, &task);
    match task.outcome() {
        Some(Outcome::Error(TaskError::PoolBroken(Err(why)))) => {
            assert!(why.contains("without worker processes"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

/// The engine knows nothing of what such a call waits for: here, a thread that is not its own.
#[test]
fn a_call_that_sleeps_lends_its_core_to_another_pool() {
    let threads = Threads::new(1);
    let other = threads.open_pool(1);
    let task = threads.submit(move |_| {
        let other = other.share();
        let waiting = thread::spawn(move || {
            let inner = other.submit(|_| Ok(7));
            other.result(&inner)
        });
        Ok(waiting.join().expect("no panic"))
    });
    assert_eq!(threads.result(&task), 7);
}
