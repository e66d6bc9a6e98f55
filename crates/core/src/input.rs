//! Everything that can happen to the scheduler.

use std::time::Duration;

use crate::events::{Measured, Phases};
use crate::ids::{Attempt, PoolId, TaskId, WorkerId};
use crate::spec::{PoolSpec, TaskSpec};

/// What becomes of the items of a batch that raised. The batch returned all the same, with what they raised in its
/// result: for who needs that it is finished, and in counters and events the attempt has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ItemsRaised {
    /// They are not run again: the task counts as one that failed.
    ForGood,
    /// Each is run again, as a task of its own that counts by itself: the attempt counts as one that failed and was
    /// followed by another, and the task as finished.
    RunAgain,
}

/// How an attempt ended without a result while its worker lived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// It raised what another attempt may not.
    Raised,
    /// It raised what can only repeat itself: its retries do not apply.
    RaisedForGood,
    /// It ran out of time, whoever has seen to that.
    TimedOut,
    /// It was cancelled, and has not failed.
    Cancelled,
}

/// One thing that happened. `Scheduler::handle` is total: an input that names an unknown or
/// finished task, an old attempt or a dead worker changes nothing.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// A pool opens. It starts without workers; the scheduler asks for them by `Action::Spawn`.
    AddPool(PoolSpec),
    /// A pool closes: its unfinished tasks are rejected as cancelled, its workers retired.
    RemovePool {
        /// The pool.
        pool: PoolId,
    },
    /// One task, the common case, without a vector around it.
    Submit(TaskSpec),
    /// A graph: tasks in any order, edges among themselves or to earlier tasks. A cycle is a
    /// programmer error of the caller and panics.
    SubmitGraph(Vec<TaskSpec>),
    /// The caller no longer wants the task.
    Cancel {
        /// The task.
        task: TaskId,
        /// Whether to kill the worker if the task already runs.
        kill: bool,
    },
    /// A worker that was asked for by `Spawn` can take tasks.
    WorkerUp {
        /// The worker.
        worker: WorkerId,
        /// Its pool.
        pool: PoolId,
        /// Tasks that it runs at the same time: 1 for a process, the number of threads otherwise.
        slots: u32,
    },
    /// A worker that was asked for could not be started.
    SpawnFailed {
        /// The pool that wanted it.
        pool: PoolId,
        /// Whether trying again is pointless, for example because the initializer raised. The
        /// pool's tasks, present and future, are then rejected as `Rejection::PoolBroken`. Otherwise
        /// it is tried again, and after `SPAWN_FAILURES_MAX` failures in a row the tasks that wait
        /// for nothing but a worker are rejected as `Rejection::NoWorker`.
        broken: bool,
    },
    /// A worker of which `WorkerUp` was said ahead of time could not be started. What was handed to it
    /// runs elsewhere; else as after a `SpawnFailed` that is not `broken`.
    NeverStarted {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker is gone: crashed, killed or, with `running` empty, ended as asked.
    WorkerDown {
        /// The worker.
        worker: WorkerId,
        /// What it was running; only these have failed. Everything else that was handed to it
        /// runs elsewhere as if nothing had happened.
        running: Vec<TaskId>,
    },
    /// A task began to run. Only sent for tasks with a time limit, or when the caller knows.
    Started {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: Attempt,
    },
    /// A task returned.
    Finished {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: Attempt,
        /// Time it ran, without waiting.
        ran: Duration,
        /// What of it was not the call itself.
        phases: Phases,
        /// Bytes that its result takes; none if that stays in this process.
        bytes: u64,
        /// It is a batch in which items raised.
        items_raised: Option<ItemsRaised>,
    },
    /// A task raised, its time limit was enforced, or it was given up while it ran.
    Failed {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: Attempt,
        /// How.
        how: Failure,
        /// How long it ran, if that was reported.
        measured: Option<Measured>,
    },
    /// The answer to `Action::Retract`: these had not been started and never will be by that
    /// worker. Everything else handed to the worker is running or finished.
    Retracted {
        /// The worker.
        worker: WorkerId,
        /// The tasks taken back.
        tasks: Vec<TaskId>,
    },
    /// A running task waits for other tasks: its core is free meanwhile. Told again if what follows changes.
    Blocked {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: Attempt,
        /// None of these can need its place in the pool, so that no other task takes it.
        keeps_place: bool,
    },
    /// It goes on. It does so at once, even if all cores are busy: the budget is kept by starting
    /// nothing new until it is met again.
    Unblocked {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: Attempt,
    },
    /// Cores that running tasks may take together.
    SetCores(u32),
    /// Memory is short (or no longer): tasks without dependencies wait while others can run.
    MemoryPressure(bool),
    /// Time passed; due deadlines take effect.
    Tick,
}
