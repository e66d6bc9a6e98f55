//! `Client`: how nested calls reach the engine, from the worker process in which they are made.

use std::sync::Arc;
use std::time::Duration;

use lineshaft_engine::worker::{NestedCall, Sent};
use lineshaft_engine::{EngineError, Policy};
use lineshaft_wire::CallOptions;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

use crate::definition::{DefinitionBase, Owner, Parts};
use crate::encode::{Encoded, code_and_arguments, future_of_another_engine};
use crate::engine::engine_error;
use crate::future::{FutureBase, Source};
use crate::generation::Generation;
use crate::resolver::Resolver;
use crate::values::to_sent;

/// What nested calls need.
pub struct Client {
    session: Arc<lineshaft_engine::worker::Session>,
    generation: Generation,
    pub resolver: Arc<Resolver>,
    /// Made when the first nested call is.
    encoder: PyOnceLock<Py<PyAny>>,
    owner: Owner,
}

/// A call, ready to be sent.
pub struct EncodedCall {
    pub code: u64,
    pub definitions: Vec<u64>,
    pub args: Sent,
    /// Nested calls whose results it is given.
    inputs: Vec<u64>,
    /// The engine keeps a definition, or a result, no longer than its object: these are held until it has the call.
    pub held: [Py<PyAny>; 3],
}

impl EncodedCall {
    /// The same once more, with descriptors of its own.
    ///
    /// # Errors
    ///
    /// What the system says if it gives no more descriptors.
    pub fn try_clone(&self, py: Python<'_>) -> PyResult<EncodedCall> {
        Ok(EncodedCall {
            code: self.code,
            definitions: self.definitions.clone(),
            args: self.args.try_clone()?,
            inputs: self.inputs.clone(),
            held: self.held.each_ref().map(|held| held.clone_ref(py)),
        })
    }
}

impl Client {
    pub fn new(session: lineshaft_engine::worker::Session) -> Client {
        Client {
            session: Arc::new(session),
            generation: Generation::current(),
            resolver: Resolver::new(None),
            encoder: PyOnceLock::new(),
            owner: Owner::new(),
        }
    }

    /// The session, unless this process is a forked child of the worker.
    pub fn session(&self) -> PyResult<&Arc<lineshaft_engine::worker::Session>> {
        self.generation.check()?;
        Ok(&self.session)
    }

    /// The same, for whoever has nothing to do in a child.
    pub fn own_session(&self) -> Option<&Arc<lineshaft_engine::worker::Session>> {
        self.generation.is_current().then_some(&self.session)
    }

    /// The session as what maps received objects: a forked child may look at those, too.
    pub fn memory(&self) -> &lineshaft_engine::worker::Session {
        &self.session
    }

    pub fn encoder(&self, py: Python<'_>) -> PyResult<&Py<PyAny>> {
        self.encoder.get_or_try_init(py, || {
            let parent = py.import("lineshaft._serial.parent")?;
            Ok(parent.getattr("Encoder")?.call0()?.unbind())
        })
    }

    /// Makes a nested call, in a pool of this worker's or in the one that it belongs to.
    pub fn call(
        &self,
        py: Python<'_>,
        pool: Option<u64>,
        call: EncodedCall,
        each: bool,
        policy: Policy,
    ) -> PyResult<Arc<NestedCall>> {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let options = CallOptions {
            each,
            items_run_again: policy.retries.items_run_again,
            priority: policy.priority,
            failures_max: policy.retries.failures_max,
            deaths_max: policy.retries.deaths_max,
            backoff_ns: nanos(policy.retries.backoff),
            timeout_ns: policy.timeout.map(nanos),
            internal: policy.internal,
        };
        let EncodedCall {
            code,
            definitions,
            args,
            inputs,
            held: _held,
        } = call;
        self.session()?
            .call(pool, code, definitions, inputs, options, args)
            .map_err(|error| match error {
                EngineError::PoolClosed => engine_error(py, &error),
                error => failed(&error),
            })
    }

    /// Pickles a call, and sees to it that the engine has what it needs.
    pub fn encode(
        &self,
        py: Python<'_>,
        function: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<EncodedCall> {
        let session = self.session()?;
        let encoder = self.encoder(py)?;
        let (function_code, args) = code_and_arguments(encoder.bind(py), function, args)?;
        let code = self.define(&function_code)?;
        let keywords = kwargs.cloned().unwrap_or_else(|| PyDict::new(py));
        let call = PyTuple::new(py, [args.as_any(), keywords.as_any()])?;
        let encoded = Encoded::new(py, encoder, function, &call, 0)?;
        let definitions = encoded.definitions.try_iter()?;
        let definitions = definitions.map(|definition| self.define(&definition?));
        let inputs = encoded.futures.try_iter()?.map(|found| {
            let found = found?;
            match found.cast::<FutureBase>()?.get().source()? {
                Source::Nested { call, .. } => Ok(call.id()),
                Source::Task { .. } => Err(future_of_another_engine(&found)),
            }
        });
        Ok(EncodedCall {
            code,
            definitions: definitions.collect::<PyResult<_>>()?,
            args: to_sent(encoded.data.as_bytes(), Some(&encoded.buffers), session)?,
            inputs: inputs.collect::<PyResult<_>>()?,
            held: [function_code, encoded.definitions, encoded.futures].map(Bound::unbind),
        })
    }

    /// Sees to it that the engine has a definition, and what it needs.
    fn define(&self, definition: &Bound<'_, PyAny>) -> PyResult<u64> {
        let base = definition.cast::<DefinitionBase>()?.get();
        let id: u64 = definition.getattr("id")?.extract()?;
        if base.is_sent(self.owner) {
            return Ok(id);
        }
        let parts = Parts::of(definition)?;
        let needs = (parts.needs.try_iter()?).map(|needed| self.define(&needed?));
        let needs = needs.collect::<PyResult<Vec<u64>>>()?;
        let body = to_sent(parts.data.as_bytes(), Some(&parts.buffers), &self.session)?;
        self.session
            .define(id, needs, (&parts.group.0, &parts.group.1), body)
            .map_err(|error| failed(&error))?;
        base.sent(self.owner, &self.session, id);
        Ok(id)
    }
}

/// What a failure of the session's is in Python.
pub fn failed(error: &EngineError) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}
