//! Which threads are the engine's own: they run calls, or callbacks of futures.
//!
//! Python cannot tell: it takes any thread that it has not started for a stranger.

use std::cell::Cell;

use pyo3::prelude::*;

use crate::generation::Generation;

thread_local! {
    /// The process in which this thread is an engine's: in a child that it forks it is the only one, and nobody's.
    static OWN_IN: Cell<Option<Generation>> = const { Cell::new(None) };
}

/// This thread is the engine's, from its beginning to its end.
pub fn become_own() {
    OWN_IN.set(Some(Generation::current()));
}

/// Whether this thread is one that an engine has started, to run calls or callbacks of futures.
#[pyfunction]
pub fn is_own_thread() -> bool {
    OWN_IN.get().is_some_and(Generation::is_current)
}
