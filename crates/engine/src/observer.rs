//! What worker processes print and log, on its way to the user.

use lineshaft_core::{TaskId, WorkerId};

use crate::poller::Stream;

/// Receives what worker processes print and log. Called on whichever thread polls, with the
/// engine's lock held: it must hand the bytes on and return.
pub trait Observer: Send + Sync {
    /// A worker printed.
    fn output(&self, worker: WorkerId, task: Option<TaskId>, stream: Stream, bytes: &[u8]);

    /// A task logged: the pickled record.
    fn log(&self, worker: WorkerId, task: Option<TaskId>, record: &[u8]);
}

/// Drops everything.
pub struct Silent;

impl Observer for Silent {
    fn output(&self, _: WorkerId, _: Option<TaskId>, _: Stream, _: &[u8]) {}

    fn log(&self, _: WorkerId, _: Option<TaskId>, _: &[u8]) {}
}
