//! Whose turn it is on event loops: of the calls that one runs at a time, one computes, and the others wait.
//!
//! A coroutine runs from one `await` that has to wait until the next. [`Steps`] stands around it and tells of each such
//! step, which costs a few looks at atomics and one at the clock; nobody has to ask Python to know.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use lineshaft_core::{TaskId, Time};
use lineshaft_engine::Engine;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::locked::Locked;
use crate::runner::EventLoopCall;

/// No task has this number.
const NOBODY: u64 = u64::MAX;

/// Whose turn it is on one event loop. Its thread writes it, others read it.
pub struct Turn {
    task: AtomicU64,
    since: AtomicU64,
}

impl Default for Turn {
    fn default() -> Turn {
        Turn {
            task: AtomicU64::new(NOBODY),
            since: AtomicU64::new(0),
        }
    }
}

impl Turn {
    fn begin(&self, task: TaskId) {
        self.since.store(Engine::now().0, Ordering::Relaxed);
        // Who sees the task sees the time, or a later one.
        self.task.store(task.0, Ordering::Release);
    }

    fn end(&self) {
        self.task.store(NOBODY, Ordering::Relaxed);
    }

    fn now(&self) -> Option<(TaskId, Time)> {
        let task = self.task.load(Ordering::Acquire);
        let since = self.since.load(Ordering::Relaxed);
        (task != NOBODY).then_some((TaskId(task), Time(since)))
    }
}

/// Those of all event loops of an engine.
#[derive(Default)]
pub struct Turns {
    /// They go with the threads of their loops.
    all: Locked<Vec<Weak<Turn>>>,
}

impl Turns {
    pub fn add(&self, turn: &Arc<Turn>) {
        self.all.with(|all| {
            all.retain(|other| other.strong_count() > 0);
            all.push(Arc::downgrade(turn));
        });
    }

    /// The calls whose turn it is, and since when.
    pub fn now(&self) -> Vec<(TaskId, Time)> {
        self.all.with(|all| {
            let turns = all.iter().filter_map(Weak::upgrade);
            turns.filter_map(|turn| turn.now()).collect()
        })
    }
}

/// A coroutine that tells when it is its turn.
#[pyclass(module = "lineshaft._native")]
pub struct Steps {
    /// What awaiting it goes through; none once the garbage collector has had it.
    awaited: Option<Py<PyAny>>,
    call: Py<EventLoopCall>,
    task: TaskId,
    turn: Arc<Turn>,
}

impl Steps {
    /// What is to be awaited instead of `awaitable`; that itself if it is none that has steps.
    pub fn around(
        awaitable: Bound<'_, PyAny>,
        call: Py<EventLoopCall>,
        task: TaskId,
        turn: Arc<Turn>,
    ) -> PyResult<Bound<'_, PyAny>> {
        let py = awaitable.py();
        let Ok(steps) = awaitable.call_method0(pyo3::intern!(py, "__await__")) else {
            return Ok(awaitable);
        };
        let awaited = Some(steps.unbind());
        let around = Steps {
            awaited,
            call,
            task,
            turn,
        };
        Ok(Bound::new(py, around)?.into_any())
    }

    fn step<'py>(
        &self,
        py: Python<'py>,
        step: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let steps = self.awaited.as_ref().map(|steps| steps.bind(py).clone());
        let Some(steps) = steps else {
            return Ok(py.None().into_bound(py));
        };
        self.turn.begin(self.task);
        self.call.get().begin_step();
        let stepped = step(&steps);
        self.call.get().end_step();
        self.turn.end();
        stepped
    }
}

#[pymethods]
impl Steps {
    fn __await__(own: PyRef<'_, Self>) -> PyRef<'_, Self> {
        own
    }

    fn __iter__(own: PyRef<'_, Self>) -> PyRef<'_, Self> {
        own
    }

    /// The next step. Its end is an exception that has the result, which is passed on as it is.
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.step(py, |steps| {
            steps.call_method0(pyo3::intern!(py, "__next__"))
        })
    }

    fn send<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = value.py();
        self.step(py, |steps| {
            steps.call_method1(pyo3::intern!(py, "send"), (value,))
        })
    }

    #[pyo3(signature = (*error))]
    fn throw<'py>(&self, error: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        let py = error.py();
        self.step(py, |steps| {
            steps.call_method1(pyo3::intern!(py, "throw"), error)
        })
    }

    fn close<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.step(py, |steps| steps.call_method0(pyo3::intern!(py, "close")))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.awaited)
    }

    fn __clear__(&mut self) {
        self.awaited = None;
    }
}
