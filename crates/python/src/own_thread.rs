//! Which threads are the engine's own: they run calls, or callbacks of futures.
//!
//! Python cannot tell: it takes any thread that it has not started for a stranger.

use std::cell::Cell;

use pyo3::prelude::*;

thread_local! {
    static IS_OWN: Cell<bool> = const { Cell::new(false) };
}

/// This thread is the engine's, from its beginning to its end.
pub fn become_own() {
    IS_OWN.set(true);
}

/// Whether this thread is one that an engine has started, to run calls or callbacks of futures.
#[pyfunction]
pub fn is_own_thread() -> bool {
    IS_OWN.get()
}
