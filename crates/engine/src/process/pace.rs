//! How often a worker is asked for its stack, so that writing it takes no more than a small part of its time.
//!
//! The worker counts the processor time that its stacks take. One that was dear is followed by a pause, and the
//! stack after it stands for all the time since: so functions whose stacks are deep weigh what they should.

use std::time::Duration;

use crate::limits::LOOK_PART;

/// What is known of one worker.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Time that it ran tasks for, and that no stack stands for yet.
    open: Duration,
    /// What the last stack took it, and what all did.
    last: Duration,
    all_ns: u64,
}

impl Pace {
    /// It has run a task for so long more.
    pub(super) fn run(&mut self, time: Duration) {
        self.open = self.open.saturating_add(time);
    }

    /// Whether it may be asked again.
    pub(super) fn is_due(&self) -> bool {
        self.open >= self.last.saturating_mul(LOOK_PART)
    }

    /// Time that the next stack stands for.
    pub(super) fn take(&mut self) -> Duration {
        std::mem::take(&mut self.open)
    }

    /// It says how long all its stacks took until now; returns how much of that is new.
    pub(super) fn count(&mut self, all_ns: u64) -> Duration {
        let new = Duration::from_nanos(all_ns.saturating_sub(self.all_ns));
        self.all_ns = all_ns;
        self.last = new;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_millis(100);

    /// Turns through a worker whose stacks take so long each; the share of its time that they take, and the time that
    /// they stand for.
    fn run(costs: impl Iterator<Item = Duration>) -> (f64, Duration, usize) {
        let (mut pace, mut spent, mut all) = (Pace::default(), Duration::ZERO, Duration::ZERO);
        let (mut stands_for, mut stacks) = (Duration::ZERO, 0);
        for cost in costs {
            all += TURN;
            pace.run(TURN);
            if pace.is_due() {
                stands_for += pace.take();
                stacks += 1;
                spent += cost;
                pace.count(u64::try_from(spent.as_nanos()).expect("short"));
            }
        }
        let share = spent.as_secs_f64() / all.as_secs_f64();
        (share, stands_for + pace.take(), stacks)
    }

    #[test]
    fn stacks_that_take_long_are_asked_for_less_often_and_stand_for_all_the_time() {
        let turns = 10_000;
        for micros in [1, 10, 100, 1_000, 10_000, 100_000] {
            let cost = Duration::from_micros(micros);
            let (share, stands_for, stacks) = run(std::iter::repeat_n(cost, turns));
            assert!(share <= 0.0051, "{micros} us: {share}");
            assert_eq!(stands_for, TURN * u32::try_from(turns).expect("few"));
            assert_eq!(stacks == turns, micros <= 100, "{micros} us: {stacks}");
        }
        // One that is dear now and then.
        let costs = (0..turns).map(|turn| Duration::from_millis(if turn % 7 == 0 { 9 } else { 0 }));
        assert!(run(costs).0 <= 0.0051);
    }
}
