//! Deadlines. Each owner has at most one timer of a kind and knows its time, so that it can be taken
//! back exactly; nothing stale is ever kept.

use std::collections::BTreeSet;

use crate::graph::Slot;
use crate::ids::PoolId;
use crate::time::Time;

/// Whose deadline it is, and so what happens then.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    /// The wait before a retry is over.
    Retry(Slot),
    /// A running task is out of time.
    Timeout(Slot),
    /// A worker may be asked for again.
    Spawn(PoolId),
    /// A worker may have been quiet for too long.
    Rebalance(PoolId),
    /// There have been surplus workers for some time.
    Surplus(PoolId),
}

#[derive(Default, Debug)]
pub(super) struct Timers(BTreeSet<(Time, Timer)>);

impl Timers {
    pub(super) fn next(&self) -> Option<Time> {
        self.0.first().map(|(at, _)| *at)
    }

    /// A deadline at the end of time is none.
    pub(super) fn set(&mut self, at: Time, timer: Timer) {
        if at != Time::NEVER {
            self.0.insert((at, timer));
        }
    }

    pub(super) fn clear(&mut self, at: Time, timer: Timer) {
        if at != Time::NEVER {
            self.0.remove(&(at, timer));
        }
    }

    /// Moves a timer; `at` is where its owner keeps its time.
    pub(super) fn move_to(&mut self, new: Time, at: &mut Time, timer: Timer) {
        let old = std::mem::replace(at, new);
        if old != new {
            self.clear(old, timer);
            self.set(new, timer);
        }
    }

    /// Takes out the first timer that is due.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<Timer> {
        let (at, _) = self.0.first()?;
        if *at > now {
            return None;
        }
        self.0.pop_first().map(|(_, timer)| timer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(Time, Timer)> {
        self.0.iter()
    }
}
