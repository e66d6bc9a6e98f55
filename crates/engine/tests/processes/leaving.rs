//! Workers that take long to end, after they were told to or have said that they do.

use std::time::Duration;

use lineshaft_core::PoolId;
use lineshaft_engine::{EXIT_GRACE, PoolKind, PoolOptions, Waited};

use crate::common::PATIENCE;
use crate::setup::{Hold, Processes, family, options, parent, pool_with};

tests![
    a_patient_pool_is_waited_for_as_long_as_it_takes,
    a_pool_without_patience_is_not,
    patience_ends_with_a_pool_in_a_hurry,
    a_hurried_pool_has_no_patience_later,
    an_engine_ends_without_patience,
    workers_are_replaced_while_others_take_long_to_end,
    threads_of_a_worker_that_leaves_have_answers,
    a_worker_that_hangs_up_is_killed,
];

fn patient(workers: u32, tasks_per_worker_max: Option<u32>) -> Processes {
    let mut pool = pool_with(workers, tasks_per_worker_max);
    let PoolOptions {
        kind: PoolKind::Processes { patient, .. },
        ..
    } = &mut pool
    else {
        unreachable!("it is one of processes");
    };
    *patient = true;
    Processes::with(options(workers), pool)
}

/// Has a worker of the pool wait for the file before it ends; its process.
fn linger(processes: &Processes, hold: &Hold) -> u32 {
    let lingers = processes.submit("linger", hold.args());
    u32::try_from(processes.number(&lingers)).expect("a process")
}

fn wait_closed(processes: &Processes, timeout: Duration) -> Waited {
    let pool: PoolId = processes.pool;
    processes.engine.wait_closed(pool, Some(timeout), None)
}

fn a_patient_pool_is_waited_for_as_long_as_it_takes() {
    let (processes, hold) = (patient(1, None), Hold::new());
    let pid = linger(&processes, &hold);
    processes.engine.close_pool(processes.pool);
    hold.is_awaited();
    let longer = EXIT_GRACE + Duration::from_millis(500);
    assert_eq!(wait_closed(&processes, longer), Waited::TimedOut);
    assert!(parent(pid).is_some(), "it was killed");
    hold.release();
    assert_eq!(wait_closed(&processes, PATIENCE), Waited::Done);
    assert_eq!(parent(pid), None);
}

fn a_pool_without_patience_is_not() {
    let processes = Processes::new(1);
    let hold = Hold::new();
    let pid = linger(&processes, &hold);
    processes.engine.close_pool(processes.pool);
    assert_eq!(wait_closed(&processes, PATIENCE), Waited::Done);
    assert_eq!(parent(pid), None);
}

fn patience_ends_with_a_pool_in_a_hurry() {
    let (processes, hold) = (patient(2, None), Hold::new());
    let pid = linger(&processes, &hold);
    processes.engine.close_pool(processes.pool);
    hold.is_awaited();
    std::thread::scope(|scope| {
        // Without a limit of its own.
        let waits = scope.spawn(|| processes.engine.wait_closed(processes.pool, None, None));
        processes.engine.hurry(processes.pool);
        assert_eq!(waits.join().expect("no panic"), Waited::Done);
    });
    assert_eq!(parent(pid), None);
}

fn a_hurried_pool_has_no_patience_later() {
    let (processes, hold) = (patient(1, None), Hold::new());
    processes.engine.hurry(processes.pool);
    let pid = linger(&processes, &hold);
    processes.engine.close_pool(processes.pool);
    assert_eq!(wait_closed(&processes, PATIENCE), Waited::Done);
    assert_eq!(parent(pid), None);
}

fn an_engine_ends_without_patience() {
    let (processes, hold) = (patient(1, None), Hold::new());
    linger(&processes, &hold);
    processes.engine.close_pool(processes.pool);
    hold.is_awaited();
    processes.engine.shut_down();
    assert_eq!(family(), [] as [u32; 0]);
}

fn workers_are_replaced_while_others_take_long_to_end() {
    const PLACES: u32 = 2;
    let processes = patient(PLACES, Some(1));
    let holds: Vec<Hold> = (0..=PLACES).map(|_| Hold::new()).collect();
    for hold in &holds {
        linger(&processes, hold);
        hold.is_awaited();
    }
    // Now more are leaving than there are places: the next one starts when one of them has ended.
    let late = processes.submit("pid", b"");
    assert_eq!(
        processes.engine.wait(&late, Some(EXIT_GRACE), None),
        Waited::TimedOut
    );
    holds[0].release();
    processes.wait(&late);
    drop(holds);
    processes.engine.close_pool(processes.pool);
    assert_eq!(wait_closed(&processes, PATIENCE), Waited::Done);
}

fn threads_of_a_worker_that_leaves_have_answers() {
    let (processes, hold) = (patient(1, None), Hold::new());
    let left = processes.submit("linger for an answer", hold.args());
    processes.wait(&left);
    processes.engine.close_pool(processes.pool);
    hold.is_awaited();
    hold.release();
    assert_eq!(wait_closed(&processes, PATIENCE), Waited::Done);
    let got = std::fs::read(hold.0.with_extension("got"));
    assert_eq!(got.expect("it was waited for"), b"held");
}

fn a_worker_that_hangs_up_is_killed() {
    let processes = patient(1, None);
    let task = processes.submit("hang up", b"");
    processes.died(&task);
}
