//! Tasks that run out of time, and tasks that are cancelled.

use std::time::Duration;

use lineshaft_engine::{Policy, TaskError};

use crate::setup::{Hold, Processes, bytes, options, pool, retries, timeout};
use crate::zygote;

tests![
    a_time_limit_interrupts,
    a_time_limit_may_come_before_the_process_is_known,
    a_time_limit_kills_who_does_not_listen,
    an_interrupted_attempt_does_not_kill_the_next,
    what_runs_can_be_killed,
];

fn a_time_limit_interrupts() {
    let processes = Processes::new(1);
    let task = processes.submit_with(timeout(100), "sleep", &bytes(60_000));
    assert_eq!(processes.raised(&task), "interrupted");
    assert_eq!(processes.engine.stats().deaths, 0, "the worker lives");
    processes.check();
}

/// The worker's own socket may be faster than the zygote's.
fn a_time_limit_may_come_before_the_process_is_known() {
    let file = Hold::new();
    let mut options = options(1);
    let program = options.zygote.as_mut().expect("there is one");
    let late = (zygote::LATE.into(), file.0.clone().into_os_string());
    program.environment.push(late);
    let processes = Processes::with(options, pool(1));
    let task = processes.submit_with(timeout(50), "await the signal", file.args());
    assert_eq!(processes.raised(&task), "signalled");
    processes.check();
}

fn a_time_limit_kills_who_does_not_listen() {
    let processes = Processes::new(1);
    let task = processes.submit_with(timeout(100), "sleep through", b"");
    let behind = processes.submit("echo", b"behind");
    match processes.error(&task) {
        TaskError::TimedOut { .. } | TaskError::WorkerDied(_) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(processes.result(&behind), b"behind");
}

fn an_interrupted_attempt_does_not_kill_the_next() {
    let processes = Processes::new(1);
    let policy = Policy {
        timeout: Some(Duration::from_secs(2)),
        ..retries(1, 0)
    };
    // The second attempt runs when the first would be killed if it had not listened.
    let task = processes.submit_with(policy, "sleep again", &bytes(1_200));
    assert_eq!(processes.result(&task), b"slept");
    assert_eq!(processes.engine.stats().deaths, 0);
}

fn what_runs_can_be_killed() {
    let processes = Processes::new(1);
    let hold = Hold::new();
    let running = processes.submit("hold", hold.args());
    let queued = processes.submit("echo", b"queued");
    hold.began();
    assert!(processes.engine.is_running(&running));
    assert!(!processes.engine.cancel(&running, false));
    processes.engine.cancel(&running, true);
    assert!(matches!(processes.error(&running), TaskError::Cancelled));
    assert_eq!(processes.result(&queued), b"queued");
    // Its worker has not died of anything: the engine ended it.
    assert_eq!(processes.engine.stats().deaths, 0);
    assert!(processes.engine.reader().deaths().is_empty());
    let other = Hold::new();
    let running = processes.submit("hold", other.args());
    let queued = processes.submit("echo", b"queued");
    other.began();
    assert!(processes.engine.cancel(&queued, false));
    other.release();
    assert_eq!(processes.result(&running), b"held");
}
