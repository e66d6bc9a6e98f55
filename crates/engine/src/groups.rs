//! Names of task groups, as integers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use lineshaft_core::GroupId;

/// Names of task groups, as integers. A group is never forgotten: there are as many as functions.
#[derive(Default)]
pub(crate) struct Groups {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    ids: HashMap<String, GroupId>,
    names: Vec<String>,
}

impl Groups {
    pub(crate) fn intern(&self, name: &str) -> GroupId {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&id) = known.ids.get(name) {
            return id;
        }
        let id = GroupId(
            u32::try_from(known.names.len()).expect("fewer groups than functions fit in memory"),
        );
        known.ids.insert(name.to_owned(), id);
        known.names.push(name.to_owned());
        id
    }

    pub(crate) fn name(&self, id: GroupId) -> String {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.names.get(id.0 as usize).cloned().unwrap_or_default()
    }
}
