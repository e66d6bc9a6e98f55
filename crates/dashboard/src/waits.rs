//! When attempts waited for other tasks: the parts of their bars in which they did not run.
//!
//! Few attempts wait, so what is known of these is kept apart from their bars. Both is bounded: an attempt has so many
//! waits, of which the nearest grow together, and the oldest attempts lose theirs first. How long one waited in all is
//! with its bar.

use std::collections::VecDeque;
use std::time::Duration;

use lineshaft_core::{TaskId, Time};
use rustc_hash::FxHashMap;

use crate::lanes::Bar;
use crate::limits;

/// The beginning and the end of a wait.
pub(crate) type Wait = (Time, Time);

/// How an attempt that runs has waited.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waits {
    ended: Vec<Wait>,
    before: Duration,
    /// Since when it does now.
    since: Option<Time>,
}

impl Waits {
    pub(crate) fn begin(&mut self, at: Time) {
        self.since.get_or_insert(at);
    }

    pub(crate) fn end(&mut self, at: Time) {
        if let Some(since) = self.since.take() {
            self.before += at - since;
            self.ended.push((since, at));
            join_nearest(&mut self.ended);
        }
    }

    /// How long it has waited.
    pub(crate) fn until(&self, at: Time) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| at - since)
    }

    /// When it has waited.
    pub(crate) fn all_until(&self, at: Time) -> impl Iterator<Item = Wait> {
        let ended = self.ended.iter().copied();
        ended.chain(self.since.map(|since| (since, at)))
    }
}

/// Joins the two waits with the shortest run between them, if there are too many.
fn join_nearest(waits: &mut Vec<Wait>) {
    if waits.len() <= limits::WAITS_OF_ATTEMPT_MAX {
        return;
    }
    let gaps = waits.windows(2).map(|pair| pair[1].0 - pair[0].1);
    let nearest = gaps.enumerate().min_by_key(|(_, gap)| *gap);
    if let Some((place, _)) = nearest {
        waits[place].1 = waits[place + 1].1;
        waits.remove(place + 1);
    }
}

/// When attempts waited that have ended.
#[derive(Debug, Default)]
pub(crate) struct Waited {
    /// Of all attempts of a task.
    of: FxHashMap<TaskId, Vec<Wait>>,
    /// In the order in which attempts ended; twice for a task that had two.
    order: VecDeque<TaskId>,
    count: usize,
}

impl Waited {
    pub(crate) fn note(&mut self, task: TaskId, waits: impl Iterator<Item = Wait>) {
        let all = self.of.entry(task).or_default();
        let before = all.len();
        all.extend(waits);
        self.count += all.len() - before;
        self.order.push_back(task);
        while self.count > limits::WAITS_MAX {
            let oldest = self.order.pop_front();
            let oldest = oldest.and_then(|task| self.of.remove(&task));
            self.count -= oldest.map_or(0, |waits| waits.len());
        }
    }

    /// The waits within the call of a bar, which are those of its attempt.
    pub(crate) fn within(&self, bar: &Bar) -> Vec<Wait> {
        let known = self.of.get(&bar.task).into_iter().flatten();
        within(bar, known.copied())
    }
}

/// The parts of these that are within the call of a bar.
pub(crate) fn within(bar: &Bar, waits: impl Iterator<Item = Wait>) -> Vec<Wait> {
    let begun = bar.start + bar.phases.load();
    let ended = begun + bar.phases.call(bar.ran);
    let parts = waits.map(|(from, to)| (from.max(begun), to.min(ended)));
    parts.filter(|(from, to)| from < to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_nearest_are_joined_if_there_are_too_many() {
        let mut waits = Waits::default();
        let most = u64::try_from(limits::WAITS_OF_ATTEMPT_MAX).expect("few");
        for number in 0..=most {
            let gap = u64::from(number != 3) * 5;
            waits.begin(Time(number * 20 + 5 - gap));
            waits.end(Time(number * 20 + 15 + 5));
        }
        let all: Vec<Wait> = waits.all_until(Time(0)).collect();
        assert_eq!(all.len(), limits::WAITS_OF_ATTEMPT_MAX);
        assert!(all.iter().zip(&all[1..]).all(|(one, next)| one.1 <= next.0));
        assert_eq!(
            waits.until(Time(0)),
            Duration::from_nanos(20 * (most + 1) - 5)
        );
    }

    #[test]
    fn the_oldest_go_first_and_all_are_counted() {
        let mut waited = Waited::default();
        let last = u64::try_from(limits::WAITS_MAX).expect("few") + 9;
        for task in 0..=last {
            let wait = (Time(task), Time(task + 1));
            waited.note(TaskId(task), std::iter::once(wait));
        }
        assert_eq!(waited.count, limits::WAITS_MAX);
        assert_eq!(waited.of.len(), limits::WAITS_MAX);
        assert!(!waited.of.contains_key(&TaskId(9)));
        assert!(waited.of.contains_key(&TaskId(10)));
        for _ in 0..=limits::WAITS_MAX {
            waited.note(TaskId(last), std::iter::once((Time(0), Time(1))));
        }
        let kept: usize = waited.of.values().map(Vec::len).sum();
        assert_eq!(waited.count, kept);
        assert!(kept <= limits::WAITS_MAX);
    }
}
