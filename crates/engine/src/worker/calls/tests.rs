use std::os::fd::AsFd;

use lineshaft_store::{BudgetPage, SharedPage};
use lineshaft_wire::{ControlPage, FRAME_MAX_BYTES, Sender, ToWorker};

use super::*;
use crate::process::lost;
use crate::worker::SessionOptions;

/// A worker's session, and the engine's end of its socket.
fn session() -> (Session, OwnedFd) {
    let (engine, socket) = lineshaft_wire::pair().expect("a socket");
    let control = SharedPage::<ControlPage>::create().expect("a page");
    let budget = SharedPage::<BudgetPage>::create().expect("a page");
    let session = Session::new(SessionOptions {
        socket,
        control: control.fd().expect("a descriptor"),
        budget: budget.fd().expect("a descriptor"),
        spill_dir: std::env::temp_dir(),
        tasks_max: None,
        growth_bytes_max: None,
    });
    (session.expect("a session"), engine)
}

fn call(session: &Session, bytes: usize) -> Result<Arc<NestedCall>, EngineError> {
    let args = Sent::inline(vec![0; bytes]);
    session.call(
        None,
        1,
        Vec::new(),
        Vec::new(),
        CallOptions::default(),
        args,
    )
}

#[test]
fn a_call_that_cannot_be_sent_is_not_waited_for() {
    let (session, _engine) = session();
    assert!(call(&session, FRAME_MAX_BYTES).is_err(), "it is too long");
    assert!(session.calls.state().open.is_empty());
    assert!(call(&session, 1).is_ok());
    assert_eq!(session.calls.state().open.len(), 1);
}

#[test]
fn a_cancellation_that_cannot_be_sent_is_not_waited_for() {
    let (session, engine) = session();
    let call = call(&session, 1).expect("it is sent");
    drop(engine);
    assert!(session.cancel(&call, false).is_err(), "nobody is there");
    assert!(session.calls.state().cancels.is_empty());
}

#[test]
fn a_call_that_was_cancelled_has_its_answer() {
    let (session, engine) = session();
    let call = call(&session, 1).expect("it is sent");
    let send = |message: &ToWorker<'_>| {
        let mut sender = Sender::new();
        sender.push(message, Vec::new()).expect("it is short");
        sender.flush_blocking(engine.as_fd()).expect("it is sent");
    };
    thread::scope(|scope| {
        let cancels = scope.spawn(|| {
            let cancelled = session.cancel(&call, false).expect("the engine is there");
            (cancelled, call.is_cancelled())
        });
        let (id, cancelled) = (call.id(), true);
        send(&ToWorker::CancelAnswer {
            call: id,
            cancelled,
        });
        while call.cancelled().is_none() {
            thread::yield_now();
        }
        let answer = Answer::Lost {
            kind: lost::CANCELLED,
            message: "cancelled",
        };
        send(&ToWorker::Answer { call: id, answer });
        assert_eq!(cancels.join().expect("it returns"), (true, true));
    });
}
