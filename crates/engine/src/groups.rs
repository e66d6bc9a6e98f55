//! Names of task groups, as integers.

use std::sync::{Mutex, PoisonError};

use lineshaft_core::GroupId;
use rustc_hash::FxHashMap;

use crate::limits::GROUPS_MAX;

/// What all groups beyond the bound are called.
const OTHERS: &str = "others";

/// What a group is called.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupName {
    /// What its function is from; empty if there is no such thing.
    pub module: String,
    /// What it is called there.
    pub name: String,
    /// What it is called before people: its name, or if other groups have the same, that with the module.
    pub shown: String,
}

/// Names of task groups, as integers. A group is never forgotten. There are as many as functions, or as
/// workers make up for nested calls; those beyond a bound are one.
#[derive(Default)]
pub(crate) struct Groups {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By module and name: nothing has to be put together to look one up.
    ids: FxHashMap<String, FxHashMap<String, GroupId>>,
    /// In the order of ids.
    names: Vec<(String, String)>,
    /// How many groups have this name, in whatever module.
    namesakes: FxHashMap<String, u32>,
}

impl Groups {
    pub(crate) fn intern(&self, module: &str, name: &str) -> GroupId {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = known.find(module, name) {
            return id;
        }
        let has_room = known.names.len() < GROUPS_MAX - 1;
        if has_room {
            return known.add(module, name);
        }
        let others = known.find("", OTHERS);
        others.unwrap_or_else(|| known.add("", OTHERS))
    }

    /// What a group is called now: what it is shown as changes when another one gets the same name.
    pub(crate) fn name(&self, id: GroupId) -> GroupName {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((module, name)) = known.names.get(id.named().0 as usize) else {
            return GroupName::default();
        };
        let is_alone = known.namesakes.get(name).is_none_or(|count| *count == 1);
        GroupName {
            module: module.clone(),
            name: name.clone(),
            shown: if is_alone || module.is_empty() {
                name.clone()
            } else {
                format!("{module}.{name}")
            },
        }
    }
}

impl Known {
    fn find(&self, module: &str, name: &str) -> Option<GroupId> {
        self.ids.get(module)?.get(name).copied()
    }

    fn add(&mut self, module: &str, name: &str) -> GroupId {
        let id = GroupId(u32::try_from(self.names.len()).expect("there is a bound"));
        let of_module = self.ids.entry(module.to_owned()).or_default();
        of_module.insert(name.to_owned(), id);
        self.names.push((module.to_owned(), name.to_owned()));
        *self.namesakes.entry(name.to_owned()).or_default() += 1;
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_beyond_the_bound_are_one() {
        let groups = Groups::default();
        let first = groups.intern("", "first");
        for number in 1..2 * GROUPS_MAX {
            groups.intern("numbers", &number.to_string());
        }
        assert_eq!(
            groups.known.lock().expect("no panic").names.len(),
            GROUPS_MAX
        );
        let others = groups.intern("", "one more");
        assert_eq!(others, groups.intern("numbers", "another"));
        assert_eq!(groups.name(others).shown, OTHERS);
        // Those that were there first are what they were.
        assert_eq!(groups.intern("", "first"), first);
        assert_eq!(groups.name(groups.intern("numbers", "1")).shown, "1");
    }

    #[test]
    fn a_name_that_several_have_is_shown_with_the_module() {
        let groups = Groups::default();
        let shown = |id| groups.name(id).shown;
        let work = groups.intern("fast", "work");
        assert_eq!(shown(work), "work");
        let of_slow = groups.intern("slow", "work");
        let of_none = groups.intern("", "work");
        let other = groups.intern("slow", "other");
        assert_eq!(groups.intern("fast", "work"), work);
        let all = [work, of_slow, of_none, other].map(shown);
        assert_eq!(all, ["fast.work", "slow.work", "work", "other"]);
        assert_eq!(shown(work.internal()), "fast.work");
    }
}
