//! Functions: how many of their tasks there are, and how long these ran.

use std::cmp::Reverse;
use std::time::Duration;

use lineshaft_core::{GroupId, GroupSummary};
use lineshaft_engine::GroupName;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use super::seconds;
use crate::lanes::Worker;
use crate::limits;
use crate::picture::Picture;

/// Which functions, and in what order.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupQuery {
    /// Whose name has this in it, in any case of letters.
    pub name: Option<String>,
    /// In what order.
    pub sort: GroupSort,
    /// Rows passed over.
    pub offset: usize,
    /// Rows wanted, at most `limits::PAGE_MAX`; zero for that many.
    pub limit: usize,
}

/// The order of a page of functions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupSort {
    /// Those that took the most time first.
    #[default]
    Time,
    /// Those with the most tasks first.
    Tasks,
    /// Those with the most failed tasks first.
    Failed,
    /// Those whose results take the most bytes first.
    Bytes,
    /// By name.
    Name,
}

/// Some functions.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct GroupPage {
    /// The rows.
    pub rows: Vec<GroupRow>,
    /// How many there are in all that the query is for.
    pub found: usize,
    /// What all functions took together, whatever the query is for.
    pub total: Total,
}

/// What all functions of a run took together.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Total {
    /// Time that their calls ran.
    pub ran_s: f64,
    /// Bytes of their results that did not stay in this process.
    pub bytes: u64,
}

/// One function.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct GroupRow {
    /// Identity.
    pub group: u32,
    /// Its name; with its module, if functions of other modules have the same.
    pub name: String,
    /// What it is from, if that is known.
    pub module: Option<String>,
    /// Tasks submitted.
    pub submitted: u64,
    /// Tasks that returned.
    pub finished: u64,
    /// Tasks that failed for good.
    pub failed: u64,
    /// Tasks that were cancelled, or needed a task that has no result.
    pub dropped: u64,
    /// Attempts that were followed by another.
    pub retried: u64,
    /// Time that their calls ran, those that failed included, without what they took to load and to store, and without
    /// their waits for other tasks.
    pub total_s: f64,
    /// Time that they had begun and waited for other tasks.
    pub waited_s: f64,
    /// The shortest run, quartiles and the longest one, of the `seen` runs.
    pub ran_s: Option<[f64; 5]>,
    /// Time that they took to load functions and arguments.
    pub load_s: f64,
    /// How much of that each worker's first one took, which imports what the function needs.
    pub first_load_s: f64,
    /// How many workers that is of.
    pub first_loads: u32,
    /// Time that they took to store results.
    pub store_s: f64,
    /// How many of the `seen` runs took less time than loading and storing.
    pub mostly_moving: u64,
    /// How long the one that began first of those that run now has been running. What is to be loaded
    /// first is left out, if it is known from other workers.
    pub running_s: Option<f64>,
    /// Whether threads of the program have run it, an event loop among them.
    pub on_threads: bool,
    /// Bytes of all results that did not stay in this process.
    pub bytes_total: u64,
    /// The smallest of them that was seen, quartiles and the largest.
    pub bytes: Option<[u64; 5]>,
    /// Half of the tasks waited for a worker no longer than this.
    pub queued_median_s: Option<f64>,
    /// Runs whose events were seen.
    pub seen: u64,
}

impl Picture {
    pub(crate) fn group_page(&self, query: &GroupQuery) -> GroupPage {
        let named = self.groups_named(query.name.as_deref());
        let all = self.totals.groups.iter();
        let mut found: Vec<&(GroupId, GroupSummary)> = all
            .filter(|(id, _)| named.as_ref().is_none_or(|named| named.contains(id)))
            .collect();
        match query.sort {
            GroupSort::Time => found.sort_by_key(|group| by_time(group)),
            GroupSort::Tasks => found.sort_by_key(|(id, group)| (Reverse(group.submitted), *id)),
            GroupSort::Failed => {
                found.sort_by_key(|(id, group)| (Reverse(group.failed - group.retried), *id));
            }
            GroupSort::Bytes => {
                found.sort_by_key(|(id, group)| (Reverse(group.bytes_total), *id));
            }
            GroupSort::Name => found.sort_by_cached_key(|(id, _)| (self.group_label(*id), *id)),
        }
        let limit = match query.limit {
            0 => limits::PAGE_MAX,
            limit => limit.min(limits::PAGE_MAX),
        };
        let rows = found.iter().copied().skip(query.offset).take(limit);
        GroupPage {
            rows: self.group_rows_of(rows),
            found: found.len(),
            total: self.total(),
        }
    }

    /// What all groups took together.
    pub(crate) fn total(&self) -> Total {
        let all = || self.totals.groups.iter().map(|(_, group)| group);
        Total {
            ran_s: all()
                .map(|group| group.ran_total)
                .sum::<Duration>()
                .as_secs_f64(),
            bytes: all().map(|group| group.bytes_total).sum(),
        }
    }

    /// The groups that took the most time, and how many more there are.
    pub(crate) fn group_rows(&self, most: usize) -> (Vec<GroupRow>, usize) {
        let mut all: Vec<&(GroupId, GroupSummary)> = self.totals.groups.iter().collect();
        all.sort_by_key(|group| by_time(group));
        let more = all.len().saturating_sub(most);
        (self.group_rows_of(all.into_iter().take(most)), more)
    }

    fn group_rows_of<'a>(
        &self,
        groups: impl Iterator<Item = &'a (GroupId, GroupSummary)>,
    ) -> Vec<GroupRow> {
        let mut running: FxHashMap<GroupId, Duration> = FxHashMap::default();
        for worker in self.lanes.workers() {
            for bar in worker.running() {
                let load = self.load_expected(worker, bar.group);
                let ran = self.until_now(bar).ran;
                let ran = ran.saturating_sub(load + self.waited(bar.task));
                let longest = running.entry(bar.group).or_default();
                *longest = ran.max(*longest);
            }
        }
        let row = |(id, group): &(GroupId, GroupSummary)| GroupRow {
            running_s: running.get(id).map(Duration::as_secs_f64),
            ..self.group_row(*id, group)
        };
        groups.map(row).collect()
    }

    /// The groups whose name has this in it; None for all, if it is empty.
    pub(super) fn groups_named(&self, part: Option<&str>) -> Option<FxHashSet<GroupId>> {
        let part = part.filter(|part| !part.is_empty())?;
        Some(self.groups.named(part).collect())
    }

    /// What a task of this group will have to load, if it is the first in its worker.
    fn load_expected(&self, worker: &Worker, group: GroupId) -> Duration {
        let moving = self.groups.get(group).map(|group| group.moving);
        let moving = moving.filter(|moving| moving.firsts > 0 && !worker.groups.contains(&group));
        moving.map_or(Duration::ZERO, |moving| moving.first_load / moving.firsts)
    }

    fn group_row(&self, id: GroupId, summary: &GroupSummary) -> GroupRow {
        let group = self.groups.get(id);
        let ran = group.and_then(|group| group.ran.quartiles());
        let queued = group.and_then(|group| group.queued.quantile(0.5));
        let moving = group.map(|group| group.moving).unwrap_or_default();
        GroupRow {
            group: id.0,
            name: self.group_label(id),
            module: group
                .map(|group| group.name.module.clone())
                .filter(|module| !module.is_empty()),
            submitted: summary.submitted,
            finished: summary.finished,
            failed: summary.failed - summary.retried,
            dropped: summary.dropped(),
            retried: summary.retried,
            total_s: summary.ran_total.as_secs_f64(),
            waited_s: summary.waited_total.as_secs_f64(),
            ran_s: ran.map(|quartiles| quartiles.map(seconds)),
            load_s: summary.load_total.as_secs_f64(),
            first_load_s: moving.first_load.as_secs_f64(),
            first_loads: moving.firsts,
            store_s: summary.store_total.as_secs_f64(),
            mostly_moving: moving.most,
            running_s: None,
            on_threads: self.lanes.have_threads_run(id),
            bytes_total: summary.bytes_total,
            bytes: group.and_then(|group| group.bytes.quartiles()),
            queued_median_s: queued.map(seconds),
            seen: group.map_or(0, |group| group.ran.count()),
        }
    }

    /// The name of a group, where it is not shown to people.
    pub(crate) fn group_name(&self, id: GroupId) -> GroupName {
        let known = self.groups.get(id).map(|group| &group.name);
        let known = known.filter(|name| !name.name.is_empty()).cloned();
        known.unwrap_or_else(|| GroupName {
            name: self.group_label(id),
            ..GroupName::default()
        })
    }

    /// The name of a group, for people.
    pub(crate) fn group_label(&self, id: GroupId) -> String {
        match self.groups.name(id) {
            "" => format!("group {}", id.0),
            name => name.to_owned(),
        }
    }
}

/// Those that took the most time first.
pub(super) fn by_time((id, group): &(GroupId, GroupSummary)) -> impl Ord + use<> {
    (Reverse((group.ran_total, group.submitted)), *id)
}

#[cfg(test)]
mod tests {
    use lineshaft_core::{PoolId, Time, WorkerId};
    use lineshaft_engine::{Pinned, Totals, WorkerKind, WorkerTotals};

    use super::*;
    use crate::script::picture;
    use crate::usage::Usage;

    fn names(query: &GroupQuery) -> (Vec<String>, usize) {
        let mut picture = picture("0 submit 1 0\n0 submit 2 1\n0 submit 3 2");
        for (group, submitted, failed, ran_s) in [(0, 5, 0, 9), (1, 7, 1, 3), (2, 6, 2, 1)] {
            let summary = GroupSummary {
                submitted,
                failed,
                rejected: failed,
                ran_total: Duration::from_secs(ran_s),
                bytes_total: 10 * failed,
                ..GroupSummary::default()
            };
            picture.totals.groups.push((GroupId(group), summary));
        }
        let page = picture.group_page(query);
        let names = page.rows.into_iter().map(|row| row.name);
        (names.collect(), page.found)
    }

    #[test]
    fn how_long_the_longest_one_runs_leaves_out_what_other_workers_had_to_load() {
        let at = |seconds: u64| {
            let mut picture = picture(
                "0 up 1 1\n0 up 2 1\n0 submit 1 0\n0 submit 2 0\n0 submit 3 0\n0 submit 4 0
                 0 hand 1 1 0\n3100000 finish 1 3100000 3000000
                 3100000 hand 2 1 0\n3200000 finish 2 100000
                 3200000 hand 3 1 0\n4200000 hand 4 2 0",
            );
            let totals = Totals {
                groups: vec![(GroupId(0), GroupSummary::default())],
                ..Totals::default()
            };
            picture.look(Time(seconds * 1_000_000_000), totals, Usage::default());
            let running_s = picture.group_page(&GroupQuery::default()).rows[0].running_s;
            running_s.expect("two run")
        };
        assert!((at(4) - 0.8).abs() < 0.01, "{}", at(4));
        // Worker 2 began its first one at 4.2 s, and 3 s are for what it imports.
        assert!((at(5) - 1.8).abs() < 0.01, "{}", at(5));
    }

    #[test]
    fn what_threads_have_run_is_known_as_that() {
        let mut picture = picture(
            "0 up 1 1\n0 up 2 1\n0 submit 1 0\n0 submit 2 1
             0 hand 1 1 0\n5 finish 1 4\n5 hand 2 2 1\n9 finish 2 3",
        );
        let totals = Totals {
            groups: [0, 1]
                .map(|id| (GroupId(id), GroupSummary::default()))
                .into(),
            workers: vec![WorkerTotals {
                worker: WorkerId(2),
                pool: PoolId(0),
                pid: None,
                place: None,
                slots: 1,
                kind: WorkerKind::Threads,
                pinned: Pinned::default(),
            }],
            ..Totals::default()
        };
        picture.look(Time(10_000), totals, Usage::default());
        let rows = picture.group_page(&GroupQuery::default()).rows;
        let on_threads = rows.iter().map(|row| (row.group, row.on_threads));
        assert!(on_threads.eq([(0, false), (1, true)]));
    }

    #[test]
    fn functions_of_which_all_events_were_missed_have_names() {
        let mut picture = picture("0 up 1 1");
        let totals = Totals {
            groups: vec![(GroupId(3), GroupSummary::default())],
            ..Totals::default()
        };
        picture.look(Time(1), totals, Usage::default());
        picture.name_groups(|_| crate::script::name("early"));
        assert_eq!(names_in(&picture, &GroupQuery::default()), ["early"]);
    }

    fn names_in(picture: &Picture, query: &GroupQuery) -> Vec<String> {
        let rows = picture.group_page(query).rows.into_iter();
        rows.map(|row| row.name).collect()
    }

    #[test]
    fn orders_names_and_pages() {
        for (sort, expected) in [
            (GroupSort::Time, ["f0", "f1", "f2"]),
            (GroupSort::Tasks, ["f1", "f2", "f0"]),
            (GroupSort::Failed, ["f2", "f1", "f0"]),
            (GroupSort::Bytes, ["f2", "f1", "f0"]),
            (GroupSort::Name, ["f0", "f1", "f2"]),
        ] {
            let query = GroupQuery {
                sort,
                ..GroupQuery::default()
            };
            assert_eq!(names(&query).0, expected, "{sort:?}");
        }
        let second = GroupQuery {
            offset: 1,
            limit: 1,
            ..GroupQuery::default()
        };
        assert_eq!(names(&second), (vec!["f1".into()], 3));
        let named = GroupQuery {
            name: Some("F2".into()),
            ..GroupQuery::default()
        };
        assert_eq!(names(&named), (vec!["f2".into()], 1));
    }
}
