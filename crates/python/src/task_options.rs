//! `TaskOptions`: priority, retries and time limit, as Python gives them.

use std::time::Duration;

use lineshaft_core::Retries;
use lineshaft_engine::Policy;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// How a task is scheduled.
#[pyclass(frozen, module = "lineshaft._native")]
#[derive(Clone, Copy, Default)]
pub struct TaskOptions {
    pub policy: Policy,
}

#[pymethods]
impl TaskOptions {
    /// `retries` after the task raised or ran out of time, and after its worker died; `backoff_s`
    /// seconds before the first, doubled for each further one; `timeout_s` seconds for an attempt. The end
    /// of the program waits for all calls but daemons. An internal one, which is no call of the program's, is in no
    /// count and on no page.
    #[new]
    #[pyo3(signature = (*, priority = 0, retries = 0, death_retries = 0, backoff_s = 0.0, timeout_s = None, daemon = false, internal = false))]
    fn new(
        priority: i32,
        retries: u16,
        death_retries: u16,
        backoff_s: f64,
        timeout_s: Option<f64>,
        daemon: bool,
        internal: bool,
    ) -> PyResult<TaskOptions> {
        let seconds = |name: &str, value: f64| {
            Duration::try_from_secs_f64(value).map_err(|_| {
                PyValueError::new_err(format!("{name} must be a number of seconds, not {value}"))
            })
        };
        let backoff = seconds("backoff", backoff_s)?;
        let timeout = timeout_s
            .map(|value| seconds("timeout", value))
            .transpose()?;
        let retries = Retries {
            failures_max: retries,
            deaths_max: death_retries,
            backoff,
            items_run_again: false,
        };
        Ok(TaskOptions {
            policy: Policy {
                priority,
                retries,
                timeout,
                daemon,
                internal,
            },
        })
    }
}
