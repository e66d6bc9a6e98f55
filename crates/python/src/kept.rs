//! `KeptCall`: a call that is pickled when it is made and handed to the engine later, once or again.

use std::sync::Arc;

use lineshaft_core::PoolId;
use lineshaft_engine::{Outcome, Promise, TaskError, TaskRequest, Work};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::encode::{EncodedCall, encode_call, is_outcome};
use crate::engine::Core;
use crate::future::{self, FutureBase, Source};
use crate::pool::{Kind, Pool, submit};
use crate::task_options::TaskOptions;

/// A call as it was when this was made. What it holds in shared memory it holds until it is dropped.
#[pyclass(frozen, module = "lineshaft._native")]
pub struct KeptCall {
    core: Arc<Core>,
    pool: PoolId,
    /// Or why it cannot be sent.
    encoded: Result<EncodedCall, Py<PyAny>>,
    each: bool,
}

#[pymethods]
impl KeptCall {
    /// Pickles `function(*args)` for a pool of worker processes of this engine; with `each`, a call of `function` for
    /// each item of the list `args`, an item being a tuple of arguments. What cannot be sent is the future's error.
    #[new]
    #[pyo3(signature = (pool, function, args, *, each = false))]
    fn new(
        pool: &Bound<'_, Pool>,
        function: &Bound<'_, PyAny>,
        args: &Bound<'_, PyAny>,
        each: bool,
    ) -> PyResult<KeptCall> {
        let py = function.py();
        let Kind::Processes { core, id, encoder } = &pool.get().kind else {
            return Err(not_of_processes());
        };
        let args = if each {
            PyTuple::new(py, [args.cast::<PyList>()?])?
        } else {
            args.cast::<PyTuple>()?.clone()
        };
        let encoded = match encode_call(py, core, encoder, function, &args, None, 0) {
            Ok(encoded) => Ok(encoded),
            Err(error) if is_outcome(py, &error)? => Err(error.into_value(py).into_any()),
            Err(error) => return Err(error),
        };
        Ok(KeptCall {
            core: Arc::clone(core),
            pool: *id,
            encoded,
            each,
        })
    }

    /// Hands the call to the engine.
    #[pyo3(signature = (options = None))]
    fn submit<'py>(
        &self,
        py: Python<'py>,
        options: Option<&Bound<'py, TaskOptions>>,
    ) -> PyResult<Bound<'py, FutureBase>> {
        let core = &self.core;
        let promise = match &self.encoded {
            Ok(call) => {
                let work = Work::Remote {
                    code: Arc::clone(&call.code),
                    definitions: call.definitions.clone(),
                    args: call.args.clone(),
                    each: self.each,
                };
                let request = TaskRequest {
                    pool: self.pool,
                    group: call.code.group,
                    work,
                    inputs: call.inputs.clone(),
                    policy: options
                        .map(|options| options.get().policy)
                        .unwrap_or_default(),
                };
                submit(py, core, request)?
            }
            Err(error) => {
                core.engine()?;
                let error = Box::new(error.clone_ref(py));
                Promise::ended(Outcome::Error(TaskError::RaisedLocal(error)))
            }
        };
        future::new(
            py,
            Source::Task {
                core: Arc::clone(core),
                pool: self.pool,
                promise,
            },
        )
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
    let Kind::Processes { encoder, .. } = &pool.get().kind else {
        return Err(not_of_processes());
    };
    encoder
        .bind(py)
        .call_method1(pyo3::intern!(py, "code"), (function,))
}

fn not_of_processes() -> PyErr {
    PyTypeError::new_err("the pool has no worker processes of this engine")
}
