//! What the scheduler was told and what it ordered, kept apart from it, to hold it to its laws.

use std::collections::{BTreeMap, BTreeSet};

use lineshaft_core::{
    Action, Attempt, Counts, Input, PoolId, PoolSpec, Prefetch, Rejection, TaskId, TaskSpec,
    WorkerId, limits,
};

#[derive(Default)]
pub struct Ledger {
    tasks: BTreeMap<TaskId, Record>,
    pools: BTreeMap<PoolId, PoolSpec>,
    workers: BTreeMap<WorkerId, Seat>,
}

struct Record {
    spec: TaskSpec,
    attempt: Attempt,
    /// Where the scheduler believes it to be.
    at: Option<WorkerId>,
    ended: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Resolved,
    Rejected(Rejection),
}

/// A worker as the scheduler sees it.
struct Seat {
    pool: PoolId,
    slots: usize,
    holds: BTreeSet<TaskId>,
    retired: bool,
}

impl Ledger {
    /// Takes note of an input before the scheduler gets it.
    pub fn before(&mut self, input: &Input) {
        match input {
            Input::AddPool(spec) => {
                self.pools.insert(spec.pool, spec.clone());
            }
            Input::RemovePool { pool } => {
                self.pools.remove(pool);
                self.workers.retain(|_, seat| seat.pool != *pool);
            }
            Input::Submit(spec) => self.submitted(spec),
            Input::SubmitGraph(specs) => specs.iter().for_each(|spec| self.submitted(spec)),
            Input::WorkerUp {
                worker,
                pool,
                slots,
            } if self.pools.contains_key(pool) => {
                let (slots, holds) = (*slots as usize, BTreeSet::new());
                self.workers.insert(
                    *worker,
                    Seat {
                        pool: *pool,
                        slots,
                        holds,
                        retired: false,
                    },
                );
            }
            Input::WorkerDown { worker, .. } | Input::NeverStarted { worker } => {
                self.workers.remove(worker);
            }
            Input::Retracted { worker, tasks } => {
                if let Some(seat) = self.workers.get_mut(worker) {
                    seat.holds.retain(|task| !tasks.contains(task));
                }
            }
            Input::Failed { task, attempt, .. } => self.left_worker(*task, *attempt),
            _ => {}
        }
    }

    /// Checks the orders that an input caused.
    pub fn after(&mut self, input: &Input, actions: &[Action], counts: &Counts) {
        let mut started = false;
        for action in actions {
            match action {
                Action::Run {
                    worker,
                    task,
                    attempt,
                } => {
                    started |= self.runs(*worker, *task, *attempt);
                }
                Action::Resolve { task } => {
                    let Input::Finished {
                        task: finished,
                        attempt,
                        ..
                    } = input
                    else {
                        panic!("{task:?} resolved by {input:?}");
                    };
                    let record = &self.tasks[task];
                    assert_eq!(
                        (task, attempt),
                        (finished, &record.attempt),
                        "the right attempt"
                    );
                    self.ends(*task, End::Resolved);
                }
                Action::Reject { task, why } => self.rejected(*task, *why),
                Action::Spawn { pool, count } => {
                    assert!(*count > 0 && self.pools.contains_key(pool), "{action:?}");
                }
                Action::Retire { worker } => {
                    if let Some(seat) = self.workers.get_mut(worker) {
                        assert!(seat.holds.is_empty(), "{worker:?} retired at work");
                        assert!(!std::mem::replace(&mut seat.retired, true), "retired once");
                    }
                }
                Action::Retract { worker } | Action::Kill { worker, .. } => {
                    assert!(self.workers.contains_key(worker), "{action:?}");
                }
                Action::TimeOut {
                    worker,
                    task,
                    attempt,
                } => {
                    let record = &self.tasks[task];
                    assert_eq!((record.at, record.attempt), (Some(*worker), *attempt));
                }
            }
        }
        self.check_capacity(started, counts);
    }

    /// Tasks that have not ended, for callers that may name only such.
    pub fn unfinished(&self) -> Vec<TaskId> {
        let open = self
            .tasks
            .iter()
            .filter(|(_, record)| record.ended.is_none());
        open.map(|(task, _)| *task).collect()
    }

    fn submitted(&mut self, spec: &TaskSpec) {
        let record = Record {
            spec: spec.clone(),
            attempt: Attempt(0),
            at: None,
            ended: None,
        };
        assert!(self.tasks.insert(spec.task, record).is_none());
    }

    fn left_worker(&mut self, task: TaskId, attempt: Attempt) {
        let Some(record) = self.tasks.get_mut(&task) else {
            return;
        };
        if record.attempt != attempt || record.ended.is_some() {
            return;
        }
        if let Some(seat) = record.at.and_then(|worker| self.workers.get_mut(&worker)) {
            seat.holds.remove(&task);
        }
    }

    /// Returns whether the task takes a core: a slot, and not only a place behind those that run.
    fn runs(&mut self, worker: WorkerId, task: TaskId, attempt: Attempt) -> bool {
        let dependencies = self.tasks[&task].spec.dependencies.clone();
        for dependency in dependencies {
            let ended = self.tasks[&dependency].ended;
            assert_eq!(
                ended,
                Some(End::Resolved),
                "{task:?} runs before {dependency:?}"
            );
        }
        let record = self.tasks.get_mut(&task).expect("submitted");
        assert_eq!(record.ended, None, "{task:?} runs after its end");
        assert_eq!(
            attempt,
            Attempt(record.attempt.0 + 1),
            "attempts of {task:?} are counted"
        );
        let elsewhere = record
            .at
            .replace(worker)
            .and_then(|at| self.workers.get(&at));
        assert!(
            elsewhere.is_none_or(|seat| !seat.holds.contains(&task)),
            "{task:?} is at one place"
        );
        record.attempt = attempt;
        let pool = &self.pools[&record.spec.pool];
        let seat = self.workers.get_mut(&worker).expect("a worker that is up");
        assert!(
            seat.pool == pool.pool && !seat.retired,
            "a worker of the pool that stays"
        );
        let ahead = match pool.prefetch {
            Prefetch::Off => 0,
            Prefetch::Short | Prefetch::Long => limits::PREFETCH_MAX as usize,
        };
        assert!(seat.holds.len() < seat.slots + ahead, "{worker:?} has room");
        seat.holds.insert(task);
        seat.holds.len() <= seat.slots && pool.cores_per_task > 0
    }

    fn rejected(&mut self, task: TaskId, why: Rejection) {
        if let Rejection::Dependency { failed } = why {
            let root = self.tasks[&failed].ended;
            assert!(
                matches!(root, Some(End::Rejected(why)) if !matches!(why, Rejection::Dependency { .. })),
                "{task:?} was rejected because of {failed:?}, which is {root:?}"
            );
        }
        self.ends(task, End::Rejected(why));
    }

    fn ends(&mut self, task: TaskId, end: End) {
        let record = self.tasks.get_mut(&task).expect("submitted");
        assert_eq!(record.ended, None, "{task:?} ends once");
        record.ended = Some(end);
        if let Some(seat) = record.at.and_then(|worker| self.workers.get_mut(&worker)) {
            seat.holds.remove(&task);
        }
    }

    fn check_capacity(&self, started: bool, counts: &Counts) {
        if let Some(cores) = counts.cores_max.filter(|_| started) {
            // One task may need more cores than there are; it runs alone.
            let widest = self
                .pools
                .values()
                .map(|pool| pool.cores_per_task)
                .max()
                .unwrap_or(0);
            let allowed = u64::from(cores.max(widest));
            assert!(
                counts.cores_used <= allowed,
                "{} cores of {cores}",
                counts.cores_used
            );
        }
        for (id, pool) in &counts.pools {
            let held: usize = self
                .workers
                .values()
                .filter(|w| w.pool == *id)
                .map(|w| w.holds.len())
                .sum();
            assert_eq!(pool.in_flight(), held, "in flight in {id:?}");
        }
        assert_eq!(
            counts.total.unfinished(),
            self.unfinished().len(),
            "unfinished tasks"
        );
    }
}
