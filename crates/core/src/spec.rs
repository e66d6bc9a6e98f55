//! What the scheduler is told of a task and of a pool. Payloads stay with the caller.

use std::time::Duration;

use crate::ids::{GroupId, PoolId, TaskId};

/// A task as the scheduler sees it: edges and policy, never a payload.
#[derive(Clone, PartialEq, Debug)]
pub struct TaskSpec {
    /// Its identity, greater than that of every task submitted before.
    pub task: TaskId,
    /// The pool whose workers may run it.
    pub pool: PoolId,
    /// The function it calls.
    pub group: GroupId,
    /// The running task that asked for it, if one did: it may wait for this one.
    pub parent: Option<TaskId>,
    /// Unfinished tasks whose results it needs. The caller leaves out what has finished.
    pub dependencies: Vec<TaskId>,
    /// Finished tasks whose results it needs. Nothing waits for these: they are told to readers of events.
    pub supplied: Vec<TaskId>,
    /// Greater runs earlier, among tasks that are ready. The least is that of an [`OFFER`].
    pub priority: i32,
    /// What to do when it fails.
    pub retries: Retries,
    /// Wall time that one attempt may run; counted from its start.
    pub timeout: Option<Duration>,
}

/// The priority of a task that is offered to workers which have nothing better to do: whoever offers it can do
/// without. It is not handed to busy ones, nor worth a worker that stands in for one that waits, unless that waits
/// for long.
pub const OFFER: i32 = i32::MIN;

/// How often a task runs again after a failure, and how long it waits before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Retries {
    /// Runs allowed after the task itself raised or ran out of time.
    pub failures_max: u16,
    /// Runs allowed after its worker died under it.
    pub deaths_max: u16,
    /// Wait before the first retry; doubled for each further one.
    pub backoff: Duration,
    /// It is a batch whose caller runs its items again, as tasks of their own, if its worker dies under it.
    pub items_run_again: bool,
}

/// A set of interchangeable workers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolSpec {
    /// Its identity, never reused.
    pub pool: PoolId,
    /// Workers that may run at the same time, not counting blocked ones.
    pub workers_max: u32,
    /// Cores of the machine's budget that a running task takes: 1 for computation, 0 for threads
    /// that wait for I/O.
    pub cores_per_task: u32,
    /// How far ahead tasks are handed to workers.
    pub prefetch: Prefetch,
}

/// How far ahead tasks are handed to a worker that is not free yet, to hide the way there. What is handed
/// ahead runs before anything better that is ready by then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prefetch {
    /// Not at all.
    Off,
    /// Only tasks that are short: the way is one within this process.
    Short,
    /// At least one task: the way is to another process.
    Long,
}
