//! The engine: it runs tasks on threads of this process and on worker processes.
//!
//! The bird's eye view: callers put commands into an inbox (`shared`), whoever holds the state
//! lock turns them into inputs of the scheduler and carries its actions out (`state`), calls of
//! this process go to threads (`threads`, through the `Runner` trait), all others to worker
//! processes (`process`), whose own side is `worker`. One thread at a time listens to the workers
//! (`poll_role`): a caller that waits, or the loop thread.
//!
//! Architecture invariant: nothing in this crate knows Python. Values are payloads or opaque
//! bodies; what they mean is known to the `Runner` and to the worker's `Interpreter`.

mod admission;
mod aftermath;
mod caller;
mod clock;
mod command;
mod descriptors;
mod endings;
mod engine;
mod error;
mod excerpt;
mod explain;
mod graph;
mod groups;
mod holds;
mod limits;
mod loop_thread;
mod marks;
mod observer;
mod options;
mod outcome;
mod output;
mod payload;
mod poll_role;
mod poller;
mod pools;
mod process;
mod promise;
mod reader;
mod relief;
mod runner;
mod shared;
mod signals;
mod spin;
mod state;
mod tasks;
mod texts;
mod threads;
mod untold;
mod wait;
pub mod worker;

pub use descriptors::{Noted, Ours, take_inherited};
pub use engine::{Engine, EngineStats};
pub use error::EngineError;
pub use groups::GroupName;
pub use limits::{EXIT_GRACE, INLINE_BYTES_MAX, LONG_CALL, THREAD_IDLE_MAX};
pub use observer::{Observer, Silent};
pub use options::{EngineOptions, Policy, PoolKind, PoolOptions, Program, TaskRequest, Work};
pub use outcome::{DeathReport, Outcome, Portable, TaskError};
pub use output::{OutputDropped, Printed, TaskOutput};
pub use payload::{Code, CodeId, Payload};
pub use poller::Stream;
pub use process::{
    Death, Left, Peaks, Pinned, Place, PoolTotals, Pools, Snapshot, Stack, Started, lost,
};
pub use promise::Promise;
pub use reader::{Reader, Totals, WorkerKind, WorkerTotals};
pub use runner::{AwaitedPool, BlockedCall, Body, Call, CallEnd, Calls, Runner, current_task};
pub use texts::AttemptText;
pub use untold::{EndedAt, Untold};
pub use wait::{Check, Waited};

pub use lineshaft_core::OFFER;
pub use lineshaft_store::{Owned, Owner, Owners};

pub use lineshaft_core::{Counts, Event, EventKind, GroupSummary, PoolCounts, Since};
