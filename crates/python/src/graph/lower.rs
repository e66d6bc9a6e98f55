//! From the tasks of a graph to what the engine takes.

use std::sync::Arc;

use lineshaft_engine::{Policy, TaskRequest, Work};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::encode::{Arguments, encode_arguments};
use crate::engine::Core;
use crate::pool::{Kind, Pool, TaskOptions};

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
    /// The context in which nodes run on threads.
    pub context: Bound<'py, PyAny>,
    /// Called with an index: what stands for the input with that index in pickled arguments.
    pub stand_in: Bound<'py, PyAny>,
    /// Called with a node that is to run in a worker process and a dict of what it needs, or what
    /// stands for that: the function and the arguments that are to be sent.
    pub to_call: Bound<'py, PyAny>,
}

/// A task, and those of the same graph that it needs, by number.
pub type Lowered = (TaskRequest, Vec<usize>);

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
        numbers: &'a [usize],
    ) -> PyResult<Lowering<'a, 'py>> {
        Ok(Lowering {
            core,
            plan,
            names: Names::new(core.engine()?),
            numbers,
            stand_ins: Vec::new(),
        })
    }

    pub fn lower(&mut self, py: Python<'py>, row: Row<'py>) -> PyResult<Lowered> {
        let place = match self.plan.places.get_item(&row.key)? {
            Some(place) => place.extract()?,
            None => 0,
        };
        let pool = self.plan.pools.get(place);
        let pool = pool.ok_or_else(|| PyValueError::new_err("there is no pool of this index"))?;
        let policy = match self.plan.options.get_item(&row.key)? {
            Some(options) => options.cast::<TaskOptions>()?.get().policy,
            None => Policy::default(),
        };
        let group = self.names.group(&row.key)?;
        let (needed, inputs) = self.inputs(&row);
        let (id, work) = match &pool.get().kind {
            Kind::Threads { id, .. } => (*id, self.here(row, &inputs)),
            Kind::Processes { id, encoder, .. } => (*id, self.remote(py, encoder, &row, &inputs)?),
            Kind::Nested { .. } => {
                return Err(PyTypeError::new_err("a graph runs where its engine is"));
            }
        };
        let request = TaskRequest {
            pool: id,
            group,
            work,
            inputs: Vec::new(),
            policy,
        };
        Ok((request, needed))
    }

    /// The task after all that is wanted.
    pub fn end(&self, wanted: &[Entry<'py>]) -> PyResult<Lowered> {
        let Kind::Threads { id, .. } = &self.plan.end_pool.get().kind else {
            return Err(PyTypeError::new_err("a graph ends on a thread"));
        };
        let numbers = wanted.iter().filter_map(|entry| match entry {
            Entry::Task(position) => Some(self.numbers[*position]),
            Entry::Value(_) => None,
        });
        let mut needed: Vec<usize> = numbers.collect();
        needed.sort_unstable();
        needed.dedup();
        let request = TaskRequest {
            pool: *id,
            group: self.core.engine()?.group("end of graph"),
            work: Work::Local(Arc::new(Node::End)),
            inputs: Vec::new(),
            policy: Policy::default(),
        };
        Ok((request, needed))
    }

    /// The tasks that a row needs, each once, and for each of its needs the index among them.
    fn inputs(&self, row: &Row<'py>) -> (Vec<usize>, Vec<Option<usize>>) {
        let mut needed: Vec<usize> = Vec::with_capacity(row.needs.len());
        let mut indices = Vec::with_capacity(row.needs.len());
        for (_, entry) in &row.needs {
            indices.push(match entry {
                Entry::Task(position) => {
                    // Sorted by position, so keys that mean the same task are neighbours.
                    let number = self.numbers[*position];
                    if needed.last() != Some(&number) {
                        needed.push(number);
                    }
                    Some(needed.len() - 1)
                }
                Entry::Value(_) => None,
            });
        }
        (needed, indices)
    }

    fn here(&self, row: Row<'py>, inputs: &[Option<usize>]) -> Work {
        let needs = row
            .needs
            .into_iter()
            .zip(inputs)
            .map(|((key, entry), input)| {
                let need = match (entry, input) {
                    (Entry::Value(value), _) => Need::Value(value.unbind()),
                    (Entry::Task(_), Some(index)) => Need::Input(*index),
                    (Entry::Task(_), None) => unreachable!("each task is an input"),
                };
                (key.unbind(), need)
            });
        Work::Local(Arc::new(Node::Call {
            node: row.node.unbind(),
            needs: needs.collect(),
            context: self.plan.context.clone().unbind(),
        }))
    }

    fn remote(
        &mut self,
        py: Python<'py>,
        encoder: &Py<PyAny>,
        row: &Row<'py>,
        inputs: &[Option<usize>],
    ) -> PyResult<Work> {
        let values = PyDict::new(py);
        for ((key, entry), input) in row.needs.iter().zip(inputs) {
            match (entry, input) {
                (Entry::Value(value), _) => values.set_item(key, value)?,
                (Entry::Task(_), Some(index)) => values.set_item(key, self.stand_in(*index)?)?,
                (Entry::Task(_), None) => unreachable!("each task is an input"),
            }
        }
        let call = self.plan.to_call.call1((&row.node, values))?;
        let (function, args, kwargs) = call.extract::<(
            Bound<'py, PyAny>,
            Bound<'py, PyTuple>,
            Option<Bound<'py, PyDict>>,
        )>()?;
        let code = self.core.code(py, encoder, &function)?;
        let Arguments {
            payload,
            definitions,
            inputs: futures,
        } = encode_arguments(py, self.core, encoder, &function, &args, kwargs.as_ref())?;
        if !futures.is_empty() {
            return Err(PyTypeError::new_err(format!(
                "there is a future among the arguments of {}; a graph may only name its own keys",
                row.key
            )));
        }
        Ok(Work::Remote {
            code,
            definitions,
            args: payload,
            each: false,
        })
    }

    fn stand_in(&mut self, index: usize) -> PyResult<&Bound<'py, PyAny>> {
        while self.stand_ins.len() <= index {
            let made = self.plan.stand_in.call1((self.stand_ins.len(),))?;
            self.stand_ins.push(made);
        }
        Ok(&self.stand_ins[index])
    }
}
