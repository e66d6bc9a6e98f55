//! What is known of each function: how long it takes and how often it ran.
//!
//! The estimate is a moving average in which each run counts an eighth, so that it follows a change
//! within about ten runs and one outlier moves it little. The number of groups is bounded; groups
//! beyond the bound share one entry, which only makes their estimates coarse.

use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::events::Measured;
use crate::graph::nanoseconds;
use crate::ids::GroupId;
use crate::limits::{
    GROUPS_MAX, PREFETCH_LONG_TARGET, PREFETCH_MAX, PREFETCH_SHORT_TARGET, PREFETCH_UNKNOWN,
};

/// Counters of one group since the scheduler was made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct GroupSummary {
    /// Tasks submitted.
    pub submitted: u64,
    /// Tasks that returned.
    pub finished: u64,
    /// Attempts that raised, ran out of time or lost their worker.
    pub failed: u64,
    /// Failed attempts that were followed by another.
    pub retried: u64,
    /// Tasks that ended without a result, whether an attempt of theirs failed or none was made.
    pub rejected: u64,
    /// Attempts whose time was measured: those that returned, and those that failed while their worker lived.
    pub measured: u64,
    /// Time that their calls ran, without waits for other tasks.
    pub ran_total: Duration,
    /// The longest of them.
    pub ran_max: Duration,
    /// Time that they had begun and waited for other tasks, without a core.
    pub waited_total: Duration,
    /// Time that was taken beside that to load functions and arguments.
    pub load_total: Duration,
    /// Time that was taken beside that to store results.
    pub store_total: Duration,
    /// Bytes that their results take together, those that stayed in this process left out.
    pub bytes_total: u64,
}

impl GroupSummary {
    /// Tasks that ended without a result although no attempt of theirs failed for good: cancelled, or in need of
    /// a task that has none.
    pub fn dropped(&self) -> u64 {
        self.rejected - (self.failed - self.retried)
    }
}

#[derive(Default, Debug)]
pub(crate) struct Groups {
    /// Never iterated for decisions.
    groups: FxHashMap<GroupId, Group>,
    overflow: Group,
}

#[derive(Default, Debug)]
pub(crate) struct Group {
    pub(crate) summary: GroupSummary,
    /// Moving average of the run time; `None` before the first run ended.
    estimate_ns: Option<u64>,
}

impl Groups {
    pub(crate) fn get_mut(&mut self, group: GroupId) -> &mut Group {
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&group) {
            return &mut self.overflow;
        }
        self.groups.entry(group).or_default()
    }

    pub(crate) fn get(&self, group: GroupId) -> &Group {
        self.groups.get(&group).unwrap_or(&self.overflow)
    }

    /// All counters but those of internal tasks, ordered by group.
    pub(crate) fn summaries(&self) -> Vec<(GroupId, GroupSummary)> {
        let mut all: Vec<_> = self
            .groups
            .iter()
            .filter(|(id, _)| !id.is_internal())
            .map(|(id, group)| (*id, group.summary))
            .collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }
}

impl Group {
    /// An attempt took so long, phases and the time that it waited for other tasks included, and returned so much.
    pub(crate) fn note_finished(&mut self, measured: Measured, waited: Duration, bytes: u64) {
        // The estimate is of how long a worker is taken: nothing that is handed ahead runs before that.
        let ran_ns = measured.ran_ns;
        self.summary.finished += 1;
        self.summary.bytes_total = self.summary.bytes_total.saturating_add(bytes);
        self.note_run(measured, waited);
        self.estimate_ns = Some(match self.estimate_ns {
            None => ran_ns,
            Some(estimate) => estimate - estimate / 8 + ran_ns / 8,
        });
    }

    /// The time counts as run, but says nothing about how long the next one will take that returns.
    pub(crate) fn note_failed(&mut self, measured: Option<Measured>, waited: Duration) {
        self.summary.failed += 1;
        self.note_given_up(measured, waited);
    }

    /// The same of an attempt that nobody wants any more: it has not failed.
    pub(crate) fn note_given_up(&mut self, measured: Option<Measured>, waited: Duration) {
        if let Some(measured) = measured {
            self.note_run(measured, waited);
        }
    }

    fn note_run(&mut self, measured: Measured, waited: Duration) {
        let phases = measured.phases;
        let called = phases.call(measured.ran());
        let waited = waited.min(called);
        let ran = called.saturating_sub(waited);
        self.summary.measured += 1;
        self.summary.load_total = self.summary.load_total.saturating_add(phases.load());
        self.summary.store_total = self.summary.store_total.saturating_add(phases.store());
        self.summary.ran_total = self.summary.ran_total.saturating_add(ran);
        self.summary.waited_total = self.summary.waited_total.saturating_add(waited);
        self.summary.ran_max = self.summary.ran_max.max(ran);
    }

    /// Expected run time in nanoseconds; zero if unknown.
    pub(crate) fn estimate_ns(&self) -> u64 {
        self.estimate_ns.unwrap_or(0)
    }

    /// How many tasks of this group to hand ahead to one worker, if the way to it is long.
    pub(crate) fn window_long(&self) -> u32 {
        let tasks = self
            .within(PREFETCH_LONG_TARGET)
            .unwrap_or(PREFETCH_UNKNOWN);
        tasks.clamp(1, PREFETCH_MAX)
    }

    /// How many if it is short, or if they are roots; none if they take long, or nobody knows.
    pub(crate) fn window_short(&self) -> u32 {
        let tasks = self.within(PREFETCH_SHORT_TARGET).unwrap_or(0);
        tasks.min(PREFETCH_MAX)
    }

    /// How many tasks can be expected to run within this time.
    fn within(&self, time: Duration) -> Option<u32> {
        let tasks = nanoseconds(time) / self.estimate_ns?.max(1);
        Some(u32::try_from(tasks).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Phases;

    fn group_after(runs: &[Duration]) -> Group {
        let mut group = Group::default();
        for run in runs {
            let measured = Measured::new(*run, Phases::default());
            group.note_finished(measured, Duration::ZERO, 0);
        }
        group
    }

    #[test]
    fn the_long_window_holds_about_two_milliseconds_of_work() {
        assert_eq!(group_after(&[]).window_long(), 1);
        assert_eq!(group_after(&[Duration::ZERO]).window_long(), PREFETCH_MAX);
        assert_eq!(group_after(&[Duration::from_micros(100)]).window_long(), 20);
        assert_eq!(group_after(&[Duration::from_millis(1)]).window_long(), 2);
        assert_eq!(group_after(&[Duration::from_secs(5)]).window_long(), 1);
    }

    #[test]
    fn the_short_window_has_no_task_that_takes_long() {
        assert_eq!(group_after(&[]).window_short(), 0);
        assert_eq!(group_after(&[Duration::from_micros(10)]).window_short(), 20);
        assert_eq!(group_after(&[Duration::from_millis(1)]).window_short(), 0);
    }

    #[test]
    fn a_call_runs_for_what_is_left_of_its_time_by_loading_and_storing() {
        let phases = |load_us, store_us| Phases {
            load_us,
            store_us,
            spilled: false,
        };
        let mut group = Group::default();
        let ms = Duration::from_millis;
        let long = Measured::new(ms(3_300), phases(3_200_000, 40_000));
        group.note_finished(long, Duration::ZERO, 0);
        let short = Measured::new(ms(70), phases(0, 0));
        group.note_finished(short, Duration::ZERO, 0);
        let summary = group.summary;
        assert_eq!(
            (
                summary.ran_total,
                summary.ran_max,
                summary.load_total,
                summary.store_total
            ),
            (ms(130), ms(70), ms(3_200), ms(40))
        );
        assert!(group.estimate_ns() > 2_000_000_000, "it is of the whole");
    }

    #[test]
    fn failed_runs_take_time_and_change_no_estimate() {
        let mut group = group_after(&[Duration::from_secs(1)]);
        let phases = Phases {
            load_us: 1_000_000,
            ..Phases::default()
        };
        let measured = Measured::new(Duration::from_secs(4), phases);
        group.note_failed(Some(measured), Duration::ZERO);
        group.note_failed(None, Duration::ZERO);
        let summary = group.summary;
        assert_eq!(
            (summary.finished, summary.failed, summary.measured),
            (1, 2, 2)
        );
        assert_eq!(
            (summary.ran_total, summary.ran_max, summary.load_total),
            (
                Duration::from_secs(4),
                Duration::from_secs(3),
                Duration::from_secs(1)
            )
        );
        assert_eq!(group.estimate_ns(), 1_000_000_000);
    }

    #[test]
    fn the_estimate_follows_within_tens_of_runs() {
        let mut runs = vec![Duration::from_secs(1)];
        runs.extend([Duration::from_micros(10); 60]);
        let estimate = group_after(&runs).estimate_ns();
        assert!((8_000..1_000_000).contains(&estimate), "{estimate}");
    }
}
