//! Graphs of calls that name each other by key, submitted at once.
//!
//! A node is a callable with an attribute `dependencies`, the keys of what it needs; it is called with
//! a dict of these, or what it would call then is called at once. No future is made for a task: what
//! it returns lives in its promise, and goes when the last task that needs it has run. After all tasks
//! comes one that needs everything that is wanted; it fails as soon as any task does, so to wait for it
//! is to wait for the graph.

mod call;
mod lower;
mod name;
mod node;
mod table;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lineshaft_core::TaskId;
use lineshaft_engine::{Outcome, Promise, TaskError};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::encode::dependency;
use crate::engine::{Core, engine_error};
use crate::future::{self, NO_POOL, Source, object_of, wait_for};

use call::Notation;
use lower::Lowering;
pub use lower::Plan;
pub use node::Node;
use table::{Entry, Row, Table};

/// A graph: every key is in one of the dicts.
#[derive(FromPyObject)]
pub struct Graph<'py> {
    /// Tasks.
    pub nodes: Bound<'py, PyDict>,
    /// What is known.
    pub values: Bound<'py, PyDict>,
    /// What futures have or will have.
    pub futures: Bound<'py, PyDict>,
    /// Other names for keys.
    pub aliases: Bound<'py, PyDict>,
    /// The keys whose values are wanted.
    pub wanted: Bound<'py, PyList>,
    /// What its nodes are made of.
    pub notation: Notation<'py>,
}

/// Submits those tasks of a graph that are needed for what is wanted. With `keep`, every result is kept
/// until the run is dropped, so that a task that failed can be looked at.
pub fn submit(
    py: Python<'_>,
    core: &Arc<Core>,
    graph: &Graph<'_>,
    plan: &Plan<'_>,
    keep: bool,
) -> PyResult<GraphRun> {
    let table = Table::new(graph)?;
    let wanted = table.find_all(&graph.wanted)?;
    let rows = table.needed_for(&wanted)?;
    let mut numbers = vec![usize::MAX; table.len()];
    for (number, row) in rows.iter().enumerate() {
        numbers[row.position] = number;
    }
    let keys = rows.iter().map(|row| row.key.clone().unbind()).collect();
    let mut lowering = Lowering::new(core, plan, &graph.notation, &numbers)?;
    let tasks = rows.into_iter().map(|row: Row<'_>| lowering.lower(py, row));
    let mut tasks = tasks.collect::<PyResult<Vec<_>>>()?;
    tasks.push(lowering.end(&wanted)?);
    let engine = core.engine()?;
    let promises = py
        .detach(|| engine.submit_graph(tasks))
        .map_err(|error| engine_error(py, &error))?;
    let wanted = wanted.into_iter().map(|entry| match entry {
        Entry::Task(position) => Ok(Wanted::Task(Arc::clone(&promises[numbers[position]]))),
        Entry::Future(future) => Ok(Wanted::Task(dependency(core, &future)?)),
        Entry::Value(value) => Ok(Wanted::Value(value.unbind())),
    });
    let wanted = wanted.collect::<PyResult<_>>()?;
    let end = promises.last().expect("every graph has an end");
    let tasks = promises[0].task()..=end.task();
    cancel_if_failed(core, end, tasks.clone());
    Ok(GraphRun {
        core: Arc::clone(core),
        tasks,
        end: Arc::clone(end),
        wanted,
        keys,
        kept: if keep { promises } else { Vec::new() },
        goes_on: AtomicBool::new(false),
    })
}

/// The order in which the tasks of a graph run on one worker, by position; `needs` has the positions of
/// what each of them needs.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "made of a Python list")]
pub fn static_order(needs: Vec<Vec<u32>>) -> PyResult<Vec<u32>> {
    let count = needs.len();
    if needs.iter().flatten().any(|need| *need as usize >= count) {
        return Err(PyValueError::new_err("a task needs one that is not there"));
    }
    let order = lineshaft_core::static_order(&needs);
    order.ok_or_else(|| PyValueError::new_err("tasks need each other in a circle"))
}

/// Once one task has failed, those of the same graph that have not begun are cancelled. One that was cancelled
/// itself is nobody's failure.
fn cancel_if_failed(core: &Arc<Core>, end: &Arc<Promise>, tasks: RangeInclusive<TaskId>) {
    let (core, ended) = (Arc::downgrade(core), Arc::downgrade(end));
    end.on_done(move || {
        let cancelled =
            |root: &Promise| matches!(root.outcome(), Some(Outcome::Error(TaskError::Cancelled)));
        let failed = |end: Arc<Promise>| match end.outcome() {
            Some(Outcome::Error(TaskError::Dependency(root))) => !cancelled(root),
            Some(Outcome::Error(_)) => true,
            _ => false,
        };
        if ended.upgrade().is_some_and(failed)
            && let Some(core) = core.upgrade()
            && let Ok(engine) = core.engine()
        {
            engine.cancel_within(tasks, false);
        }
    });
}

/// A graph that was submitted.
#[pyclass(frozen, module = "lineshaft._native")]
pub struct GraphRun {
    core: Arc<Core>,
    tasks: RangeInclusive<TaskId>,
    end: Arc<Promise>,
    wanted: Vec<Wanted>,
    /// The keys of the tasks, in the order of their ids.
    keys: Vec<Py<PyAny>>,
    /// Every promise, if they are kept.
    kept: Vec<Arc<Promise>>,
    /// It is not to end with this.
    goes_on: AtomicBool,
}

impl Drop for GraphRun {
    /// Nobody will ask for what is wanted, so nothing more need begin. It happens when a signal handler
    /// raises before the program has got hold of the run.
    fn drop(&mut self) {
        if self.end.is_done() || self.goes_on.load(Ordering::SeqCst) {
            return;
        }
        if let Ok(engine) = self.core.engine() {
            let tasks = self.tasks.clone();
            Python::try_attach(|py| py.detach(|| engine.cancel_within(tasks, false)));
        }
    }
}

/// What a future has for as long as it may be asked for its result.
#[pyclass(frozen, module = "lineshaft._native")]
struct Hold {
    core: Arc<Core>,
    task: TaskId,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Ok(engine) = self.core.engine() {
            let task = self.task;
            Python::try_attach(|py| py.detach(|| engine.release(task)));
        }
    }
}

/// Something that is wanted of a graph.
enum Wanted {
    Task(Arc<Promise>),
    Value(Py<PyAny>),
}

impl GraphRun {
    /// The task that failed first; none if the graph has not failed, or was cancelled as a whole.
    fn culprit(&self) -> Option<&Arc<Promise>> {
        match self.end.outcome()? {
            Outcome::Error(TaskError::Dependency(root)) => Some(root),
            _ => None,
        }
    }
}

#[pymethods]
impl GraphRun {
    /// What is wanted, in its order; waits for it. Raises what a task raised as soon as one has; those
    /// that have begun go on.
    fn result<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        wait_for(py, &self.core, &self.end, None)?;
        object_of(py, &self.end)?;
        let values = self.wanted.iter().map(|wanted| match wanted {
            Wanted::Task(promise) => object_of(py, promise),
            Wanted::Value(value) => Ok(value.clone_ref(py)),
        });
        PyList::new(py, values.collect::<PyResult<Vec<_>>>()?)
    }

    /// What is wanted, in its order: futures, and what is known as it is. From now on the graph goes on
    /// whatever becomes of this, but for what is needed for none of the futures that are left. To be called once.
    fn futures<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let engine = self.core.engine()?;
        if !self.goes_on.swap(true, Ordering::SeqCst) {
            let wanted: Vec<TaskId> = (self.wanted.iter())
                .filter_map(|wanted| match wanted {
                    Wanted::Task(promise) => Some(promise.task()),
                    Wanted::Value(_) => None,
                })
                .collect();
            py.detach(|| engine.hold_only(self.tasks.clone(), &wanted));
        }
        let futures = self.wanted.iter().map(|wanted| match wanted {
            Wanted::Task(promise) => {
                let source = Source::Task {
                    core: Arc::clone(&self.core),
                    pool: NO_POOL,
                    promise: Arc::clone(promise),
                };
                let future = future::new(py, source)?.into_any();
                let hold = Hold {
                    core: Arc::clone(&self.core),
                    task: promise.task(),
                };
                future.setattr(pyo3::intern!(py, "_hold"), Bound::new(py, hold)?)?;
                Ok(future)
            }
            Wanted::Value(value) => Ok(value.bind(py).clone()),
        });
        PyList::new(py, futures.collect::<PyResult<Vec<_>>>()?)
    }

    /// Whether all that is wanted is there, or will never be.
    fn done(&self) -> bool {
        self.end.is_done()
    }

    /// Cancels what has not begun; with `kill`, what runs in worker processes as well.
    fn cancel(&self, py: Python<'_>, kill: bool) -> PyResult<()> {
        let engine = self.core.engine()?;
        py.detach(|| engine.cancel_within(self.tasks.clone(), kill));
        Ok(())
    }

    /// How many of its tasks have not ended.
    fn unfinished(&self, py: Python<'_>) -> PyResult<usize> {
        let engine = self.core.engine()?;
        Ok(py.detach(|| engine.unfinished_within(self.tasks.clone())))
    }

    /// How many tasks it has, with the one that comes last.
    fn __len__(&self) -> usize {
        self.keys.len() + 1
    }

    /// The key of the task that failed first, or None.
    fn failed_key(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let index = self.culprit()?.task().0.checked_sub(self.tasks.start().0)?;
        let key = self.keys.get(usize::try_from(index).ok()?)?;
        Some(key.clone_ref(py))
    }

    /// The results of the tasks that have ended well, by key, if they were kept.
    fn results<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let results = PyDict::new(py);
        for (key, promise) in self.keys.iter().zip(&self.kept) {
            if let Some(Outcome::Value(_) | Outcome::Local { .. }) = promise.outcome() {
                results.set_item(key, object_of(py, promise)?)?;
            }
        }
        Ok(results)
    }
}
