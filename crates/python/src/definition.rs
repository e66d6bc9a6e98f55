//! `DefinitionBase`: what the engine has of a definition lives exactly as long as its Python object.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use lineshaft_engine::worker::Session;
use lineshaft_engine::{Code, EngineError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::generation::Generation;

/// Whoever sends definitions on: an engine, or a worker that makes nested calls. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Owner(u64);

impl Owner {
    pub fn new() -> Owner {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Owner(LAST.fetch_add(1, Ordering::Relaxed))
    }
}

/// What is known elsewhere of a definition.
enum Known {
    /// The engine of this process has it.
    Code(Arc<Code>),
    /// The engine that this worker belongs to has it.
    Sent {
        #[expect(dead_code, reason = "it counts when it is dropped")]
        lease: Lease,
    },
}

/// Has the engine that a worker belongs to keep a definition until this is dropped.
struct Lease {
    session: Arc<Session>,
    generation: Generation,
    id: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // A forked child has a copy; the lease is its parent's.
        if self.generation.is_current() {
            // If the engine is gone there is nothing to forget.
            let _: Result<(), EngineError> = self.session.forget_definition(self.id);
        }
    }
}

/// The Rust half of `lineshaft._serial.definition.Definition`.
#[pyclass(frozen, subclass, module = "lineshaft._native")]
pub struct DefinitionBase {
    /// Calls of a code without one bring what is called as their first argument.
    #[pyo3(get)]
    pub has_function: bool,
    /// Each encoder makes definitions of its own, so there is one who sends this one.
    known: OnceLock<(Owner, Known)>,
}

#[pymethods]
impl DefinitionBase {
    #[new]
    #[pyo3(signature = (*_args, has_function = true, **_kwargs))]
    fn new(
        _args: &Bound<'_, PyTuple>,
        has_function: bool,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> DefinitionBase {
        DefinitionBase {
            has_function,
            known: OnceLock::new(),
        }
    }
}

impl DefinitionBase {
    fn known_to(&self, owner: Owner) -> Option<&Known> {
        let (by, known) = self.known.get()?;
        (*by == owner).then_some(known)
    }

    /// What this engine has of it.
    pub fn code(&self, engine: Owner) -> Option<Arc<Code>> {
        match self.known_to(engine)? {
            Known::Code(code) => Some(Arc::clone(code)),
            Known::Sent { .. } => None,
        }
    }

    /// Keeps what an engine has of it. If another thread was quicker, that is what is kept.
    pub fn keep(&self, engine: Owner, code: Arc<Code>) -> Arc<Code> {
        // One that is known to somebody else stays his: it is made anew each time, which is correct.
        let _: Result<(), _> = self.known.set((engine, Known::Code(Arc::clone(&code))));
        self.code(engine).unwrap_or(code)
    }

    /// Whether this worker has sent it.
    pub fn is_sent(&self, worker: Owner) -> bool {
        self.known_to(worker).is_some()
    }

    /// This worker has sent it, under this id.
    pub fn sent(&self, worker: Owner, session: &Arc<Session>, id: u64) {
        // If another thread was quicker, one lease is enough; both have sent the same.
        self.known.get_or_init(|| {
            let lease = Lease {
                session: Arc::clone(session),
                generation: Generation::current(),
                id,
            };
            (worker, Known::Sent { lease })
        });
    }
}

/// What a definition consists of.
pub struct Parts<'py> {
    pub data: Bound<'py, PyBytes>,
    pub buffers: Bound<'py, PyList>,
    /// The module and the name that calls of it are counted under; empty if it cannot be called.
    pub group: (String, String),
    pub needs: Bound<'py, PyAny>,
}

impl<'py> Parts<'py> {
    pub fn of(definition: &Bound<'py, PyAny>) -> PyResult<Parts<'py>> {
        let py = definition.py();
        let buffers = PyList::empty(py);
        for buffer in definition.getattr("buffers")?.try_iter()? {
            buffers.append(buffer?)?;
        }
        let text = |part| definition.getattr(part)?.extract::<String>();
        let module = text("module").ok();
        // Only for messages, so one that is no proper text will not stop it.
        let group = module.map(|module| (module, text("name").unwrap_or_default()));
        Ok(Parts {
            data: definition.getattr("data")?.cast_into()?,
            buffers,
            group: group.unwrap_or_default(),
            needs: definition.getattr("needs")?,
        })
    }
}
