//! Waiting without the interpreter, but heeding its signals.

use std::time::Duration;

use lineshaft_engine::{Check, Promise, Waited};
use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;

use crate::engine::Core;
use crate::interpreter::{check_signals, is_main_thread, timeout};

/// Waits with `wait`, which is given the time limit and the check for signals; false if it timed out.
pub fn waiting(
    py: Python<'_>,
    timeout_s: Option<f64>,
    wait: impl FnOnce(Option<Duration>, Option<Check<'_>>) -> PyResult<Waited> + Send,
) -> PyResult<bool> {
    let timeout = timeout(timeout_s)?;
    let is_main = is_main_thread();
    if is_main {
        py.check_signals()?;
    }
    let mut raised = None;
    let mut check = || check_signals(&mut raised);
    let check: Option<Check<'_>> = if is_main { Some(&mut check) } else { None };
    match py.detach(|| wait(timeout, check))? {
        Waited::Done => Ok(true),
        Waited::TimedOut => Ok(false),
        Waited::Interrupted => Err(raised.expect("only a handler that raised interrupts")),
    }
}

pub fn in_time(waited: bool) -> PyResult<()> {
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
    in_time(waiting(py, timeout_s, |timeout, check| {
        Ok(engine.wait(promise, timeout, check))
    })?)
}
