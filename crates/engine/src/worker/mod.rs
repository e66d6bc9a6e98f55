//! The worker process's own side: it receives tasks, runs them on its main thread one after the
//! other, and reports.
//!
//! The front end drives: it asks the session for jobs while it holds its interpreter, and lets go
//! of it only to wait. Results are held back for a moment and sent together; a second thread,
//! which never needs the interpreter, sees to it that none is held back long while the next task
//! computes.

mod call;
mod calls;
mod doing;
mod jobs;
mod outbox;
mod output;
mod reader;
mod session;

use std::io;
use std::os::fd::OwnedFd;

use lineshaft_wire::BufferRef;
use rustix::process::Signal;

pub use call::{NestedCall, Unanswered};
pub use calls::Awaited;
pub use jobs::{Job, Received};
pub use session::{Session, SessionOptions, Stopwatch};

/// The signal that asks the worker's main thread to look at the control page for a task that is to
/// be interrupted. Its usual meaning is close: the process used up its time.
pub const INTERRUPT_SIGNAL: Signal = Signal::XCPU;

/// The signal upon which the worker's crash handler writes the stacks of all threads, as other
/// runtimes do upon the same one.
pub const DUMP_SIGNAL: Signal = Signal::QUIT;

/// The signal upon which the worker's main thread, where it is safe to do so, writes the same for somebody
/// who looks at it and wants it to live on: the crash handler may meet frames that are half made, and die of
/// them. No kernel sends this one.
pub const LOOK_SIGNAL: Signal = Signal::STKFLT;

/// A value that a worker sends.
#[derive(Debug, Default)]
pub struct Sent {
    /// The pickle stream.
    pub data: Vec<u8>,
    /// Descriptor and length in bytes of each segment.
    pub segments: Vec<(OwnedFd, u64)>,
    /// The out-of-band buffers in them.
    pub buffers: Vec<BufferRef>,
}

/// What a worker sends of a task that raised.
#[derive(Debug)]
pub struct Raised {
    /// The pickled exception.
    pub error: Sent,
    /// Where it was raised, for people.
    pub traceback: String,
}

/// What a worker says of a task beside its result, or what it raised.
#[derive(Debug, Default)]
pub struct Remark {
    /// It is a batch, and items of it raised. Where the first of them did, for people; else empty.
    pub items_raised: String,
    /// These items are run again, each as a task of its own.
    pub run_again: bool,
    /// Its arguments, for people, if it took long or raised.
    pub arguments: String,
}

impl Sent {
    /// A value without out-of-band buffers.
    pub fn inline(data: Vec<u8>) -> Sent {
        Sent {
            data,
            ..Sent::default()
        }
    }

    /// The same, with descriptors of its own.
    ///
    /// # Errors
    ///
    /// What the system says if it gives no more of them.
    pub fn try_clone(&self) -> io::Result<Sent> {
        let segments = self.segments.iter();
        let segments = segments.map(|(fd, bytes)| Ok((fd.try_clone()?, *bytes)));
        Ok(Sent {
            data: self.data.clone(),
            segments: segments.collect::<io::Result<_>>()?,
            buffers: self.buffers.clone(),
        })
    }

    fn split(&mut self) -> (lineshaft_wire::Value<'_>, Vec<OwnedFd>) {
        let (mut descriptors, mut segments) = (Vec::new(), Vec::new());
        for (fd, bytes) in self.segments.drain(..) {
            descriptors.push(fd);
            segments.push(bytes);
        }
        (
            lineshaft_wire::Value {
                data: &self.data,
                segments,
                buffers: std::mem::take(&mut self.buffers),
            },
            descriptors,
        )
    }
}
