//! One worker: what was handed to it, and what it stands for in its pool.

use std::collections::VecDeque;

use crate::graph::Slot;
use crate::ids::{PoolId, WorkerId};
use crate::time::Time;

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) pool: PoolId,
    /// Tasks that it runs at the same time, at least 1.
    pub(super) slots: u32,
    /// What it has, in the order of hand-over. Tasks end near the front, so removal is cheap.
    pub(super) in_flight: VecDeque<Slot>,
    /// Of these, known to have started.
    pub(super) running: u32,
    /// Of these, waiting with their slots free for others.
    pub(super) blocked: u32,
    /// Of these, waiting in their slots.
    pub(super) lending: u32,
    /// A retraction was ordered and not answered. Until it is, nothing is handed over, so that
    /// everything in flight is covered by the answer.
    pub(super) retracting: bool,
    /// When that was ordered.
    pub(super) retracting_since: Time,
    pub(super) leaving: Leaving,
    /// Since when nothing was heard from it, or since it was last idle.
    pub(super) quiet_since: Time,
    /// Whether it ever ended a task; a worker that dies before that counts as a failed start.
    pub(super) proven: bool,
    /// What its pool counts it as.
    pub(super) standing: Standing,
}

/// Whether the worker was told to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Leaving {
    No,
    Retired,
    Killed,
    /// It has ended and is about to be forgotten.
    Gone,
}

/// Order in which workers are given tasks: one with a free slot before one that is fed ahead, idle
/// before busy, then by id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Key {
    /// Tasks that would be waiting at the worker if it were given one more.
    pub(super) ahead: u32,
    pub(super) in_flight: u32,
    pub(super) worker: WorkerId,
}

/// What a worker contributes to the sums over its pool and the machine.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "contributions to sums, not states"
)]
pub(super) struct Standing {
    /// Its place among the takers, if it may be given tasks.
    pub(super) key: Option<Key>,
    pub(super) free_slots: u32,
    pub(super) active: bool,
    pub(super) stuck: bool,
    pub(super) leaving: bool,
    pub(super) idle: bool,
    pub(super) idle_there: bool,
    pub(super) movable: u32,
    pub(super) late: u32,
    pub(super) cores: u64,
}

impl Worker {
    pub(super) fn new(id: WorkerId, pool: PoolId, slots: u32, now: Time) -> Worker {
        Worker {
            id,
            pool,
            slots: slots.max(1),
            in_flight: VecDeque::new(),
            running: 0,
            blocked: 0,
            lending: 0,
            retracting: false,
            retracting_since: now,
            leaving: Leaving::No,
            quiet_since: now,
            proven: false,
            standing: Standing::default(),
        }
    }

    /// Whether every slot is held by a task that waits for something, which may need one of them.
    pub(super) fn is_stuck(&self) -> bool {
        self.blocked > 0 && self.blocked + self.lending >= self.slots
    }

    /// Whether it is known to be there. A worker is handed tasks while its process starts.
    fn is_there(&self) -> bool {
        self.proven || self.running > 0
    }

    /// Tasks that probably have not started.
    pub(super) fn unstarted(&self) -> u32 {
        self.len().saturating_sub(self.slots.max(self.running))
    }

    /// What the worker stands for now.
    pub(super) fn compute_standing(&self, cores_per_task: u32) -> Standing {
        let in_flight = self.len();
        let stuck = self.is_stuck();
        let staying = self.leaving == Leaving::No;
        let open = !self.retracting && !stuck && staying;
        let ahead = (in_flight + 1).saturating_sub(self.slots);
        let running = in_flight.min(self.slots);
        let running = running.saturating_sub(self.blocked + self.lending);
        let idle = open && in_flight == 0;
        let is_movable = staying && !self.retracting;
        Standing {
            key: open.then_some(Key {
                ahead,
                in_flight,
                worker: self.id,
            }),
            free_slots: if open {
                self.slots.saturating_sub(in_flight)
            } else {
                0
            },
            active: in_flight > 0 && !stuck,
            stuck: stuck && staying,
            leaving: matches!(self.leaving, Leaving::Retired | Leaving::Killed),
            idle,
            idle_there: idle && self.is_there(),
            movable: if is_movable { self.unstarted() } else { 0 },
            late: if is_movable && !self.is_there() {
                in_flight
            } else {
                0
            },
            cores: u64::from(running) * u64::from(cores_per_task),
        }
    }

    fn len(&self) -> u32 {
        u32::try_from(self.in_flight.len()).unwrap_or(u32::MAX)
    }
}
