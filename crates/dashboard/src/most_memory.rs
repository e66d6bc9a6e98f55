//! The most memory that this process and its workers had at a time, what they share counted once.
//!
//! It is looked at a few times a second. What was there between two looks and is gone is known from the most that the
//! kernel says each process ever had, and that objects ever took; what of that was at different times is counted as if
//! it had been at one. Of a worker that has ended meanwhile, what it shared is what it did at the last look, or if it
//! was not there yet, the least that others do.

use lineshaft_engine::Totals;
use rustc_hash::FxHashMap;

use crate::lanes::{Ended, Lanes, Seat};
use crate::usage::Usage;

/// The most that processes had of their own since the last look; `ended` are workers that have ended since then.
pub(crate) fn since_last_look(lanes: &Lanes, before: &Usage, now: &Usage, ended: &[Ended]) -> u64 {
    let workers = lanes.workers().iter();
    let seats: FxHashMap<u32, Seat> = workers
        .filter_map(|worker| Some((worker.pid?, worker.seat())))
        .collect();
    let known = before.processes.iter().chain(&now.processes);
    let shared: FxHashMap<u32, u64> = known
        .filter(|process| seats.contains_key(&process.pid))
        .map(|process| (process.pid, process.memory.shared_bytes))
        .collect();
    let least = shared.values().min().copied().unwrap_or(0);
    // Of workers that were in one place one after the other, the largest.
    let mut most: FxHashMap<Seat, u64> = FxHashMap::default();
    for Ended {
        seat,
        pid,
        peak_bytes,
    } in ended
    {
        let own_bytes = peak_bytes.saturating_sub(*shared.get(pid).unwrap_or(&least));
        let place = most.entry(*seat).or_default();
        *place = own_bytes.max(*place);
    }
    let mut others = 0;
    for process in &now.processes {
        let own_bytes = process.memory.most_own_bytes;
        match seats.get(&process.pid) {
            Some(seat) => {
                let place = most.entry(*seat).or_default();
                *place = own_bytes.max(*place);
            }
            None => others += own_bytes,
        }
    }
    others + most.values().sum::<u64>()
}

/// The most that objects took since the last look.
pub(crate) fn of_objects(now: &Totals, before: &Totals) -> u64 {
    let (now, before) = (&now.store, &before.store);
    if now.peak_bytes > before.peak_bytes {
        now.peak_bytes
    } else {
        now.used_bytes
    }
}

#[cfg(test)]
mod tests {
    use lineshaft_core::{PoolId, Time, WorkerId};
    use lineshaft_engine::{Place, Started};

    use super::*;
    use crate::memory::Resident;
    use crate::usage::ProcessUsage;

    fn process(pid: u32, own_bytes: u64, shared_bytes: u64) -> ProcessUsage {
        let memory = Resident {
            own_bytes,
            shared_bytes,
            most_own_bytes: own_bytes,
            peak_bytes: own_bytes + shared_bytes,
        };
        ProcessUsage {
            pid,
            memory,
            ..ProcessUsage::default()
        }
    }

    #[test]
    fn workers_that_are_gone_count_once_for_each_place_and_without_what_they_shared() {
        let mut lanes = Lanes::default();
        // The second and the third are in the place of the first, the fourth is in another one.
        let places = [(1, 1), (2, 1), (3, 1), (4, 2)];
        let started = places.map(|(worker, number)| {
            lanes.worker_up(WorkerId(worker), PoolId(0), 1, Time(0));
            let place = Place {
                number,
                attempt: 1,
                after: None,
            };
            Started {
                worker: WorkerId(worker),
                pid: 10 + worker,
                place: Some(place),
                left: None,
                peak_bytes: (worker < 3).then_some(500 + u64::from(worker)),
            }
        });
        for worker in 1..3 {
            lanes.worker_down(WorkerId(worker), Time(1));
        }
        let ended = lanes.learn_started(&started);
        let mut before = Usage::default();
        before.processes = vec![process(12, 300, 80), process(13, 5, 100)];
        let mut usage = Usage::default();
        usage.processes = vec![
            process(1, 1_000, 70),
            process(13, 10, 100),
            process(14, 20, 200),
        ];
        let most = since_last_look(&lanes, &before, &usage, &ended);
        assert_eq!(most, 1_000 + (502 - 80) + 20);
        // They are told of once.
        let ended = lanes.learn_started(&started);
        assert_eq!(
            since_last_look(&lanes, &before, &usage, &ended),
            1_000 + 10 + 20
        );
    }
}
