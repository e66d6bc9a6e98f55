//! One picture of an engine: what it does and did, from its event log, within bounds.
//!
//! [`Dashboard::start`] starts a thread that reads the log of one engine into a picture (`picture`):
//! tasks with their times (`tasks`), bars on lanes (`lanes`), distributions by function (`groups`),
//! numbers over time (`history`). What is shown of it is in `view`, as types of this crate's own.
//!
//! Architecture invariant: nothing here makes the engine wait, and nothing here is there for an engine
//! whose picture nobody asked for. Every table is bounded (`limits`), and what did not fit or was
//! missed is counted.

mod collector;
mod graph;
mod groups;
mod histogram;
mod history;
mod lanes;
pub mod limits;
mod memory;
mod metrics;
mod most_memory;
mod picture;
mod profile;
mod report;
mod server;
mod tasks;
mod trace;
mod usage;
pub mod view;
mod waits;

#[cfg(test)]
mod script;

pub use collector::Dashboard;
pub use server::Server;
pub use trace::Traced;
