//! After each input: hand out what can run, ask for workers, let surplus ones go.
//!
//! Only pools whose situation changed are looked at. Within a pool, free slots are filled first, then
//! workers are asked for, and only what is left is handed ahead to busy workers, because a task that
//! waits behind another one is better off on a worker of its own.
//!
//! Cores are shared by all pools. A pool that could start a task if it had a core queues in `hungry`;
//! cores go to that queue in turn, one task each, and nobody overtakes its front. So every pool makes
//! progress, and a task that needs several cores is not starved by those that need one.

use super::pool::Pool;
use super::timers::Timer;
use super::{Scheduler, Step};
use crate::action::Action;
use crate::graph::{Slot, State};
use crate::ids::PoolId;
use crate::limits::{PREFETCH_ENABLING_MAX, STAND_IN_AFTER, SURPLUS_KEPT};
use crate::spec::Prefetch;
use crate::time::Time;

/// What became of an attempt to start a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start {
    Started,
    /// A task and a worker are there, but no core.
    NoCores,
    /// No task or no worker.
    Nothing,
}

impl Scheduler {
    pub(super) fn settle(&mut self, step: &mut Step) {
        self.queue_for_cores();
        self.serve_hungry(step);
        while let Some(&id) = self.dirty.front() {
            // The pool stays marked meanwhile, so that its own changes do not mark it again.
            if self.pools.contains_key(&id) {
                self.start_tasks(id, step);
                self.spawn_workers(id, step);
                self.feed_ahead(id, step);
                self.watch_surplus(id, step.now);
                self.rebalance(id, step);
            }
            self.dirty.pop_front();
            if let Some(pool) = self.pools.get_mut(&id) {
                pool.dirty = false;
            }
        }
    }

    /// Whether one more task that takes so many cores may run. A task that needs more than there
    /// are runs alone.
    pub(super) fn cores_allow(&self, cores_per_task: u32) -> bool {
        match self.cores {
            Some(cores) if cores_per_task > 0 => {
                self.cores_used == 0
                    || self.cores_used + u64::from(cores_per_task) <= u64::from(cores)
            }
            _ => true,
        }
    }

    /// Queues the pool for cores.
    pub(super) fn mark_hungry(&mut self, id: PoolId) {
        let Some(pool) = self.pools.get_mut(&id) else {
            return;
        };
        if !std::mem::replace(&mut pool.hungry, true) {
            self.hungry.push_back(id);
        }
    }

    /// If others wait for cores already, pools that have just become able to start a task join them
    /// before anything is served. So a pool whose task has ended comes behind those that waited, and
    /// before those that are served now.
    fn queue_for_cores(&mut self) {
        if self.hungry.is_empty() {
            return;
        }
        for id in self.dirty.clone() {
            let joins = |pool: &Pool| pool.spec.cores_per_task > 0 && pool.could_start();
            if self.pools.get(&id).is_some_and(joins) {
                self.mark_hungry(id);
            }
        }
    }

    fn serve_hungry(&mut self, step: &mut Step) {
        while let Some(&id) = self.hungry.front() {
            let cores = self
                .pools
                .get(&id)
                .map_or(0, |pool| pool.spec.cores_per_task);
            if !self.cores_allow(cores) {
                return;
            }
            self.hungry.pop_front();
            if self.start_one(id, step) == Start::Started {
                self.hungry.push_back(id);
            } else if let Some(pool) = self.pools.get_mut(&id) {
                pool.hungry = false;
                self.mark_pool(id);
            }
        }
    }

    fn start_tasks(&mut self, id: PoolId, step: &mut Step) {
        let pool = &self.pools[&id];
        // A hungry pool has had its turn.
        if pool.hungry || pool.tally.ready == 0 {
            return;
        }
        if pool.spec.cores_per_task > 0 && !self.hungry.is_empty() {
            if pool.could_start() {
                self.mark_hungry(id);
            }
            return;
        }
        loop {
            match self.start_one(id, step) {
                Start::Started => {}
                Start::NoCores => return self.mark_hungry(id),
                Start::Nothing => return,
            }
        }
    }

    fn start_one(&mut self, id: PoolId, step: &mut Step) -> Start {
        let Some(pool) = self.pools.get_mut(&id) else {
            return Start::Nothing;
        };
        let Some(worker) = pool.free_taker() else {
            return Start::Nothing;
        };
        let choice = pool.choice(self.memory_short);
        let turn = pool.turn(step.now);
        let Some(slot) = pool.ready.best(&mut self.graph, choice, turn) else {
            return Start::Nothing;
        };
        let cores = pool.spec.cores_per_task;
        if !self.cores_allow(cores) {
            return Start::NoCores;
        }
        let State::Ready { lane } = self.graph[slot].state else {
            unreachable!("the queue holds ready tasks");
        };
        self.assign(slot, lane, worker, step);
        Start::Started
    }

    /// Hands tasks to busy workers, so that these need not wait for the next one.
    fn feed_ahead(&mut self, id: PoolId, step: &mut Step) {
        loop {
            let pool = self.pools.get_mut(&id).expect("checked by settle");
            let prefetch = pool.spec.prefetch;
            if prefetch == Prefetch::Off || pool.tally.ready == 0 {
                return;
            }
            if pool.sums.active > pool.spec.workers_max {
                return;
            }
            let Some((worker, ahead)) = pool.busy_taker() else {
                return;
            };
            let choice = pool.choice(self.memory_short);
            // Workers on their way here will want something to do.
            let kept = pool.starting.saturating_mul(pool.slots_expected);
            if pool.ready.available(choice) <= kept as usize {
                return;
            }
            let turn = pool.turn(step.now);
            let Some(slot) = pool.ready.best(&mut self.graph, choice, turn) else {
                return;
            };
            if self.graph[slot].is_offer() || ahead > self.window(slot, prefetch) {
                return;
            }
            let State::Ready { lane } = self.graph[slot].state else {
                unreachable!("the queue holds ready tasks");
            };
            self.assign(slot, lane, worker, step);
        }
    }

    /// How many tasks one worker may be given ahead if this is one of them.
    fn window(&self, slot: Slot, prefetch: Prefetch) -> u32 {
        let group = self.groups.get(self.graph[slot].group);
        let is_root = self.graph.is_root(slot);
        if prefetch == Prefetch::Long && !is_root {
            return group.window_long();
        }
        let window = group.window_short();
        if prefetch == Prefetch::Short && is_root && self.graph.is_last_wanted(slot) {
            return window.min(PREFETCH_ENABLING_MAX);
        }
        window
    }

    /// Asks for workers for ready tasks that no free slot can take.
    fn spawn_workers(&mut self, id: PoolId, step: &mut Step) {
        let (mut wanted, in_time) = self.workers_wanted(id, step.now);
        let pool = self.pools.get_mut(&id).expect("checked by settle");
        let mut timer = Time::NEVER;
        if in_time > wanted {
            pool.stand_ins_at = pool.stand_ins_at.min(step.now + STAND_IN_AFTER);
            if pool.stand_ins_at <= step.now {
                wanted = in_time;
            } else {
                timer = pool.stand_ins_at;
            }
        }
        if in_time == wanted {
            pool.stand_ins_at = Time::NEVER;
        }
        let delayed = wanted > 0 && step.now < pool.spawn_not_before;
        if delayed {
            timer = pool.spawn_not_before;
        }
        let at = &mut pool.spawn_timer;
        self.timers.move_to(timer, at, Timer::Spawn(id));
        if wanted > 0 && !delayed {
            pool.starting += wanted;
            step.actions.push(Action::Spawn {
                pool: id,
                count: wanted,
            });
        }
    }

    /// How many workers to ask for now, and how many if nothing changes for some time.
    fn workers_wanted(&mut self, id: PoolId, now: Time) -> (u32, u32) {
        let allowed = self.workers_allowed(id);
        let pool = self.pools.get_mut(&id).expect("checked by settle");
        let choice = pool.choice(self.memory_short);
        let tasks = u32::try_from(pool.ready.available(choice)).unwrap_or(u32::MAX);
        let coming = pool.starting.saturating_mul(pool.slots_expected);
        let missing = tasks.saturating_sub(pool.sums.free_slots.saturating_add(coming));
        let wanted = missing.div_ceil(pool.slots_expected).min(allowed);
        let stand_ins = wanted.saturating_sub(allowed.saturating_sub(pool.sums.stuck));
        if stand_ins == 0 {
            return (wanted, wanted);
        }
        // If the best is an offer, all are.
        let turn = pool.turn(now);
        let best = pool.ready.best(&mut self.graph, choice, turn);
        if best.is_some_and(|slot| self.graph[slot].is_offer()) {
            (wanted - stand_ins, wanted)
        } else {
            (wanted, wanted)
        }
    }

    /// How many more workers the pool may have.
    pub(super) fn workers_allowed(&self, id: PoolId) -> u32 {
        let pool = &self.pools[&id];
        let limit = pool.spec.workers_max.min(self.workers_with_cores(id));
        limit.saturating_sub(pool.workers_counted())
    }

    /// How many workers of the pool all cores of the machine could keep busy; at least one.
    fn workers_with_cores(&self, id: PoolId) -> u32 {
        let pool = &self.pools[&id];
        match self.cores {
            Some(cores) if pool.spec.cores_per_task > 0 => {
                let tasks = (cores / pool.spec.cores_per_task).max(1);
                tasks.div_ceil(pool.slots_expected)
            }
            _ => u32::MAX,
        }
    }

    fn watch_surplus(&mut self, id: PoolId, now: Time) {
        let pool = self.pools.get_mut(&id).expect("checked by settle");
        let until = if pool.workers_surplus() == 0 {
            Time::NEVER
        } else {
            pool.surplus_timer.min(now + SURPLUS_KEPT)
        };
        let at = &mut pool.surplus_timer;
        self.timers.move_to(until, at, Timer::Surplus(id));
    }

    /// Lets those surplus workers go that are idle.
    pub(super) fn retire_surplus(&mut self, id: PoolId, step: &mut Step) {
        while let Some(pool) = self.pools.get(&id).filter(|it| it.workers_surplus() > 0)
            && let Some(worker) = pool.idle_youngest()
        {
            self.retire(worker, step);
        }
    }
}
