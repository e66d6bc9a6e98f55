//! Workers and snapshots that cannot begin.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command as Program;

use lineshaft_core::GroupId;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::*;
use crate::command::Command;
use crate::options::{PoolKind, PoolOptions};
use crate::pools::Pool;

#[test]
fn a_worker_that_cannot_begin_is_not_listened_to() {
    let engine = Shared::without_loop();
    let (pool, id) = (PoolId(1), WorkerId(1));
    // Longer than a message may be.
    let code = engine.define(GroupId(0), Payload::inline(b"code"), Vec::new());
    let args = Payload::inline(&vec![0; lineshaft_wire::FRAME_MAX_BYTES]);
    let options = ProcessPool {
        name: "test".into(),
        workers: 1,
        initializer: Some((code, args)),
        definitions: Vec::new(),
        tasks_per_worker_max: None,
        growth_bytes_max: None,
        patient: false,
    };
    let (worker, descriptors) = Worker::prepare(&engine, id, pool, 1).expect("descriptors");
    // As a forked child has it.
    let copy = worker.socket.as_fd().try_clone_to_owned();
    let mut processes = Processes::default();
    let begun = processes.begin(&engine, worker, descriptors, &options);
    assert!(begun.is_err(), "it is too long");
    // The other end is closed, which would be told at once.
    let mut ready = Vec::new();
    let looked = engine.poller.wait(Some(Time(0)), &mut ready);
    assert!(looked.is_ok() && ready.is_empty(), "{ready:?}");
    drop(copy);
}

/// That a snapshot which the engine does not take in is ended, and only without the state lock.
fn is_ended_without_the_lock(closed: bool, socket: OwnedFd) {
    let mut child = Program::new("sleep").arg("600").spawn().expect("a child");
    let pid = Pid::from_child(&child);
    let snapshot = Snapshot::new(socket, pid.as_raw_nonzero().get()).expect("a handle");
    let engine = Shared::without_loop();
    let spec = Pool::new(PoolOptions {
        name: "test".into(),
        workers: 1,
        kind: PoolKind::Processes {
            initializer: None,
            definitions: Vec::new(),
            tasks_per_worker_max: None,
            growth_bytes_max: None,
            patient: false,
        },
    });
    let open = Command::OpenPool {
        pool: PoolId(1),
        spec,
        snapshot: Some(snapshot),
    };
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let lives = || waitid(WaitId::Pid(pid), look).is_ok_and(|ended| ended.is_none());
    let lived = engine.with_state(|state| {
        state.closed = closed;
        state.on_command(&engine, Time(0), open);
        lives()
    });
    assert_eq!(lived, Some(true), "ended while the state was locked");
    assert!(!lives(), "nobody needs it any more");
    assert!(child.wait().is_err(), "it was reaped");
}

#[test]
fn a_snapshot_for_an_engine_that_is_closed_is_ended_without_the_lock() {
    let (socket, _theirs) = lineshaft_wire::pair().expect("a socket");
    is_ended_without_the_lock(true, socket);
}

#[test]
fn a_snapshot_that_cannot_be_listened_to_is_ended_without_the_lock() {
    // Files are always ready, so the kernel does not wait for them.
    let file = File::open("/proc/self/exe").expect("ourselves");
    is_ended_without_the_lock(false, file.into());
}
