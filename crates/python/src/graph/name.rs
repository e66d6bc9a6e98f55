//! The group that a key belongs to: its name without the token that makes it unique, as Dask's own
//! displays have it.

use std::collections::HashMap;

use lineshaft_core::GroupId;
use lineshaft_engine::Engine;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

/// Groups by key.
pub struct Names<'a> {
    engine: &'a Engine,
    /// By the address of the name: chunks of an array share one object, which the graph keeps alive.
    known: HashMap<usize, GroupId>,
}

impl<'a> Names<'a> {
    pub fn new(engine: &'a Engine) -> Names<'a> {
        Names {
            engine,
            known: HashMap::new(),
        }
    }

    /// The group of a key: that of its name if it is a string, or a tuple that begins with one.
    pub fn group(&mut self, key: &Bound<'_, PyAny>) -> PyResult<GroupId> {
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
        let group = self.engine.group("", without_token(&name.to_cow()?));
        self.known.insert(address, group);
        Ok(group)
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
