//! The scheduler as a pure state machine, and the types around it.
//!
//! Architecture invariant: nothing in this crate does I/O, reads a clock, starts a thread or knows
//! what a task's payload is. Equal inputs give equal actions.

mod ids;
mod time;

mod action;
mod input;
mod spec;

mod scheduler;

mod events;
mod graph;
mod groups;
pub mod limits;
mod order;
mod ready;

pub use action::{Action, Rejection};
pub use events::{Event, EventKind, EventLog, Measured, Phases, Since};
pub use groups::GroupSummary;
pub use ids::{Attempt, GroupId, PoolId, TaskId, WorkerId};
pub use input::{Failure, Input, ItemsRaised};
pub use order::static_order;
pub use scheduler::{Counts, Explanation, PoolCounts, QueuedBecause, Scheduler};
pub use spec::{OFFER, PoolSpec, Prefetch, Retries, TaskSpec};
pub use time::Time;
