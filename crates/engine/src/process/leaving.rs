//! Workers that end by themselves, and how long that may take them.
//!
//! ```text
//!           told to (Retire), or says so (Recycle)
//!   works ───────────────────────────────────────▶ leaves ───────────▶ reaped
//!     │                                              │  ▲                ▲
//!     │ hangs up without a word                      │  └─ patient: as    │
//!     └──────────────────────────▶ killed after ◀────┘     long as it     │
//!                                  EXIT_GRACE ────────────  needs ────────┘
//! ```
//!
//! A worker that leaves has `EXIT_GRACE` for it, then it is killed. A *patient* one has no limit: it stands
//! for a process of a library whose programs rely on it that such a process tidies up, waits for its threads
//! and sends what they have left in its queues, and that who ends a pool waits for all that. Patience ends
//! when the pool is hurried: it was terminated, it is broken, or somebody has interrupted the program. It never
//! comes back.
//!
//! Who leaves and is not patient has a deadline, so whoever waits for a pool waits without a limit only as
//! long as one of its workers is patient.
//!
//! A worker that leaves by itself gives up its place in the pool at once, and another one is started. But once
//! more of them are leaving than the pool has places, the next one starts when one of these has ended: a pool
//! never has more than twice as many processes as places.

use lineshaft_core::{PoolId, Time, WorkerId};

use crate::limits::EXIT_GRACE;
use crate::pools::Executor;
use crate::shared::Shared;
use crate::state::State;

use super::Processes;
use super::deadlines::{Deadlines, Stage};
use super::worker::Worker;

impl Worker {
    /// Whether it may take as long as it likes to end.
    fn may_linger(&self) -> bool {
        self.patient && !self.doomed
    }
}

impl Deadlines {
    /// The worker ends by itself from now on.
    pub(super) fn let_leave(&mut self, worker: &mut Worker, now: Time) {
        let since = *worker.leaving_since.get_or_insert(now);
        if !worker.patient {
            self.add(since + EXIT_GRACE, worker.id, Stage::Kill);
        }
    }

    /// The worker has closed its socket. The zygote tells how it ended; until then there is nothing more to
    /// hear. If it has not ended and was not about to, nobody will ever hear of it again.
    pub(super) fn hung_up(&mut self, worker: &Worker, now: Time) {
        if worker.leaving_since.is_none() {
            self.add(now + EXIT_GRACE, worker.id, Stage::Kill);
        }
    }
}

impl Processes {
    /// The worker is told to end.
    pub(crate) fn retire(&mut self, worker: WorkerId, now: Time) {
        let Some(process) = self.workers.get_mut(&worker) else {
            return;
        };
        process.send_exit();
        process.retired = true;
        self.dirty.push(worker);
        self.deadlines.let_leave(process, now);
    }

    fn hurry(&mut self, pool: Option<PoolId>, now: Time) {
        for worker in self.workers.values_mut() {
            if pool.is_none_or(|pool| worker.pool == pool) && worker.patient {
                worker.patient = false;
                if worker.leaving_since.is_some() {
                    self.deadlines.let_leave(worker, now);
                }
            }
        }
    }

    /// Whether a worker of the pool may take as long as it likes to end.
    pub(crate) fn may_linger(&self, pool: PoolId) -> bool {
        let mut workers = self.workers.values();
        workers.any(|worker| worker.pool == pool && worker.may_linger())
    }

    /// Workers of the pool that have given up their places and have not ended.
    pub(crate) fn departing(&self, pool: PoolId) -> usize {
        let workers = self.workers.values();
        workers
            .filter(|worker| worker.pool == pool && worker.departed)
            .count()
    }
}

impl State {
    /// The workers of one pool, or of all, have no more than `EXIT_GRACE` to end: those that leave, and those
    /// that will.
    pub(crate) fn hurry(&mut self, pool: Option<PoolId>) {
        for (id, open) in &mut self.pools {
            if let Executor::Processes(processes) = &mut open.executor
                && pool.is_none_or(|pool| pool == *id)
            {
                processes.patient = false;
            }
        }
        self.processes.hurry(pool, crate::clock::now());
        self.aftermath.became_quiet = true; // who waits for them has a limit now
    }

    /// Starts workers that had to wait until others have ended.
    pub(crate) fn start_withheld(&mut self, shared: &Shared) {
        for pool in std::mem::take(&mut self.processes.departed) {
            if let Some(open) = self.pools.get_mut(&pool) {
                let count = std::mem::take(&mut open.withheld);
                self.spawn(shared, pool, count);
            }
        }
    }
}
