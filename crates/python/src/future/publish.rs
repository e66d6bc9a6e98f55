//! How those who watch a future learn that it is done: `concurrent.futures.wait`, `as_completed` and
//! callbacks.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use super::FutureBase;
use crate::crossing::Crossing;
use crate::interpreter::front;

/// How often whoever publishes a future looks whether to go on waiting for its condition.
const CONDITION_WAIT_S: f64 = 0.05;

/// Tells all who watch a future that it is done. For whoever cancelled it; otherwise the resolver does.
pub fn publish(future: &Bound<'_, FutureBase>) -> PyResult<()> {
    let told = tell_waiters(future, || false);
    told.and(call_callbacks(future))
}

/// Tells those who wait for a future that it is done. `gives_up` says that nobody can want to know any
/// more: whoever was interrupted while they took the conditions of many futures, as
/// `concurrent.futures.as_completed` does, holds some for ever.
///
/// Failures are reported. What is no `Exception`, as `KeyboardInterrupt`, was raised by a signal handler:
/// the first such is raised here, once all have been told.
pub fn tell_waiters(future: &Bound<'_, FutureBase>, gives_up: impl Fn() -> bool) -> PyResult<()> {
    let py = future.py();
    let this = future.get();
    let mut raised = Ok(());
    let condition = this.watch.with(|watch| {
        let condition = this.condition.get();
        watch.published |= condition.is_none();
        condition
    });
    let Some(condition) = condition else {
        return raised;
    };
    let condition = condition.bind(py);
    let method = if this.is_cancelled() {
        "add_cancelled"
    } else {
        let failed = this.has_failed(py);
        if or_raise(failed, future, &mut raised).unwrap_or(true) {
            "add_exception"
        } else {
            "add_result"
        }
    };
    match acquire(condition, gives_up) {
        Ok(true) => tell_each(future, condition, method, &mut raised),
        Ok(false) => {}
        // Whoever cancelled it was interrupted. The resolver, which hears of it too, tells them.
        Err(error) => note(error, future, &mut raised),
    }
    raised
}

/// Calls the callbacks of a future, each once. What is raised, as by a signal handler, or by a callback
/// that means it, is raised here once all have been called.
pub fn call_callbacks(future: &Bound<'_, FutureBase>) -> PyResult<()> {
    let taken = |watch: &mut super::Watch| std::mem::take(&mut watch.callbacks);
    let callbacks = future.get().watch.with(taken);
    let mut raised = Ok(());
    for callback in callbacks {
        raised = raised.and(call_back(future, callback.bind(future.py())));
    }
    raised
}

/// Takes the condition of a future; false if the caller gives up.
fn acquire(condition: &Bound<'_, PyAny>, gives_up: impl Fn() -> bool) -> PyResult<bool> {
    let acquire = condition.getattr("acquire")?;
    while !acquire.call1((true, CONDITION_WAIT_S))?.is_truthy()? {
        if gives_up() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Calls `method` of all waiters of a future, of which the condition was taken, and gives that back.
fn tell_each(
    future: &Bound<'_, FutureBase>,
    condition: &Bound<'_, PyAny>,
    method: &str,
    raised: &mut PyResult<()>,
) {
    let (py, this) = (future.py(), future.get());
    let published = |watch: &mut super::Watch| std::mem::replace(&mut watch.published, true);
    let first = !this.watch.with(published);
    let waiters = this.waiters.get().filter(|_| first);
    for waiter in waiters.iter().flat_map(|waiters| waiters.bind(py).iter()) {
        or_raise(waiter.call_method1(method, (future,)), &waiter, raised);
    }
    or_raise(condition.call_method0("notify_all"), condition, raised);
    // The lock's own method: within one written in Python a signal handler could run, and leave it locked.
    or_raise(condition.call_method0("release"), condition, raised);
}

/// What a call returned; what it raised is noted.
fn or_raise<T>(
    returned: PyResult<T>,
    whose: &Bound<'_, PyAny>,
    raised: &mut PyResult<()>,
) -> Option<T> {
    match returned {
        Ok(value) => Some(value),
        Err(error) => {
            note(error, whose, raised);
            None
        }
    }
}

/// Reports an error, or has it raised in the end, if it is the first such.
fn note(error: PyErr, whose: &Bound<'_, PyAny>, raised: &mut PyResult<()>) {
    if error.is_instance_of::<PyException>(whose.py()) {
        error.write_unraisable(whose.py(), Some(whose));
    } else if raised.is_ok() {
        *raised = Err(error);
    }
}

/// Calls a callback. As in `concurrent.futures`, an `Exception` of it is logged and all else raised.
pub(super) fn call_back(
    future: &Bound<'_, FutureBase>,
    callback: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let py = future.py();
    let _crossing = Crossing::begin(py);
    let Err(error) = callback.call1((future,)) else {
        return Ok(());
    };
    if !error.is_instance_of::<PyException>(py) {
        return Err(error);
    }
    let told = front(py).and_then(|front| {
        front
            .failures
            .bind(py)
            .call_method1("callback_raised", (future, error.into_value(py)))
    });
    if let Err(error) = told {
        error.write_unraisable(py, Some(callback));
    }
    Ok(())
}
