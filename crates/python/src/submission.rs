//! How calls get from a pool to the engine: encoded if they are to run in a worker process, or as they are.

use std::sync::Arc;

use lineshaft_core::{GroupId, PoolId};
use lineshaft_engine::worker::NestedCall;
use lineshaft_engine::{Outcome, Policy, Promise, TaskError, TaskRequest, Work};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use crate::client::Client;
use crate::encode::{EncodedCall, encode_call, or_outcome, promise_of};
use crate::engine::{Core, engine_error};
use crate::future::{self, FutureBase, NO_POOL, Source};
use crate::interpreter::front;
use crate::runner::Body;

/// A call as the program makes it.
pub struct Call<'a, 'py> {
    pub function: &'a Bound<'py, PyAny>,
    pub args: &'a Bound<'py, PyTuple>,
    pub kwargs: Option<&'a Bound<'py, PyDict>>,
    /// The arguments are a list of items.
    pub each: bool,
}

/// Submits a call that runs in a worker process.
pub fn submit_remote<'py>(
    py: Python<'py>,
    core: &Arc<Core>,
    pool: PoolId,
    encoder: &Py<PyAny>,
    call: &Call<'_, 'py>,
    policy: Policy,
) -> PyResult<Bound<'py, FutureBase>> {
    let Call {
        function,
        args,
        kwargs,
        ..
    } = *call;
    let engine = core.engine()?;
    engine
        .check_open()
        .map_err(|error| engine_error(py, &error))?; // pickling would be for nothing
    let encoded = encode_call(py, core, encoder, function, args, kwargs, 0);
    submit_encoded(py, core, pool, or_outcome(py, encoded)?, call.each, policy)
}

/// Hands an encoded call to the engine. Why it cannot be sent is the future's error, as in `concurrent.futures`.
pub fn submit_encoded<'py>(
    py: Python<'py>,
    core: &Arc<Core>,
    pool: PoolId,
    call: Result<EncodedCall, Py<PyAny>>,
    each: bool,
    policy: Policy,
) -> PyResult<Bound<'py, FutureBase>> {
    let promise = match call {
        Ok(EncodedCall {
            code,
            args,
            definitions,
            inputs,
        }) => {
            let group = code.group;
            let work = Work::Remote {
                code,
                definitions,
                args,
                each,
            };
            submit(
                py,
                core,
                TaskRequest {
                    pool,
                    group,
                    work,
                    inputs,
                    policy,
                },
            )?
        }
        Err(error) => {
            core.engine()?;
            Promise::ended(Outcome::Error(TaskError::RaisedLocal(Box::new(error))))
        }
    };
    task_future(py, core, pool, promise)
}

fn task_future<'py>(
    py: Python<'py>,
    core: &Arc<Core>,
    pool: PoolId,
    promise: Arc<Promise>,
) -> PyResult<Bound<'py, FutureBase>> {
    future::new(
        py,
        Source::Task {
            core: Arc::clone(core),
            pool,
            promise,
        },
    )
}

/// Hands a task to the engine, after what it has yet to take in if that is much.
fn submit(py: Python<'_>, core: &Arc<Core>, request: TaskRequest) -> PyResult<Arc<Promise>> {
    let engine = core.engine()?;
    if engine.is_behind() {
        py.detach(|| engine.catch_up());
    }
    engine
        .submit(request)
        .map_err(|error| engine_error(py, &error))
}

/// Submits a call that runs on a thread of this process, once the futures in `after` are done.
pub fn submit_local<'py>(
    py: Python<'py>,
    core: &Arc<Core>,
    pool: PoolId,
    call: &Call<'_, 'py>,
    after: Option<&Bound<'py, PyList>>,
    policy: Policy,
) -> PyResult<Bound<'py, FutureBase>> {
    let body = Body {
        function: call.function.clone().unbind(),
        args: call.args.clone().unbind(),
        kwargs: call.kwargs.map(|kwargs| kwargs.clone().unbind()),
    };
    let inputs = after.into_iter().flatten();
    let inputs = inputs.filter_map(|found| promise_of(core, &found).transpose());
    let request = TaskRequest {
        pool,
        group: group(py, core, call.function)?,
        work: Work::Local(Arc::new(body)),
        inputs: inputs.collect::<PyResult<_>>()?,
        policy,
    };
    let promise = submit(py, core, request)?;
    task_future(py, core, pool, promise)
}

fn group(py: Python<'_>, core: &Core, function: &Bound<'_, PyAny>) -> PyResult<GroupId> {
    let engine = core.engine()?;
    names(py, function, |module, name| engine.group(module, name))
}

/// Passes on what calls of a function are counted under: its module, or nothing if it has none, and its name.
pub fn names<T>(
    py: Python<'_>,
    function: &Bound<'_, PyAny>,
    pass: impl FnOnce(&str, &str) -> T,
) -> PyResult<T> {
    let name = function.getattr(pyo3::intern!(py, "__qualname__"));
    let module = function.getattr(pyo3::intern!(py, "__module__"));
    if let (Some(name), Some(module)) = (text(&name), text(&module))
        && !is_to_be_asked(module)
    {
        return Ok(pass(module, name));
    }
    // Not everything has both, an object that makes up its attributes has some that are no text, and functions of
    // this package call others.
    let found = front(py)?.group_of.bind(py).call1((function,));
    match found.and_then(|found| found.extract::<(String, String)>()) {
        Ok((module, name)) => Ok(pass(&module, &name)),
        Err(_) => Ok(pass("", &function.get_type().name()?.to_string_lossy())),
    }
}

/// The text of an attribute, if it is one.
fn text<'a>(attribute: &'a PyResult<Bound<'_, PyAny>>) -> Option<&'a str> {
    attribute
        .as_ref()
        .ok()?
        .cast::<PyString>()
        .ok()?
        .to_str()
        .ok()
}

/// Whether what is in this module may be counted as of another one: the main module has two names.
fn is_to_be_asked(module: &str) -> bool {
    module == "__mp_main__" || module.starts_with("lineshaft.")
}

/// Submits a call from a worker process.
pub fn submit_nested<'py>(
    py: Python<'py>,
    client: &Arc<Client>,
    pool: Option<u64>,
    call: &Call<'_, 'py>,
    policy: Policy,
) -> PyResult<Bound<'py, FutureBase>> {
    let encoded = client.encode(py, call.function, call.args, call.kwargs)?;
    let call = client.call(py, pool, encoded, call.each, policy)?;
    nested_future(py, client, pool, call)
}

/// Makes the future of a nested call.
pub fn nested_future<'py>(
    py: Python<'py>,
    client: &Arc<Client>,
    pool: Option<u64>,
    call: Arc<NestedCall>,
) -> PyResult<Bound<'py, FutureBase>> {
    future::new(
        py,
        Source::Nested {
            client: Arc::clone(client),
            pool: pool.map_or(NO_POOL, pool_of_session),
            call,
        },
    )
}

/// A pool for nested calls, as the resolver knows it. Very many share an id: then their callbacks wait
/// for each other.
fn pool_of_session(id: u64) -> PoolId {
    PoolId(u32::try_from(id).unwrap_or(u32::MAX))
}
