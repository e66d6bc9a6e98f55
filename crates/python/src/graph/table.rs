//! From keys to integers: which tasks of a graph are needed for what is wanted, and in what order each
//! comes after those that it needs.
//!
//! Every key is looked up once for each time that it is mentioned; all else is done on integers, in
//! time linear in the graph. Nothing depends on the order of a set, so equal graphs are numbered
//! equally.

use pyo3::exceptions::{PyKeyError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// What a key stands for in the end.
pub enum Entry<'py> {
    /// The result of a task, by its position in the graph.
    Task(usize),
    /// A value that is known.
    Value(Bound<'py, PyAny>),
}

/// A graph by key: every key is a task, or a value that is known, or another name for a key.
pub struct Table<'py> {
    nodes: Bound<'py, PyDict>,
    values: Bound<'py, PyDict>,
    aliases: Bound<'py, PyDict>,
    /// From the key of a task to its position, which is that in `nodes`.
    positions: Bound<'py, PyDict>,
    keys: Vec<Bound<'py, PyAny>>,
}

/// One task that is needed.
pub struct Row<'py> {
    pub position: usize,
    pub key: Bound<'py, PyAny>,
    pub node: Bound<'py, PyAny>,
    /// The keys that it names, and what these stand for: tasks first, by position.
    pub needs: Vec<(Bound<'py, PyAny>, Entry<'py>)>,
}

impl<'py> Table<'py> {
    pub fn new(
        nodes: Bound<'py, PyDict>,
        values: Bound<'py, PyDict>,
        aliases: Bound<'py, PyDict>,
    ) -> PyResult<Table<'py>> {
        let positions = PyDict::new(nodes.py());
        let keys: Vec<_> = nodes.keys().iter().collect();
        for (position, key) in keys.iter().enumerate() {
            positions.set_item(key, position)?;
        }
        Ok(Table {
            nodes,
            values,
            aliases,
            positions,
            keys,
        })
    }

    /// How many tasks there are, needed or not.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// What a key stands for; none if it is not in the graph.
    pub fn find(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Entry<'py>>> {
        let mut key = key.clone();
        for _ in 0..=self.aliases.len() {
            if let Some(position) = self.positions.get_item(&key)? {
                return Ok(Some(Entry::Task(position.extract()?)));
            }
            if let Some(value) = self.values.get_item(&key)? {
                return Ok(Some(Entry::Value(value)));
            }
            let Some(target) = self.aliases.get_item(&key)? else {
                return Ok(None);
            };
            key = target;
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
        let mut seen = vec![Seen::No; self.len()];
        // Tasks on the way from a wanted one, each with the number of its needs that were looked at.
        let mut path: Vec<(Row<'py>, usize)> = Vec::new();
        for entry in wanted {
            let mut next = match entry {
                Entry::Task(position) => Some(*position),
                Entry::Value(_) => None,
            };
            loop {
                if let Some(position) = next.take() {
                    match seen[position] {
                        Seen::Done => {}
                        Seen::OnPath => return Err(self.cycle_through(position, &path)),
                        Seen::No => {
                            seen[position] = Seen::OnPath;
                            path.push((self.row(position)?, 0));
                        }
                    }
                }
                let Some((row, looked_at)) = path.last_mut() else {
                    break;
                };
                if let Some((_, Entry::Task(position))) = row.needs.get(*looked_at) {
                    *looked_at += 1;
                    next = Some(*position);
                } else if let Some((row, _)) = path.pop() {
                    seen[row.position] = Seen::Done;
                    rows.push(row);
                }
            }
        }
        Ok(rows)
    }

    fn row(&self, position: usize) -> PyResult<Row<'py>> {
        let key = self.keys[position].clone();
        let py = key.py();
        let node = self.nodes.get_item(&key)?;
        let node = node.ok_or_else(|| PyRuntimeError::new_err("the graph changed meanwhile"))?;
        let mut needs = Vec::new();
        for dependency in node
            .getattr(pyo3::intern!(py, "dependencies"))?
            .try_iter()?
        {
            let dependency = dependency?;
            let Some(entry) = self.find(&dependency)? else {
                return Err(PyValueError::new_err(format!(
                    "Missing dependency {dependency} for dependents {{{}}}",
                    key.repr()?
                )));
            };
            needs.push((dependency, entry));
        }
        // The dependencies of a node are a set, whose order changes from run to run.
        needs.sort_by_key(|(_, entry)| match entry {
            Entry::Task(position) => *position,
            Entry::Value(_) => usize::MAX,
        });
        Ok(Row {
            position,
            key,
            node,
            needs,
        })
    }

    fn cycle_through(&self, position: usize, path: &[(Row<'py>, usize)]) -> PyErr {
        let keys = path
            .iter()
            .skip_while(|(row, _)| row.position != position)
            .map(|(row, _)| row.key.clone())
            .chain([self.keys[position].clone()]);
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
fn cycle(keys: &[Bound<'_, PyAny>]) -> PyErr {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    PyRuntimeError::new_err(format!(
        "Cycle detected between the following keys:\n  -> {}",
        keys.join("\n  -> ")
    ))
}
