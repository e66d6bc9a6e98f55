//! Why is this task not running?

use super::Scheduler;
use super::pool::Pool;
use crate::graph::{Fate, Phase, Slot, State};
use crate::ids::{Attempt, TaskId, WorkerId};
use crate::limits::EXPLAINED_DEPENDENCIES_MAX;
use crate::ready::Choice;
use crate::time::Time;

/// What a task is doing, and if it is not running, why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Explanation {
    /// It has ended or never was.
    Unknown,
    /// For other tasks.
    Waiting {
        /// How many, counting one twice that was named twice.
        missing: u32,
        /// The first few of them, ordered by id.
        dependencies: Vec<TaskId>,
    },
    /// It failed and runs again later.
    BackingOff {
        /// At this time.
        until: Time,
    },
    /// It could run.
    Queued {
        /// Ready tasks of its pool that come before it.
        ahead: usize,
        /// Why the first of them does not start.
        because: QueuedBecause,
    },
    /// It was handed to a worker and is not known to have started.
    Assigned {
        /// The worker.
        worker: WorkerId,
        /// The attempt.
        attempt: Attempt,
    },
    /// It runs.
    Running {
        /// The worker.
        worker: WorkerId,
        /// The attempt.
        attempt: Attempt,
        /// Whether it waits for something, without a core.
        blocked: bool,
    },
}

/// What the ready tasks of a pool wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueuedBecause {
    /// There is no worker, and none is on its way; the last ones could not be started.
    NoWorker,
    /// Workers are on their way.
    WorkerStarting,
    /// Every worker that there may be is busy.
    WorkersBusy,
    /// A worker is free, but no core.
    CoresBusy,
    /// Memory is short, and the task would take more of it.
    Withheld,
}

impl Scheduler {
    /// The attempt of a task that a worker has, whether it has started or not.
    pub fn attempt_at_worker(&self, task: TaskId) -> Option<Attempt> {
        self.assigned(task).map(|(attempt, _)| attempt)
    }

    /// Whether a task is known to have started, and has not ended.
    pub fn has_started(&self, task: TaskId) -> bool {
        self.assigned(task)
            .is_some_and(|(_, phase)| phase != Phase::HandedOver)
    }

    /// Whether a worker has the task, and is not to be killed for it.
    pub fn may_go_on(&self, task: TaskId) -> bool {
        let slot = self.graph.find(task);
        match slot.map(|slot| &self.graph[slot].state) {
            Some(State::Assigned(assigned)) => !matches!(
                assigned.fate,
                Fate::Killing | Fate::Cancelling { kill: true }
            ),
            _ => false,
        }
    }

    /// The tasks that wait for this one, once for each time that they name it.
    pub fn dependents(&self, task: TaskId) -> impl Iterator<Item = TaskId> {
        let slot = self.graph.find(task);
        let dependents = slot.map(|slot| self.graph.dependents(slot));
        let dependents = dependents.into_iter().flatten();
        dependents.map(|dependent| self.graph[dependent].id)
    }

    fn assigned(&self, task: TaskId) -> Option<(Attempt, Phase)> {
        let task = &self.graph[self.graph.find(task)?];
        match task.state {
            State::Assigned(assigned) => Some((task.attempt, assigned.phase)),
            _ => None,
        }
    }

    /// Explains one task. May take time linear in the pool's queue: for people, not for programs.
    ///
    /// `now` is the current time: a wait that is over is about to end.
    pub fn explain(&self, now: Time, task: TaskId) -> Explanation {
        let Some(slot) = self.graph.find(task) else {
            return Explanation::Unknown;
        };
        let entry = &self.graph[slot];
        let attempt = entry.attempt;
        match entry.state {
            State::Waiting { missing } => {
                let dependencies = self.first_dependencies(slot);
                Explanation::Waiting {
                    missing,
                    dependencies,
                }
            }
            State::Backoff { until } => Explanation::BackingOff {
                until: until.max(now),
            },
            State::Ready { .. } => {
                let pool = &self.pools[&entry.pool];
                let ahead = pool.ready.ahead_of(&self.graph, slot, pool.turn(now));
                Explanation::Queued {
                    ahead,
                    because: self.queued_because(pool, slot),
                }
            }
            State::Assigned(assigned) => {
                let worker = assigned.worker;
                match assigned.phase {
                    Phase::HandedOver => Explanation::Assigned { worker, attempt },
                    Phase::Running => Explanation::Running {
                        worker,
                        attempt,
                        blocked: false,
                    },
                    Phase::Blocked | Phase::Lending => Explanation::Running {
                        worker,
                        attempt,
                        blocked: true,
                    },
                }
            }
        }
    }

    fn queued_because(&self, pool: &Pool, slot: Slot) -> QueuedBecause {
        let withholding = pool.choice(self.memory_short) != Choice::All;
        if withholding && self.graph.is_root(slot) {
            QueuedBecause::Withheld
        } else if pool.free_taker().is_some() {
            QueuedBecause::CoresBusy
        } else if pool.starting > 0 {
            QueuedBecause::WorkerStarting
        } else if pool.workers.is_empty() {
            QueuedBecause::NoWorker
        } else {
            QueuedBecause::WorkersBusy
        }
    }

    fn first_dependencies(&self, slot: Slot) -> Vec<TaskId> {
        let mut ids: Vec<_> = self
            .graph
            .dependencies(slot)
            .map(|dependency| self.graph[dependency].id)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids.truncate(EXPLAINED_DEPENDENCIES_MAX);
        ids
    }
}
