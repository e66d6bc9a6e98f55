//! What a caller chooses: for the engine, for a pool, for a task.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lineshaft_core::{GroupId, PoolId, Retries};

use crate::observer::Observer;
use crate::payload::{Code, Payload};
use crate::promise::Promise;
use crate::runner::{Body, Runner};

/// How an engine is set up.
pub struct EngineOptions {
    /// Cores that running tasks may take together.
    pub cores: u32,
    /// Shared memory that objects may take together, in bytes.
    pub memory_bytes: u64,
    /// Where objects go beyond that.
    pub spill_dir: PathBuf,
    /// The program that worker processes are forked from. It finds a socket as its standard input
    /// and serves it; without one there are no process pools.
    pub zygote: Option<Program>,
    /// Where output and log records of worker processes go.
    pub observer: Arc<dyn Observer>,
}

/// A program to start.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables set on top of this process's environment.
    pub environment: Vec<(OsString, OsString)>,
    /// What it is sent first, in the front end's encoding.
    pub setup: Vec<u8>,
}

/// How a pool is set up.
pub struct PoolOptions {
    /// Shown to the user.
    pub name: String,
    /// Tasks that may run at the same time.
    pub workers: u32,
    /// What runs them.
    pub kind: PoolKind,
}

/// What runs the tasks of a pool.
pub enum PoolKind {
    /// Worker processes.
    Processes {
        /// Called in each worker before its first task.
        initializer: Option<(Arc<Code>, Payload)>,
        /// Definitions that the initializer's arguments need.
        definitions: Vec<Arc<Code>>,
        /// Tasks after which a worker is replaced.
        tasks_per_worker_max: Option<u32>,
        /// Growth of its resident memory after which a worker is replaced, in bytes.
        growth_bytes_max: Option<u64>,
        /// Whether a worker that is to end may take as long for it as it needs, until the pool is hurried.
        patient: bool,
    },
    /// Threads of this process.
    Threads {
        /// Runs the calls.
        runner: Arc<dyn Runner>,
        /// Threads to run them on, if fewer than calls: a runner that hands calls on to an event
        /// loop needs one thread for any number of them.
        threads_max: Option<u32>,
        /// Whether a running call takes a core of the budget; calls that wait for I/O do not.
        takes_core: bool,
        /// The stack of each thread, in bytes; by default what the system gives to new threads, which is
        /// the limit of the main thread's.
        stack_bytes: Option<usize>,
        /// How long a thread without a call stays; without a value, until the pool closes.
        idle_max: Option<Duration>,
    },
}

/// One task.
pub struct TaskRequest {
    /// The pool whose workers may run it.
    pub pool: PoolId,
    /// The group it is counted under.
    pub group: GroupId,
    /// What it calls.
    pub work: Work,
    /// Tasks whose results it refers to by index.
    pub inputs: Vec<Arc<Promise>>,
    /// How it is scheduled.
    pub policy: Policy,
}

/// What a task calls.
#[derive(Clone)]
pub enum Work {
    /// A call in a worker process.
    Remote {
        /// The callable.
        code: Arc<Code>,
        /// Further definitions that the arguments need.
        definitions: Vec<Arc<Code>>,
        /// The pickled arguments.
        args: Payload,
        /// Whether the arguments are a list of items, for each of which the callable is called.
        each: bool,
    },
    /// A call in this process.
    Local(Body),
}

impl Work {
    /// Whether this is a call of this process.
    pub fn is_local(&self) -> bool {
        matches!(self, Work::Local(_))
    }
}

/// How a task is scheduled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    /// Greater runs earlier.
    pub priority: i32,
    /// What to do when it fails.
    pub retries: Retries,
    /// Wall time one attempt may take.
    pub timeout: Option<Duration>,
    /// Whether those do not wait for it who wait for all others before the program ends.
    pub daemon: bool,
    /// Whether nobody asked for it: a front end makes it for itself, and it is in no count, summary or picture. Its
    /// worker's death is told of like any other.
    pub internal: bool,
}
