//! What the scheduler wants done.

use crate::ids::{Attempt, PoolId, TaskId, WorkerId};

/// One order to the engine. Orders are carried out in sequence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Hand the task to the worker, behind what was handed to it before.
    Run {
        /// The worker.
        worker: WorkerId,
        /// The task.
        task: TaskId,
        /// The attempt that this is.
        attempt: Attempt,
    },
    /// Take back everything that this worker has not started; answered by `Input::Retracted`.
    Retract {
        /// The worker.
        worker: WorkerId,
    },
    /// The task ran out of time: stop it, by an exception in it first, by killing its worker if
    /// that does not help. Answered by `Input::Failed` or `Input::WorkerDown`.
    TimeOut {
        /// The worker that runs it.
        worker: WorkerId,
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: Attempt,
    },
    /// Kill this worker: the task it runs was cancelled. Answered by `Input::WorkerDown`.
    Kill {
        /// The worker.
        worker: WorkerId,
        /// The task.
        task: TaskId,
    },
    /// The task has its result.
    Resolve {
        /// The task.
        task: TaskId,
    },
    /// The task will have no result.
    Reject {
        /// The task.
        task: TaskId,
        /// Why.
        why: Rejection,
    },
    /// Start this many workers; each is answered by `Input::WorkerUp` or `Input::SpawnFailed`.
    Spawn {
        /// The pool.
        pool: PoolId,
        /// How many.
        count: u32,
    },
    /// Let this worker end: it has nothing to do and is not needed any more. Answered by
    /// `Input::WorkerDown`.
    Retire {
        /// The worker.
        worker: WorkerId,
    },
}

/// Why a task has no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejection {
    /// It was cancelled before it ran, or its pool closed.
    Cancelled,
    /// It raised, and no retry was left. The engine holds the exception.
    Failed,
    /// It ran out of time, and no retry was left.
    TimedOut,
    /// Its worker died under it, and no retry was left. The engine holds the report.
    WorkerDied,
    /// It is a batch whose worker died under it. Its items run again as tasks of their own, so that it counts as
    /// finished, with an attempt that was retried. The engine holds the report.
    ItemsRunAgain,
    /// A task whose result it needs has none.
    Dependency {
        /// The first such task, transitively: the one that failed itself.
        failed: TaskId,
    },
    /// Its pool can start no worker.
    PoolBroken,
    /// Its pool has no worker, and could start none for some time. It may be able to later.
    NoWorker,
}
