//! How tasks end, as the scheduler has decided.

use lineshaft_core::{Attempt, Failure, Rejection, TaskId, Time, WorkerId};

use crate::aftermath::Discarded;
use crate::outcome::{DeathReport, Outcome, TaskError, failed_input};
use crate::shared::Shared;
use crate::state::State;
use crate::tasks::Task;

impl State {
    /// The task ran out of time.
    pub(crate) fn time_out(&mut self, worker: WorkerId, task: TaskId, attempt: Attempt, now: Time) {
        if self.threads.contains_key(&worker) {
            self.give_up_call(
                task,
                attempt,
                TaskError::TimedOut { stack: None },
                Failure::TimedOut,
            );
        } else {
            self.processes.interrupt(worker, task, attempt, now);
        }
    }

    /// Forgets a task that has ended.
    fn finish(&mut self, id: TaskId) -> Option<Task> {
        let task = self.tasks.remove(id)?;
        if let Some(pool) = self.pools.get_mut(&task.pool) {
            pool.unfinished -= 1;
            pool.daemons -= usize::from(task.daemon);
            pool.from_program -= usize::from(task.from_program);
            let left_program = task.from_program && pool.from_program == 0;
            let is_idle = pool.unfinished == 0;
            if is_idle || pool.awaited_at_exit() == 0 {
                self.aftermath.became_quiet = true;
            }
            if is_idle && pool.closing {
                self.remove_pool(task.pool);
            } else if left_program {
                self.follow_use(task.pool);
            }
        }
        Some(task)
    }

    /// Its result goes to who wants it.
    pub(crate) fn resolve(&mut self, id: TaskId) {
        let Some(task) = self.finish(id) else {
            return;
        };
        let outcome = task
            .ended
            .expect("the scheduler resolves a task only after it was told of its end");
        self.aftermath.keep(task.pledge, outcome);
        self.aftermath
            .discard(Discarded::Task(task.work, task.inputs));
    }

    /// There will be no result; who wants it is told why.
    pub(crate) fn reject(&mut self, shared: &Shared, id: TaskId, why: Rejection) {
        let Some(task) = self.finish(id) else {
            return;
        };
        let error = match (why, task.ended) {
            // It is the time limit that killed the worker.
            (
                Rejection::TimedOut,
                Some(Outcome::Error(TaskError::WorkerDied(DeathReport { stack, .. }))),
            ) => TaskError::TimedOut { stack },
            (
                Rejection::Failed
                | Rejection::TimedOut
                | Rejection::WorkerDied
                | Rejection::ItemsRunAgain,
                Some(Outcome::Error(error)),
            ) => error,
            (why, unused) => {
                let unused = unused.map(Discarded::Outcome);
                self.aftermath.discarded.extend(unused);
                match why {
                    Rejection::TimedOut => TaskError::TimedOut { stack: None },
                    Rejection::WorkerDied | Rejection::ItemsRunAgain => {
                        TaskError::WorkerDied(DeathReport {
                            task: shared.groups.name(task.group).shown,
                            ..Default::default()
                        })
                    }
                    Rejection::Failed => {
                        TaskError::Transfer("the task failed without saying why".into())
                    }
                    Rejection::Cancelled => TaskError::Cancelled,
                    Rejection::Dependency { .. } => {
                        failed_input(&task.inputs).unwrap_or(TaskError::Cancelled)
                    }
                    Rejection::PoolBroken => {
                        if let Some(pool) = self.pools.get_mut(&task.pool) {
                            pool.broken = true;
                        }
                        TaskError::PoolBroken(self.processes.why_broken(task.pool))
                    }
                    Rejection::NoWorker => {
                        TaskError::NoWorker(self.processes.why_no_worker(task.pool))
                    }
                }
            }
        };
        self.aftermath.keep(task.pledge, Outcome::Error(error));
        self.aftermath
            .discard(Discarded::Task(task.work, task.inputs));
    }
}
