//! `Awaits`: what is waited for by means of Python, as `concurrent.futures.wait` and event loops do.

use std::sync::Arc;

use lineshaft_engine::worker::Awaited;
use lineshaft_engine::{AwaitedPool, BlockedCall, current_task};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::client::Client;
use crate::event_loop::{self, Blocked};
use crate::future::{FutureBase, NO_POOL, Source};
use crate::locked::Locked;

/// Whether this thread runs a task, or is that of an event loop: of others nobody needs to know that they wait.
pub fn is_of_task() -> bool {
    current_task().is_some() || event_loop::is_here()
}

/// What a task is going to wait for where the engine does not see it.
#[pyclass(frozen, module = "lineshaft._native")]
#[derive(Default)]
pub struct Awaits {
    /// The pools of these tasks, each once; `None` stands for one that is not known.
    pools: Locked<Vec<Option<AwaitedPool>>>,
    nested: Locked<Option<Nested>>,
}

/// Some of them are nested calls of this worker process.
#[derive(Clone)]
struct Nested {
    client: Arc<Client>,
    /// One of them may run in the worker's own pool.
    in_own_pool: bool,
}

#[pymethods]
impl Awaits {
    #[new]
    fn new() -> Awaits {
        Awaits::default()
    }

    /// It is going to wait for this one, too.
    fn add(&self, future: &Bound<'_, FutureBase>) -> PyResult<()> {
        match future.get().source()? {
            Source::Task { pool, promise, .. } => {
                let pool = (*pool != NO_POOL).then(|| AwaitedPool::of(promise, *pool));
                self.pools.with(|pools| {
                    if !pools.contains(&pool) {
                        pools.push(pool);
                    }
                });
            }
            Source::Nested { client, call, .. } => {
                let nested = || Nested {
                    client: Arc::clone(client),
                    in_own_pool: false,
                };
                let in_own_pool = call.in_own_pool();
                self.nested.with(|it| {
                    it.get_or_insert_with(nested).in_own_pool |= in_own_pool;
                });
            }
        }
        Ok(())
    }

    /// Calls `function`, which waits for one of them. The task of this thread counts as blocked meanwhile.
    #[pyo3(signature = (function, *args))]
    fn call<'py>(
        &self,
        function: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let pools = self.pools.with(|pools| pools.clone());
        let nested = self.nested.with(|nested| nested.clone());
        let _lent = BlockedCall::on_pools(&pools);
        let _lent_by_worker = nested.as_ref().and_then(Nested::begin);
        let _blocked = Blocked::begin(function.py())?;
        function.call1(args)
    }
}

impl Nested {
    /// The worker's task counts as blocked until this is dropped. In a forked child there is nobody to tell.
    fn begin(&self) -> Option<Awaited> {
        let session = self.client.own_session()?;
        Some(Awaited::of(session, self.in_own_pool))
    }
}
