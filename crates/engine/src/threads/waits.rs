//! Calls of this process that wait for tasks, and whether another may begin in the place of one that does.
//!
//! How many calls of a pool have begun is its user's limit, so a call that waits keeps its place, and lends only its
//! core. But what it waits for may need a place in the same pool: because it runs there, or waits, or will, for what
//! does. So it is remembered which pools have waited for which. As soon as that leads from a pool back to itself,
//! those of its calls that wait along the way give up their places, now and from then on.

use std::sync::Arc;

use lineshaft_core::{Attempt, Input, PoolId, TaskId};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::state::State;

use super::Lanes;

/// What a call waits for.
pub(crate) enum Awaited {
    /// One of these tasks of its own engine.
    Tasks(Vec<TaskId>),
    /// Tasks of these pools of its own engine.
    Pools(Vec<PoolId>),
    /// The engine cannot know.
    Anything,
}

/// What is known of all waits.
#[derive(Default)]
pub(crate) struct Waits {
    calls: FxHashMap<(TaskId, Attempt), Waiting>,
    /// By pool: those that tasks of it have waited for. Nothing is forgotten before the pool is: what has happened
    /// once may happen again while others wait.
    awaited: FxHashMap<PoolId, FxHashSet<PoolId>>,
}

/// Stands for whatever the engine cannot know of, which may wait for any pool. No pool has this id.
const ANYTHING: PoolId = PoolId(u32::MAX);

/// A call that waits.
struct Waiting {
    pool: PoolId,
    lanes: Arc<Lanes>,
    /// The pools of what it waits for.
    on: Vec<PoolId>,
    keeps_place: bool,
}

impl Waits {
    /// Whether this call is known to wait.
    pub(crate) fn contains(&self, call: &(TaskId, Attempt)) -> bool {
        self.calls.contains_key(call)
    }

    pub(crate) fn forget_pool(&mut self, pool: PoolId) {
        self.awaited.remove(&pool);
        for others in self.awaited.values_mut() {
            others.remove(&pool);
        }
    }

    /// Notes that tasks of one pool wait for tasks of another; whether that is new.
    fn add(&mut self, pool: PoolId, on: PoolId) -> bool {
        pool != on && self.awaited.entry(pool).or_default().insert(on)
    }

    /// Whether who waits in `pool` for tasks `on` these pools may thereby wait for tasks of `pool`.
    fn leads_back(&self, pool: PoolId, on: &[PoolId]) -> bool {
        let mut seen: FxHashSet<PoolId> = on.iter().copied().collect();
        let mut to_see: Vec<PoolId> = on.to_vec();
        while let Some(next) = to_see.pop() {
            if next == pool || next == ANYTHING {
                return true;
            }
            let further = self.awaited.get(&next).into_iter().flatten();
            to_see.extend(further.filter(|&&pool| seen.insert(pool)));
        }
        false
    }
}

impl Waiting {
    /// Another call may begin in its place.
    fn give_up_place(&mut self) {
        if std::mem::take(&mut self.keeps_place) {
            // If no thread can be started, those that there are come to the calls later.
            let _: std::io::Result<()> = self.lanes.discount_one();
        }
    }

    /// Its wait is over.
    fn end(self) {
        if !self.keeps_place {
            self.lanes.count_one();
        }
    }
}

impl State {
    /// A call waits.
    pub(crate) fn on_blocked_call(&mut self, task: TaskId, attempt: Attempt, awaited: Awaited) {
        // By then the task may be gone, cancelled or out of time.
        let Some(pool) = self.tasks.get(task).map(|task| task.pool) else {
            return;
        };
        let Some(lanes) = self.lanes(pool).cloned() else {
            return;
        };
        let on = self.pools_of(awaited);
        for &other in &on {
            self.note_wait(pool, other);
        }
        let mut waiting = Waiting {
            pool,
            lanes,
            on,
            keeps_place: true,
        };
        if self.waits.leads_back(pool, &waiting.on) {
            waiting.give_up_place();
        }
        let keeps_place = waiting.keeps_place;
        if let Some(before) = self.waits.calls.insert((task, attempt), waiting) {
            before.end();
        }
        self.inputs.push_back(Input::Blocked {
            task,
            attempt,
            keeps_place,
        });
    }

    /// A call no longer waits.
    pub(crate) fn on_unblocked_call(&mut self, task: TaskId, attempt: Attempt) {
        if let Some(waiting) = self.waits.calls.remove(&(task, attempt)) {
            waiting.end();
        }
        self.inputs.push_back(Input::Unblocked { task, attempt });
    }

    /// Tasks of one pool wait for tasks of another, by a call or because they need their results.
    pub(crate) fn note_wait(&mut self, pool: PoolId, on: PoolId) {
        if !self.waits.add(pool, on) {
            return;
        }
        let mut calls = std::mem::take(&mut self.waits.calls);
        for (&(task, attempt), waiting) in &mut calls {
            if waiting.keeps_place && self.waits.leads_back(waiting.pool, &waiting.on) {
                waiting.give_up_place();
                self.inputs.push_back(Input::Blocked {
                    task,
                    attempt,
                    keeps_place: false,
                });
            }
        }
        self.waits.calls = calls;
    }

    /// The pools of what is waited for and has not ended.
    fn pools_of(&self, awaited: Awaited) -> Vec<PoolId> {
        match awaited {
            Awaited::Anything => vec![ANYTHING],
            // One that is gone has nothing that could wait.
            Awaited::Pools(mut pools) => {
                pools.retain(|pool| self.pools.contains_key(pool));
                pools
            }
            Awaited::Tasks(tasks) => {
                let tasks = tasks.into_iter().filter_map(|task| self.tasks.get(task));
                let mut pools: Vec<PoolId> = tasks.map(|task| task.pool).collect();
                pools.sort_unstable();
                pools.dedup();
                pools
            }
        }
    }
}
