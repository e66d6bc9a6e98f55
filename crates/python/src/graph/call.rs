//! What a node calls, taken apart.
//!
//! A node is a callable that takes a dict of what it needs. Most are of one class, which only puts
//! results in the places of names among the arguments of a function; that is done here, in a fraction of
//! the time. Whatever is of another class, or has a call among its arguments, is called as it is.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySet, PyTuple, PyType};

/// The classes of a graph's nodes that are taken apart. One that is derived from them may do anything,
/// so it is called instead.
#[derive(Clone, FromPyObject)]
pub struct Notation<'py> {
    /// What is called with what it needs, and has `dependencies`.
    pub node: Bound<'py, PyType>,
    /// Calls its `func` with `args` and `kwargs`.
    pub task: Bound<'py, PyType>,
    /// Among arguments, the result of `key`. Derived ones mean the same.
    pub reference: Bound<'py, PyType>,
    /// Among arguments, the result of `target`.
    pub alias: Bound<'py, PyType>,
    /// Among arguments, `value`.
    pub data: Bound<'py, PyType>,
    /// Containers of arguments, in `args`.
    pub list: Bound<'py, PyType>,
    pub tuple: Bound<'py, PyType>,
    pub set: Bound<'py, PyType>,
}

/// What a node calls.
pub enum Call {
    Function {
        function: Py<PyAny>,
        args: Vec<Argument>,
        kwargs: Vec<(Py<PyAny>, Argument)>,
    },
    /// The node itself, with a dict of all that it needs, by these keys.
    Node(Py<PyAny>, Vec<Py<PyAny>>),
}

/// An argument of a call.
pub enum Argument {
    Known(Py<PyAny>),
    /// What the node needs, by index.
    Need(usize),
    Container(Container, Vec<Argument>),
}

#[derive(Clone, Copy)]
pub enum Container {
    List,
    Tuple,
    Set,
}

impl Call {
    /// Takes a node apart; returns the keys of what it needs, too, in the order of their indices. A key
    /// may come twice.
    pub fn of<'py>(
        node: &Bound<'py, PyAny>,
        notation: &Notation<'py>,
    ) -> PyResult<(Call, Vec<Bound<'py, PyAny>>)> {
        if node.get_type().is(&notation.task) {
            let mut taking = Taking {
                notation,
                needs: Vec::new(),
            };
            if let Some(call) = taking.call(node)? {
                return Ok((call, taking.needs));
            }
        }
        let keys = node.getattr(pyo3::intern!(node.py(), "dependencies"))?;
        let keys = keys.try_iter()?.collect::<PyResult<Vec<_>>>()?;
        let named = keys.iter().map(|key| key.clone().unbind()).collect();
        Ok((Call::Node(node.clone().unbind(), named), keys))
    }

    /// What is called.
    pub fn function<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        match self {
            Call::Function { function, .. } | Call::Node(function, _) => function.bind(py),
        }
    }

    /// The arguments, with `needs` by index. Those by position come behind `first`.
    pub fn write_out<'py>(
        &self,
        py: Python<'py>,
        first: &[&Bound<'py, PyAny>],
        needs: &[Bound<'py, PyAny>],
    ) -> PyResult<(Bound<'py, PyTuple>, Option<Bound<'py, PyDict>>)> {
        let mut written: Vec<_> = first.iter().map(|&first| first.clone()).collect();
        let mut named = None;
        match self {
            Call::Function { args, kwargs, .. } => {
                for argument in args {
                    written.push(argument.write_out(py, needs)?);
                }
                for (name, argument) in kwargs {
                    let named = named.get_or_insert_with(|| PyDict::new(py));
                    named.set_item(name, argument.write_out(py, needs)?)?;
                }
            }
            Call::Node(_, keys) => {
                let values = PyDict::new(py);
                for (key, value) in keys.iter().zip(needs) {
                    values.set_item(key, value)?;
                }
                written.push(values.into_any());
            }
        }
        Ok((PyTuple::new(py, written)?, named))
    }
}

impl Argument {
    fn write_out<'py>(
        &self,
        py: Python<'py>,
        needs: &[Bound<'py, PyAny>],
    ) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Argument::Known(value) => Ok(value.bind(py).clone()),
            Argument::Need(index) => Ok(needs[*index].clone()),
            Argument::Container(container, items) => {
                let items = items.iter().map(|item| item.write_out(py, needs));
                let items = items.collect::<PyResult<Vec<_>>>()?;
                Ok(match container {
                    Container::List => PyList::new(py, items)?.into_any(),
                    Container::Tuple => PyTuple::new(py, items)?.into_any(),
                    Container::Set => PySet::new(py, items)?.into_any(),
                })
            }
        }
    }
}

/// A node while it is taken apart. What returns none has met something that is to be called.
struct Taking<'a, 'py> {
    notation: &'a Notation<'py>,
    needs: Vec<Bound<'py, PyAny>>,
}

impl<'py> Taking<'_, 'py> {
    fn call(&mut self, node: &Bound<'py, PyAny>) -> PyResult<Option<Call>> {
        let py = node.py();
        let Some(args) = self.arguments(node)? else {
            return Ok(None);
        };
        let mut named = Vec::new();
        let kwargs = node.getattr(pyo3::intern!(py, "kwargs"))?;
        for (name, argument) in &kwargs.cast_into::<PyDict>()? {
            let Some(argument) = self.argument(argument)? else {
                return Ok(None);
            };
            named.push((name.unbind(), argument));
        }
        Ok(Some(Call::Function {
            function: node.getattr(pyo3::intern!(py, "func"))?.unbind(),
            args,
            kwargs: named,
        }))
    }

    fn arguments(&mut self, node: &Bound<'py, PyAny>) -> PyResult<Option<Vec<Argument>>> {
        let args = node.getattr(pyo3::intern!(node.py(), "args"))?;
        let args = args.cast_into::<PyTuple>()?;
        args.iter()
            .map(|argument| self.argument(argument))
            .collect()
    }

    fn argument(&mut self, argument: Bound<'py, PyAny>) -> PyResult<Option<Argument>> {
        let py = argument.py();
        let notation = self.notation;
        if argument.is_instance(&notation.reference)? {
            return Ok(self.need(argument.getattr(pyo3::intern!(py, "key"))?));
        }
        if !argument.is_instance(&notation.node)? {
            return Ok(Some(Argument::Known(argument.unbind())));
        }
        let class = argument.get_type();
        if class.is(&notation.alias) {
            return Ok(self.need(argument.getattr(pyo3::intern!(py, "target"))?));
        }
        if class.is(&notation.data) {
            let value = argument.getattr(pyo3::intern!(py, "value"))?;
            return Ok(Some(Argument::Known(value.unbind())));
        }
        let container = if class.is(&notation.list) {
            Container::List
        } else if class.is(&notation.tuple) {
            Container::Tuple
        } else if class.is(&notation.set) {
            Container::Set
        } else {
            return Ok(None);
        };
        let items = self.arguments(&argument)?;
        Ok(items.map(|items| Argument::Container(container, items)))
    }

    #[expect(clippy::unnecessary_wraps, reason = "as all that takes apart")]
    fn need(&mut self, key: Bound<'py, PyAny>) -> Option<Argument> {
        self.needs.push(key);
        Some(Argument::Need(self.needs.len() - 1))
    }
}
