//! What is known of each function: how its runs and waits are distributed.
//!
//! Counters come from the scheduler, which misses nothing. Distributions come from events, so they
//! are of the runs that were seen, and say how many these are.

use std::time::Duration;

use lineshaft_core::{GroupId, Measured};
use lineshaft_engine::GroupName;
use rustc_hash::FxHashMap;

use crate::histogram::Histogram;
use crate::limits;

/// Distributions of one group.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Empty until somebody has asked for it.
    pub(crate) name: GroupName,
    /// Time that the calls ran whose workers said how long, without their waits, in nanoseconds.
    pub(crate) ran: Histogram,
    /// What their attempts took beside that.
    pub(crate) moving: Moving,
    /// Bytes of results that did not stay in this process.
    pub(crate) bytes: Histogram,
    /// Time from when a task could run until it was handed to a worker, in nanoseconds.
    pub(crate) queued: Histogram,
}

/// Time that attempts spent on moving data, and not in the call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moving {
    /// To load in the first attempt of each worker, which imports what the function needs.
    pub(crate) first_load: Duration,
    /// How many first attempts these are.
    pub(crate) firsts: u32,
    /// Attempts for which it was more than half of their time.
    pub(crate) most: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: FxHashMap<GroupId, Group>,
    /// Some have no name yet.
    has_nameless: bool,
}

impl Groups {
    pub(crate) fn get(&self, group: GroupId) -> Option<&Group> {
        self.groups.get(&group)
    }

    /// What it is called before people.
    pub(crate) fn name(&self, group: GroupId) -> &str {
        self.groups
            .get(&group)
            .map_or("", |group| &group.name.shown)
    }

    /// Those whose name has this in it, in any case of letters.
    pub(crate) fn named(&self, part: &str) -> impl Iterator<Item = GroupId> {
        let part = part.to_lowercase();
        let groups = self.groups.iter();
        let named =
            groups.filter(move |(_, group)| group.name.shown.to_lowercase().contains(&part));
        named.map(|(id, _)| *id)
    }

    /// Notes that there is such a group. Those beyond the bound are not noted.
    pub(crate) fn see(&mut self, group: GroupId) {
        if self.groups.len() < limits::GROUPS_MAX && !self.groups.contains_key(&group) {
            self.groups.insert(group, Group::default());
            self.has_nameless = true;
        }
    }

    /// An attempt took so long, waited for calls of its own during this part of it, and was its worker's first of
    /// this group or not.
    pub(crate) fn note_run(
        &mut self,
        group: GroupId,
        measured: Measured,
        waited: Duration,
        first: bool,
    ) {
        let (took, phases) = (measured.ran(), measured.phases);
        if let Some(group) = self.groups.get_mut(&group) {
            let waited = waited.min(phases.call(took));
            group
                .ran
                .add(nanoseconds(phases.call(took).saturating_sub(waited)));
            group.moving.most += u64::from(phases.call(took) < took / 2);
            if first {
                group.moving.first_load += phases.load();
                group.moving.firsts += 1;
            }
        }
    }

    pub(crate) fn note_queued(&mut self, group: GroupId, queued: Duration) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.queued.add(nanoseconds(queued));
        }
    }

    pub(crate) fn note_bytes(&mut self, group: GroupId, bytes: u64) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.bytes.add(bytes);
        }
    }

    /// Gives names to all, if one has none: what others are shown as depends on it.
    pub(crate) fn name_all(&mut self, name: impl Fn(GroupId) -> GroupName) {
        if std::mem::take(&mut self.has_nameless) {
            for (id, group) in &mut self.groups {
                group.name = name(*id);
            }
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
