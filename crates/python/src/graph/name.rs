//! The group of a task: the name of its key without the token that makes it unique, as Dask's own displays have
//! it, in the module of its function.

use std::collections::HashMap;

use lineshaft_core::GroupId;
use lineshaft_engine::Engine;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::call::{Call, Notation};
use super::table::Row;
use crate::submission::names;

/// Groups by key.
pub struct Names<'a> {
    engine: &'a Engine,
    /// Where the classes of nodes are from. What they have fused is called by a function of theirs.
    notation: String,
    /// By the address of the name: chunks of an array share one object, which the graph keeps alive, and a function.
    known: HashMap<usize, GroupId>,
}

impl<'a> Names<'a> {
    pub fn new(engine: &'a Engine, notation: &Notation<'_>) -> PyResult<Names<'a>> {
        Ok(Names {
            engine,
            notation: notation.task.module()?.to_string(),
            known: HashMap::new(),
        })
    }

    /// The group of a task: that of its key's name if it is a string, or a tuple that begins with one.
    pub fn group(&mut self, row: &Row<'_>) -> PyResult<GroupId> {
        let key = &row.key;
        let first = match key.cast::<PyTuple>() {
            Ok(tuple) if !tuple.is_empty() => tuple.get_item(0)?,
            _ => key.clone(),
        };
        let Ok(name) = first.cast::<PyString>() else {
            return Ok(self.engine.group("", "task"));
        };
        let address = name.as_ptr() as usize;
        if let Some(group) = self.known.get(&address) {
            return Ok(*group);
        }
        let group = self.group_in_module(&row.call, without_token(&name.to_cow()?), key.py())?;
        self.known.insert(address, group);
        Ok(group)
    }

    fn group_in_module(&self, call: &Call, name: &str, py: Python<'_>) -> PyResult<GroupId> {
        match call {
            Call::Function { function, .. } => names(py, function.bind(py), |module, _| {
                let module = if module == self.notation { "" } else { module };
                self.engine.group(module, name)
            }),
            // It calls several functions, or is of a class of its own.
            Call::Node(..) => Ok(self.engine.group("", name)),
        }
    }
}

/// The words of a name before the first that is no word: `sum-partial-1f3a...` is `sum-partial`.
fn without_token(name: &str) -> &str {
    let mut end = name.len();
    let mut start = 0;
    for (index, word) in name.split('-').enumerate() {
        let is_word = !word.is_empty()
            && word
                .chars()
                .all(|letter| letter.is_alphabetic() || letter == '_')
            && !(word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if index > 0 && !is_word {
            end = start - 1;
            break;
        }
        start += word.len() + 1;
    }
    &name[..end]
}
