//! The scheduler as a pure state machine, and the types around it.
//!
//! Architecture invariant: nothing in this crate does I/O, reads a clock, starts a thread or knows
//! what a task's payload is. Equal inputs give equal actions.

mod action;
mod ids;
mod input;
mod spec;
mod time;

pub use action::{Action, Rejection};
pub use ids::{Attempt, GroupId, PoolId, TaskId, WorkerId};
pub use input::Input;
pub use spec::{PoolSpec, Retries, TaskSpec};
pub use time::Time;
