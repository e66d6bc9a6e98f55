//! What a future has in the end: outcomes and answers as Python objects.

use lineshaft_engine::worker::{Received, Session, Unanswered};
use lineshaft_engine::{DeathReport, Outcome, TaskError};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyModule;

use crate::crossing::Crossing;
use crate::interpreter::front;
use crate::values::Loadable;

/// A result, or an exception.
pub(super) type Value = Result<Py<PyAny>, Py<PyAny>>;

/// What a call of this process returned or raised.
pub(super) fn local_object(outcome: &Outcome) -> Option<&Py<PyAny>> {
    match outcome {
        Outcome::Local { value: object, .. } | Outcome::Error(TaskError::RaisedLocal(object)) => {
            object.downcast_ref()
        }
        _ => None,
    }
}

/// The outcome at the root of a chain of dependencies.
pub(super) fn root(mut outcome: Option<&Outcome>) -> Option<&Outcome> {
    while let Some(Outcome::Error(TaskError::Dependency(cause))) = outcome {
        outcome = cause.outcome();
    }
    outcome
}

/// The result or the exception of a task, as Python objects.
pub(super) fn of_outcome(py: Python<'_>, outcome: &Outcome) -> PyResult<Value> {
    let _crossing = Crossing::begin(py);
    let front = front(py)?;
    let failures = front.failures.bind(py);
    let error = match root(Some(outcome)).expect("a dependency that failed has ended") {
        Outcome::Value(payload) => {
            let loadable = Loadable::from_payload(py, payload)?;
            let value = match loadable.load(py) {
                // Once more, by the way that explains what is wrong.
                Err(error) if error.is_instance_of::<PyException>(py) => front
                    .load_result
                    .bind(py)
                    .call1((&loadable.stream, loadable.buffers(py)))?,
                loaded => loaded?,
            };
            return Ok(Ok(value.unbind()));
        }
        Outcome::Local { value, .. } => {
            let value = value
                .downcast_ref::<Py<PyAny>>()
                .expect("runners of this crate return Python objects");
            return Ok(Ok(value.clone_ref(py)));
        }
        Outcome::Error(error) => error,
    };
    let exception = match error {
        TaskError::Raised(payload) => {
            let loadable = Loadable::from_payload(py, payload)?;
            front.load_exception.bind(py).call1((loadable.stream,))?
        }
        TaskError::RaisedLocal(error) => {
            let error = error
                .downcast_ref::<Py<PyAny>>()
                .expect("runners of this crate raise Python objects");
            error.bind(py).clone()
        }
        TaskError::Cancelled => failures.call_method0("cancelled")?,
        TaskError::TimedOut { stack } => failures.call_method1("timed_out", (stack,))?,
        TaskError::WorkerDied(report) => worker_died(failures, report)?,
        TaskError::PoolBroken(Ok(payload)) => {
            let loadable = Loadable::from_payload(py, payload)?;
            let cause = front.load_exception.bind(py).call1((loadable.stream,))?;
            failures.call_method1("pool_broken", (cause,))?
        }
        TaskError::PoolBroken(Err(text)) => failures.call_method1("pool_broken", (text,))?,
        TaskError::NoWorker(text) => failures.call_method1("no_worker", (text,))?,
        TaskError::Transfer(text) => failures.call_method1("transfer", (text,))?,
        TaskError::Poisoned(text) => failures.call_method1("poisoned", (text,))?,
        TaskError::Dependency(_) => unreachable!("dependencies were followed to their root"),
    };
    Ok(Err(exception.unbind()))
}

/// The result or the exception of a nested call, as Python objects.
pub(super) fn of_answer(
    py: Python<'_>,
    session: &Session,
    answer: &Result<Received, Unanswered>,
) -> PyResult<Value> {
    let _crossing = Crossing::begin(py);
    let front = front(py)?;
    match answer {
        Ok(received) => Ok(Ok(Loadable::from_received(py, received, session)?
            .load(py)?
            .unbind())),
        Err(Unanswered::Raised(received)) => {
            let loadable = Loadable::from_received(py, received, session)?;
            Ok(Err(front
                .load_exception
                .bind(py)
                .call1((loadable.stream,))?
                .unbind()))
        }
        Err(Unanswered::Died(report)) => {
            Ok(Err(worker_died(front.failures.bind(py), report)?.unbind()))
        }
        Err(Unanswered::Lost { kind, message }) => Ok(Err(front
            .failures
            .bind(py)
            .call_method1("lost", (*kind, message))?
            .unbind())),
    }
}

fn worker_died<'py>(
    failures: &Bound<'py, PyModule>,
    report: &DeathReport,
) -> PyResult<Bound<'py, PyAny>> {
    failures.call_method1(
        "worker_died",
        (
            &report.task,
            report.pid,
            report.signal,
            report.exit_code,
            report.peak_memory_bytes,
            report.oom_killed,
            report.item,
            &report.stack,
        ),
    )
}
