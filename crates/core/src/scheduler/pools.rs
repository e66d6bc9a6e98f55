//! Pools open and close.

use super::pool::{Pool, Tally};
use super::timers::Timer;
use super::{Scheduler, Step};
use crate::action::Rejection;
use crate::events::EventKind;
use crate::graph::{Slot, State, Task};
use crate::ids::{PoolId, TaskId};
use crate::spec::PoolSpec;

impl Scheduler {
    pub(super) fn on_add_pool(&mut self, spec: PoolSpec, step: &Step) {
        let id = spec.pool;
        assert!(!self.pools.contains_key(&id), "{id:?} exists already");
        assert!(
            spec.workers_max > 0,
            "{id:?} allows no worker, so nothing could ever run"
        );
        self.pools.insert(id, Pool::new(spec));
        self.note(step, EventKind::PoolAdded { pool: id });
    }

    pub(super) fn on_remove_pool(&mut self, id: PoolId, step: &mut Step) {
        if !self.pools.contains_key(&id) {
            return;
        }
        self.reject_all(id, Rejection::Cancelled, step);
        self.retire_all(id, step);
        for worker in self.pools[&id].workers.clone() {
            self.forget_worker(worker);
        }
        let pool = self.pools.remove(&id).expect("checked above");
        self.timers.clear(pool.spawn_timer, Timer::Spawn(id));
        self.timers
            .clear(pool.rebalance_timer, Timer::Rebalance(id));
        self.timers.clear(pool.surplus_timer, Timer::Surplus(id));
        self.hungry.retain(|other| *other != id);
        self.note(step, EventKind::PoolRemoved { pool: id });
    }

    /// Rejects the tasks of the pool that wait for nothing but a worker, in the order of submission,
    /// and what needs them. Linear in all tasks: this happens at most once for each wait in between.
    pub(super) fn reject_ready(&mut self, pool: PoolId, why: Rejection, step: &mut Step) {
        let is_ready = |task: &Task| matches!(task.state, State::Ready { .. });
        for (_, slot) in self.in_order(pool, is_ready) {
            self.reject(slot, why, step);
        }
    }

    /// Those tasks of the pool that are meant, in the order of submission.
    fn in_order(&self, pool: PoolId, is_meant: impl Fn(&Task) -> bool) -> Vec<(TaskId, Slot)> {
        let mut tasks: Vec<(TaskId, Slot)> = (self.graph.iter())
            .filter(|(_, task)| task.pool == pool && is_meant(task))
            .map(|(slot, task)| (task.id, slot))
            .collect();
        tasks.sort_unstable();
        tasks
    }

    /// Rejects every task of the pool in the order of submission, and what needs them elsewhere.
    /// Linear in all tasks: pools end rarely.
    pub(super) fn reject_all(&mut self, pool: PoolId, why: Rejection, step: &mut Step) {
        if self
            .pools
            .get(&pool)
            .is_none_or(|pool| pool.tally == Tally::default())
        {
            return;
        }
        let mut dependents = Vec::new();
        for (failed, slot) in self.in_order(pool, |_| true) {
            if self.graph.get(slot).is_none() {
                // It needed a task of another pool that needed one of this pool.
                continue;
            }
            self.reject_one(slot, why, &mut dependents, step);
            while let Some(dependent) = dependents.pop() {
                // Dependents in this pool have their own turn, and their own reason.
                if self
                    .graph
                    .get(dependent)
                    .is_some_and(|task| task.pool != pool)
                {
                    self.reject(dependent, Rejection::Dependency { failed }, step);
                }
            }
        }
    }
}
