//! One unfinished task.

use std::time::Duration;

use super::NONE;
use crate::ids::{Attempt, GroupId, PoolId, TaskId, WorkerId};
use crate::limits::RETRY_BACKOFF_MAX;
use crate::ready::LaneKind;
use crate::spec::{OFFER, Retries, TaskSpec};
use crate::time::Time;

/// Everything the scheduler remembers of a task, until it ends.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    /// Place in the order of its pool among tasks of equal priority; unique, kept for life.
    pub(crate) rank: u64,
    pub(crate) state: State,
    /// Nanoseconds; `u64::MAX` is no limit. Half the size of an `Option<Duration>`.
    timeout_ns: u64,
    /// Nanoseconds before the first retry.
    backoff_ns: u64,
    pub(crate) pool: PoolId,
    pub(crate) group: GroupId,
    pub(crate) priority: i32,
    /// Attempts handed out so far.
    pub(crate) attempt: Attempt,
    /// First edge to a task that needs this one.
    pub(super) dependents: u32,
    /// First edge to a task that this one needed.
    pub(super) dependencies: u32,
    failures_left: u16,
    deaths_left: u16,
    /// Retries so far, for the doubling of the wait.
    retries: u16,
    /// Tasks around it, each of which was asked for by the one before.
    pub(crate) depth: u16,
    /// See `Retries`.
    pub(crate) items_run_again: bool,
    /// It was submitted without dependencies.
    pub(super) without_dependencies: bool,
}

/// What a task is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// For so many edges to unfinished tasks.
    Waiting { missing: u32 },
    /// In this lane of its pool's ready queue.
    Ready { lane: LaneKind },
    /// It failed and runs again later; a timer is set.
    Backoff { until: Time },
    /// With a worker.
    Assigned(Assigned),
}

/// A task at a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Assigned {
    /// When its time limit ends; a timer is set unless it is `Time::NEVER`.
    pub(crate) deadline: Time,
    pub(crate) worker: WorkerId,
    pub(crate) phase: Phase,
    pub(crate) fate: Fate,
}

/// What is known of a task at a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// It may have started or not.
    HandedOver,
    /// It has started.
    Running,
    /// It has started and waits for something without a core; another task may run in its place.
    Blocked,
    /// The same, in its place.
    Lending,
}

/// Whether an attempt is being stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Wanted,
    /// Cancelled; the answer to a retraction will say whether it had started.
    Cancelling {
        kill: bool,
    },
    /// Cancelled while running; its worker is being killed.
    Killing,
    /// Told to stop because it ran out of time.
    TimedOut,
}

/// What a task may still do after an attempt went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    RetryAfter(Duration),
    Final,
}

impl Task {
    pub(crate) fn new(spec: &TaskSpec, rank: u64, depth: u16) -> Task {
        Task {
            id: spec.task,
            rank,
            state: State::Waiting { missing: 0 },
            timeout_ns: spec.timeout.map_or(u64::MAX, nanoseconds),
            backoff_ns: nanoseconds(spec.retries.backoff),
            pool: spec.pool,
            group: spec.group,
            priority: spec.priority,
            attempt: Attempt(0),
            dependents: NONE,
            dependencies: NONE,
            failures_left: spec.retries.failures_max,
            deaths_left: spec.retries.deaths_max,
            retries: 0,
            depth,
            items_run_again: spec.retries.items_run_again,
            without_dependencies: spec.dependencies.is_empty(),
        }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    pub(crate) fn is_offer(&self) -> bool {
        self.priority == OFFER
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        (self.timeout_ns != u64::MAX).then(|| Duration::from_nanos(self.timeout_ns))
    }

    /// Charges an attempt that raised or ran out of time.
    pub(crate) fn charge_failure(&mut self) -> Verdict {
        match self.failures_left.checked_sub(1) {
            Some(left) => {
                self.failures_left = left;
                self.next_retry()
            }
            None => Verdict::Final,
        }
    }

    /// Charges an attempt whose worker died.
    pub(crate) fn charge_death(&mut self) -> Verdict {
        match self.deaths_left.checked_sub(1) {
            Some(left) => {
                self.deaths_left = left;
                self.next_retry()
            }
            None => Verdict::Final,
        }
    }

    fn next_retry(&mut self) -> Verdict {
        let doubled = Retries::wait(Duration::from_nanos(self.backoff_ns), self.retries);
        self.retries = self.retries.saturating_add(1);
        Verdict::RetryAfter(doubled)
    }
}

impl Retries {
    /// The wait before the retry after `earlier` ones: doubled for each, up to a limit.
    pub(crate) fn wait(first: Duration, earlier: u16) -> Duration {
        let factor = 1_u32.checked_shl(u32::from(earlier)).unwrap_or(u32::MAX);
        first.saturating_mul(factor).min(RETRY_BACKOFF_MAX)
    }
}

impl Assigned {
    /// Whether it is known to have started.
    pub(crate) fn is_running(&self) -> bool {
        self.phase != Phase::HandedOver
    }

    /// Whether it waits without a core.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Blocked | Phase::Lending)
    }
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

// A million unfinished tasks are normal; keep an eye on what each costs.
const _: () = assert!(size_of::<State>() <= 24 && size_of::<Task>() <= 96);
