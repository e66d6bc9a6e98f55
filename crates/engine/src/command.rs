//! `Command`: what is asked of the engine, by whatever thread.

use std::time::Duration;

use lineshaft_core::{Attempt, Failure, PoolId, TaskId, WorkerId};

use crate::options::TaskRequest;
use crate::outcome::{Outcome, TaskError};
use crate::pools::Pool;
use crate::process::Snapshot;
use crate::promise::Pledge;
use crate::threads::Awaited;

/// Who asks for a task.
#[derive(Clone, Copy)]
pub(crate) enum Asker {
    /// The program itself.
    Program,
    /// What goes on in a worker process between its tasks: a thread that one of them left there.
    Worker,
    /// A task that runs.
    Task(TaskId),
    /// The initializer of a worker of this pool.
    Initializer(PoolId),
}

impl Asker {
    pub(crate) fn task(self) -> Option<TaskId> {
        match self {
            Asker::Task(task) => Some(task),
            Asker::Program | Asker::Worker | Asker::Initializer(_) => None,
        }
    }
}

/// What senders put into the inbox.
pub(crate) enum Command {
    Submit {
        pledge: Pledge,
        request: TaskRequest,
        asker: Asker,
    },
    SubmitGraph {
        tasks: Vec<(Pledge, TaskRequest)>,
        asker: Asker,
        /// Dependencies first; none if the tasks are in such an order.
        order: Option<Vec<usize>>,
    },
    Started {
        task: TaskId,
        attempt: Attempt,
    },
    Finished {
        task: TaskId,
        attempt: Attempt,
        ran: Duration,
        outcome: Outcome,
    },
    Failed {
        task: TaskId,
        attempt: Attempt,
        how: Failure,
        /// How long it ran, if it did.
        ran: Option<Duration>,
        error: TaskError,
        /// Where it raised, for people; empty if it did not.
        traceback: String,
    },
    Blocked {
        task: TaskId,
        attempt: Attempt,
        awaited: Awaited,
    },
    Unblocked {
        task: TaskId,
        attempt: Attempt,
    },
    /// The arguments of a call on a thread that took long or raised, for people.
    Arguments {
        task: TaskId,
        attempt: Attempt,
        text: String,
    },
    OpenPool {
        pool: PoolId,
        spec: Pool,
        snapshot: Option<Snapshot>,
    },
    ClosePool {
        pool: PoolId,
    },
    /// The snapshot that the pool's workers were forked from is no child of this process any more.
    Reaped {
        pool: PoolId,
    },
    /// Nobody wants the task any more; `kill` if it is to end even if it runs in a worker process.
    Cancel {
        task: TaskId,
        kill: bool,
    },
    /// A worker wants one of its nested calls cancelled.
    CancelCall {
        worker: WorkerId,
        call: u64,
        kill: bool,
    },
    /// A nested call of a worker process has ended.
    Answer {
        worker: WorkerId,
        call: u64,
    },
}
