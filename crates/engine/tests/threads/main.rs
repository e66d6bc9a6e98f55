//! Calls of this process, through the public interface: closures on pools of threads.

#[path = "../common/mod.rs"]
mod common;
mod moments;

mod cancelling;
mod defects;
mod ending;
mod graphs;
mod nesting;
mod pools;
mod reader;
mod results;
mod telling;
mod time_limits;
mod waiting;
