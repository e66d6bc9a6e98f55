//! What a worker is to do.

use std::os::fd::OwnedFd;

use lineshaft_core::{Attempt, TaskId};
use lineshaft_wire::{BufferRef, Descriptors, Value};

use crate::error::EngineError;

/// What a worker is to do next.
#[derive(Debug)]
pub enum Job {
    /// Load a definition.
    Define {
        /// Its identity.
        id: u64,
        /// What it is.
        body: Received,
    },
    /// Drop definitions.
    Forget {
        /// Their identities.
        ids: Vec<u64>,
    },
    /// Call the initializer.
    Initialize {
        /// The callable.
        code: u64,
        /// Its arguments.
        args: Received,
    },
    /// Run a task.
    Run {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: Attempt,
        /// The epoch in which it may be claimed.
        epoch: u32,
        /// The callable.
        code: u64,
        /// Whether to report that it starts.
        report_start: bool,
        /// Whether the arguments are a list of items, for each of which the callable is called.
        each: bool,
        /// Its arguments.
        args: Received,
        /// Results of other tasks that the arguments refer to.
        inputs: Vec<Received>,
    },
}

/// A value that a worker received.
#[derive(Debug, Default)]
pub struct Received {
    /// The pickle stream, with small buffers behind it.
    pub data: Box<[u8]>,
    /// Descriptor and length in bytes of each segment.
    pub segments: Vec<(OwnedFd, u64)>,
    /// The out-of-band buffers in them.
    pub buffers: Vec<BufferRef>,
}

pub(super) fn receive(
    value: &Value<'_>,
    descriptors: &mut Descriptors,
) -> Result<Received, EngineError> {
    let mut segments = Vec::with_capacity(value.segments.len());
    for &bytes in &value.segments {
        let fd = descriptors
            .take_fd()
            .ok_or(EngineError::Protocol("a segment without its descriptor"))?;
        segments.push((fd, bytes));
    }
    Ok(Received {
        data: value.data.into(),
        segments,
        buffers: value.buffers.clone(),
    })
}
