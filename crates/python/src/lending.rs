//! `LentCore`: a task waits by means of Python, and others have its core meanwhile.

use lineshaft_engine::BlockedCall;
use lineshaft_engine::worker::Awaited;
use pyo3::prelude::*;

use crate::locked::Locked;
use crate::pool::Kind;

/// What tells the engine, when it is dropped, that the task goes on.
enum Lent {
    ByThread { _until_dropped: BlockedCall },
    ByWorker { _until_dropped: Awaited },
}

/// The core of the task that this thread runs is lent to others within a `with` block.
#[pyclass(frozen, module = "lineshaft._native")]
pub struct LentCore {
    lent: Locked<Option<Lent>>,
}

impl LentCore {
    /// Lends it from now on, unless no task runs here. `kind` is that of a pool that the task submits to.
    pub fn new(kind: &Kind) -> PyResult<LentCore> {
        let lent = match kind {
            Kind::Processes { .. } | Kind::Threads { .. } => {
                BlockedCall::new().map(|blocked| Lent::ByThread {
                    _until_dropped: blocked,
                })
            }
            Kind::Nested { client, .. } => Some(Lent::ByWorker {
                _until_dropped: Awaited::new(client.session()?),
            }),
        };
        Ok(LentCore {
            lent: Locked::new(lent),
        })
    }
}

#[pymethods]
impl LentCore {
    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&self, _error: &Bound<'_, PyAny>) {
        drop(self.lent.with(Option::take));
    }
}
