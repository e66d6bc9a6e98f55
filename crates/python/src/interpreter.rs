//! What this crate calls in Python, looked up once.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyTuple, PyType};

/// What every process needs to exchange values.
pub struct Interpreter {
    pub dumps: Py<PyAny>,
    pub loads: Py<PyAny>,
    pub memoryview: Py<PyAny>,
    /// `()` and no keyword arguments, pickled: what many tasks are called with.
    pub no_arguments: Vec<u8>,
}

/// What only those need who submit tasks. Apart, because a worker that never does starts faster
/// without it.
pub struct Front {
    pub load_result: Py<PyAny>,
    pub load_exception: Py<PyAny>,
    pub reference: Py<PyAny>,
    /// What calls of a callable are counted under.
    pub group_of: Py<PyAny>,
    /// `lineshaft._batch.run`.
    pub run_batch: Py<PyAny>,
    /// `lineshaft._arguments.show`.
    pub show_arguments: Py<PyAny>,
    /// `lineshaft._caller.call`.
    call: Py<PyAny>,
    /// `lineshaft._failures`: exceptions for what happened to tasks.
    pub failures: Py<PyModule>,
    /// `lineshaft.futures.Future`, the class of what is handed out.
    pub future: Py<PyType>,
}

/// What every process needs to exchange values.
pub fn interpreter(py: Python<'_>) -> PyResult<&'static Interpreter> {
    static INTERPRETER: PyOnceLock<Interpreter> = PyOnceLock::new();
    INTERPRETER.get_or_try_init(py, || {
        // What `pickle` exports, without the ten modules that it imports.
        let pickle = py.import("_pickle")?;
        let dumps = pickle.getattr("dumps")?;
        let empty = (PyTuple::empty(py), PyDict::new(py));
        let no_arguments = dumps
            .call1((empty, 5))?
            .cast_into::<PyBytes>()?
            .as_bytes()
            .to_vec();
        Ok(Interpreter {
            dumps: dumps.unbind(),
            loads: pickle.getattr("loads")?.unbind(),
            memoryview: py.import("builtins")?.getattr("memoryview")?.unbind(),
            no_arguments,
        })
    })
}

/// What those need who submit tasks.
pub fn front(py: Python<'_>) -> PyResult<&'static Front> {
    static FRONT: PyOnceLock<Front> = PyOnceLock::new();
    FRONT.get_or_try_init(py, || {
        let parent = py.import("lineshaft._serial.parent")?;
        let future = py.import("lineshaft.futures")?.getattr("Future")?;
        Ok(Front {
            load_result: parent.getattr("load_result")?.unbind(),
            load_exception: parent.getattr("load_exception")?.unbind(),
            reference: parent.getattr("reference")?.unbind(),
            group_of: parent.getattr("group_of")?.unbind(),
            run_batch: py.import("lineshaft._batch")?.getattr("run")?.unbind(),
            show_arguments: py.import("lineshaft._arguments")?.getattr("show")?.unbind(),
            call: py.import("lineshaft._caller")?.getattr("call")?.unbind(),
            failures: py.import("lineshaft._failures")?.unbind(),
            future: future.cast_into::<PyType>()?.unbind(),
        })
    })
}

/// Calls a function from a frame of Python, which builtins such as `eval` look at. The traceback of what
/// it raises begins with its own frame.
pub fn call_from_frame<'py>(
    function: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = function.py();
    let call = front(py)?.call.bind(py);
    let called = match kwargs {
        None => call.call1((function, args)),
        Some(kwargs) => call.call1((function, args, kwargs)),
    };
    called.or_else(|error| {
        if let Some(traceback) = error.traceback(py) {
            let inner = traceback.getattr(pyo3::intern!(py, "tb_next"))?;
            error.set_traceback(py, inner.cast_into().ok());
        }
        Err(error)
    })
}

/// Runs `work`, which calls Python on a thread of the engine.
///
/// An interpreter that ends stops such a thread in the midst of the call, by unwinding it, and ends
/// with a fatal error if that reaches the guards that detach the thread. Here it hangs instead, for
/// the short time until the process is gone.
pub fn hanging_if_unwound<T>(work: impl FnOnce() -> T) -> T {
    struct Hang;
    impl Drop for Hang {
        fn drop(&mut self) {
            while !std::thread::panicking() {
                std::thread::park();
            }
        }
    }
    let hang = Hang;
    let value = work();
    #[expect(
        clippy::disallowed_methods,
        reason = "nothing is in it; only its drop must not run"
    )]
    std::mem::forget(hang);
    value
}
