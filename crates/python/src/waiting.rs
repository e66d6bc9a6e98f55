//! Waiting without the interpreter, but heeding its signals.

use std::time::Duration;

use lineshaft_engine::{Check, Waited};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::event_loop::Blocked;

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
    let _blocked = Blocked::begin(py)?;
    let mut raised = None;
    let mut check = || check_signals(&mut raised);
    let check: Option<Check<'_>> = if is_main { Some(&mut check) } else { None };
    match py.detach(|| wait(timeout, check))? {
        Waited::Done => Ok(true),
        Waited::TimedOut => Ok(false),
        Waited::Interrupted => Err(raised.expect("only a handler that raised interrupts")),
    }
}

/// Whether this is the thread that Python's signal handlers run on.
fn is_main_thread() -> bool {
    rustix::thread::gettid() == rustix::process::getpid()
}

/// How long to wait, as Python's own functions understand seconds: not at all if they are negative,
/// for ever if there are none, or more than a clock can count.
fn timeout(seconds: Option<f64>) -> PyResult<Option<Duration>> {
    match seconds {
        Some(seconds) if seconds.is_nan() => {
            let why = "timeout must be a number of seconds, not nan";
            Err(PyValueError::new_err(why))
        }
        seconds => Ok(seconds.and_then(|it| Duration::try_from_secs_f64(it.max(0.0)).ok())),
    }
}

/// Runs pending signal handlers; keeps what one of them raised.
fn check_signals(raised: &mut Option<PyErr>) -> bool {
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method itself is not general enough"
    )]
    let outcome = Python::try_attach(|py| py.check_signals());
    if let Some(Err(error)) = outcome {
        *raised = Some(error);
    }
    raised.is_some()
}
