//! Pools of worker processes: how many workers each has, and how often they were replaced.

use lineshaft_core::PoolId;
use lineshaft_engine::PoolTotals;
use serde::Serialize;

/// A pool of worker processes.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PoolRow {
    /// Which.
    pub pool: u32,
    /// Which of all pools of worker processes it is, from one on.
    pub number: u32,
    /// What it is called.
    pub name: String,
    /// Whether it takes tasks.
    pub is_open: bool,
    /// Its workers that are there.
    pub workers: u32,
    /// The most that were there at a time.
    pub places: u32,
    /// Workers so far.
    pub started: u64,
    /// Those of them that were there in the stead of another one.
    pub restarts: u64,
    /// Workers that died.
    pub died: u64,
    /// Workers that were ended with what they ran.
    pub ended: u64,
    /// Workers that ended after a task, by an order or because they had done their share.
    pub retired: u64,
}

impl PoolRow {
    pub(crate) fn new(pool: PoolId, totals: &PoolTotals) -> PoolRow {
        PoolRow {
            pool: pool.0,
            number: totals.number,
            name: totals.name.clone(),
            is_open: totals.is_open,
            workers: totals.workers,
            places: totals.places,
            started: totals.started,
            restarts: totals.restarts,
            died: totals.died,
            ended: totals.ended,
            retired: totals.retired,
        }
    }
}
