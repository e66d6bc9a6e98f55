//! `Awaits`: what is waited for by means of Python, as `concurrent.futures.wait` and event loops do.

use lineshaft_engine::{AwaitedPool, BlockedCall, current_task};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

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
}

#[pymethods]
impl Awaits {
    #[new]
    fn new() -> Awaits {
        Awaits::default()
    }

    /// It is going to wait for this one, too.
    fn add(&self, future: &Bound<'_, FutureBase>) -> PyResult<()> {
        // What waits for a nested call of a worker process is known since it was first looked at.
        if let Source::Task { pool, promise, .. } = future.get().source()? {
            let pool = (*pool != NO_POOL).then(|| AwaitedPool::of(promise, *pool));
            self.pools.with(|pools| {
                if !pools.contains(&pool) {
                    pools.push(pool);
                }
            });
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
        let _lent = BlockedCall::on_pools(&pools);
        let _blocked = Blocked::begin(function.py())?;
        function.call1(args)
    }
}
