//! What speaks against the pools of processes that are open.

use lineshaft_core::{PoolId, WorkerId};
use rustc_hash::FxHashMap;

use crate::payload::Payload;

/// Of each open pool, and of no other: workers that outlive theirs have nobody to tell.
#[derive(Default)]
pub(super) struct Health(FxHashMap<PoolId, Record>);

#[derive(Default)]
struct Record {
    /// How many times in a row workers have ended before they began a task; those that were started
    /// together count once.
    stillborn: u32,
    /// The last worker of any pool that had been asked for when one was counted.
    counted_to: Option<WorkerId>,
    /// What its initializer raised, pickled, or in words why no worker can be started.
    trouble: Option<Result<Payload, String>>,
}

impl Health {
    pub(super) fn add_pool(&mut self, pool: PoolId) {
        self.0.insert(pool, Record::default());
    }

    /// A pool is gone; returns what its initializer had raised.
    pub(super) fn remove_pool(&mut self, pool: PoolId) -> Option<Payload> {
        self.0.remove(&pool)?.trouble?.ok()
    }

    /// Takes what is to be told of a pool that breaks; returns what will not be told.
    pub(super) fn note_trouble(
        &mut self,
        pool: PoolId,
        trouble: Result<Payload, String>,
    ) -> Option<Payload> {
        match self.0.get_mut(&pool) {
            Some(record) => record.trouble.replace(trouble)?.ok(),
            None => trouble.ok(),
        }
    }

    pub(super) fn trouble(&self, pool: PoolId) -> Option<&Result<Payload, String>> {
        self.0.get(&pool)?.trouble.as_ref()
    }

    /// A worker ended before it began a task; `last` is the last worker so far. Returns how often in a
    /// row that has happened.
    pub(super) fn note_stillborn(&mut self, pool: PoolId, worker: WorkerId, last: WorkerId) -> u32 {
        let Some(record) = self.0.get_mut(&pool) else {
            return 0;
        };
        if record.counted_to.is_none_or(|counted| worker > counted) {
            record.counted_to = Some(last);
            record.stillborn = record.stillborn.saturating_add(1);
        }
        record.stillborn
    }

    /// A worker of the pool has begun a task.
    pub(super) fn note_life(&mut self, pool: PoolId) {
        if let Some(record) = self.0.get_mut(&pool) {
            record.stillborn = 0;
        }
    }
}
