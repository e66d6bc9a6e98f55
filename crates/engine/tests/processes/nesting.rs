//! Tasks that make calls.

use lineshaft_engine::{EngineError, Payload, TaskError, Waited};

use crate::common::PATIENCE;
use crate::setup::{Hold, Processes, bytes, pool_initialized_by};

tests![
    calls_nest_in_one_worker,
    nested_calls_can_be_cancelled,
    a_nested_pool_runs_what_it_has,
    a_nested_failure_arrives,
    a_task_may_wait_for_who_waits,
    an_initializer_may_make_calls,
    a_thread_that_reads_hands_tasks_over,
    a_pool_that_closes_takes_what_its_tasks_ask_for,
    a_pool_that_closes_takes_what_its_initializers_ask_for,
    nothing_is_taken_from_a_task_that_is_killed,
];

fn calls_nest_in_one_worker() {
    for workers in [1, 2] {
        let processes = Processes::new(workers);
        let task = processes.submit("nest", &bytes(12));
        assert_eq!(processes.number(&task), 12);
        let tasks: Vec<_> = (0..4)
            .map(|_| processes.submit("nest", &bytes(4)))
            .collect();
        for task in &tasks {
            assert_eq!(processes.number(task), 4);
        }
    }
}

fn nested_calls_can_be_cancelled() {
    for workers in [1, 2] {
        let processes = Processes::new(workers);
        let tasks: Vec<_> = (0..3)
            .map(|_| processes.submit("nest and cancel", b""))
            .collect();
        let cancelled: u64 = tasks.iter().map(|task| processes.number(task)).sum();
        assert!(cancelled > 0, "none could be cancelled");
        processes.check();
    }
}

fn a_nested_pool_runs_what_it_has() {
    let processes = Processes::new(1);
    let task = processes.submit("nest in a pool", &bytes(20));
    assert_eq!(processes.result(&task), b"all");
    processes.check();
}

fn a_nested_failure_arrives() {
    let processes = Processes::new(1);
    let task = processes.submit("nest a failure", b"");
    assert_eq!(processes.raised(&task), "outside of inside");
}

/// With one worker, the nested call needs another one in place of the one that is blocked.
fn a_task_may_wait_for_who_waits() {
    let processes = Processes::new(1);
    for function in ["nest in a thread", "nest in a callback"] {
        let task = processes.submit(function, function.as_bytes());
        assert_eq!(processes.result(&task), function.as_bytes());
    }
}

fn an_initializer_may_make_calls() {
    let plain = Processes::new(1);
    let options = pool_initialized_by(&plain, "nest", &bytes(3));
    let pool = plain.engine.open_pool(options).expect("open");
    let processes = Processes { pool, ..plain };
    processes.check();
}

/// While a thread of a worker waits for an answer it may read tasks, too: its main thread must hear
/// of each.
fn a_thread_that_reads_hands_tasks_over() {
    let processes = Processes::new(2);
    let hold = Hold::new();
    let left = processes.submit("leave a thread waiting", hold.args());
    assert_eq!(processes.result(&left), b"left");
    // What is held fills the other worker; all these run where the thread is, one by one, so that the
    // main thread goes to sleep between them.
    for i in 0..3_000 {
        let task = processes.submit("echo", &bytes(i));
        assert_eq!(processes.number(&task), i);
    }
    let joined = processes.submit("join the thread", b"");
    hold.release();
    assert_eq!(processes.result(&joined), b"held");
}

fn a_pool_that_closes_takes_what_its_tasks_ask_for() {
    for workers in [1, 2] {
        let (processes, hold) = (Processes::new(workers), Hold::new());
        let running = processes.submit("hold and nest", hold.args());
        let waiting = processes.submit("nest", &bytes(3));
        hold.began();
        processes.engine.close_pool(processes.pool);
        let late = (processes.engine).submit(processes.request("echo", Payload::inline(b"late")));
        assert!(matches!(late, Err(EngineError::PoolClosed)));
        hold.release();
        assert_eq!(processes.result(&running), b"nested");
        assert_eq!(processes.number(&waiting), 3);
        let closed = (processes.engine).wait_closed(processes.pool, Some(PATIENCE), None);
        assert_eq!(closed, Waited::Done);
    }
}

fn a_pool_that_closes_takes_what_its_initializers_ask_for() {
    let (plain, hold) = (Processes::new(1), Hold::new());
    let options = pool_initialized_by(&plain, "hold and nest", hold.args());
    let pool = plain.engine.open_pool(options).expect("open");
    let processes = Processes { pool, ..plain };
    let task = processes.submit("echo", b"in time");
    hold.began();
    processes.engine.close_pool(pool);
    hold.release();
    assert_eq!(processes.result(&task), b"in time");
}

fn nothing_is_taken_from_a_task_that_is_killed() {
    let (processes, hold) = (Processes::new(2), Hold::new());
    let task = processes.submit("nest for ever", hold.args());
    hold.began();
    processes.engine.cancel_all(Some(processes.pool), true);
    processes.engine.close_pool(processes.pool);
    assert!(matches!(processes.error(&task), TaskError::Cancelled));
    let closed = (processes.engine).wait_closed(processes.pool, Some(PATIENCE), None);
    assert_eq!(closed, Waited::Done);
}
