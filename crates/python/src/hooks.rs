//! `Hooks`: the functions of Python that run a task in a worker.

use lineshaft_engine::worker::{Received, Session};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::interpreter::interpreter;
use crate::values::Loadable;

/// The functions of `lineshaft._serial.worker` that run a task.
pub struct Hooks<'py> {
    pub load_definition: Bound<'py, PyAny>,
    pub forget: Bound<'py, PyAny>,
    pub code: Bound<'py, PyAny>,
    pub loads: Bound<'py, PyAny>,
    pub dumps_result: Bound<'py, PyAny>,
    pub dumps_raised: Bound<'py, PyAny>,
    pub run_batch: Bound<'py, PyAny>,
    /// Tells of arguments, for people.
    pub show_arguments: Bound<'py, PyAny>,
    pub flush: Bound<'py, PyAny>,
    /// A list that is empty if there is nothing to flush.
    pub unflushed: Bound<'py, PyList>,
    pub check_limit: Bound<'py, PyAny>,
    /// What is told of the function of each call before it begins, because calls before have changed something
    /// for their like only.
    pub changed: Bound<'py, PyList>,
}

/// A call with everything that it needs.
pub struct Call<'py> {
    function: Bound<'py, PyAny>,
    args: Bound<'py, PyTuple>,
    kwargs: Bound<'py, PyDict>,
}

impl<'py> Hooks<'py> {
    /// Those of the module that `hooks` is.
    pub fn of(hooks: &Bound<'py, PyAny>) -> PyResult<Hooks<'py>> {
        Ok(Hooks {
            load_definition: hooks.getattr("load_definition")?,
            forget: hooks.getattr("forget")?,
            code: hooks.getattr("code")?,
            loads: hooks.getattr("loads")?,
            dumps_result: hooks.getattr("dumps_result")?,
            dumps_raised: hooks.getattr("dumps_raised")?,
            run_batch: hooks.getattr("run_batch")?,
            show_arguments: hooks.getattr("show_arguments")?,
            flush: hooks.getattr("flush")?,
            unflushed: hooks.getattr("unflushed")?.cast_into()?,
            check_limit: hooks.getattr("check_limit")?,
            changed: hooks.getattr("changed")?.cast_into()?,
        })
    }

    /// A call as it was sent; `inputs` are results of others that it needs.
    pub fn load(
        &self,
        session: &Session,
        code: u64,
        args: &Received,
        inputs: &[Received],
    ) -> PyResult<Call<'py>> {
        let py = self.code.py();
        let function = self.code.call1((code,))?;
        let loadable = Loadable::from_received(py, args, session)?;
        let call = if inputs.is_empty() && loadable.buffers.is_none() {
            interpreter(py)?.loads.bind(py).call1((&loadable.stream,))?
        } else {
            let values = PyList::empty(py);
            for input in inputs {
                values.append(Loadable::from_received(py, input, session)?.load(py)?)?;
            }
            self.loads
                .call1((&loadable.stream, loadable.buffers(py), values))?
        };
        let (args, kwargs) = call.extract::<(Bound<'py, PyTuple>, Bound<'py, PyDict>)>()?;
        let call = if function.is_none() {
            Call {
                function: args.get_item(0)?,
                args: args.get_slice(1, args.len()),
                kwargs,
            }
        } else {
            Call {
                function,
                args,
                kwargs,
            }
        };
        // Of a copy, because who has put something back leaves the list.
        for put_back in self.changed.to_tuple() {
            put_back.call1((&call.function,))?;
        }
        Ok(call)
    }
}

impl<'py> Call<'py> {
    /// What it is called with.
    pub fn arguments(&self) -> (Bound<'py, PyTuple>, Bound<'py, PyDict>) {
        (self.args.clone(), self.kwargs.clone())
    }

    /// Calls it; or, if it is a batch, for `each` of the items that it has.
    pub fn run(self, hooks: &Hooks<'py>, each: bool) -> PyResult<Bound<'py, PyAny>> {
        if each {
            let py = self.function.py();
            let function = PyTuple::new(py, [self.function])?;
            let args = function.as_sequence().concat(self.args.as_sequence())?;
            return hooks.run_batch.call1(args.to_tuple()?);
        }
        let kwargs = Some(&self.kwargs).filter(|kwargs| !kwargs.is_empty());
        self.function.call(self.args, kwargs)
    }
}
