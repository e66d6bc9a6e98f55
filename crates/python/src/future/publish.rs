//! How those who watch a future learn that it is done: `concurrent.futures.wait`, `as_completed` and
//! callbacks.

use pyo3::prelude::*;

use super::FutureBase;
use crate::interpreter::front;

/// How often whoever publishes a future looks whether to go on waiting for its condition.
const CONDITION_WAIT_S: f64 = 0.05;

/// Shows those who watch a future that it is done, and calls its callbacks, each once. `gives_up`
/// says that nobody can want to know any more: whoever was interrupted while they took the
/// conditions of many futures, as `concurrent.futures.as_completed` does, holds some for ever.
pub fn publish(future: &Bound<'_, FutureBase>, gives_up: impl Fn() -> bool) {
    if let Err(error) = try_publish(future, gives_up) {
        error.write_unraisable(future.py(), Some(future.as_any()));
    }
}

fn try_publish(future: &Bound<'_, FutureBase>, gives_up: impl Fn() -> bool) -> PyResult<()> {
    let py = future.py();
    let this = future.get();
    let condition = this.watch.with(|watch| {
        let condition = this.condition.get();
        watch.published |= condition.is_none();
        condition
    });
    if let Some(condition) = condition {
        let method = if this.is_cancelled() {
            "add_cancelled"
        } else if this.has_failed(py)? {
            "add_exception"
        } else {
            "add_result"
        };
        let condition = condition.bind(py);
        let acquire = condition.getattr("acquire")?;
        while !acquire.call1((true, CONDITION_WAIT_S))?.is_truthy()? {
            if gives_up() {
                return Ok(());
            }
        }
        let published = |watch: &mut super::Watch| std::mem::replace(&mut watch.published, true);
        let first = !this.watch.with(published);
        let waiters = this.waiters.get().filter(|_| first);
        for waiter in waiters.iter().flat_map(|waiters| waiters.bind(py).iter()) {
            if let Err(error) = waiter.call_method1(method, (future,)) {
                error.write_unraisable(py, Some(&waiter));
            }
        }
        condition.call_method0("notify_all")?;
        condition.call_method1("__exit__", (py.None(), py.None(), py.None()))?;
    }
    let taken = |watch: &mut super::Watch| std::mem::take(&mut watch.callbacks);
    let callbacks = this.watch.with(taken);
    for callback in callbacks {
        call_back(future, callback.bind(py));
    }
    Ok(())
}

/// Calls a callback; what it raises is logged, as `concurrent.futures` does.
pub(super) fn call_back(future: &Bound<'_, FutureBase>, callback: &Bound<'_, PyAny>) {
    let py = future.py();
    if let Err(error) = callback.call1((future,)) {
        let told = front(py).and_then(|front| {
            front
                .failures
                .bind(py)
                .call_method1("callback_raised", (future, error.into_value(py)))
        });
        if let Err(error) = told {
            error.write_unraisable(py, Some(callback));
        }
    }
}
