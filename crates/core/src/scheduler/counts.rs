//! Numbers for a dashboard, kept up to date anyway. Internal tasks and pools are in none of them.

use super::Scheduler;
use super::pool::Pool;
use crate::ids::PoolId;

/// How much there is of everything.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Over all pools.
    pub total: PoolCounts,
    /// Of each pool, ordered by id.
    pub pools: Vec<(PoolId, PoolCounts)>,
    /// Cores that running tasks take.
    pub cores_used: u64,
    /// Cores they may take, if that was said.
    pub cores_max: Option<u32>,
}

/// Tasks and workers by state.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PoolCounts {
    /// Tasks that wait for other tasks.
    pub waiting: usize,
    /// Tasks that could run.
    pub ready: usize,
    /// Tasks that wait before a retry.
    pub backoff: usize,
    /// Tasks handed to a worker that are not known to have started.
    pub handed_over: usize,
    /// Tasks known to run, not counting blocked ones.
    pub running: usize,
    /// Tasks that run but wait for something, without a core.
    pub blocked: usize,
    /// Workers that are up.
    pub workers: usize,
    /// Of these, with nothing to do.
    pub workers_idle: usize,
    /// Of these, with all slots blocked.
    pub workers_blocked: usize,
    /// Workers that were asked for and are not up yet.
    pub workers_starting: usize,
}

impl PoolCounts {
    /// Tasks that have not ended.
    pub fn unfinished(&self) -> usize {
        self.waiting + self.ready + self.backoff + self.in_flight()
    }

    /// Tasks at a worker.
    pub fn in_flight(&self) -> usize {
        self.handed_over + self.running + self.blocked
    }

    fn of(pool: &Pool) -> PoolCounts {
        let (tally, sums) = (pool.tally.without(&pool.internal), &pool.sums);
        PoolCounts {
            waiting: tally.waiting,
            ready: tally.ready,
            backoff: tally.backoff,
            handed_over: tally.assigned - tally.running,
            running: tally.running - tally.blocked,
            blocked: tally.blocked,
            workers: pool.workers.len(),
            workers_idle: sums.idle as usize,
            workers_blocked: sums.stuck as usize,
            workers_starting: pool.starting as usize,
        }
    }

    fn add(&mut self, other: &PoolCounts) {
        self.waiting += other.waiting;
        self.ready += other.ready;
        self.backoff += other.backoff;
        self.handed_over += other.handed_over;
        self.running += other.running;
        self.blocked += other.blocked;
        self.workers += other.workers;
        self.workers_idle += other.workers_idle;
        self.workers_blocked += other.workers_blocked;
        self.workers_starting += other.workers_starting;
    }
}

impl Scheduler {
    /// Tasks and workers by state. Linear in the number of pools.
    pub fn counts(&self) -> Counts {
        let pools: Vec<_> = self
            .pools
            .iter()
            .filter(|(id, _)| !id.is_internal())
            .map(|(id, pool)| (*id, PoolCounts::of(pool)))
            .collect();
        let mut total = PoolCounts::default();
        for (_, pool) in &pools {
            total.add(pool);
        }
        Counts {
            total,
            pools,
            cores_used: self.cores_used,
            cores_max: self.cores,
        }
    }

    /// The same for one pool; `None` if there is no such pool.
    pub fn pool_counts(&self, pool: PoolId) -> Option<PoolCounts> {
        self.pools.get(&pool).map(PoolCounts::of)
    }
}
