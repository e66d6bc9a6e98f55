//! `lineshaft._native`: the engine's Python face, and the only crate that knows Python.
//!
//! Bodies here extract, detach, call the engine and convert; they decide nothing. Two rules keep
//! the interpreter and the engine from waiting for each other: nobody waits for the engine while
//! attached, and nobody touches Python while holding a lock of Rust (`locked` sees to the latter).

mod awaits;
mod callbacks;
mod client;
mod crossing;
mod definition;
mod encode;
mod engine;
mod event_loop;
mod future;
mod generation;
mod graph;
mod hooks;
mod interpreter;
mod kept;
mod lending;
mod locked;
mod notices;
mod observed;
mod own_thread;
mod packed;
mod pool;
mod resolver;
mod runner;
mod segment;
mod session;
mod snapshot;
mod stats;
mod submission;
mod task_options;
mod threads;
mod turns;
mod values;
mod waiting;
mod zygote;

use pyo3::prelude::*;

/// The engine behind `lineshaft`.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::awaits::Awaits;
    #[pymodule_export]
    use super::crossing::end_crossings;
    #[pymodule_export]
    use super::definition::DefinitionBase;
    #[pymodule_export]
    use super::engine::Engine;
    #[pymodule_export]
    use super::future::{FutureBase, cancel_running, wait_any, when_done};
    #[pymodule_export]
    use super::generation::after_fork;
    #[pymodule_export]
    use super::graph::{GraphRun, static_order};
    #[pymodule_export]
    use super::kept::{KeptCall, code_of};
    #[pymodule_export]
    use super::lending::LentCore;
    #[pymodule_export]
    use super::own_thread::is_own_thread;
    #[pymodule_export]
    use super::pool::Pool;
    #[pymodule_export]
    use super::runner::EventLoopCall;
    #[pymodule_export]
    use super::segment::{ArraysKept, Segment};
    #[pymodule_export]
    use super::session::Session;
    #[pymodule_export]
    use super::snapshot::Snapshot;
    #[pymodule_export]
    use super::task_options::TaskOptions;
    #[pymodule_export]
    use super::zygote::Zygote;

    /// The version of the package.
    #[expect(non_upper_case_globals, reason = "the name that Python has for it")]
    #[pymodule_export]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    /// The priority of calls that are offered to workers which have nothing better to do.
    #[pymodule_export]
    const OFFER_PRIORITY: i32 = lineshaft_engine::OFFER;

    /// Sent to a worker to look for a task that is to be interrupted.
    #[pymodule_export]
    const INTERRUPT_SIGNAL: i32 = lineshaft_engine::worker::INTERRUPT_SIGNAL.as_raw();

    /// Sent to a worker to write the stacks of its threads.
    #[pymodule_export]
    const DUMP_SIGNAL: i32 = lineshaft_engine::worker::DUMP_SIGNAL.as_raw();

    /// Sent to a worker to write them as soon as that is safe.
    #[pymodule_export]
    const LOOK_SIGNAL: i32 = lineshaft_engine::worker::LOOK_SIGNAL.as_raw();
}
