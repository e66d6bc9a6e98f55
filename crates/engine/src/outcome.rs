//! How a task ended.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use lineshaft_wire::Death;

use crate::payload::{Code, Payload};
use crate::promise::Promise;

/// How a task ended.
pub enum Outcome {
    /// It returned, in a worker process.
    Value(Payload),
    /// It returned, in this process.
    Local {
        /// What it returned; the runner knows the type.
        value: Box<dyn Any + Send + Sync>,
        /// The same for worker processes, if a task there needs it; or why it cannot be sent there.
        portable: Option<Result<Portable, String>>,
    },
    /// It has no result.
    Error(TaskError),
}

/// A value of this process as worker processes take it.
pub struct Portable {
    /// The value.
    pub payload: Payload,
    /// Definitions that it needs.
    pub definitions: Vec<Arc<Code>>,
}

impl Outcome {
    /// The value for a worker process and the definitions that it needs, or why there is none.
    pub(crate) fn for_worker(&self) -> Result<(&Payload, &[Arc<Code>]), &str> {
        match self {
            Outcome::Value(payload) => Ok((payload, &[])),
            Outcome::Local { portable, .. } => match portable {
                Some(Ok(portable)) => Ok((&portable.payload, &portable.definitions)),
                Some(Err(why)) => Err(why),
                None => Err("nobody said in time that a worker process needs it"),
            },
            Outcome::Error(_) => Err("there is none"),
        }
    }
}

/// Why a task with these inputs fails, if one of them has failed.
pub(crate) fn failed_input(inputs: &[Arc<Promise>]) -> Option<TaskError> {
    inputs.iter().find_map(|input| match input.outcome()? {
        Outcome::Error(TaskError::Dependency(root)) => {
            Some(TaskError::Dependency(Arc::clone(root)))
        }
        Outcome::Error(_) => Some(TaskError::Dependency(Arc::clone(input))),
        Outcome::Value(_) | Outcome::Local { .. } => None,
    })
}

impl fmt::Debug for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Value(payload) => out.debug_tuple("Value").field(&payload.bytes()).finish(),
            Outcome::Local { .. } => out.write_str("Local"),
            Outcome::Error(error) => out.debug_tuple("Error").field(error).finish(),
        }
    }
}

/// Why a task has no result.
#[derive(Debug)]
pub enum TaskError {
    /// It raised in a worker process: the pickled exception.
    Raised(Payload),
    /// It raised in this process; the runner knows the type.
    RaisedLocal(Box<dyn Any + Send + Sync>),
    /// It was cancelled before it ran.
    Cancelled,
    /// It exceeded its time limit.
    TimedOut {
        /// The last stack of the worker, if it had to be killed.
        stack: Option<String>,
    },
    /// Its worker died under it.
    WorkerDied(DeathReport),
    /// A task whose result it needs has none: the first one, which failed by itself. Never a task
    /// that failed by a dependency in turn, or else a long chain would be freed by deep recursion.
    Dependency(Arc<Promise>),
    /// The workers of its pool cannot be started: the initializer's pickled exception, or words.
    PoolBroken(Result<Payload, String>),
    /// Its pool has no worker and could not start one for some time: what the system said.
    NoWorker(String),
    /// It could not be sent to a worker or its result could not be taken over.
    Transfer(String),
    /// The engine stopped because of a defect in itself: the panic's message.
    Poisoned(String),
}

/// What is known of the death of a worker.
#[derive(Clone, Debug, Default)]
pub struct DeathReport {
    /// The task it ran, as its group's name.
    pub task: String,
    /// The process.
    pub pid: u32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// Its exit status, if it ended by itself.
    pub exit_code: Option<i32>,
    /// The most memory it ever had resident, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Whether the kernel killed it, or another process of the same cgroup, for lack of memory.
    pub oom_killed: bool,
    /// The item it was at, if the task was a batch of them; counted from 0.
    pub item: Option<u64>,
    /// Its last Python stack, as far as it could be had.
    pub stack: Option<String>,
}

impl DeathReport {
    pub(crate) fn to_wire(&self) -> Death<'_> {
        Death {
            task: &self.task,
            pid: self.pid,
            signal: self.signal,
            exit_code: self.exit_code,
            peak_memory_bytes: self.peak_memory_bytes,
            oom_killed: self.oom_killed,
            item: self.item,
            stack: self.stack.as_deref(),
        }
    }

    pub(crate) fn from_wire(death: &Death<'_>) -> DeathReport {
        DeathReport {
            task: death.task.to_owned(),
            pid: death.pid,
            signal: death.signal,
            exit_code: death.exit_code,
            peak_memory_bytes: death.peak_memory_bytes,
            oom_killed: death.oom_killed,
            item: death.item,
            stack: death.stack.map(str::to_owned),
        }
    }
}
