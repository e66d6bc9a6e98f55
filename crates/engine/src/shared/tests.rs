//! The inbox while others hold the state.

use std::sync::mpsc::channel;
use std::thread;

use super::*;
use crate::command::Asker;
use crate::options::TaskRequest;
use crate::options::{Policy, Work};
use crate::runner::{Calls, Runner};

struct NeverCalled;

impl Runner for NeverCalled {
    fn run(&self, _: &mut Calls<'_>) {}
}

fn request() -> TaskRequest {
    TaskRequest {
        pool: PoolId(1),
        group: GroupId(0),
        work: Work::Local(Arc::new(NeverCalled)),
        inputs: Vec::new(),
        policy: Policy::default(),
    }
}

#[test]
fn what_is_submitted_while_somebody_looks_at_an_engine_that_has_ended() {
    let engine = Shared::without_loop();
    engine.close();
    let promise = engine.with_state(|_| engine.submit_within(Asker::Program, request()));
    assert!(promise.expect("no panic").is_done());
}

#[test]
fn who_submits_waits_while_the_inbox_is_long() {
    let engine = Shared::without_loop();
    let (hold, held) = channel();
    let (release, released) = channel();
    thread::scope(|scope| {
        let engine = &engine;
        scope.spawn(move || {
            engine.with_state(|_| {
                hold.send(()).expect("somebody waits for this");
                released.recv().expect("somebody sends this");
            })
        });
        held.recv().expect("the state is held");
        let submitting = scope.spawn(|| {
            for _ in 0..=INBOX_MAX {
                engine.submit_within(Asker::Program, request());
            }
            engine.catch_up();
        });
        while engine.state_waiters.load(Ordering::SeqCst) == 0 {
            assert!(!submitting.is_finished(), "it has not waited");
            thread::yield_now();
        }
        release.send(()).expect("somebody waits for this");
    });
    assert!(engine.inbox().commands.is_empty());
}
