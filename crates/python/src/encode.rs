//! What is sent to workers for the arguments of a call, and for results that other calls need.

use std::sync::Arc;

use lineshaft_engine::{Code, Payload, Portable, Promise};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::crossing::Crossing;
use crate::definition::DefinitionBase;
use crate::engine::Core;
use crate::future::{FutureBase, Source};
use crate::interpreter::interpreter;
use crate::values::to_payload;

/// A call on its way to a worker.
#[derive(Clone)]
pub struct EncodedCall {
    pub code: Arc<Code>,
    pub args: Payload,
    pub definitions: Vec<Arc<Code>>,
    pub inputs: Vec<Arc<Promise>>,
}

/// The code of a callable, by the encoder, and the arguments that go with it: what has a state comes
/// first among these. A code with a function is its own.
pub fn code_and_arguments<'py>(
    encoder: &Bound<'py, PyAny>,
    function: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
    let py = function.py();
    if function.cast::<DefinitionBase>().is_ok() {
        return Ok((function.clone(), args.clone()));
    }
    let code = encoder.call_method1(pyo3::intern!(py, "code"), (function,))?;
    let args = if code.cast::<DefinitionBase>()?.get().has_function {
        args.clone()
    } else {
        PyTuple::new(py, [function])?.add(args)?.cast_into()?
    };
    Ok((code, args))
}

/// Pickles a call. Futures among its arguments stand for inputs of the task behind the first `inputs_before`.
pub fn encode_call<'py>(
    py: Python<'py>,
    core: &Core,
    encoder: &Py<PyAny>,
    function: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
    inputs_before: usize,
) -> PyResult<EncodedCall> {
    let _crossing = Crossing::begin(py);
    let (code, args) = code_and_arguments(encoder.bind(py), function, args)?;
    let code = core.definition(py, &code)?;
    let with_data_alone = |code, args| EncodedCall {
        code,
        args,
        definitions: Vec::new(),
        inputs: Vec::new(),
    };
    let interpreter = interpreter(py)?;
    if args.is_empty() && kwargs.is_none() {
        let nothing = Payload::inline(&interpreter.no_arguments);
        return Ok(with_data_alone(code, nothing));
    }
    let store = core.engine()?.store();
    let keywords = kwargs.cloned().unwrap_or_else(|| PyDict::new(py));
    let call = PyTuple::new(py, [args.as_any(), keywords.as_any()])?;
    if kwargs.is_none() && args.iter().all(|value| is_plain(&value)) {
        let dumps = interpreter.dumps.bind(py);
        let data = dumps.call1((call, 5))?.cast_into::<PyBytes>()?;
        let payload = to_payload(py, data.as_bytes(), None, store, &core.live)?;
        return Ok(with_data_alone(code, payload));
    }
    let encoded = Encoded::new(py, encoder, function, &call, inputs_before)?;
    let buffers = Some(&encoded.buffers);
    let args = to_payload(py, encoded.data.as_bytes(), buffers, store, &core.live)?;
    let definitions = core.definitions(py, &encoded.definitions)?;
    let inputs = encoded.futures.try_iter()?;
    let inputs = inputs.map(|found| dependency(core, &found?));
    Ok(EncodedCall {
        code,
        args,
        definitions,
        inputs: inputs.collect::<PyResult<_>>()?,
    })
}

/// What was encoded, or else what was raised meanwhile, if that is the call's outcome.
pub fn or_outcome<T>(py: Python<'_>, encoded: PyResult<T>) -> PyResult<Result<T, Py<PyAny>>> {
    match encoded {
        Ok(encoded) => Ok(Ok(encoded)),
        Err(error) if is_outcome(py, &error)? => Ok(Err(error.into_value(py).into_any())),
        Err(error) => Err(error),
    }
}

/// Whether what was raised while a call was encoded is its outcome, and not what a signal handler raised.
fn is_outcome(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    if !error.is_instance_of::<pyo3::exceptions::PyException>(py) {
        return Ok(false);
    }
    // Without a descriptor left, no module can be imported; that is the call's affair, then.
    let Ok(signals) = py.import(pyo3::intern!(py, "lineshaft._signals")) else {
        return Ok(true);
    };
    let is_raised_by_handler = signals.getattr(pyo3::intern!(py, "is_raised_by_handler"))?;
    // The value alone does not know its traceback before Python 3.12.
    let value = error.clone_ref(py).into_value(py);
    Ok(!is_raised_by_handler.call1((value,))?.is_truthy()?)
}

/// Whether a value pickles alike whatever the program did: no class, no future, no code in it.
fn is_plain(value: &Bound<'_, PyAny>) -> bool {
    value.is_none()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_exact_instance_of::<PyBytes>()
}

/// Pickles the result of a call of this process for tasks in worker processes.
pub fn encode_result(py: Python<'_>, core: &Core, value: &Bound<'_, PyAny>) -> PyResult<Portable> {
    let buffers = PyList::empty(py);
    let append = buffers.getattr(pyo3::intern!(py, "append"))?;
    let encoded = core
        .encoder
        .bind(py)
        .call_method1(pyo3::intern!(py, "dumps"), (value, append))?;
    let (data, definitions, futures) =
        encoded.extract::<(Bound<'_, PyBytes>, Bound<'_, PyAny>, Bound<'_, PyTuple>)>()?;
    if !futures.is_empty() {
        return Err(PyTypeError::new_err("there is a future in it"));
    }
    let store = core.engine()?.store();
    Ok(Portable {
        payload: to_payload(py, data.as_bytes(), Some(&buffers), store, &core.live)?,
        definitions: core.definitions(py, &definitions)?,
    })
}

/// The promise behind a future of this engine; none if it is another engine's.
pub fn promise_of(core: &Core, found: &Bound<'_, PyAny>) -> PyResult<Option<Arc<Promise>>> {
    Ok(match found.cast::<FutureBase>()?.get().source()? {
        Source::Task {
            core: owner,
            promise,
            ..
        } if std::ptr::eq(&raw const **owner, core) => Some(Arc::clone(promise)),
        _ => None,
    })
}

/// The promise behind a future that a task of this engine depends on.
pub fn dependency(core: &Core, found: &Bound<'_, PyAny>) -> PyResult<Arc<Promise>> {
    promise_of(core, found)?.ok_or_else(|| future_of_another_engine(found))
}

/// Says that a future cannot be a dependency here.
pub fn future_of_another_engine(found: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!(
        "{found} belongs to another engine, whose tasks this one does not know; pass its result() instead"
    ))
}

/// What `Encoder.dumps` gives.
pub struct Encoded<'py> {
    pub data: Bound<'py, PyBytes>,
    pub buffers: Bound<'py, PyList>,
    pub definitions: Bound<'py, PyAny>,
    pub futures: Bound<'py, PyAny>,
}

impl<'py> Encoded<'py> {
    /// Pickles `(args, kwargs)` for a call of `function`.
    pub fn new(
        py: Python<'py>,
        encoder: &Py<PyAny>,
        function: &Bound<'py, PyAny>,
        call: &Bound<'py, PyTuple>,
        inputs_before: usize,
    ) -> PyResult<Encoded<'py>> {
        let buffers = PyList::empty(py);
        let keywords = PyDict::new(py);
        keywords.set_item(pyo3::intern!(py, "call"), function)?;
        if inputs_before > 0 {
            keywords.set_item(pyo3::intern!(py, "inputs_before"), inputs_before)?;
        }
        let dumps = encoder.bind(py).getattr(pyo3::intern!(py, "dumps"))?;
        let encoded = dumps.call(
            (call, buffers.getattr(pyo3::intern!(py, "append"))?),
            Some(&keywords),
        )?;
        let (data, definitions, futures) =
            encoded.extract::<(Bound<'py, PyBytes>, Bound<'py, PyAny>, Bound<'py, PyAny>)>()?;
        Ok(Encoded {
            data,
            buffers,
            definitions,
            futures,
        })
    }
}
