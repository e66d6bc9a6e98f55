//! The thread of an event loop: waiting on it, while nothing else runs there, and whose turn it is.

use std::cell::OnceCell;
use std::sync::{Arc, Weak};

use lineshaft_engine::Promise;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::engine::Core;
use crate::turns::Turn;

thread_local! {
    static OWN: OnceCell<Own> = const { OnceCell::new() };
}

/// What the thread of an event loop knows.
struct Own {
    /// The engine of which it runs calls.
    core: Weak<Core>,
    event_loop: Py<PyAny>,
    turn: Arc<Turn>,
}

/// This thread is that of an event loop, which has methods `block()`, `unblock()` and `runs(task)`.
/// Returns what is to be told whose turn it is.
pub fn adopt(core: &Weak<Core>, event_loop: &Bound<'_, PyAny>) -> Arc<Turn> {
    let own = || {
        let turn = Arc::new(Turn::default());
        if let Some(core) = core.upgrade() {
            core.turns.add(&turn);
        }
        Own {
            core: Weak::clone(core),
            event_loop: event_loop.clone().unbind(),
            turn,
        }
    };
    OWN.with(|it| Arc::clone(&it.get_or_init(own).turn))
}

/// The event loop of this thread, if it has one.
fn own(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    OWN.with(|own| {
        own.get()
            .map(|own| own.event_loop.clone_ref(py).into_bound(py))
    })
}

/// Whether this thread is that of an event loop.
pub fn is_here() -> bool {
    OWN.with(|own| own.get().is_some())
}

/// The event loop of this thread waits until this is dropped: others take its calls.
pub struct Blocked<'py>(Bound<'py, PyAny>);

impl<'py> Blocked<'py> {
    /// None if this is no event loop's thread.
    pub fn begin(py: Python<'py>) -> PyResult<Option<Blocked<'py>>> {
        let Some(own) = own(py) else { return Ok(None) };
        own.call_method0("block")?;
        Ok(Some(Blocked(own)))
    }
}

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.call_method0("unblock") {
            error.write_unraisable(self.0.py(), Some(&self.0));
        }
    }
}

/// Refuses to wait for one of these tasks if this is the thread of the event loop that all of them need to
/// go on.
pub fn check_wait(py: Python<'_>, core: &Core, promises: &[&Promise]) -> PyResult<()> {
    let own = OWN.with(|own| {
        let own = own
            .get()
            .filter(|own| std::ptr::eq(own.core.as_ptr(), core))?;
        Some(own.event_loop.clone_ref(py).into_bound(py))
    });
    let Some(own) = own else { return Ok(()) };
    for promise in promises {
        if promise.is_done() || !own.call_method1("runs", (promise.task().0,))?.is_truthy()? {
            return Ok(());
        }
    }
    Err(PyRuntimeError::new_err(
        "this would wait for ever: what it waits for has begun on the event loop that it would block; await it instead",
    ))
}
