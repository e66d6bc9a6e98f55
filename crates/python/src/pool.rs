//! `Pool`: where calls are submitted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lineshaft_core::PoolId;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::client::Client;
use crate::engine::{Core, engine_error};
use crate::future::FutureBase;
use crate::interpreter::front;
use crate::lending::LentCore;
use crate::segment::ArraysKept;
use crate::submission::{Call, submit_local, submit_nested, submit_remote};
use crate::task_options::TaskOptions;
use crate::waiting::waiting;

/// What runs the calls.
pub enum Kind {
    Processes {
        core: Arc<Core>,
        id: PoolId,
        /// Turns calls into what these workers load.
        encoder: Py<PyAny>,
    },
    Threads {
        core: Arc<Core>,
        id: PoolId,
        /// Their initializer raised.
        broken: Arc<AtomicBool>,
    },
    Nested {
        client: Arc<Client>,
        id: Option<u64>,
    },
}

/// Where calls are submitted.
#[pyclass(frozen, module = "lineshaft._native")]
pub struct Pool {
    pub kind: Kind,
}

impl Pool {
    pub fn processes(core: Arc<Core>, id: PoolId, encoder: Py<PyAny>) -> Pool {
        Pool {
            kind: Kind::Processes { core, id, encoder },
        }
    }

    pub fn threads(core: Arc<Core>, id: PoolId, broken: Arc<AtomicBool>) -> Pool {
        Pool {
            kind: Kind::Threads { core, id, broken },
        }
    }

    pub fn nested(client: Arc<Client>, id: Option<u64>) -> Pool {
        Pool {
            kind: Kind::Nested { client, id },
        }
    }
}

#[pymethods]
impl Pool {
    /// Submits `function(*args, **kwargs)`. A call on threads waits for the futures in `after` too;
    /// worker processes find theirs among the arguments.
    #[pyo3(signature = (function, args, kwargs = None, options = None, after = None))]
    fn submit<'py>(
        &self,
        function: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
        options: Option<&Bound<'py, TaskOptions>>,
        after: Option<&Bound<'py, PyList>>,
    ) -> PyResult<Bound<'py, FutureBase>> {
        let py = function.py();
        let policy = options
            .map(|options| options.get().policy)
            .unwrap_or_default();
        let kwargs = kwargs.filter(|kwargs| !kwargs.is_empty());
        let call = Call {
            function,
            args,
            kwargs,
            each: false,
        };
        match &self.kind {
            Kind::Processes { core, id, encoder } => {
                submit_remote(py, core, *id, encoder, &call, policy)
            }
            Kind::Threads { core, id, .. } => submit_local(py, core, *id, &call, after, policy),
            Kind::Nested { client, id } => submit_nested(py, client, *id, &call, policy),
        }
    }

    /// Submits a call of `function` for each item of a list, an item being a tuple of arguments.
    /// The result is a tuple: the results, a dict of pickled exceptions by index, and the seconds
    /// it took. If the caller runs items again that raise, and all if the worker dies, what counts
    /// tasks is told so by `run_again`.
    #[pyo3(signature = (function, items, options = None, *, run_again = false))]
    fn submit_each<'py>(
        &self,
        function: &Bound<'py, PyAny>,
        items: &Bound<'py, PyList>,
        options: Option<&Bound<'py, TaskOptions>>,
        run_again: bool,
    ) -> PyResult<Bound<'py, FutureBase>> {
        let py = function.py();
        let mut policy = options
            .map(|options| options.get().policy)
            .unwrap_or_default();
        policy.retries.items_run_again = run_again;
        let mut args = PyTuple::new(py, [items])?;
        if run_again {
            args = (items, true).into_pyobject(py)?;
        }
        let call = Call {
            function,
            args: &args,
            kwargs: None,
            each: true,
        };
        match &self.kind {
            Kind::Processes { core, id, encoder } => {
                submit_remote(py, core, *id, encoder, &call, policy)
            }
            Kind::Nested { client, id } => submit_nested(py, client, *id, &call, policy),
            Kind::Threads { .. } => {
                let batch = front(py)?.run_batch.bind(py);
                let args = PyTuple::new(py, [function.as_any(), items.as_any()])?;
                self.submit(batch, &args, None, options, None)
            }
        }
    }

    /// Has arrays that are handed to several calls stay in shared memory between them, for as long as what it
    /// returns exists. None where calls get no such arrays, or workers hand them over.
    fn keep_arrays(&self) -> Option<ArraysKept> {
        match &self.kind {
            Kind::Processes { core, .. } => Some(ArraysKept::new(core)),
            Kind::Threads { .. } | Kind::Nested { .. } => None,
        }
    }

    /// Lends the core of the task that this thread runs to others, until the end of a `with` block: it waits there
    /// for what it has submitted to this pool.
    fn lend_core(&self) -> PyResult<LentCore> {
        LentCore::new(&self.kind)
    }

    /// Has what was changed in place since workers were last sent it be sent anew. False if there is nothing of which
    /// calls in worker processes could see what others changed in place.
    fn look_again(&self, py: Python<'_>) -> PyResult<bool> {
        let encoder = match &self.kind {
            Kind::Processes { encoder, .. } => encoder,
            Kind::Nested { client, .. } => client.encoder(py)?,
            Kind::Threads { .. } => return Ok(false),
        };
        encoder
            .call_method0(py, pyo3::intern!(py, "look_again"))?
            .extract(py)
    }

    /// Cancels what has not begun; with `kill`, what runs in worker processes as well.
    fn cancel_all(&self, py: Python<'_>, kill: bool) -> PyResult<()> {
        if let Kind::Processes { core, id, .. } | Kind::Threads { core, id, .. } = &self.kind {
            let engine = core.engine()?;
            py.detach(|| engine.cancel_all(Some(*id), kill));
        }
        Ok(())
    }

    /// Sends SIGINT to its worker processes; False if there are none. A pool for nested calls does not
    /// know of any. Calls on threads may wait for calls of any worker process: a pool of threads interrupts
    /// all of these, and cancels those that have not begun.
    fn send_interrupt(&self, py: Python<'_>) -> PyResult<bool> {
        match &self.kind {
            Kind::Processes { core, id, .. } => {
                let engine = core.engine()?;
                Ok(py.detach(|| engine.send_interrupt(Some(*id))))
            }
            Kind::Threads { core, .. } => {
                let engine = core.engine()?;
                Ok(py.detach(|| engine.interrupt_processes()))
            }
            Kind::Nested { .. } => Ok(false),
        }
    }

    /// Waits until no task of the pool is unfinished; False if `timeout_s` seconds were not enough.
    /// Daemons count unless `but_daemons`. A pool for nested calls does not know: it says True.
    #[pyo3(signature = (timeout_s = None, *, but_daemons = false))]
    fn wait_idle(
        &self,
        py: Python<'_>,
        timeout_s: Option<f64>,
        but_daemons: bool,
    ) -> PyResult<bool> {
        match &self.kind {
            Kind::Processes { core, id, .. } | Kind::Threads { core, id, .. } => {
                wait_idle(py, core, Some(*id), timeout_s, but_daemons)
            }
            Kind::Nested { .. } => Ok(true),
        }
    }

    /// Waits until the pool, which was closed, has no unfinished task and no process; False if `timeout_s`
    /// seconds were not enough. A pool for nested calls does not know: it says True.
    #[pyo3(signature = (timeout_s = None))]
    fn wait_closed(&self, py: Python<'_>, timeout_s: Option<f64>) -> PyResult<bool> {
        match &self.kind {
            Kind::Processes { core, id, .. } | Kind::Threads { core, id, .. } => {
                let engine = core.engine()?;
                waiting(py, timeout_s, |timeout, check| {
                    Ok(engine.wait_closed(*id, timeout, check))
                })
            }
            Kind::Nested { .. } => Ok(true),
        }
    }

    /// Ends the patience with its workers: those that are to end, now or later, have no more than a moment for
    /// it. A pool for nested calls has none anyway.
    fn hurry(&self, py: Python<'_>) -> PyResult<()> {
        if let Kind::Processes { core, id, .. } = &self.kind {
            let engine = core.engine()?;
            py.detach(|| engine.hurry(*id));
        }
        Ok(())
    }

    /// Whether the callbacks of those of its calls that have ended have been called. A pool for nested calls does not
    /// know: it says True.
    fn has_called_back(&self) -> bool {
        match &self.kind {
            Kind::Processes { core, id, .. } | Kind::Threads { core, id, .. } => {
                core.resolver.has_called_back(Some(*id))
            }
            Kind::Nested { .. } => true,
        }
    }

    /// Waits until they have been, and calls those that no other thread calls.
    fn finish_callbacks(&self, py: Python<'_>) -> PyResult<()> {
        match &self.kind {
            Kind::Processes { core, id, .. } | Kind::Threads { core, id, .. } => {
                core.resolver.finish_callbacks(py, Some(*id))
            }
            Kind::Nested { .. } => Ok(()),
        }
    }

    /// Sees to it that the callbacks of its calls have been called; these have all ended. A pool for nested
    /// calls does not wait.
    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        match &self.kind {
            Kind::Processes { core, id, .. } | Kind::Threads { core, id, .. } => {
                core.resolver.finish(py, Some(*id))?;
                core.resolver.show_before_result(py)
            }
            Kind::Nested { .. } => Ok(()),
        }
    }

    /// The processes of its workers, and how many calls are unfinished. A pool for nested calls does
    /// not know: it says that there are none.
    fn stats(&self, py: Python<'_>) -> PyResult<(Vec<u32>, usize)> {
        match &self.kind {
            Kind::Processes { core, id, .. } | Kind::Threads { core, id, .. } => {
                let engine = core.engine()?;
                Ok(py.detach(|| engine.pool_stats(*id)))
            }
            Kind::Nested { .. } => Ok((Vec::new(), 0)),
        }
    }

    /// Whether it can run nothing any more, because its initializer raised. A pool for nested calls
    /// does not know: it says False.
    #[getter]
    fn broken(&self, py: Python<'_>) -> PyResult<bool> {
        match &self.kind {
            Kind::Processes { core, id, .. } => {
                let engine = core.engine()?;
                Ok(py.detach(|| engine.is_broken(*id)))
            }
            Kind::Threads { broken, .. } => Ok(broken.load(Ordering::SeqCst)),
            Kind::Nested { .. } => Ok(false),
        }
    }

    /// Lets the pool take no more tasks; it goes when it has none left.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match &self.kind {
            Kind::Processes { core, id, .. } | Kind::Threads { core, id, .. } => {
                if let Ok(engine) = core.engine() {
                    py.detach(|| engine.close_pool(*id));
                }
                Ok(())
            }
            Kind::Nested {
                client,
                id: Some(id),
            } => client
                .session()?
                .close_pool(*id)
                .map_err(|error| engine_error(py, &error)),
            Kind::Nested { id: None, .. } => Ok(()),
        }
    }
}

/// Waits until no task is unfinished, or with `but_daemons` none but daemons.
pub fn wait_idle(
    py: Python<'_>,
    core: &Core,
    pool: Option<PoolId>,
    timeout_s: Option<f64>,
    but_daemons: bool,
) -> PyResult<bool> {
    let engine = core.engine()?;
    waiting(py, timeout_s, |timeout, check| {
        Ok(if but_daemons {
            engine.wait_for_exit(pool, timeout, check)
        } else {
            engine.wait_idle(pool, timeout, check)
        })
    })
}
