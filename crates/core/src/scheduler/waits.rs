//! How long attempts waited for other tasks while they had begun: no part of how long they ran.
//!
//! Few tasks wait at all, so what is known of these is kept apart, and a task that does not costs nothing. An entry is
//! there from when a task first waits until its attempt ends or is given back.

use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::ids::TaskId;
use crate::time::Time;

#[derive(Default, Debug)]
pub(super) struct Waits {
    /// Never iterated for decisions.
    of: FxHashMap<TaskId, Wait>,
}

#[derive(Clone, Copy, Default, Debug)]
struct Wait {
    before: Duration,
    /// Since when it does now.
    since: Option<Time>,
}

impl Waits {
    pub(super) fn begin(&mut self, task: TaskId, now: Time) {
        self.of.entry(task).or_default().since.get_or_insert(now);
    }

    pub(super) fn end(&mut self, task: TaskId, now: Time) {
        if let Some(wait) = self.of.get_mut(&task)
            && let Some(since) = wait.since.take()
        {
            wait.before += now - since;
        }
    }

    /// How long the attempt of this task has waited until now.
    pub(super) fn until(&self, task: TaskId, now: Time) -> Duration {
        if self.of.is_empty() {
            return Duration::ZERO;
        }
        let wait = self.of.get(&task).copied().unwrap_or_default();
        wait.before + wait.since.map_or(Duration::ZERO, |since| now - since)
    }

    /// The attempt is over.
    pub(super) fn forget(&mut self, task: TaskId) {
        if !self.of.is_empty() {
            self.of.remove(&task);
        }
    }

    /// The tasks that there is something of. For tests.
    pub(super) fn tasks(&self) -> impl Iterator<Item = TaskId> {
        self.of.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::one_task::{self, TASK};
    use crate::{Attempt, Input, Phases, Retries, Scheduler};

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// A scheduler with a task that has been handed to a worker, and inputs at these times, in milliseconds.
    fn after(inputs: Vec<(u64, Input)>) -> Scheduler {
        let mut scheduler = Scheduler::new();
        let retries = Retries {
            failures_max: 1,
            ..Retries::default()
        };
        let first = one_task::inputs(retries).into_iter();
        let first = first.map(|input| (0, input));
        for (at_ms, input) in first.chain(inputs) {
            let now = Time(at_ms * 1_000_000);
            scheduler.handle(now, input, &mut Vec::new());
            scheduler.check_invariants();
        }
        scheduler
    }

    fn block(attempt: u32) -> Input {
        Input::Blocked {
            task: TASK,
            attempt: Attempt(attempt),
            keeps_place: false,
        }
    }

    fn unblock(attempt: u32) -> Input {
        Input::Unblocked {
            task: TASK,
            attempt: Attempt(attempt),
        }
    }

    fn finish(attempt: u32, ran_ms: u64) -> Input {
        Input::Finished {
            task: TASK,
            attempt: Attempt(attempt),
            ran: ms(ran_ms),
            phases: Phases::default(),
            bytes: 0,
            items_raised: None,
        }
    }

    /// What the task's function ran, waited, and ran at most.
    fn times(scheduler: &Scheduler) -> (Duration, Duration, Duration) {
        let summary = scheduler.groups()[0].1;
        (summary.ran_total, summary.waited_total, summary.ran_max)
    }

    #[test]
    fn what_an_attempt_waits_is_no_part_of_its_run() {
        let scheduler = after(vec![
            (10, block(1)),
            (60, unblock(1)),
            (70, block(1)),
            (80, unblock(1)),
            (100, finish(1, 100)),
        ]);
        assert_eq!(times(&scheduler), (ms(40), ms(60), ms(40)));
    }

    #[test]
    fn an_attempt_that_ends_while_it_waits_ran_until_then_and_waits_no_longer_than_it_took() {
        let scheduler = after(vec![(10, block(1)), (100, finish(1, 99))]);
        assert_eq!(times(&scheduler), (ms(9), ms(90), ms(9)));
        // Its worker's clock began later.
        let scheduler = after(vec![(10, block(1)), (100, finish(1, 70))]);
        assert_eq!(times(&scheduler), (ms(0), ms(70), ms(0)));
    }

    #[test]
    fn what_an_attempt_waited_that_failed_is_no_part_of_the_next() {
        let fail = Input::Failed {
            task: TASK,
            attempt: Attempt(1),
            how: crate::Failure::Raised,
            measured: None,
        };
        let scheduler = after(vec![(10, block(1)), (50, fail), (90, finish(2, 30))]);
        assert_eq!(times(&scheduler), (ms(30), ms(0), ms(30)));
    }
}
