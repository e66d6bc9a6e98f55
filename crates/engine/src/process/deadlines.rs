//! The stages by which a worker is brought to an end.

use std::collections::BTreeMap;

use lineshaft_core::{Attempt, TaskId, Time, WorkerId};

use crate::state::State;

/// What comes next for a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Bring the worker to an end, unless the attempt has ended because of the exception.
    EndUnder(TaskId, Attempt),
    /// Kill the worker.
    Kill,
    /// Try again to send it what is waiting.
    Flush,
}

/// Pending stages, by time.
#[derive(Default)]
pub(super) struct Deadlines {
    pending: BTreeMap<(Time, u64), (WorkerId, Stage)>,
    added: u64,
}

impl Deadlines {
    pub(super) fn add(&mut self, at: Time, worker: WorkerId, stage: Stage) {
        self.added += 1;
        self.pending.insert((at, self.added), (worker, stage));
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.pending.first_key_value().map(|((at, _), _)| *at)
    }

    fn due(&mut self, now: Time) -> Option<(WorkerId, Stage)> {
        let entry = self.pending.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}

impl State {
    /// Carries out the stages that are due.
    pub(crate) fn on_process_deadlines(&mut self, now: Time) {
        while let Some((id, stage)) = self.processes.deadlines.due(now) {
            let Some(worker) = self.processes.workers.get_mut(&id) else {
                continue;
            };
            match stage {
                Stage::EndUnder(task, attempt) if worker.is_running(task, attempt) => {
                    // Only then look again: what it might have begun meanwhile would die instead.
                    let taken_back = worker.retract();
                    if worker.is_running(task, attempt) {
                        self.processes.kill(id, now);
                    }
                    for sent in taken_back {
                        self.send(id, sent.task, sent.attempt);
                    }
                }
                Stage::EndUnder(..) => {}
                Stage::Kill => worker.kill(),
                Stage::Flush => self.processes.dirty.push(id),
            }
        }
    }
}
