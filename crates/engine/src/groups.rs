//! Names of task groups, as integers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use lineshaft_core::GroupId;

use crate::limits::GROUPS_MAX;

/// What all groups beyond the bound are called.
const OTHERS: &str = "others";

/// Names of task groups, as integers. A group is never forgotten. There are as many as functions, or as
/// workers make up for nested calls; those beyond a bound are one.
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
        let has_room = known.ids.contains_key(name) || known.names.len() < GROUPS_MAX - 1;
        let name = if has_room { name } else { OTHERS };
        if let Some(&id) = known.ids.get(name) {
            return id;
        }
        let id = GroupId(u32::try_from(known.names.len()).expect("there is a bound"));
        known.ids.insert(name.to_owned(), id);
        known.names.push(name.to_owned());
        id
    }

    pub(crate) fn name(&self, id: GroupId) -> String {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .names
            .get(id.named().0 as usize)
            .cloned()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_beyond_the_bound_are_one() {
        let groups = Groups::default();
        let first = groups.intern("first");
        for number in 1..2 * GROUPS_MAX {
            groups.intern(&number.to_string());
        }
        assert_eq!(
            groups.known.lock().expect("no panic").names.len(),
            GROUPS_MAX
        );
        assert_eq!(groups.intern("one more"), groups.intern("another"));
        assert_eq!(groups.name(groups.intern("one more")), OTHERS);
        // Those that were there first are what they were.
        assert_eq!(groups.intern("first"), first);
        assert_eq!(groups.name(groups.intern("1")), "1");
    }
}
