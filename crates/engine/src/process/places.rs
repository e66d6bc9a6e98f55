//! Which place of its pool each worker process has, and who had it before.
//!
//! A pool has as many places as it ever had workers at a time. A worker takes one that is free, first of all one
//! whose last worker it is to replace. So a place has one worker after the other; each is an *attempt* of it. A
//! place that was given up because the pool needed fewer workers begins anew with its next one.

use std::collections::{BTreeMap, VecDeque};

use lineshaft_core::{PoolId, WorkerId};

use crate::limits::{CLOSED_POOLS_MAX, PIDS_MAX};

/// Why a worker process has its place no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// It ended without having been asked to.
    Died,
    /// The engine ended it, with what it ran: by an order, or because nobody wanted that any more.
    Ended,
    /// It ended after a task: it had done its share, or was told to.
    Retired,
    /// It could not be started.
    NeverStarted,
    /// Its pool needs fewer workers, or none.
    NotNeeded,
}

impl Left {
    /// Whether the next worker of the place is there in its stead.
    fn is_replaced(self) -> bool {
        matches!(self, Left::Died | Left::Ended | Left::Retired)
    }
}

/// The place of a worker process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Among those of its pool, counted from one.
    pub number: u32,
    /// Which of its workers this is, counted from one.
    pub attempt: u32,
    /// The worker in whose stead it is there.
    pub after: Option<(WorkerId, Left)>,
}

/// A worker process that was started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Started {
    /// The worker.
    pub worker: WorkerId,
    /// Its process.
    pub pid: u32,
    /// Its place in its pool.
    pub place: Option<Place>,
    /// Why it has that no more, if so.
    pub left: Option<Left>,
    /// The most memory that it ever had resident, in bytes, as the kernel said at its end.
    pub peak_bytes: Option<u64>,
}

/// A pool of worker processes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PoolTotals {
    /// Which of all pools of worker processes it is, from one on.
    pub number: u32,
    /// What it is called.
    pub name: String,
    /// Whether it takes tasks.
    pub is_open: bool,
    /// Its workers that have a place now.
    pub workers: u32,
    /// The most that had one at a time.
    pub places: u32,
    /// Workers that had one so far.
    pub started: u64,
    /// Those of them that were there in the stead of another one.
    pub restarts: u64,
    /// Workers that ended without having been asked to.
    pub died: u64,
    /// Workers that the engine ended with what they ran.
    pub ended: u64,
    /// Workers that ended after a task.
    pub retired: u64,
}

/// All pools of worker processes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pools {
    /// Those that are open, and the last of the others that had workers replaced.
    pub known: BTreeMap<PoolId, PoolTotals>,
    /// How many of the others are not known any more, and how often workers were replaced in them.
    pub forgotten: u64,
    /// See there.
    pub forgotten_restarts: u64,
    /// How often workers were replaced so far in all pools of a name, of which front ends have few.
    pub restarts: BTreeMap<String, u64>,
}

#[derive(Default)]
pub(super) struct Places {
    pools: Pools,
    /// Pools so far.
    opened: u32,
    /// Of each pool, in the order of their numbers.
    held: BTreeMap<PoolId, Vec<Held>>,
    /// The last workers that were started, also those that are gone.
    started: VecDeque<Started>,
}

#[derive(Clone, Copy)]
struct Held {
    by: Option<WorkerId>,
    attempt: u32,
    /// The worker that the next one replaces.
    last: Option<(WorkerId, Left)>,
}

impl Places {
    pub(super) fn add_pool(&mut self, pool: PoolId, name: &str) {
        self.opened += 1;
        let totals = PoolTotals {
            number: self.opened,
            name: name.to_owned(),
            is_open: true,
            ..PoolTotals::default()
        };
        self.pools.restarts.entry(name.to_owned()).or_default();
        self.pools.known.insert(pool, totals);
    }

    pub(super) fn close_pool(&mut self, pool: PoolId) {
        if let Some(totals) = self.pools.known.get_mut(&pool) {
            totals.is_open = false;
            self.forget(pool);
        }
    }

    /// A worker of the pool begins.
    pub(super) fn take(&mut self, pool: PoolId, worker: WorkerId) -> Option<Place> {
        let totals = self.pools.known.get_mut(&pool)?;
        let places = self.held.entry(pool).or_default();
        let free = places.iter().enumerate();
        let free = free.filter(|(_, held)| held.by.is_none());
        let index = free.min_by_key(|(index, held)| (held.last.is_none(), *index));
        let index = if let Some((index, _)) = index {
            index
        } else {
            places.push(Held {
                by: None,
                attempt: 0,
                last: None,
            });
            places.len() - 1
        };
        let held = &mut places[index];
        let after = held.last.take();
        held.by = Some(worker);
        held.attempt += 1;
        totals.workers += 1;
        totals.places = totals.places.max(totals.workers);
        totals.started += 1;
        let restarts = u64::from(after.is_some());
        totals.restarts += restarts;
        *self.pools.restarts.entry(totals.name.clone()).or_default() += restarts;
        Some(Place {
            number: u32::try_from(index + 1).unwrap_or(u32::MAX),
            attempt: held.attempt,
            after,
        })
    }

    /// The worker's process is there.
    pub(super) fn note_started(&mut self, worker: WorkerId, pid: u32, place: Option<Place>) {
        if self.started.len() == PIDS_MAX {
            self.started.pop_front();
        }
        self.started.push_back(Started {
            worker,
            pid,
            place,
            left: None,
            peak_bytes: None,
        });
    }

    /// The worker's process has ended.
    pub(super) fn note_end(&mut self, worker: WorkerId, peak_bytes: u64) {
        let mut known = self.started.iter_mut().rev();
        if let Some(started) = known.find(|started| started.worker == worker) {
            started.peak_bytes = Some(peak_bytes);
        }
    }

    /// The worker gives up its place.
    pub(super) fn leave(&mut self, pool: PoolId, worker: WorkerId, left: Left) {
        let known = self.started.iter_mut().rev();
        if let Some(started) = known.into_iter().find(|started| started.worker == worker) {
            started.left.get_or_insert(left);
        }
        let Some(totals) = self.pools.known.get_mut(&pool) else {
            return;
        };
        let mut places = self.held.get_mut(&pool).into_iter().flatten();
        let Some(held) = places.find(|held| held.by == Some(worker)) else {
            return;
        };
        held.by = None;
        if left.is_replaced() {
            held.last = Some((worker, left));
        } else {
            held.attempt = 0;
        }
        totals.workers -= 1;
        match left {
            Left::Died => totals.died += 1,
            Left::Ended => totals.ended += 1,
            Left::Retired => totals.retired += 1,
            Left::NeverStarted => totals.started -= 1,
            Left::NotNeeded => {}
        }
        self.forget(pool);
    }

    pub(super) fn pools(&self) -> Pools {
        self.pools.clone()
    }

    /// The last workers that were started, oldest first.
    pub(super) fn started(&self) -> Vec<Started> {
        self.started.iter().copied().collect()
    }

    /// Forgets the pool if it is closed, has no worker any more and never had one replaced; and the first of those
    /// that had, if too many are known.
    fn forget(&mut self, pool: PoolId) {
        let known = &mut self.pools.known;
        let is_over = |totals: &PoolTotals| !totals.is_open && totals.workers == 0;
        if !known.get(&pool).is_some_and(is_over) {
            return;
        }
        self.held.remove(&pool);
        if known[&pool].restarts == 0 && known[&pool].died == 0 {
            known.remove(&pool);
        }
        let over = known.iter().filter(|(_, totals)| is_over(totals));
        if over.clone().count() > CLOSED_POOLS_MAX
            && let Some((&first, totals)) = over.clone().next()
        {
            self.pools.forgotten += 1;
            self.pools.forgotten_restarts += totals.restarts;
            known.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: PoolId = PoolId(7);

    fn places() -> Places {
        let mut places = Places::default();
        places.add_pool(POOL, "pool");
        places
    }

    /// Number and attempt of the place that the worker gets, and whom it replaces.
    fn take(places: &mut Places, worker: u32) -> (u32, u32, Option<u32>) {
        let place = places.take(POOL, WorkerId(worker)).expect("known");
        let after = place.after.map(|(worker, _)| worker.0);
        (place.number, place.attempt, after)
    }

    #[test]
    fn a_worker_is_there_in_the_stead_of_one_that_died() {
        let mut places = places();
        assert_eq!(take(&mut places, 1), (1, 1, None));
        assert_eq!(take(&mut places, 2), (2, 1, None));
        places.leave(POOL, WorkerId(2), Left::Died);
        assert_eq!(take(&mut places, 3), (2, 2, Some(2)));
        places.leave(POOL, WorkerId(3), Left::Retired);
        assert_eq!(take(&mut places, 4), (2, 3, Some(3)));
        let totals = &places.pools().known[&POOL];
        assert_eq!((totals.places, totals.workers), (2, 2));
        assert_eq!((totals.started, totals.restarts), (4, 2));
        assert_eq!((totals.died, totals.retired, totals.ended), (1, 1, 0));
    }

    #[test]
    fn who_was_not_needed_is_not_replaced() {
        let mut places = places();
        for worker in 1..=3 {
            take(&mut places, worker);
        }
        places.leave(POOL, WorkerId(1), Left::NotNeeded);
        places.leave(POOL, WorkerId(3), Left::Ended);
        assert_eq!(take(&mut places, 4), (3, 2, Some(3)), "it is missing");
        assert_eq!(take(&mut places, 5), (1, 1, None), "that was over");
        assert_eq!(places.pools().known[&POOL].restarts, 1);
    }

    #[test]
    fn how_the_last_ones_left_is_known_when_they_are_gone() {
        let mut places = places();
        let place = places.take(POOL, WorkerId(1));
        places.note_started(WorkerId(1), 11, place);
        places.leave(POOL, WorkerId(1), Left::Retired);
        // It gave up its place before it ended.
        places.leave(POOL, WorkerId(1), Left::Died);
        assert_eq!(places.pools().known[&POOL].died, 0);
        let started = places.started();
        assert_eq!((started[0].pid, started[0].left), (11, Some(Left::Retired)));
    }

    #[test]
    fn closed_pools_are_bounded_and_those_without_restarts_are_forgotten() {
        let mut places = Places::default();
        let count = u32::try_from(CLOSED_POOLS_MAX).expect("few") + 3;
        for number in 0..2 * count {
            let pool = PoolId(number);
            places.add_pool(pool, "pool");
            places.take(pool, WorkerId(2 * number));
            if number % 2 == 0 {
                places.leave(pool, WorkerId(2 * number), Left::Died);
                places.take(pool, WorkerId(2 * number + 1));
            }
            places.close_pool(pool);
            places.leave(pool, WorkerId(2 * number), Left::NotNeeded);
            places.leave(pool, WorkerId(2 * number + 1), Left::NotNeeded);
        }
        let pools = places.pools();
        let last = pools.known.values().next_back().expect("the last ones");
        assert_eq!(last.number, 2 * count - 1, "they are numbered in turn");
        assert_eq!(pools.known.len(), CLOSED_POOLS_MAX);
        assert_eq!((pools.forgotten, pools.forgotten_restarts), (3, 3));
        let of_all = CLOSED_POOLS_MAX as u64 + 3;
        assert!(pools.restarts.into_iter().eq([("pool".into(), of_all)]));
        assert!(places.held.is_empty());
    }
}
