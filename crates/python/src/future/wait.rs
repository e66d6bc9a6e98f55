//! Waiting for one future.

use std::time::{Duration, Instant};

use lineshaft_engine::Promise;
use pyo3::exceptions::{PyRuntimeError, PyTimeoutError};
use pyo3::prelude::*;

use super::{FutureBase, Source};
use crate::engine::Core;
use crate::event_loop::check_wait;
use crate::waiting::waiting;

fn in_time(waited: bool) -> PyResult<()> {
    if waited {
        return Ok(());
    }
    Err(PyTimeoutError::new_err(()))
}

/// Waits until the task has ended.
pub fn wait_for(
    py: Python<'_>,
    core: &Core,
    promise: &Promise,
    timeout_s: Option<f64>,
) -> PyResult<()> {
    if promise.is_done() {
        return Ok(());
    }
    let engine = core.engine()?;
    if timeout_s.is_none_or(|it| it > 0.0) {
        check_wait(py, core, &[promise])?;
    }
    in_time(waiting(py, timeout_s, |timeout, check| {
        Ok(engine.wait(promise, timeout, check))
    })?)
}

impl FutureBase {
    /// Waits until the task has ended, what was printed before is shown, and what is to be called before has been, if
    /// that does not take too long.
    pub(super) fn wait_for_all_before(
        &self,
        py: Python<'_>,
        timeout_s: Option<f64>,
    ) -> PyResult<()> {
        let began = Instant::now();
        self.wait(py, timeout_s)?;
        let Source::Task { core, pool, .. } = self.source()? else {
            return Ok(());
        };
        core.resolver.show_before_result(py)?;
        if !self.has_callbacks_before() {
            return Ok(());
        }
        let limit = timeout_s.and_then(|it| Duration::try_from_secs_f64(it.max(0.0)).ok());
        let deadline = limit.and_then(|limit| began.checked_add(limit));
        core.resolver
            .wait_for_callbacks_before(py, *pool, self, deadline)
    }

    /// Waits until the task has ended.
    pub(super) fn wait(&self, py: Python<'_>, timeout_s: Option<f64>) -> PyResult<()> {
        if self.is_ended() {
            return Ok(());
        }
        match self.source()? {
            Source::Task { core, promise, .. } => wait_for(py, core, promise, timeout_s),
            Source::Nested { client, call, .. } => {
                let session = client.session()?;
                in_time(waiting(py, timeout_s, |timeout, check| {
                    let waited = session.wait_for(call, timeout, check);
                    waited.map_err(|error| PyRuntimeError::new_err(error.to_string()))
                })?)
            }
        }
    }
}
