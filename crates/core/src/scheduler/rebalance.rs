//! Moving tasks that wait behind others to workers that have nothing to do.
//!
//! Tasks are handed ahead by an estimate, and an estimate can be wrong. When a worker is idle, or one
//! more could be started, and nothing is ready for it, the most loaded worker is ordered to give back
//! what it has not started: if that is worth the way, or if the worker has been quiet for so long that
//! the estimate was wrong.
//!
//! A worker is handed tasks while its process starts. What has not begun there runs on another one that
//! has become idle meanwhile: to start a process takes longer than most tasks.
//!
//! A situation is acted upon once: while a retraction is under way its worker counts for nothing
//! here, and the answer leaves it with tasks that are known to run, which are not movable. A worker
//! that does not answer (because it is stopped, say) is passed over after a while.

use std::cmp::Reverse;

use super::timers::Timer;
use super::worker::{Leaving, Worker};
use super::{Scheduler, Step};
use crate::graph::nanoseconds;
use crate::ids::{PoolId, WorkerId};
use crate::limits::{ESTIMATE_SAMPLE, MOVE_WORK_MIN, QUIET_MAX};
use crate::time::Time;

impl Scheduler {
    pub(super) fn rebalance(&mut self, id: PoolId, step: &mut Step) {
        let room = self.room_elsewhere(id);
        let mut look_again = self.recall_late(id, step);
        let pool = &self.pools[&id];
        if room > 0 {
            if !self.cores_allow(pool.spec.cores_per_task) {
                // What is moved could not start; look again when a core is free.
                self.mark_hungry(id);
            } else if pool.sums.idle == 0 && step.now < pool.spawn_not_before {
                look_again = look_again.min(pool.spawn_not_before);
            } else {
                look_again = look_again.min(self.retract_for(id, room, step));
            }
        }
        let pool = self.pools.get_mut(&id).expect("checked by settle");
        let at = &mut pool.rebalance_timer;
        self.timers.move_to(look_again, at, Timer::Rebalance(id));
    }

    /// How many of the tasks that wait behind others could start at once if they were moved: to
    /// workers that are idle, or to new ones. None while others are ready for these.
    pub(super) fn room_elsewhere(&self, id: PoolId) -> u32 {
        let pool = &self.pools[&id];
        if pool.sums.movable == 0 || pool.ready.available(pool.choice(self.memory_short)) > 0 {
            return 0;
        }
        let new = self.workers_allowed(id).saturating_mul(pool.slots_expected);
        pool.idle_allowed().saturating_add(new)
    }

    /// Has workers that start late give back what idle ones can begin at once. It takes the place and the core
    /// that it has already. Returns when to look again.
    fn recall_late(&mut self, id: PoolId, step: &mut Step) -> Time {
        let mut look_again = Time::NEVER;
        let pool = &self.pools[&id];
        let is_wanted =
            pool.sums.late > 0 && pool.ready.available(pool.choice(self.memory_short)) == 0;
        let mut room = if is_wanted { pool.sums.idle_there } else { 0 };
        if room == 0 {
            return look_again;
        }
        for worker in pool.workers.clone() {
            let Worker {
                standing,
                quiet_since,
                ..
            } = &self.workers[&worker];
            if standing.late == 0 || room == 0 {
                continue;
            }
            let patience_ends = *quiet_since + QUIET_MAX;
            if patience_ends > step.now {
                look_again = look_again.min(patience_ends);
                continue;
            }
            room = room.saturating_sub(standing.late);
            self.retract(worker, step);
        }
        look_again
    }

    /// Orders retractions that bring about as many tasks as there is room for elsewhere. Returns when
    /// to look again. Linear in the workers of the pool, and called only at the end of a burst, when
    /// some workers are done and others are not.
    fn retract_for(&mut self, id: PoolId, room: u32, step: &mut Step) -> Time {
        let mut coming = 0_u32;
        let mut look_again = Time::NEVER;
        let mut candidates: Vec<(Reverse<u64>, WorkerId, u32)> = Vec::new();
        for worker in self.pools[&id].workers.iter().map(|id| &self.workers[id]) {
            let unstarted = worker.unstarted();
            if unstarted == 0 || worker.leaving != Leaving::No {
                continue;
            }
            let since = if worker.retracting {
                worker.retracting_since
            } else {
                worker.quiet_since
            };
            let patience_ends = since + QUIET_MAX;
            let quiet = patience_ends <= step.now;
            if worker.retracting {
                if !quiet {
                    coming = coming.saturating_add(unstarted);
                    look_again = look_again.min(patience_ends);
                }
                continue;
            }
            let work_ns = self.unstarted_ns(worker);
            if quiet || work_ns > nanoseconds(MOVE_WORK_MIN) {
                candidates.push((Reverse(work_ns), worker.id, unstarted));
            } else {
                look_again = look_again.min(patience_ends);
            }
        }
        candidates.sort_unstable();
        for (_, worker, unstarted) in candidates {
            if coming >= room {
                // The rest is looked at when an answer comes, or when none does.
                look_again = look_again.min(step.now + QUIET_MAX);
                break;
            }
            coming = coming.saturating_add(unstarted);
            self.retract(worker, step);
        }
        look_again
    }

    /// Work that waits at the worker, by what is known of durations now, from a sample of the last
    /// tasks handed over.
    fn unstarted_ns(&self, worker: &Worker) -> u64 {
        let unstarted = worker.unstarted();
        let sample = worker
            .in_flight
            .iter()
            .rev()
            .take(ESTIMATE_SAMPLE.min(unstarted as usize));
        let (mut tasks, mut work_ns) = (0_u64, 0_u64);
        for slot in sample {
            tasks += 1;
            work_ns =
                work_ns.saturating_add(self.groups.get(self.graph[*slot].group).estimate_ns());
        }
        (work_ns / tasks.max(1)).saturating_mul(u64::from(unstarted))
    }
}
