//! What an engine is doing, in numbers, as a dict.

use lineshaft_engine::EngineStats;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

pub fn dict(py: Python<'_>, stats: EngineStats) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("unfinished", stats.unfinished)?;
    dict.set_item("is_idle", stats.is_idle)?;
    dict.set_item("workers", stats.workers)?;
    dict.set_item("memory_bytes", stats.memory_bytes)?;
    dict.set_item("memory_peak_bytes", stats.memory_peak_bytes)?;
    dict.set_item("spilled_bytes", stats.spilled_bytes)?;
    dict.set_item("worker_deaths", stats.deaths)?;
    dict.set_item("workers_max", stats.peaks.workers_max)?;
    dict.set_item("peaks_bytes", stats.peaks.ended)?;
    let groups = PyList::empty(py);
    for (name, summary) in stats.groups {
        let group = PyDict::new(py);
        group.set_item("name", name)?;
        group.set_item("tasks", summary.submitted)?;
        group.set_item("finished", summary.finished)?;
        group.set_item("measured", summary.measured)?;
        group.set_item("failed", summary.failed)?;
        group.set_item("retried", summary.retried)?;
        group.set_item("total_s", summary.ran_total.as_secs_f64())?;
        group.set_item("waited_s", summary.waited_total.as_secs_f64())?;
        group.set_item("max_s", summary.ran_max.as_secs_f64())?;
        groups.append(group)?;
    }
    dict.set_item("groups", groups)?;
    Ok(dict)
}
