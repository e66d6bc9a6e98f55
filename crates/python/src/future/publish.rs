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
    let condition = {
        let mut watch = this.watch();
        if watch.condition.is_none() {
            watch.published = true;
        }
        watch
            .condition
            .as_ref()
            .map(|condition| condition.clone_ref(py))
    };
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
        let waiters = {
            let mut watch = this.watch();
            let first = !std::mem::replace(&mut watch.published, true);
            watch
                .waiters
                .as_ref()
                .filter(|_| first)
                .map(|waiters| waiters.clone_ref(py))
        };
        for waiter in waiters.iter().flat_map(|waiters| waiters.bind(py).iter()) {
            if let Err(error) = waiter.call_method1(method, (future,)) {
                error.write_unraisable(py, Some(&waiter));
            }
        }
        condition.call_method0("notify_all")?;
        condition.call_method1("__exit__", (py.None(), py.None(), py.None()))?;
    }
    let callbacks = std::mem::take(&mut this.watch().callbacks);
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
