//! What the tasks of a graph call on threads of this process.

use std::sync::Arc;

use lineshaft_engine::Promise;
use pyo3::prelude::*;

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
        let needs = needs.iter().map(|need| match need {
            Need::Input(index) => Ok(object_of(py, &inputs[*index])?.into_bound(py)),
            Need::Value(value) => Ok(value.bind(py).clone()),
        });
        let needs = needs.collect::<PyResult<Vec<_>>>()?;
        // Each call has a copy of its own: a context cannot be entered twice.
        let context = context.bind(py).call_method0(pyo3::intern!(py, "copy"))?;
        let (args, kwargs) = call.write_out(py, &[call.function(py)], &needs)?;
        drop(needs);
        let run = context.getattr(pyo3::intern!(py, "run"))?;
        call_from_frame(&run, &args, kwargs.as_ref())
    }
}
