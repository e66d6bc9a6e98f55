//! `KeptCall`: a call that is pickled when it is made and handed to the engine later, once or again.

use std::sync::Arc;

use lineshaft_core::PoolId;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::client::{self, Client};
use crate::encode::{self, encode_call, or_outcome};
use crate::engine::Core;
use crate::future::FutureBase;
use crate::pool::{Kind, Pool};
use crate::submission::{nested_future, submit_encoded};
use crate::task_options::TaskOptions;

/// A call as it was when this was made. What it holds in shared memory it holds until it is dropped.
#[pyclass(frozen, module = "lineshaft._native")]
pub struct KeptCall {
    encoded: Encoded,
    each: bool,
}

/// What is sent, and where to; or why it cannot be sent.
enum Encoded {
    Task {
        core: Arc<Core>,
        pool: PoolId,
        call: Result<encode::EncodedCall, Py<PyAny>>,
    },
    Nested {
        client: Arc<Client>,
        pool: Option<u64>,
        call: Result<client::EncodedCall, Py<PyAny>>,
    },
}

#[pymethods]
impl KeptCall {
    /// Pickles `function(*args)` for a pool of worker processes; with `each`, a call of `function` for each item of
    /// the list `args`, an item being a tuple of arguments. Why it cannot be sent is the future's error, or raised by
    /// `submit` if this is a nested call.
    #[new]
    #[pyo3(signature = (pool, function, args, *, each = false))]
    fn new(
        pool: &Bound<'_, Pool>,
        function: &Bound<'_, PyAny>,
        args: &Bound<'_, PyAny>,
        each: bool,
    ) -> PyResult<KeptCall> {
        let py = function.py();
        let args = if each {
            PyTuple::new(py, [args.cast::<PyList>()?])?
        } else {
            args.cast::<PyTuple>()?.clone()
        };
        let encoded = match &pool.get().kind {
            Kind::Processes { core, id, encoder } => Encoded::Task {
                core: Arc::clone(core),
                pool: *id,
                call: or_outcome(py, encode_call(py, core, encoder, function, &args, None, 0))?,
            },
            Kind::Nested { client, id } => Encoded::Nested {
                client: Arc::clone(client),
                pool: *id,
                call: or_outcome(py, client.encode(py, function, &args, None))?,
            },
            Kind::Threads { .. } => return Err(not_of_processes()),
        };
        Ok(KeptCall { encoded, each })
    }

    /// Hands the call to the engine.
    #[pyo3(signature = (options = None))]
    fn submit<'py>(
        &self,
        py: Python<'py>,
        options: Option<&Bound<'py, TaskOptions>>,
    ) -> PyResult<Bound<'py, FutureBase>> {
        let policy = options
            .map(|options| options.get().policy)
            .unwrap_or_default();
        match &self.encoded {
            Encoded::Task { core, pool, call } => {
                let call = match call {
                    Ok(call) => Ok(call.clone()),
                    Err(error) => Err(error.clone_ref(py)),
                };
                submit_encoded(py, core, *pool, call, self.each, policy)
            }
            Encoded::Nested { client, pool, call } => {
                let call = match call {
                    Ok(call) => call.try_clone(py)?,
                    Err(error) => return Err(PyErr::from_value(error.bind(py).clone())),
                };
                let call = client.call(py, *pool, call, self.each, policy)?;
                nested_future(py, client, *pool, call)
            }
        }
    }
}

/// What workers of a pool are sent for a function as it is now: the same object while nothing changed. It can be
/// submitted to that pool in the function's place, if it has one.
#[pyfunction]
pub fn code_of<'py>(
    pool: &Bound<'py, Pool>,
    function: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = pool.py();
    let encoder = match &pool.get().kind {
        Kind::Processes { encoder, .. } => encoder,
        Kind::Nested { client, .. } => client.encoder(py)?,
        Kind::Threads { .. } => return Err(not_of_processes()),
    };
    encoder
        .bind(py)
        .call_method1(pyo3::intern!(py, "code"), (function,))
}

fn not_of_processes() -> PyErr {
    PyTypeError::new_err("the pool has no worker processes")
}
