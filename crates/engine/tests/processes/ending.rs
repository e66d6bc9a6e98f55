//! Engines end, also by a defect, and leave nothing behind.

use std::time::{Duration, Instant};

use lineshaft_engine::{TaskError, Waited};

use crate::common::{PATIENCE, descriptors, error, eventually, threads};
use crate::setup::{Hold, Processes, bytes, family};

tests![a_panic_inside_ends_the_processes, nothing_is_left_behind,];

fn a_panic_inside_ends_the_processes() {
    let processes = Processes::new(2);
    let hold = Hold::new();
    let running = processes.submit("hold", hold.args());
    let queued: Vec<_> = (0..50)
        .map(|i| processes.submit("echo", &bytes(i)))
        .collect();
    hold.began();
    processes.engine.panic_inside("in a test, on purpose");
    assert!(matches!(error(&running), TaskError::Poisoned(_)));
    for task in &queued {
        processes.wait(task);
    }
    processes.engine.shut_down();
    eventually("no process is left", || family().is_empty());
}

fn nothing_is_left_behind() {
    let live = || {
        let processes = Processes::new(2);
        let blob = processes.submit("blob", &bytes(1 << 20));
        let sum = processes.submit_after(&[&blob], "checksum", b"");
        processes.wait(&sum);
        let died = processes.submit("die", b"");
        processes.wait(&died);
        let nested = processes.submit("nest", &bytes(2));
        processes.wait(&nested);
        let hold = Hold::new();
        let running = processes.submit("hold", hold.args());
        hold.began();
        let began = Instant::now();
        processes.engine.shut_down();
        assert!(began.elapsed() < Duration::from_secs(2));
        assert!(matches!(error(&running), TaskError::Cancelled));
        assert_eq!(family(), [] as [u32; 0], "zombies count");
        assert_eq!(
            processes.engine.wait_idle(None, Some(PATIENCE), None),
            Waited::Done
        );
    };
    live();
    eventually("threads end", || threads() == 1);
    let before = descriptors();
    for _ in 0..3 {
        live();
    }
    eventually("threads end", || threads() == 1);
    assert_eq!(descriptors(), before);
}
