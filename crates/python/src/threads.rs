//! What the pools of threads have in common.

use lineshaft_core::PoolId;
use lineshaft_engine::PoolOptions;
use pyo3::prelude::*;

use crate::engine::{Core, engine_error};

/// Opens a pool of threads. An internal one, for tasks that the program has not asked for, is shown nowhere.
pub fn open_threads(
    py: Python<'_>,
    core: &Core,
    options: PoolOptions,
    internal: bool,
) -> PyResult<PoolId> {
    let engine = core.engine()?;
    let opened = if internal {
        engine.open_internal_pool(options)
    } else {
        engine.open_pool(options)
    };
    opened.map_err(|error| engine_error(py, &error))
}

/// The stack of threads that the program starts from here on, in bytes; without a value, the system's default.
pub fn stack_bytes(py: Python<'_>) -> PyResult<Option<usize>> {
    let threads = py.import(pyo3::intern!(py, "_thread"))?;
    let stack_size = threads.getattr(pyo3::intern!(py, "stack_size"))?;
    // There is no asking without setting it: back to the default, for a moment.
    let bytes: usize = stack_size.call0()?.extract()?;
    if bytes == 0 {
        return Ok(None);
    }
    stack_size.call1((bytes,))?;
    Ok(Some(bytes))
}
