//! From the tasks of a graph to what the engine takes.

use std::sync::Arc;

use lineshaft_engine::{Policy, Promise, TaskRequest, Work};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::encode::{EncodedCall, dependency, encode_call};
use crate::engine::Core;
use crate::pool::{Kind, Pool};
use crate::task_options::TaskOptions;

use super::call::{Call, Notation};
use super::name::Names;
use super::node::{Need, Node};
use super::table::{Entry, Row};

/// Where and how the tasks of a graph run.
#[derive(FromPyObject)]
pub struct Plan<'py> {
    /// Where tasks can run; the first is where they do unless something else is said.
    pub pools: Vec<Bound<'py, Pool>>,
    /// Where the task runs that comes last.
    pub end_pool: Bound<'py, Pool>,
    /// Indices into the pools, by key.
    pub places: Bound<'py, PyDict>,
    /// `TaskOptions` by key.
    pub options: Bound<'py, PyDict>,
    /// Whether the end of the program does not wait for it.
    pub daemon: bool,
    /// The context in which nodes run on threads.
    pub context: Bound<'py, PyAny>,
    /// Called with an index: what stands for the input with that index in pickled arguments.
    pub stand_in: Bound<'py, PyAny>,
    /// Called in worker processes with a node that cannot be taken apart and a dict of what it needs.
    pub call_node: Bound<'py, PyAny>,
}

/// A task, and those of the same graph that it needs, by number.
pub type Lowered = (TaskRequest, Vec<usize>);

/// What a task needs that is not of its graph.
type Inputs = Vec<Arc<Promise>>;

/// Turns rows of a graph into tasks.
pub struct Lowering<'a, 'py> {
    core: &'a Arc<Core>,
    plan: &'a Plan<'py>,
    names: Names<'a>,
    /// By position in the graph, the number that a task is submitted as.
    numbers: &'a [usize],
    stand_ins: Vec<Bound<'py, PyAny>>,
}

impl<'a, 'py> Lowering<'a, 'py> {
    pub fn new(
        core: &'a Arc<Core>,
        plan: &'a Plan<'py>,
        notation: &Notation<'py>,
        numbers: &'a [usize],
    ) -> PyResult<Lowering<'a, 'py>> {
        Ok(Lowering {
            core,
            plan,
            names: Names::new(core.engine()?, notation)?,
            numbers,
            stand_ins: Vec::new(),
        })
    }

    pub fn lower(&mut self, py: Python<'py>, row: Row<'py>) -> PyResult<Lowered> {
        let place = match by_key(&self.plan.places, &row.key)? {
            Some(place) => place.extract()?,
            None => 0,
        };
        let pool = self.plan.pools.get(place);
        let pool = pool.ok_or_else(|| PyValueError::new_err("there is no pool of this index"))?;
        let policy = match by_key(&self.plan.options, &row.key)? {
            Some(options) => options.cast::<TaskOptions>()?.get().policy,
            None => Policy::default(),
        };
        let daemon = self.plan.daemon;
        let group = self.names.group(&row)?;
        let needed = row.tasks.iter().map(|&task| self.numbers[task]).collect();
        let (id, (work, inputs)) = match &pool.get().kind {
            Kind::Threads { id, .. } => (*id, self.here(row)?),
            Kind::Processes { id, encoder, .. } => (*id, self.remote(py, encoder, &row)?),
            Kind::Nested { .. } => {
                return Err(PyTypeError::new_err("a graph runs where its engine is"));
            }
        };
        let request = TaskRequest {
            pool: id,
            group,
            work,
            inputs,
            policy: Policy { daemon, ..policy },
        };
        Ok((request, needed))
    }

    /// The task after all that is wanted.
    pub fn end(&self, wanted: &[Entry<'py>]) -> PyResult<Lowered> {
        let Kind::Threads { id, .. } = &self.plan.end_pool.get().kind else {
            return Err(PyTypeError::new_err("a graph ends on a thread"));
        };
        let (mut needed, mut inputs) = (Vec::new(), Vec::new());
        for entry in wanted {
            match entry {
                Entry::Task(position) => needed.push(self.numbers[*position]),
                Entry::Future(future) => inputs.push(dependency(self.core, future)?),
                Entry::Value(_) => {}
            }
        }
        needed.sort_unstable();
        needed.dedup();
        let request = TaskRequest {
            pool: *id,
            group: self.core.engine()?.group("", "end of graph"),
            work: Work::Local(Arc::new(Node::End)),
            inputs,
            policy: Policy {
                daemon: self.plan.daemon,
                internal: true,
                ..Policy::default()
            },
        };
        Ok((request, needed))
    }

    fn here(&self, row: Row<'py>) -> PyResult<(Work, Inputs)> {
        let mut inputs = Vec::new();
        let needs = row.needs.into_iter().map(|(_, entry)| match entry {
            Entry::Task(position) => Ok(Need::Input(input(&row.tasks, position))),
            Entry::Value(value) => Ok(Need::Value(value.unbind())),
            Entry::Future(future) => {
                inputs.push(dependency(self.core, &future)?);
                Ok(Need::Input(row.tasks.len() + inputs.len() - 1))
            }
        });
        let work = Work::Local(Arc::new(Node::Call {
            needs: needs.collect::<PyResult<_>>()?,
            call: row.call,
            context: self.plan.context.clone().unbind(),
        }));
        Ok((work, inputs))
    }

    fn remote(
        &mut self,
        py: Python<'py>,
        encoder: &Py<PyAny>,
        row: &Row<'py>,
    ) -> PyResult<(Work, Inputs)> {
        let mut needs = Vec::with_capacity(row.needs.len());
        for (_, entry) in &row.needs {
            needs.push(match entry {
                Entry::Task(position) => self.stand_in(input(&row.tasks, *position))?.clone(),
                // A future finds its place among the inputs when it is pickled.
                Entry::Value(value) | Entry::Future(value) => value.clone(),
            });
        }
        // The function is sent once for all tasks that call it, the arguments with each.
        let function = row.call.function(py);
        let (function, (args, kwargs)) = match row.call {
            Call::Function { .. } => (function, row.call.write_out(py, &[], &needs)?),
            Call::Node(..) => {
                let written = row.call.write_out(py, &[function], &needs)?;
                (&self.plan.call_node, written)
            }
        };
        // Each task finds what the program has now, and not what other tasks made of it.
        encoder.call_method0(py, pyo3::intern!(py, "look_again"))?;
        let EncodedCall {
            code,
            args,
            definitions,
            inputs,
        } = encode_call(
            py,
            self.core,
            encoder,
            function,
            &args,
            kwargs.as_ref(),
            row.tasks.len(),
        )?;
        let work = Work::Remote {
            code,
            definitions,
            args,
            each: false,
        };
        Ok((work, inputs))
    }

    fn stand_in(&mut self, index: usize) -> PyResult<&Bound<'py, PyAny>> {
        while self.stand_ins.len() <= index {
            let made = self.plan.stand_in.call1((self.stand_ins.len(),))?;
            self.stand_ins.push(made);
        }
        Ok(&self.stand_ins[index])
    }
}

/// The index of a task among those that a row needs, which are its inputs.
fn input(tasks: &[usize], position: usize) -> usize {
    let found = tasks.binary_search(&position);
    found.expect("a row has the positions of all tasks that it names")
}

/// What a dict has for a key. Most have nothing at all, and the hash of a key that is a tuple is made
/// anew each time.
fn by_key<'py>(
    dict: &Bound<'py, PyDict>,
    key: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if dict.is_empty() {
        return Ok(None);
    }
    dict.get_item(key)
}
