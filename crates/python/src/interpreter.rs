//! What this crate calls in Python, looked up once.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyTuple, PyType};

/// Python objects that this crate calls.
pub struct Interpreter {
    pub dumps: Py<PyAny>,
    pub loads: Py<PyAny>,
    pub memoryview: Py<PyAny>,
    /// `()` and no keyword arguments, pickled: what many tasks are called with.
    pub no_arguments: Vec<u8>,
    pub load_result: Py<PyAny>,
    pub load_exception: Py<PyAny>,
    pub reference: Py<PyAny>,
    /// `lineshaft._batch.run`.
    pub run_batch: Py<PyAny>,
    /// `lineshaft._failures`: exceptions for what happened to tasks.
    pub failures: Py<PyModule>,
    /// `lineshaft.futures.Future`, the class of what is handed out.
    pub future: Py<PyType>,
}

static INTERPRETER: PyOnceLock<Interpreter> = PyOnceLock::new();

/// Tells the native module which class its futures have. Called once, by `lineshaft.futures`.
#[pyfunction]
pub fn set_up(py: Python<'_>, future: Bound<'_, PyType>) -> PyResult<()> {
    let pickle = py.import("pickle")?;
    let builtins = py.import("builtins")?;
    let parent = py.import("lineshaft._serial.parent")?;
    let dumps = pickle.getattr("dumps")?;
    let empty = PyTuple::new(
        py,
        [
            PyTuple::empty(py).into_any(),
            pyo3::types::PyDict::new(py).into_any(),
        ],
    )?;
    let no_arguments = dumps
        .call1((empty, 5))?
        .cast_into::<PyBytes>()?
        .as_bytes()
        .to_vec();
    let interpreter = Interpreter {
        dumps: dumps.unbind(),
        loads: pickle.getattr("loads")?.unbind(),
        memoryview: builtins.getattr("memoryview")?.unbind(),
        no_arguments,
        load_result: parent.getattr("load_result")?.unbind(),
        load_exception: parent.getattr("load_exception")?.unbind(),
        reference: parent.getattr("reference")?.unbind(),
        run_batch: py.import("lineshaft._batch")?.getattr("run")?.unbind(),
        failures: py.import("lineshaft._failures")?.unbind(),
        future: future.unbind(),
    };
    INTERPRETER
        .set(py, interpreter)
        .map_err(|_| PyRuntimeError::new_err("lineshaft._native is already set up"))
}

/// What this crate calls in Python.
pub fn interpreter(py: Python<'_>) -> PyResult<&'static Interpreter> {
    INTERPRETER
        .get(py)
        .ok_or_else(|| PyRuntimeError::new_err("import lineshaft.futures first"))
}

/// Whether this is the thread that Python's signal handlers run on.
pub fn is_main_thread() -> bool {
    rustix::thread::gettid() == rustix::process::getpid()
}

/// Runs pending signal handlers; keeps what one of them raised.
pub fn check_signals(raised: &mut Option<PyErr>) -> bool {
    let outcome = Python::try_attach(|py| py.check_signals());
    if let Some(Err(error)) = outcome {
        *raised = Some(error);
    }
    raised.is_some()
}
