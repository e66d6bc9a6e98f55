//! The Rust half of `lineshaft.Future`.
//!
//! A result is there as soon as the engine has it; no Python runs for that. Only if somebody looks
//! at the internals that `concurrent.futures.wait` and `as_completed` share with futures
//! (`_condition`, `_waiters`, `_state`), or adds a callback, is the future *watched*: then the
//! resolver publishes it, under its condition, as those functions expect.

mod any;
mod publish;
mod value;
mod wait;
mod watch;

use std::sync::{Arc, OnceLock};

use lineshaft_core::PoolId;
use lineshaft_engine::worker::NestedCall;
use lineshaft_engine::{Outcome, Promise, TaskError};
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyException, PyRuntimeError, PyTypeError};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyList, PyModule, PyTuple};

use crate::awaits::is_of_task;
use crate::client::Client;
use crate::engine::Core;
use crate::event_loop::{self, check_wait};
use crate::interpreter::front;
use crate::locked::Locked;
use publish::publish;
use value::{Value, local_object, of_answer, of_outcome, root};
use watch::Watch;

pub use any::{cancel_running, wait_any, when_done};
pub use publish::{call_callbacks, tell_waiters};
pub use wait::wait_for;

/// What a future stands for.
pub enum Source {
    /// A task of an engine in this process.
    Task {
        core: Arc<Core>,
        pool: PoolId,
        promise: Arc<Promise>,
    },
    /// A nested call, made in a worker process.
    Nested {
        client: Arc<Client>,
        pool: PoolId,
        call: Arc<NestedCall>,
    },
}

/// Stands for the pool of futures that are not an executor's: of a graph, or of the pool that a worker
/// belongs to. The engine gives no pool this id.
pub const NO_POOL: PoolId = PoolId(0);

/// The Rust half of `lineshaft.Future`.
#[pyclass(frozen, subclass, module = "lineshaft._native")]
pub struct FutureBase {
    /// Read by the garbage collector, as are the next three; each is set with what exists already,
    /// so nobody ever waits for it.
    source: OnceLock<Source>,
    value: OnceLock<Value>,
    /// Set under the lock of `watch`.
    condition: OnceLock<Py<PyAny>>,
    waiters: OnceLock<Py<PyList>>,
    watch: Locked<Watch>,
}

/// Makes a future.
pub fn new(py: Python<'_>, source: Source) -> PyResult<Bound<'_, FutureBase>> {
    let future = front(py)?
        .future
        .bind(py)
        .call0()?
        .cast_into::<FutureBase>()?;
    let fresh = future.get().source.set(source).is_ok();
    debug_assert!(fresh, "a new future stands for nothing yet");
    Ok(future)
}

/// What a task that has ended returned; its exception as an error.
pub fn object_of(py: Python<'_>, promise: &Promise) -> PyResult<Py<PyAny>> {
    let outcome = promise
        .outcome()
        .expect("only asked once the task has ended");
    match of_outcome(py, outcome)? {
        Ok(value) => Ok(value),
        Err(error) => Err(PyErr::from_value(error.into_bound(py))),
    }
}

impl FutureBase {
    /// What it stands for; a future that a program made itself stands for nothing.
    pub fn source(&self) -> PyResult<&Source> {
        let why = "futures are made by submitting to an executor";
        self.source
            .get()
            .ok_or_else(|| PyRuntimeError::new_err(why))
    }

    fn is_nested(&self) -> bool {
        matches!(self.source.get(), Some(Source::Nested { .. }))
    }

    fn is_ended(&self) -> bool {
        match self.source.get() {
            Some(Source::Task { promise, .. }) => promise.is_done(),
            Some(Source::Nested { call, .. }) => call.answer().is_some(),
            None => false,
        }
    }

    /// Has what came for this process read, unless it is known that the call has ended: in a worker process nobody else
    /// may do so before its task waits. It does not wait, so that it may be asked again and again.
    fn look(&self) {
        if let Some(Source::Nested { client, call, .. }) = self.source.get()
            && call.answer().is_none()
            && let Some(session) = client.own_session()
        {
            session.read();
        }
    }

    fn is_cancelled(&self) -> bool {
        match self.source.get() {
            Some(Source::Task { promise, .. }) => {
                matches!(
                    root(promise.outcome()),
                    Some(Outcome::Error(TaskError::Cancelled))
                )
            }
            Some(Source::Nested { call, .. }) => call.is_cancelled(),
            None => false,
        }
    }

    /// Whether it has an exception. One that was raised in a worker is not loaded for that: loading it
    /// imports modules, and while an interpreter ends by Ctrl-C, that makes it forget why it ends.
    fn has_failed(&self, py: Python<'_>) -> PyResult<bool> {
        let failed = match self.source()? {
            Source::Task { promise, .. } => {
                matches!(root(promise.outcome()), Some(Outcome::Error(_)))
            }
            Source::Nested { call, .. } => matches!(call.answer(), Some(Err(_))),
        };
        Ok(failed || self.value(py)?.is_err())
    }

    /// The result or the exception, as Python objects; made once.
    fn value(&self, py: Python<'_>) -> PyResult<&Value> {
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let value = match self.source()? {
            Source::Task { promise, .. } => {
                let outcome = promise
                    .outcome()
                    .expect("only asked once the task has ended");
                of_outcome(py, outcome)
            }
            Source::Nested { client, call, .. } => of_answer(
                py,
                client.memory(),
                call.answer().expect("only asked once it has ended"),
            ),
        };
        // What cannot be loaded here is this future's error. What is no `Exception`, as `KeyboardInterrupt`,
        // was raised by a signal handler meanwhile: it is the caller's, and the next one loads it again.
        let value = match value {
            Ok(value) => value,
            Err(error) if error.is_instance_of::<PyException>(py) => {
                Err(error.into_value(py).into_any())
            }
            Err(error) => return Err(error),
        };
        Ok(self.value.get_or_init(|| value))
    }
}

#[pymethods]
impl FutureBase {
    /// Recognises futures among arguments.
    #[classattr]
    #[expect(non_upper_case_globals, reason = "a Python attribute")]
    const _lineshaft_future: bool = true;

    #[new]
    fn new() -> FutureBase {
        FutureBase {
            source: OnceLock::new(),
            value: OnceLock::new(),
            condition: OnceLock::new(),
            waiters: OnceLock::new(),
            watch: Locked::default(),
        }
    }

    /// Shows the garbage collector what is held: an exception holds the frames it went through, and
    /// these the future that raised it. Frames and exceptions can be cleared, so nothing need be here.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(Ok(held) | Err(held)) = self.value.get() {
            visit.call(held)?;
        }
        // What others hold, too, is not this future's alone to give up.
        if let Some(Source::Task { promise, .. }) = self.source.get()
            && Arc::strong_count(promise) == 1
            && let Some(held) = promise.outcome().and_then(local_object)
        {
            visit.call(held)?;
        }
        visit.call(self.condition.get())?;
        visit.call(self.waiters.get())?;
        // Whoever holds the lock keeps the future alive.
        let callbacks = |watch: &Watch| watch.callbacks.iter().try_for_each(|it| visit.call(it));
        self.watch.traverse(callbacks).unwrap_or(Ok(()))
    }

    /// The result of the call; waits for it.
    #[pyo3(signature = (timeout = None))]
    fn result(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        self.wait_for_all_before(py, timeout)?;
        match self.value(py)? {
            Ok(value) => Ok(value.clone_ref(py)),
            Err(error) => Err(PyErr::from_value(error.bind(py).clone())),
        }
    }

    /// What the call raised, or None; waits for its end.
    #[pyo3(signature = (timeout = None))]
    fn exception(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Py<PyAny>>> {
        self.wait_for_all_before(py, timeout)?;
        match self.value(py)? {
            Ok(_) => Ok(None),
            Err(error) if self.is_cancelled() => Err(PyErr::from_value(error.bind(py).clone())),
            Err(error) => Ok(Some(error.clone_ref(py))),
        }
    }

    /// Whether the call has ended or was cancelled.
    fn done(&self) -> bool {
        self.look();
        self.is_ended()
    }

    /// Whether the call was cancelled.
    fn cancelled(&self) -> bool {
        self.look();
        self.is_cancelled()
    }

    /// Whether the call has begun and not ended.
    fn running(&self, py: Python<'_>) -> bool {
        match self.source.get() {
            Some(Source::Task { core, promise, .. }) => core
                .engine()
                .is_ok_and(|engine| py.detach(|| engine.is_running(promise))),
            _ => false,
        }
    }

    /// One sentence for people: what the call is doing, and if it is not running, why.
    fn explain(&self, py: Python<'_>) -> PyResult<String> {
        if self.is_ended() {
            return Ok("it has ended".into());
        }
        match self.source()? {
            Source::Task { core, promise, .. } => {
                let engine = core.engine()?;
                Ok(py.detach(|| engine.explain(promise)))
            }
            Source::Nested { .. } => {
                Ok("it was handed to the engine that this worker belongs to".into())
            }
        }
    }

    /// Cancels the call unless it has begun; whether it is cancelled. A coroutine that has begun is
    /// cancelled as `asyncio` does: `CancelledError` is raised in it.
    fn cancel(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let (py, this) = (slf.py(), slf.get());
        if this.is_ended() {
            return Ok(this.is_cancelled());
        }
        let cancelled = match this.source()? {
            Source::Task {
                core,
                pool,
                promise,
            } => core.cancel(py, *pool, promise)?,
            Source::Nested { client, call, .. } => {
                let session = client.session()?;
                py.detach(|| session.cancel(call, false))
                    .map_err(|error| PyRuntimeError::new_err(error.to_string()))?
            }
        };
        if cancelled {
            publish(slf)?;
        }
        Ok(cancelled)
    }

    /// Calls `function` with this future once it is done; at once if it is.
    #[pyo3(name = "add_done_callback")]
    fn add_done_callback(slf: &Bound<'_, Self>, function: &Bound<'_, PyAny>) -> PyResult<()> {
        let is_nested = slf.get().is_nested();
        let mut says_so = false;
        if (is_of_task() || is_nested) && !slf.get().is_ended() {
            let noted =
                awaited(slf.py())?.call_method1("note", (slf, function, event_loop::is_here()))?;
            says_so = noted.is_truthy()?;
        }
        Self::add_callback(slf, function, !(is_nested && says_so))
    }

    /// The condition that `concurrent.futures.wait` and `as_completed` lock.
    #[getter]
    fn _condition<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        if let Some(condition) = this.condition.get() {
            return Ok(condition.bind(py).clone());
        }
        let fresh = py.import("threading")?.call_method0("Condition")?.unbind();
        // Who calls callbacks cannot wait for those that come after it.
        let in_callback = match this.source()? {
            Source::Task { core, .. } => core.resolver.is_in_callback(),
            Source::Nested { .. } => false,
        };
        let is_left = this.has_callbacks_before();
        let unused = this.watch.with(|watch| {
            watch.is_told_at_once |= in_callback;
            let set = this.condition.set(fresh);
            if set.is_ok() {
                watch.published |= this.is_ended() && (in_callback || !is_left);
            }
            set.err()
        });
        drop(unused);
        // Who waits for a nested call by means of its waiters says so while it does.
        Self::register(slf, !this.is_nested())?;
        let condition = this.condition.get().expect("it was just set");
        Ok(condition.bind(py).clone())
    }

    /// The waiters of `concurrent.futures.wait` and `as_completed`.
    #[getter]
    fn _waiters<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        if let Source::Task { core, promise, .. } = this.source()?
            && !promise.is_done()
        {
            check_wait(py, core, &[promise])?;
        }
        let waiters = this.waiters.get().unwrap_or_else(|| {
            let fresh = PyList::empty(py).unbind();
            this.waiters.get_or_init(|| fresh)
        });
        if is_of_task() || this.is_nested() {
            return awaited(py)?.call_method1("Waiters", (slf, waiters));
        }
        Ok(waiters.bind(py).clone().into_any())
    }

    /// The state, in the words of `concurrent.futures`.
    #[getter]
    fn _state(&self, py: Python<'_>) -> &'static str {
        if self.is_visibly_done() {
            if self.is_cancelled() {
                "CANCELLED_AND_NOTIFIED"
            } else {
                "FINISHED"
            }
        } else if self.running(py) {
            "RUNNING"
        } else {
            "PENDING"
        }
    }

    /// What `concurrent.futures` itself looks at when it shows a future.
    #[getter]
    fn _exception(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        if !self.is_ended() {
            return Ok(None);
        }
        Ok(self
            .value(py)?
            .as_ref()
            .err()
            .map(|error| error.clone_ref(py)))
    }

    /// What `concurrent.futures` itself looks at when it shows a future.
    #[getter]
    fn _result(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        if !self.is_ended() {
            return Ok(None);
        }
        Ok(self
            .value(py)?
            .as_ref()
            .ok()
            .map(|value| value.clone_ref(py)))
    }

    /// As an argument of another task, a future stands for its result.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        let front = front(py)?;
        let refer = || front.reference.bind(py).call1((slf,));
        let (core, promise) = match this.source()? {
            Source::Task { core, promise, .. } if promise.is_local() => (core, promise),
            Source::Task { .. } | Source::Nested { .. } => return refer(),
        };
        if core.has_processes && promise.request_for_workers() {
            return refer();
        }
        // What a thread of this process has returned is an ordinary object: it goes along by value.
        let value = match this.result(py, None) {
            // As with every other dependency, its error becomes that of the call.
            Err(_)
                if core.has_processes && matches!(promise.outcome(), Some(Outcome::Error(_))) =>
            {
                return refer();
            }
            result => result?,
        };
        let same = front.failures.bind(py).getattr("same")?;
        Ok(PyTuple::new(py, [same, PyTuple::new(py, [value])?.into_any()])?.into_any())
    }

    fn set_running_or_notify_cancel(&self) -> PyResult<Bound<'static, PyBool>> {
        if self.is_ended() {
            return Err(PyRuntimeError::new_err("Future in unexpected state"));
        }
        Err(not_by_hand())
    }

    fn set_result(slf: &Bound<'_, Self>, _result: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(not_completed(slf)?)
    }

    fn set_exception(slf: &Bound<'_, Self>, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(not_completed(slf)?)
    }
}

fn not_by_hand() -> PyErr {
    PyTypeError::new_err("this future belongs to an engine, which alone runs and completes it")
}

/// Why it cannot be completed; as in `concurrent.futures` if it is already.
fn not_completed(future: &Bound<'_, FutureBase>) -> PyResult<PyErr> {
    if !future.get().is_ended() {
        return Ok(not_by_hand());
    }
    let error = future
        .py()
        .import("concurrent.futures")?
        .getattr("InvalidStateError")?;
    let what = format!("{}: {}", future.getattr("_state")?, future.repr()?);
    Ok(PyErr::from_value(error.call1((what,))?))
}

impl Drop for FutureBase {
    fn drop(&mut self) {
        // In a forked child the result is still its parent's.
        if let Some(Source::Nested { client, call, .. }) = self.source.get()
            && let Some(session) = client.own_session()
        {
            // If the engine is gone there is nothing to forget.
            let _: Result<(), lineshaft_engine::EngineError> = session.forget(call.id());
        }
    }
}

/// What tasks wait for by means of Python. Imported only where a task does so.
fn awaited(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import(pyo3::intern!(py, "lineshaft._awaited"))
}
