//! Why a task is not running, in words: what the scheduler knows, with names and processes.

use lineshaft_core::{Explanation, QueuedBecause, TaskId, WorkerId};

use crate::clock;
use crate::shared::Shared;
use crate::state::State;

impl State {
    /// One sentence about a task. May take time linear in the queue: for people, not for programs.
    pub(crate) fn explain(&self, shared: &Shared, task: TaskId) -> String {
        let now = clock::now();
        match self.scheduler.explain(now, task) {
            // It ended meanwhile.
            Explanation::Unknown => "it has ended".into(),
            Explanation::Waiting {
                missing,
                dependencies,
            } => {
                let names: Vec<String> = dependencies
                    .into_iter()
                    .map(|task| self.name(shared, task))
                    .collect();
                let more = if names.len() < missing as usize {
                    ", ..."
                } else {
                    ""
                };
                let plural = if missing == 1 { "" } else { "s" };
                let names = names.join(", ");
                format!("it waits for {missing} other task{plural}: {names}{more}")
            }
            Explanation::BackingOff { until } => {
                let seconds = (until - now).as_secs_f64();
                format!("it failed and runs again in {seconds:.1} s")
            }
            Explanation::Queued { ahead, because } => {
                let first = match ahead {
                    0 => "it is the next of its pool".into(),
                    1 => "one task of its pool comes first".into(),
                    _ => format!("{ahead} tasks of its pool come first"),
                };
                format!("{first}; {}", reason(because))
            }
            Explanation::Assigned { worker, .. } if !self.is_running(task) => {
                let place = self.place(worker);
                format!("it was handed to {place} and runs there after what runs now")
            }
            Explanation::Assigned { worker, .. } => format!("it runs on {}", self.place(worker)),
            Explanation::Running {
                worker, blocked, ..
            } => {
                let waits = if blocked {
                    " and waits for tasks of its own; its core is given to others meanwhile"
                } else {
                    ""
                };
                format!("it runs on {}{waits}", self.place(worker))
            }
        }
    }

    fn name(&self, shared: &Shared, task: TaskId) -> String {
        match self.tasks.get(task) {
            Some(entry) => format!(
                "{} (task {})",
                shared.groups.name(entry.group).shown,
                task.0
            ),
            None => format!("task {}", task.0),
        }
    }

    fn place(&self, worker: WorkerId) -> String {
        match self.processes.pid(worker) {
            Some(pid) => format!("worker {} (process {pid})", worker.0),
            None => "a thread of this process".into(),
        }
    }
}

fn reason(because: QueuedBecause) -> &'static str {
    match because {
        QueuedBecause::NoWorker => "there is no worker: the last ones could not be started",
        QueuedBecause::WorkerStarting => "its worker is starting",
        QueuedBecause::WorkersBusy => "all workers of the pool are busy",
        QueuedBecause::CoresBusy => "a worker is free, but other pools take all cores",
        QueuedBecause::Withheld => {
            "memory is short: it is held back until other tasks have given some back"
        }
    }
}
