//! Waiting for one of several futures, without watching any of them.

use lineshaft_engine::Promise;
use lineshaft_engine::worker::NestedCall;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use super::publish::publish;
use super::{FutureBase, Source};
use crate::event_loop::check_wait;
use crate::waiting::waiting;

/// Waits until one of the futures is done, at most `timeout` seconds; False if none is. They are of
/// one engine. A task that waits lends its core meanwhile; with a timeout of 0 it keeps it.
#[pyfunction]
#[pyo3(signature = (futures, timeout = None))]
#[expect(
    clippy::needless_pass_by_value,
    reason = "what Python passes is taken over as a vector"
)]
pub fn wait_any(
    py: Python<'_>,
    futures: Vec<Bound<'_, FutureBase>>,
    timeout: Option<f64>,
) -> PyResult<bool> {
    if futures.iter().any(|future| future.get().is_ended()) {
        return Ok(true);
    }
    let first = futures
        .first()
        .ok_or_else(|| PyValueError::new_err("there is nothing to wait for"))?;
    match first.get().source()? {
        Source::Task { core, .. } => {
            let engine = core.engine()?;
            let promises = futures
                .iter()
                .filter_map(|future| promise_of(future.get()))
                .collect::<Vec<&Promise>>();
            if timeout.is_none_or(|it| it > 0.0) {
                check_wait(py, core, &promises)?;
            }
            waiting(py, timeout, |timeout, check| {
                Ok(engine.wait_any(&promises, timeout, check))
            })
        }
        Source::Nested { client, .. } => {
            let calls = futures
                .iter()
                .filter_map(|future| call_of(future.get()))
                .collect::<Vec<&NestedCall>>();
            let session = client.session()?;
            waiting(py, timeout, |timeout, check| {
                let waited = session.wait_for_any(&calls, timeout, check);
                waited.map_err(|error| PyRuntimeError::new_err(error.to_string()))
            })
        }
    }
}

fn promise_of(future: &FutureBase) -> Option<&Promise> {
    match future.source.get() {
        Some(Source::Task { promise, .. }) => Some(promise),
        _ => None,
    }
}

fn call_of(future: &FutureBase) -> Option<&NestedCall> {
    match future.source.get() {
        Some(Source::Nested { call, .. }) => Some(call),
        _ => None,
    }
}

/// Cancels the calls that are not done, those too that run in worker processes: these are killed.
/// One that runs on a thread goes on, but nobody hears of it, and another thread takes its place.
#[pyfunction]
pub fn cancel_running(py: Python<'_>, futures: Vec<Bound<'_, FutureBase>>) -> PyResult<()> {
    let mut published = Ok(());
    for future in futures {
        let this = future.get();
        if this.is_ended() {
            continue;
        }
        match this.source()? {
            Source::Task { core, promise, .. } => {
                let engine = core.engine()?;
                py.detach(|| engine.cancel(promise, true));
            }
            Source::Nested { client, call, .. } => {
                let session = client.session()?;
                py.detach(|| session.cancel(call, true))
                    .map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
            }
        }
        if this.is_cancelled() {
            published = published.and(publish(&future));
        }
    }
    published
}

/// Calls `function` with the future once it is done, as `add_done_callback` does. In a task, that says
/// that it does not wait for the callback: it keeps its core.
#[pyfunction]
pub fn when_done(future: &Bound<'_, FutureBase>, function: &Bound<'_, PyAny>) -> PyResult<()> {
    FutureBase::add_callback(future, function, false)
}
