//! What can go wrong in the engine itself, as opposed to in a task.

use lineshaft_store::StoreError;
use lineshaft_wire::WireError;

/// An operating error of the engine.
#[derive(thiserror::Error, Debug)]
pub enum EngineError {
    /// The engine has been shut down.
    #[error("the engine is shut down")]
    Closed,
    /// The pool has been closed.
    #[error("the pool is closed")]
    PoolClosed,
    /// The engine stopped because of a defect in itself.
    #[error("the engine stopped after an internal error: {0}")]
    Poisoned(String),
    /// A pool without workers could run nothing.
    #[error("a pool needs at least one worker")]
    NoWorkers,
    /// The zygote, from which workers are forked, could not be started.
    #[error("cannot start worker processes: {0}")]
    Zygote(std::io::Error),
    /// The snapshot that a pool's workers are forked from has ended.
    #[error(
        "the process that its workers were forked from has ended, and with it what they had inherited"
    )]
    SnapshotGone,
    /// A system call of the engine failed.
    #[error("{what}: {source}")]
    System {
        /// What the engine was doing.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A message did not make sense.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// The result of a task of this process cannot be sent to a worker process that needs it.
    #[error(
        "an argument is the result of another task, which cannot be sent to a worker process: {0}"
    )]
    Input(String),
    /// Shared memory failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The way to a worker failed.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl EngineError {
    pub(crate) fn system(what: &'static str) -> impl FnOnce(rustix::io::Errno) -> EngineError {
        move |errno| EngineError::System {
            what,
            source: errno.into(),
        }
    }
}
