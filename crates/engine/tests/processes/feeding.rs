//! Workers are fed and renewed.

use std::sync::Arc;

use lineshaft_engine::{Payload, Promise, TaskRequest};

use crate::setup::{Hold, Processes, bytes, options, pool_with};

tests![
    nobody_waits_behind_a_long_task,
    a_worker_ends_after_its_number_of_tasks,
    epochs_are_renewed,
];

fn nobody_waits_behind_a_long_task() {
    let processes = Processes::new(2);
    let hold = Hold::new();
    // So short that many are handed ahead.
    let warm: Vec<_> = (0..200)
        .map(|i| processes.submit("echo", &bytes(i)))
        .collect();
    let long = processes.submit("hold", hold.args());
    let behind: Vec<_> = (0..500)
        .map(|i| processes.submit("echo", &bytes(i)))
        .collect();
    for task in warm.iter().chain(&behind) {
        processes.wait(task);
    }
    assert!(!long.is_done());
    hold.release();
    assert_eq!(processes.result(&long), b"held");
}

fn a_worker_ends_after_its_number_of_tasks() {
    let processes = Processes::with(options(2), pool_with(2, Some(7)));
    let mut runs = std::collections::HashMap::new();
    let tasks: Vec<_> = (0..100).map(|_| processes.submit("pid", b"")).collect();
    for task in &tasks {
        *runs.entry(processes.number(task)).or_insert(0) += 1;
    }
    assert!(runs.values().all(|runs| *runs <= 7), "{runs:?}");
    assert_eq!(processes.engine.stats().deaths, 0);
}

fn epochs_are_renewed() {
    let processes = Processes::new(1);
    let request = processes.request("echo", Payload::inline(b"x"));
    let mut waiting = std::collections::VecDeque::new();
    // More than one epoch has room for, and never an empty queue at its end.
    for _ in 0..150_000 {
        let request = TaskRequest {
            work: request.work.clone(),
            ..processes.request("echo", Payload::inline(b""))
        };
        waiting.push_back(processes.engine.submit(request).expect("open"));
        if waiting.len() > 2_000 {
            let first: Arc<Promise> = waiting.pop_front().expect("not empty");
            assert_eq!(processes.result(&first), b"x");
        }
    }
    for task in waiting {
        assert_eq!(processes.result(&task), b"x");
    }
    assert_eq!(processes.engine.stats().deaths, 0);
}
