//! The engine's numbers over time: every sample of the last minutes, and of the whole run as many as
//! fit, evenly spread.
//!
//! Samples hold counters that only grow, so that one may be left out: rates are differences between
//! those that are there.

use std::collections::VecDeque;
use std::time::Duration;

use lineshaft_core::Time;

use crate::limits;

/// The engine at one moment.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) at: Time,
    /// Tasks so far: returned, without a result because they failed, and all that have ended.
    pub(crate) finished: u64,
    pub(crate) failed: u64,
    pub(crate) ended: u64,
    /// Tasks now.
    pub(crate) waiting: u64,
    pub(crate) ready: u64,
    pub(crate) backoff: u64,
    pub(crate) ahead: u64,
    pub(crate) running: u64,
    pub(crate) blocked: u64,
    /// Shared memory, in bytes.
    pub(crate) memory_bytes: u64,
    pub(crate) spilled_bytes: u64,
    /// Memory of this process and its workers, what they share counted once, in bytes.
    pub(crate) whole_bytes: u64,
    /// Processor time so far of this process and its workers, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// The part of that which this process took.
    pub(crate) program_cpu_ns: u64,
    /// Threads of all of them that run or could run.
    pub(crate) runnable: u64,
    /// Threads of this process that took processor time lately.
    pub(crate) computing: u64,
    /// Time that the machine's cores had nothing to do so far, in nanoseconds; None if it is not known.
    pub(crate) idle_ns: Option<u64>,
    /// Tasks that run on threads of this process.
    pub(crate) on_threads: u64,
    /// Cores that running tasks take.
    pub(crate) cores: u64,
    /// How long tasks have run so far, those that run now included, without their waits for other tasks: between
    /// two samples it grows by all that ran, however short.
    pub(crate) took: Duration,
}

#[derive(Debug)]
pub(crate) struct History {
    recent: VecDeque<Sample>,
    /// The number of the first of `recent`, counted from the first sample of all.
    first: u64,
    whole: Vec<Sample>,
    whole_max: usize,
    /// Every sample whose number this divides is in `whole`.
    stride: u64,
}

impl Default for History {
    fn default() -> History {
        History::with_whole(limits::WHOLE_MAX)
    }
}

impl History {
    fn with_whole(whole_max: usize) -> History {
        History {
            recent: VecDeque::new(),
            first: 0,
            whole: Vec::new(),
            whole_max,
            stride: 1,
        }
    }

    pub(crate) fn push(&mut self, sample: Sample) {
        let number = self.next();
        if self.recent.len() == limits::RECENT_MAX {
            self.recent.pop_front();
            self.first += 1;
        }
        self.recent.push_back(sample);
        if !number.is_multiple_of(self.stride) {
            return;
        }
        if self.whole.len() == self.whole_max {
            let mut number = 0_u32;
            self.whole.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.stride *= 2;
            if !self.next().wrapping_sub(1).is_multiple_of(self.stride) {
                return;
            }
        }
        self.whole.push(sample);
    }

    /// The last sample of all, which is not followed by another: it takes the place of the one before if that
    /// was a moment ago, since the rate between the two would be that of a moment.
    pub(crate) fn finish(&mut self, sample: Sample) {
        match self.recent.back_mut() {
            Some(last) if last.at + limits::SAMPLE_EVERY > sample.at => {
                if let Some(kept) = self.whole.last_mut().filter(|kept| kept.at == last.at) {
                    *kept = sample;
                }
                *last = sample;
            }
            _ => self.push(sample),
        }
    }

    /// The number that the next sample will have.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.recent.len() as u64
    }

    /// Recent samples from this number on, or from the oldest that is there.
    pub(crate) fn since(&self, number: u64) -> impl Iterator<Item = &Sample> {
        let skipped = number.saturating_sub(self.first);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        self.recent.iter().skip(skipped)
    }

    /// The number of the oldest sample that `since` can give.
    pub(crate) fn oldest(&self) -> u64 {
        self.first
    }

    pub(crate) fn last(&self) -> Option<&Sample> {
        self.recent.back()
    }

    /// The first of all samples.
    pub(crate) fn first(&self) -> Option<&Sample> {
        self.whole.first()
    }

    /// The last sample that is at least this much older than that moment.
    pub(crate) fn before(&self, at: Time, age: Duration) -> Option<&Sample> {
        let mut newest_first = self.recent.iter().rev();
        newest_first.find(|sample| sample.at + age <= at)
    }

    /// The whole run, in as many samples as are kept of it, and the last one.
    pub(crate) fn whole(&self) -> Vec<Sample> {
        let mut all = self.whole.clone();
        if let Some(last) = self.last()
            && all.last().is_none_or(|kept| kept.at < last.at)
        {
            all.push(*last);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(count: u64, whole_max: usize) -> History {
        let mut history = History::with_whole(whole_max);
        for number in 0..count {
            history.push(Sample {
                at: Time(number),
                ..Sample::default()
            });
        }
        history
    }

    fn times(samples: &[Sample]) -> Vec<u64> {
        samples.iter().map(|sample| sample.at.0).collect()
    }

    #[test]
    fn the_whole_run_stays_within_its_bound_and_evenly_spread() {
        assert_eq!(times(&history(4, 4).whole()), [0, 1, 2, 3]);
        assert_eq!(times(&history(5, 4).whole()), [0, 2, 4]);
        assert_eq!(times(&history(8, 4).whole()), [0, 2, 4, 6, 7]);
        assert_eq!(times(&history(9, 4).whole()), [0, 4, 8]);
        let long = history(100_000, 64);
        assert!(long.whole.len() <= 64);
        let gaps = long.whole.windows(2).map(|two| two[1].at.0 - two[0].at.0);
        assert!(gaps.into_iter().all(|gap| gap == long.stride));
    }

    #[test]
    fn recent_samples_are_numbered_without_end() {
        let history = history(limits::RECENT_MAX as u64 + 5, 4);
        assert_eq!(
            (history.oldest(), history.next()),
            (5, limits::RECENT_MAX as u64 + 5)
        );
        let since = |number| history.since(number).map(|sample| sample.at.0);
        assert_eq!(since(0).count(), limits::RECENT_MAX);
        assert_eq!(since(history.next() - 2).count(), 2);
        assert_eq!(since(u64::MAX).count(), 0);
        let before = history.before(Time(10), Duration::from_nanos(3));
        assert_eq!(before.map(|sample| sample.at.0), Some(7));
        assert_eq!(history.first().map(|sample| sample.at.0), Some(0));
    }

    #[test]
    fn the_last_sample_is_no_closer_to_the_one_before_than_others() {
        let every = u64::try_from(limits::SAMPLE_EVERY.as_nanos()).expect("short");
        for (last, expected) in [
            (every * 3 / 2, vec![0, every * 3 / 2]),
            (every * 2, vec![0, every, every * 2]),
        ] {
            let mut history = History::with_whole(8);
            for at in [0, every] {
                history.push(Sample {
                    at: Time(at),
                    ..Sample::default()
                });
            }
            history.finish(Sample {
                at: Time(last),
                ..Sample::default()
            });
            assert_eq!(times(&history.whole()), expected);
            assert!(history.since(0).map(|sample| sample.at.0).eq(expected));
        }
    }
}
