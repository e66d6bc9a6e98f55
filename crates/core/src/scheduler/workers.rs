//! Workers come, go and give tasks back.

use super::worker::{Leaving, Standing, Worker};
use super::{Scheduler, Step};
use crate::action::{Action, Rejection};
use crate::events::EventKind;
use crate::graph::{Assigned, Fate, Phase, Slot, State};
use crate::ids::{PoolId, TaskId, WorkerId};
use crate::limits::{SPAWN_BACKOFF_MAX, SPAWN_BACKOFF_MIN, SPAWN_FAILURES_MAX};
use crate::time::Time;

impl Scheduler {
    pub(super) fn on_worker_up(
        &mut self,
        worker: WorkerId,
        pool: PoolId,
        slots: u32,
        step: &mut Step,
    ) {
        if self.workers.contains_key(&worker) {
            return;
        }
        let Some(entry) = self.pools.get_mut(&pool) else {
            // Its pool closed while it started.
            step.actions.push(Action::Retire { worker });
            return;
        };
        entry.starting = entry.starting.saturating_sub(1);
        if entry.broken {
            step.actions.push(Action::Retire { worker });
            return;
        }
        entry.slots_expected = slots.max(1);
        entry.workers.insert(worker);
        self.workers
            .insert(worker, Worker::new(worker, pool, slots, step.now));
        self.update_worker(worker, |_| {});
        let up = EventKind::WorkerUp {
            worker,
            pool,
            slots,
        };
        self.note_of_worker(worker, step, up);
        self.mark_pool(pool);
    }

    pub(super) fn on_worker_down(&mut self, id: WorkerId, running: Vec<TaskId>, step: &mut Step) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        let (pool, proven) = (worker.pool, worker.proven);
        let was_idle = running.is_empty();
        let was_leaving = self.lose_worker(id, running, step);
        // A worker that cannot even wait for a task would be restarted as fast as it dies.
        if was_leaving == Leaving::No && was_idle && !proven {
            self.delay_spawn(pool, step.now);
        }
    }

    pub(super) fn on_never_started(&mut self, id: WorkerId, step: &mut Step) {
        if let Some(worker) = self.workers.get(&id) {
            let pool = worker.pool;
            self.lose_worker(id, Vec::new(), step);
            self.note_refusal(pool, step);
        }
    }

    /// Takes leave of a worker that is known; whether it was on its way out.
    fn lose_worker(&mut self, id: WorkerId, mut running: Vec<TaskId>, step: &mut Step) -> Leaving {
        running.sort_unstable();
        let mut was_leaving = Leaving::No;
        // Nothing more is handed to it while its tasks are sorted out.
        self.update_worker(id, |worker| {
            was_leaving = std::mem::replace(&mut worker.leaving, Leaving::Gone);
        });
        self.note_of_worker(id, step, EventKind::WorkerDown { worker: id });
        for slot in self.in_flight(id) {
            let State::Assigned(assigned) = self.graph[slot].state else {
                unreachable!("a worker lists assigned tasks");
            };
            let was_running = running.binary_search(&self.graph[slot].id).is_ok();
            // A task that was being stopped may have been the reason for the end.
            if was_running || matches!(assigned.fate, Fate::TimedOut | Fate::Killing) {
                self.on_death(slot, &assigned, step);
            } else {
                self.give_back(slot, &assigned, step);
            }
        }
        self.forget_worker(id);
        was_leaving
    }

    pub(super) fn on_spawn_failed(&mut self, id: PoolId, broken: bool, step: &mut Step) {
        let Some(pool) = self.pools.get_mut(&id) else {
            return;
        };
        pool.starting = pool.starting.saturating_sub(1);
        if broken {
            pool.broken = true;
            self.reject_all(id, Rejection::PoolBroken, step);
            self.retire_all(id, step);
        } else {
            self.note_refusal(id, step);
        }
        self.mark_pool(id);
    }

    /// A worker could not be started. It is tried again later; if that has been in vain too often, nobody
    /// is kept waiting for it.
    fn note_refusal(&mut self, id: PoolId, step: &mut Step) {
        if !self.delay_spawn(id, step.now) {
            return;
        }
        let Some(pool) = self.pools.get_mut(&id) else {
            return;
        };
        pool.spawns_refused = pool.spawns_refused.saturating_add(1);
        if pool.spawns_refused >= SPAWN_FAILURES_MAX && pool.is_without_workers() {
            self.reject_ready(id, Rejection::NoWorker, step);
        }
    }

    pub(super) fn on_retracted(&mut self, id: WorkerId, tasks: Vec<TaskId>, step: &mut Step) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if !worker.retracting {
            // Nothing was ordered: a repeated answer, whose tasks may be back at the worker by now.
            return;
        }
        worker.quiet_since = step.now;
        let mut given_back = 0;
        for task in tasks {
            let Some(slot) = self.graph.find(task) else {
                continue;
            };
            match self.graph[slot].state {
                State::Assigned(assigned) if assigned.worker == id => {
                    self.give_back(slot, &assigned, step);
                    given_back += 1;
                }
                _ => {}
            }
        }
        for slot in self.in_flight(id) {
            self.learn_running(slot, step);
        }
        self.update_worker(id, |worker| worker.retracting = false);
        self.note(
            step,
            EventKind::Retracted {
                worker: id,
                count: given_back,
            },
        );
        self.mark_pool(self.workers[&id].pool);
    }

    /// Has every worker of the pool end.
    pub(super) fn retire_all(&mut self, pool: PoolId, step: &mut Step) {
        let Some(pool) = self.pools.get(&pool) else {
            return;
        };
        for worker in pool.workers.clone() {
            self.retire(worker, step);
        }
    }

    pub(super) fn retire(&mut self, id: WorkerId, step: &mut Step) {
        let mut ordered = false;
        self.update_worker(id, |worker| {
            ordered = worker.leaving == Leaving::No;
            if ordered {
                worker.leaving = Leaving::Retired;
            }
        });
        if ordered {
            step.actions.push(Action::Retire { worker: id });
        }
    }

    fn in_flight(&self, worker: WorkerId) -> Vec<Slot> {
        self.workers[&worker].in_flight.iter().copied().collect()
    }

    /// The worker has not started the task: it runs elsewhere, unless nobody wants it any more.
    fn give_back(&mut self, slot: Slot, assigned: &Assigned, step: &mut Step) {
        match assigned.fate {
            Fate::Cancelling { .. } | Fate::Killing => {
                self.reject(slot, Rejection::Cancelled, step);
            }
            Fate::Wanted | Fate::TimedOut => {
                self.take_back(slot);
                self.make_ready(slot, step);
            }
        }
    }

    /// What a worker did not give back, it has started. When, it says itself if anybody has to know.
    fn learn_running(&mut self, slot: Slot, step: &mut Step) {
        let State::Assigned(mut assigned) = self.graph[slot].state else {
            unreachable!("a worker lists assigned tasks");
        };
        if assigned.phase == Phase::HandedOver {
            assigned.phase = Phase::Running;
            self.set_assigned(slot, assigned);
        }
        self.settle_cancellation(slot, assigned, step);
    }

    /// Removes a worker that has no tasks.
    pub(super) fn forget_worker(&mut self, id: WorkerId) {
        self.update_worker(id, |worker| worker.leaving = Leaving::Gone);
        let worker = self.workers.remove(&id).expect("looked up by the caller");
        assert_eq!(
            worker.standing,
            Standing::default(),
            "{id:?} leaves nothing in the sums"
        );
        if let Some(pool) = self.pools.get_mut(&worker.pool) {
            pool.workers.remove(&id);
        }
        self.mark_pool(worker.pool);
    }

    /// Starting a worker has failed: wait longer each time. False if that was known already.
    fn delay_spawn(&mut self, pool: PoolId, now: Time) -> bool {
        let Some(pool) = self.pools.get_mut(&pool) else {
            return false;
        };
        if now < pool.spawn_not_before {
            // Several were asked for together; their failures are one.
            return false;
        }
        let factor = 1_u32.checked_shl(pool.spawn_failures).unwrap_or(u32::MAX);
        pool.spawn_failures = pool.spawn_failures.saturating_add(1);
        pool.spawn_not_before = now
            + SPAWN_BACKOFF_MIN
                .saturating_mul(factor)
                .min(SPAWN_BACKOFF_MAX);
        true
    }
}
