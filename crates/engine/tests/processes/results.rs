//! What goes to workers comes back: results, failures, what is printed.

use std::sync::{Arc, Mutex};

use lineshaft_core::{TaskId, WorkerId};
use lineshaft_engine::{EngineOptions, Observer, Stream, TaskError};

use crate::common::eventually;
use crate::setup::{Processes, bytes, options, pool, retries};

tests![
    results_arrive,
    tasks_need_each_other,
    what_is_raised_arrives,
    what_is_printed_arrives,
];

fn results_arrive() {
    let processes = Processes::new(2);
    let tasks: Vec<_> = (0..2_000)
        .map(|i| processes.submit("echo", &bytes(i)))
        .collect();
    for (task, i) in tasks.iter().zip(0..) {
        assert_eq!(processes.number(task), i);
    }
    assert_eq!(processes.engine.stats().deaths, 0);
}

fn tasks_need_each_other() {
    let processes = Processes::new(2);
    let one = processes.submit("sum", &bytes(1));
    let mut last = Arc::clone(&one);
    for _ in 0..200 {
        last = processes.submit_after(&[&last, &one], "sum", &bytes(1));
    }
    assert_eq!(processes.number(&last), 401);
}

fn what_is_raised_arrives() {
    let processes = Processes::new(1);
    let task = processes.submit("raise", b"words");
    assert_eq!(processes.raised(&task), "words");
    let needs = processes.submit_after(&[&task], "sum", &bytes(1));
    assert!(matches!(processes.error(&needs), TaskError::Dependency(_)));
    let again = processes.submit_with(retries(2, 0), "raise", b"again");
    assert_eq!(processes.raised(&again), "again");
}

#[derive(Default)]
struct Heard(Mutex<Vec<u8>>);

impl Observer for Heard {
    fn output(&self, _: WorkerId, task: Option<TaskId>, stream: Stream, bytes: &[u8]) {
        assert_eq!(stream, Stream::Stdout);
        assert!(task.is_some());
        self.0.lock().expect("no panic").extend_from_slice(bytes);
    }

    fn log(&self, _: WorkerId, _: Option<TaskId>, _: &[u8]) {}
}

fn what_is_printed_arrives() {
    let heard = Arc::new(Heard::default());
    let options = EngineOptions {
        observer: Arc::clone(&heard) as Arc<dyn Observer>,
        ..options(1)
    };
    let processes = Processes::with(options, pool(1));
    let text = vec![b'x'; 300_000];
    let task = processes.submit("print", &text);
    processes.wait(&task);
    eventually("all of it", || {
        heard.0.lock().expect("no panic").len() == text.len()
    });
}
