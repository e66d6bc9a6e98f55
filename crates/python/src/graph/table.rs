//! From keys to integers: which tasks of a graph are needed for what is wanted, and in what order each
//! comes after those that it needs.
//!
//! Every key is looked up once for each time that it is mentioned; all else is done on integers, in
//! time linear in the graph. Nothing depends on the order of a set, so equal graphs are numbered
//! equally.

use pyo3::exceptions::{PyKeyError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::Graph;
use super::call::{Call, Notation};

/// What a key stands for in the end.
pub enum Entry<'py> {
    /// The result of a task, by its position in the graph.
    Task(usize),
    /// A value that is known.
    Value(Bound<'py, PyAny>),
    /// The result of a future, a task of another graph.
    Future(Bound<'py, PyAny>),
}

/// A graph by key: every key is a task, a value that is known or a future's, or another name for a key.
pub struct Table<'py> {
    /// Keys and nodes of the tasks.
    nodes: Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>,
    /// From the key of a task to its position among them.
    positions: Bound<'py, PyDict>,
    values: Bound<'py, PyDict>,
    futures: Bound<'py, PyDict>,
    aliases: Bound<'py, PyDict>,
    notation: Notation<'py>,
}

/// One task that is needed.
pub struct Row<'py> {
    pub position: usize,
    pub key: Bound<'py, PyAny>,
    pub call: Call,
    /// The keys that it names, as the call counts them, and what these stand for.
    pub needs: Vec<(Bound<'py, PyAny>, Entry<'py>)>,
    /// The positions of the tasks among them, ascending, each once.
    pub tasks: Vec<usize>,
}

impl<'py> Table<'py> {
    pub fn new(graph: &Graph<'py>) -> PyResult<Table<'py>> {
        let positions = PyDict::new(graph.nodes.py());
        let nodes: Vec<_> = graph.nodes.iter().collect();
        for (position, (key, _)) in nodes.iter().enumerate() {
            positions.set_item(key, position)?;
        }
        Ok(Table {
            nodes,
            positions,
            values: graph.values.clone(),
            futures: graph.futures.clone(),
            aliases: graph.aliases.clone(),
            notation: graph.notation.clone(),
        })
    }

    /// How many tasks there are, needed or not.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// What a key stands for; none if it is not in the graph.
    pub fn find(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Entry<'py>>> {
        let mut key = key.clone();
        let mut alias = None;
        for _ in 0..=self.aliases.len() {
            if let Some(position) = self.positions.get_item(&key)? {
                return Ok(Some(Entry::Task(position.extract()?)));
            }
            if let Some(value) = self.values.get_item(&key)? {
                return Ok(Some(Entry::Value(value)));
            }
            if let Some(future) = self.futures.get_item(&key)? {
                return Ok(Some(Entry::Future(future)));
            }
            let Some(target) = self.aliases.get_item(&key)? else {
                return match alias {
                    Some(alias) => Err(missing(&key, &alias)?),
                    None => Ok(None),
                };
            };
            alias = Some(std::mem::replace(&mut key, target));
        }
        Err(cycle(&[key.clone(), key]))
    }

    /// What the wanted keys stand for.
    pub fn find_all(&self, wanted: &Bound<'py, PyList>) -> PyResult<Vec<Entry<'py>>> {
        let found = |key| {
            // In a tuple, because a tuple alone would be taken for the arguments of the error.
            let missing = |key: &Bound<'py, PyAny>| PyKeyError::new_err((key.clone().unbind(),));
            self.find(&key)?.ok_or_else(|| missing(&key))
        };
        wanted.iter().map(found).collect()
    }

    /// The tasks that are needed for these, each after those that it needs itself.
    pub fn needed_for(&self, wanted: &[Entry<'py>]) -> PyResult<Vec<Row<'py>>> {
        let mut rows = Vec::new();
        // What is wrong with a graph that has a cycle is the cycle, as Dask has it.
        let mut first_missing = None;
        let mut seen = vec![Seen::No; self.len()];
        // Tasks on the way from a wanted one, each with the number of its needs that were looked at.
        let mut path: Vec<(Row<'py>, usize)> = Vec::new();
        for entry in wanted {
            let mut next = match entry {
                Entry::Task(position) => Some(*position),
                Entry::Value(_) | Entry::Future(_) => None,
            };
            loop {
                if let Some(position) = next.take() {
                    match seen[position] {
                        Seen::Done => {}
                        Seen::OnPath => return Err(self.cycle_through(position, &path)),
                        Seen::No => {
                            seen[position] = Seen::OnPath;
                            path.push((self.row(position, &mut first_missing)?, 0));
                        }
                    }
                }
                let Some((row, looked_at)) = path.last_mut() else {
                    break;
                };
                if let Some(&position) = row.tasks.get(*looked_at) {
                    *looked_at += 1;
                    next = Some(position);
                } else if let Some((row, _)) = path.pop() {
                    seen[row.position] = Seen::Done;
                    rows.push(row);
                }
            }
        }
        first_missing.map_or(Ok(rows), Err)
    }

    /// The task at a position; an error for a key that is not in the graph goes to `first_missing`.
    fn row(&self, position: usize, first_missing: &mut Option<PyErr>) -> PyResult<Row<'py>> {
        let (key, node) = &self.nodes[position];
        let (call, names) = Call::of(node, &self.notation)?;
        let mut needs = Vec::with_capacity(names.len());
        let mut tasks = Vec::with_capacity(names.len());
        for name in names {
            let Some(entry) = self.find(&name)? else {
                if first_missing.is_none() {
                    *first_missing = Some(missing(&name, key)?);
                }
                continue;
            };
            if let Entry::Task(position) = entry {
                tasks.push(position);
            }
            needs.push((name, entry));
        }
        // Some come from a set, whose order changes from run to run.
        tasks.sort_unstable();
        tasks.dedup();
        Ok(Row {
            position,
            key: key.clone(),
            call,
            needs,
            tasks,
        })
    }

    fn cycle_through(&self, position: usize, path: &[(Row<'py>, usize)]) -> PyErr {
        let keys = path
            .iter()
            .skip_while(|(row, _)| row.position != position)
            .map(|(row, _)| row.key.clone())
            .chain([self.nodes[position].0.clone()]);
        cycle(&keys.collect::<Vec<_>>())
    }
}

#[derive(Clone, Copy)]
enum Seen {
    No,
    OnPath,
    Done,
}

/// In the words of Dask, whose users know them.
fn missing(name: &Bound<'_, PyAny>, dependent: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    Ok(PyValueError::new_err(format!(
        "Missing dependency {name} for dependents {{{}}}",
        dependent.repr()?
    )))
}

fn cycle(keys: &[Bound<'_, PyAny>]) -> PyErr {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    PyRuntimeError::new_err(format!(
        "Cycle detected between the following keys:\n  -> {}",
        keys.join("\n  -> ")
    ))
}
