//! What happened, for readers that must not slow anything down.
//!
//! One bounded ring. Each event has a sequence number, counted from zero and never reused. Readers
//! keep the number they want next and ask for more; the log knows nothing of them and never waits.
//! A reader that is too slow is told which events it has missed, never given wrong ones.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::action::Rejection;
use crate::graph::nanoseconds;
use crate::ids::{Attempt, GroupId, PoolId, TaskId, WorkerId};
use crate::limits::EVENTS_MAX;
use crate::time::Time;

/// One thing that happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// When.
    pub at: Time,
    /// What.
    pub kind: EventKind,
}

/// What of the time that a task ran was not the call itself. Its worker measures it; there is nothing to measure
/// where arguments and results are passed as they are. Times are at most 71 minutes, to fit into an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Phases {
    /// To load the function and its arguments, in microseconds.
    pub load_us: u32,
    /// To pickle the result and to put it where others find it, in microseconds.
    pub store_us: u32,
    /// That was a disk, since memory was used up.
    pub spilled: bool,
}

impl Phases {
    /// Time to load the function and its arguments.
    pub fn load(self) -> Duration {
        Duration::from_micros(self.load_us.into())
    }

    /// Time to store the result.
    pub fn store(self) -> Duration {
        Duration::from_micros(self.store_us.into())
    }

    /// What the call itself had of the time that an attempt took.
    pub fn call(self, took: Duration) -> Duration {
        took.saturating_sub(self.load() + self.store())
    }

    /// As much of them as fits into the time that the task ran.
    #[must_use]
    pub fn within(mut self, ran: Duration) -> Phases {
        let ran_us = u32::try_from(ran.as_micros()).unwrap_or(u32::MAX);
        self.load_us = self.load_us.min(ran_us);
        self.store_us = self.store_us.min(ran_us - self.load_us);
        self
    }
}

/// How long an attempt ran, as measured where it did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Measured {
    /// Without waiting for its turn, in nanoseconds.
    pub ran_ns: u64,
    /// What of that was not the call itself.
    pub phases: Phases,
}

impl Measured {
    /// Of an attempt that ran so long; phases are no longer than that.
    pub fn new(ran: Duration, phases: Phases) -> Measured {
        Measured {
            ran_ns: nanoseconds(ran),
            phases: phases.within(ran),
        }
    }

    /// How long it ran.
    pub fn ran(self) -> Duration {
        Duration::from_nanos(self.ran_ns)
    }
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "each variant says what its fields are about")]
pub enum EventKind {
    /// The pool opened.
    PoolAdded { pool: PoolId },
    /// The pool closed.
    PoolRemoved { pool: PoolId },
    /// The worker can take tasks, so many at a time.
    WorkerUp {
        worker: WorkerId,
        pool: PoolId,
        slots: u32,
    },
    /// The worker is gone.
    WorkerDown { worker: WorkerId },
    /// The worker gave back so many tasks.
    Retracted { worker: WorkerId, count: u32 },
    /// The task is known.
    Submitted {
        task: TaskId,
        pool: PoolId,
        group: GroupId,
    },
    /// The result of another task, which the task needs, is there. There is one of these for each edge of the
    /// graph, at the time when it counts: so a graph of any size is read as it runs.
    Supplied { task: TaskId, by: TaskId },
    /// The task has all it needs.
    Ready { task: TaskId },
    /// The task was handed to a worker. The group is named again, for readers that have missed the
    /// task's submission.
    Assigned {
        task: TaskId,
        attempt: Attempt,
        worker: WorkerId,
        group: GroupId,
    },
    /// The task began to run.
    Started { task: TaskId, attempt: Attempt },
    /// The task waits for something, without a core.
    Blocked { task: TaskId, attempt: Attempt },
    /// The task goes on.
    Unblocked { task: TaskId, attempt: Attempt },
    /// The task returned. No bytes are those of a result that stays in this process.
    Finished {
        task: TaskId,
        attempt: Attempt,
        ran_ns: u64,
        phases: Phases,
        bytes: u64,
    },
    /// An attempt raised, ran out of time or lost its worker. How long it ran is known if its worker said so.
    Failed {
        task: TaskId,
        attempt: Attempt,
        ran_ns: Option<NonZeroU64>,
        phases: Phases,
    },
    /// The task will run again, at this time or later.
    Retried { task: TaskId, not_before: Time },
    /// The task ended without a result.
    Rejected { task: TaskId, why: Rejection },
}

/// What a reader gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Since {
    /// Events without a gap, oldest first; possibly none.
    Batch {
        /// The events.
        events: Vec<Event>,
        /// The number to ask for next.
        next: u64,
    },
    /// Some of what was asked for is gone.
    Gap {
        /// The oldest event that is still there; ask for it next.
        oldest: u64,
    },
}

/// The ring of the most recent events.
#[derive(Debug)]
pub struct EventLog {
    /// Event `n` is at `n` modulo the capacity. Grows up to the capacity, then is overwritten.
    ring: Vec<Event>,
    capacity: usize,
    /// The number of the next event.
    next: u64,
}

impl Default for EventLog {
    fn default() -> EventLog {
        EventLog::with_capacity(EVENTS_MAX)
    }
}

impl EventLog {
    /// A log that keeps so many events.
    pub fn with_capacity(capacity: usize) -> EventLog {
        assert!(capacity > 0, "a log keeps at least one event");
        EventLog {
            ring: Vec::new(),
            capacity,
            next: 0,
        }
    }

    /// Up to `limit` events from number `sequence` on.
    pub fn since(&self, sequence: u64, limit: usize) -> Since {
        let oldest = self.oldest();
        if sequence < oldest {
            return Since::Gap { oldest };
        }
        let end = self.next.min(sequence.saturating_add(limit as u64));
        let count =
            usize::try_from(end.saturating_sub(sequence)).expect("no more than the ring has");
        let mut events = Vec::with_capacity(count);
        if count > 0 {
            // At most two runs of the ring: whoever reads holds up those who write.
            let from = self.position(sequence);
            let first = count.min(self.ring.len() - from);
            events.extend_from_slice(&self.ring[from..from + first]);
            events.extend_from_slice(&self.ring[..count - first]);
        }
        let next = sequence.saturating_add(events.len() as u64);
        Since::Batch { events, next }
    }

    /// The number that the next event will have.
    pub fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn push(&mut self, at: Time, kind: EventKind) {
        let event = Event { at, kind };
        if self.ring.len() < self.capacity {
            self.ring.push(event);
        } else {
            let position = self.position(self.next);
            self.ring[position] = event;
        }
        self.next += 1;
    }

    fn oldest(&self) -> u64 {
        self.next - self.ring.len() as u64
    }

    fn position(&self, number: u64) -> usize {
        usize::try_from(number % self.capacity as u64).expect("less than the capacity")
    }
}

// Written several times for every task.
const _: () = assert!(size_of::<Event>() <= 48);

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(count: u64, capacity: usize) -> EventLog {
        let mut log = EventLog::with_capacity(capacity);
        for number in 0..count {
            log.push(
                Time(number),
                EventKind::Ready {
                    task: TaskId(number),
                },
            );
        }
        log
    }

    fn read(log: &EventLog, sequence: u64, limit: usize) -> Result<(Vec<u64>, u64), u64> {
        match log.since(sequence, limit) {
            Since::Batch { events, next } => {
                Ok((events.iter().map(|event| event.at.0).collect(), next))
            }
            Since::Gap { oldest } => Err(oldest),
        }
    }

    #[test]
    fn phases_are_no_longer_than_the_run() {
        let within = |load_us, store_us, ran_us| {
            let phases = Phases {
                load_us,
                store_us,
                spilled: true,
            };
            let phases = phases.within(Duration::from_micros(ran_us));
            (phases.load_us, phases.store_us, phases.spilled)
        };
        assert_eq!(within(3, 4, 7), (3, 4, true));
        assert_eq!(within(3, 4, 5), (3, 2, true));
        assert_eq!(within(3, u32::MAX, 2), (2, 0, true));
        assert_eq!(within(u32::MAX, 1, u64::MAX / 1_000), (u32::MAX, 0, true));
    }

    #[test]
    fn a_reader_that_keeps_up_sees_every_event_once() {
        let log = log_of(3, 4);
        assert_eq!(read(&log, 0, 2), Ok((vec![0, 1], 2)));
        assert_eq!(read(&log, 2, 2), Ok((vec![2], 3)));
        assert_eq!(read(&log, 3, 2), Ok((vec![], 3)));
    }

    #[test]
    fn a_slow_reader_learns_of_the_gap_and_goes_on_behind_it() {
        let log = log_of(10, 4);
        assert_eq!(read(&log, 0, 100), Err(6));
        assert_eq!(read(&log, 5, 100), Err(6));
        assert_eq!(read(&log, 6, 100), Ok((vec![6, 7, 8, 9], 10)));
    }

    #[test]
    fn the_ring_at_its_capacity_has_lost_nothing() {
        let log = log_of(4, 4);
        assert_eq!(read(&log, 0, 100), Ok((vec![0, 1, 2, 3], 4)));
        let log = log_of(5, 4);
        assert_eq!(read(&log, 0, 100), Err(1));
    }

    #[test]
    fn asking_for_the_future_gives_nothing() {
        let log = log_of(2, 4);
        assert_eq!(read(&log, 7, 100), Ok((vec![], 7)));
        assert_eq!(read(&log, u64::MAX, 100), Ok((vec![], u64::MAX)));
    }
}
