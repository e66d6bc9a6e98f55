//! Cross-checks of everything that is kept twice. Linear in the whole state: for tests.

use std::collections::{BTreeMap, BTreeSet};

use super::Scheduler;
use super::pool::{Sums, Tally};
use super::timers::Timer;
use super::worker::{Leaving, Standing, Worker};
use crate::graph::{Phase, State};
use crate::ids::PoolId;
use crate::ready::Choice;
use crate::time::Time;

impl Scheduler {
    /// Panics if an invariant does not hold. Holds between inputs.
    pub fn check_invariants(&self) {
        self.graph.check_invariants();
        self.check_tasks();
        self.check_workers();
        self.check_pools();
        self.check_timers();
        self.check_progress();
        assert!(self.dirty.is_empty(), "every marked pool was looked at");
        assert!(
            self.scratch.is_empty(),
            "nothing is left over from a cascade"
        );
    }

    fn check_tasks(&self) {
        let mut tallies: BTreeMap<PoolId, (Tally, Tally)> = BTreeMap::new();
        for (slot, task) in self.graph.iter() {
            let (all, internal) = tallies.entry(task.pool).or_default();
            all.change(&task.state, |count| *count += 1);
            if task.group.is_internal() {
                internal.change(&task.state, |count| *count += 1);
            }
            assert!(task.rank < self.rank_next && Some(task.id) <= self.task_last);
            if let State::Assigned(assigned) = task.state {
                let listed = self.workers.get(&assigned.worker).is_some_and(|worker| {
                    worker.pool == task.pool && worker.in_flight.contains(&slot)
                });
                assert!(listed, "{:?} is listed by its worker, of its pool", task.id);
            }
        }
        for task in self.waits.tasks() {
            let slot = self
                .graph
                .find(task)
                .expect("a task that waits has not ended");
            let is_assigned = matches!(self.graph[slot].state, State::Assigned(_));
            assert!(is_assigned, "{task:?} waits with a worker");
        }
        for (id, pool) in &self.pools {
            let counted = tallies.remove(id).unwrap_or_default();
            let kept = (pool.tally, pool.internal);
            assert_eq!(kept, counted, "tasks of {id:?} by state");
        }
        assert!(tallies.is_empty(), "tasks outlived their pool");
    }

    fn check_workers(&self) {
        let mut cores_used = 0;
        for worker in self.workers.values() {
            let pool = &self.pools[&worker.pool];
            assert!(
                pool.workers.contains(&worker.id),
                "{:?} is listed",
                worker.id
            );
            assert!(
                worker.leaving != Leaving::Gone,
                "{:?} is forgotten when gone",
                worker.id
            );
            let standing = worker.compute_standing(pool.spec.cores_per_task);
            assert_eq!(
                worker.standing, standing,
                "{:?} is counted as it is",
                worker.id
            );
            cores_used += standing.cores;
            self.check_worker(worker);
        }
        assert_eq!(self.cores_used, cores_used, "cores in use");
    }

    fn check_worker(&self, worker: &Worker) {
        let (mut running, mut blocked, mut lending) = (0, 0, 0);
        for slot in &worker.in_flight {
            let State::Assigned(assigned) = self.graph[*slot].state else {
                panic!("{:?} lists a task that is not assigned", worker.id);
            };
            assert_eq!(
                assigned.worker, worker.id,
                "an assigned task has one worker"
            );
            running += u32::from(assigned.is_running());
            blocked += u32::from(assigned.phase == Phase::Blocked);
            lending += u32::from(assigned.phase == Phase::Lending);
        }
        let counted = (worker.running, worker.blocked, worker.lending);
        let expected = (running, blocked, lending);
        assert_eq!(counted, expected, "the tasks of {:?}", worker.id);
    }

    fn check_pools(&self) {
        let mut workers = 0;
        for (id, pool) in &self.pools {
            pool.ready.check_invariants(&self.graph);
            assert_eq!(
                pool.ready.available(Choice::All),
                pool.tally.ready,
                "{id:?} queues all"
            );
            workers += pool.workers.len();
            let mut sums = Sums::default();
            let mut takers = BTreeSet::new();
            for worker in &pool.workers {
                let standing = &self.workers[worker].standing;
                sums.replace(&Standing::default(), standing);
                takers.extend(standing.key);
            }
            assert_eq!(pool.sums, sums, "sums over the workers of {id:?}");
            assert_eq!(
                pool.takers, takers,
                "workers of {id:?} that may be given tasks"
            );
            assert_eq!(
                pool.hungry,
                self.hungry.contains(id),
                "{id:?} knows that it is hungry"
            );
            assert!(
                !(pool.broken && pool.tally != Tally::default()),
                "{id:?} is broken and empty"
            );
        }
        assert_eq!(workers, self.workers.len(), "each worker is in one pool");
        let hungry: BTreeSet<_> = self.hungry.iter().collect();
        assert_eq!(hungry.len(), self.hungry.len(), "a pool is hungry once");
    }

    fn check_timers(&self) {
        let mut expected = BTreeSet::new();
        for (slot, task) in self.graph.iter() {
            match task.state {
                State::Backoff { until } => expected.insert((until, Timer::Retry(slot))),
                State::Assigned(it) => expected.insert((it.deadline, Timer::Timeout(slot))),
                State::Waiting { .. } | State::Ready { .. } => false,
            };
        }
        for (id, pool) in &self.pools {
            expected.insert((pool.spawn_timer, Timer::Spawn(*id)));
            expected.insert((pool.rebalance_timer, Timer::Rebalance(*id)));
            expected.insert((pool.surplus_timer, Timer::Surplus(*id)));
        }
        expected.retain(|(at, _)| *at != Time::NEVER);
        assert!(
            self.timers.iter().eq(&expected),
            "timers and those who wait for them"
        );
    }

    /// A fixed point was reached: nothing that could start is left, and what waits behind a task that
    /// may run for ever, though there is or could be a worker for it, is looked at again.
    fn check_progress(&self) {
        for (id, pool) in &self.pools {
            let looked_at_again = pool.hungry || pool.rebalance_timer != Time::NEVER;
            assert!(
                self.room_elsewhere(*id) == 0 || looked_at_again,
                "{id:?} moves what could start elsewhere"
            );
            let startable = pool.ready.available(pool.choice(self.memory_short)) > 0
                && pool.free_taker().is_some();
            if startable {
                assert!(
                    pool.hungry,
                    "{id:?} has a task, a worker and a core, or waits for a core"
                );
            }
        }
        if let Some(front) = self.hungry.front() {
            let cores = self.pools[front].spec.cores_per_task;
            assert!(
                !self.cores_allow(cores),
                "the first pool in the queue lacks a core"
            );
        }
    }
}
