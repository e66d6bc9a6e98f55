//! What the tasks of a graph call on threads of this process.

use std::sync::Arc;

use lineshaft_engine::Promise;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::future::object_of;
use crate::interpreter::call_from_frame;

use super::call::Call;

/// A task of a graph.
pub enum Node {
    Call {
        call: Call,
        /// What it needs, in the order of the call's indices.
        needs: Vec<Need>,
        /// The context in which the graph was submitted: the call runs in a copy of it.
        context: Py<PyAny>,
    },
    /// Comes after all that is wanted of a graph: who waits for it waits for the graph.
    End,
}

/// Where a value comes from that a node needs.
pub enum Need {
    /// From an input of the task, by index.
    Input(usize),
    /// It is known.
    Value(Py<PyAny>),
}

impl Node {
    /// Makes the call with the results of `inputs`.
    pub fn run<'py>(
        &self,
        py: Python<'py>,
        inputs: &[Arc<Promise>],
    ) -> PyResult<Bound<'py, PyAny>> {
        let Node::Call {
            call,
            needs,
            context,
        } = self
        else {
            return Ok(py.None().into_bound(py));
        };
        let needs = values(py, needs, inputs)?;
        // Each call has a copy of its own: a context cannot be entered twice.
        let context = context.bind(py).call_method0(pyo3::intern!(py, "copy"))?;
        let (args, kwargs) = call.write_out(py, &[call.function(py)], &needs)?;
        drop(needs);
        let run = context.getattr(pyo3::intern!(py, "run"))?;
        call_from_frame(&run, &args, kwargs.as_ref())
    }

    /// What the call is made with, if it is one; `inputs` as for `run`.
    pub fn arguments<'py>(
        &self,
        py: Python<'py>,
        inputs: &[Arc<Promise>],
    ) -> PyResult<Option<Arguments<'py>>> {
        let Node::Call { call, needs, .. } = self else {
            return Ok(None);
        };
        let needs = values(py, needs, inputs)?;
        call.write_out(py, &[], &needs).map(Some)
    }
}

/// Arguments by position, and by name.
pub type Arguments<'py> = (Bound<'py, PyTuple>, Option<Bound<'py, PyDict>>);

fn values<'py>(
    py: Python<'py>,
    needs: &[Need],
    inputs: &[Arc<Promise>],
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let value = |need: &Need| match need {
        Need::Input(index) => Ok(object_of(py, &inputs[*index])?.into_bound(py)),
        Need::Value(value) => Ok(value.bind(py).clone()),
    };
    needs.iter().map(value).collect()
}
