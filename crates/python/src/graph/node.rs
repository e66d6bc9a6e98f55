//! What the tasks of a graph call on threads of this process.

use std::sync::Arc;

use lineshaft_engine::Promise;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::future::object_of;

/// A task of a graph.
pub enum Node {
    /// A node, called with a dict of what it needs.
    Call {
        node: Py<PyAny>,
        /// By the keys that the node knows them by.
        needs: Vec<(Py<PyAny>, Need)>,
        /// The context in which the graph was submitted: the node runs in a copy of it.
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
    /// Calls the node with the results of `inputs`.
    pub fn run<'py>(
        &self,
        py: Python<'py>,
        inputs: &[Arc<Promise>],
    ) -> PyResult<Bound<'py, PyAny>> {
        let Node::Call {
            node,
            needs,
            context,
        } = self
        else {
            return Ok(py.None().into_bound(py));
        };
        let values = PyDict::new(py);
        for (key, need) in needs {
            let value = match need {
                Need::Input(index) => object_of(py, &inputs[*index])?,
                Need::Value(value) => value.clone_ref(py),
            };
            values.set_item(key, value)?;
        }
        // Each call has a copy of its own: a context cannot be entered twice.
        let context = context.bind(py).call_method0(pyo3::intern!(py, "copy"))?;
        context.call_method1(pyo3::intern!(py, "run"), (node, values))
    }
}
