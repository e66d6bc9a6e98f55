//! Cancellation.
//!
//! A task that is with nobody is rejected at once. One that was handed over may have started or not,
//! and only its worker knows: the worker is asked to give back what it has not started, and the
//! answer decides.

use super::{Scheduler, Step};
use crate::action::{Action, Rejection};
use crate::graph::{Assigned, Fate, Slot, State};
use crate::ids::{TaskId, WorkerId};
use crate::scheduler::worker::Leaving;

impl Scheduler {
    pub(super) fn on_cancel(&mut self, task: TaskId, kill: bool, step: &mut Step) {
        let Some(slot) = self.graph.find(task) else {
            return;
        };
        let State::Assigned(assigned) = self.graph[slot].state else {
            self.reject(slot, Rejection::Cancelled, step);
            return;
        };
        match assigned.fate {
            Fate::Killing => {}
            Fate::Cancelling { kill: before } => {
                let fate = Fate::Cancelling {
                    kill: kill || before,
                };
                self.set_assigned(slot, Assigned { fate, ..assigned });
            }
            Fate::Wanted | Fate::TimedOut if assigned.is_running() => {
                if kill {
                    self.kill(slot, assigned, step);
                }
            }
            Fate::Wanted | Fate::TimedOut => {
                let fate = Fate::Cancelling { kill };
                self.set_assigned(slot, Assigned { fate, ..assigned });
                self.retract(assigned.worker, step);
            }
        }
    }

    /// The worker has answered a retraction, and what it still has is running.
    pub(super) fn settle_cancellation(&mut self, slot: Slot, assigned: Assigned, step: &mut Step) {
        match assigned.fate {
            Fate::Cancelling { kill: true } => self.kill(slot, assigned, step),
            Fate::Cancelling { kill: false } => {
                self.set_assigned(
                    slot,
                    Assigned {
                        fate: Fate::Wanted,
                        ..assigned
                    },
                );
            }
            Fate::Wanted | Fate::Killing | Fate::TimedOut => {}
        }
    }

    /// Has the worker of a running task killed, once, however many of its tasks are cancelled.
    fn kill(&mut self, slot: Slot, assigned: Assigned, step: &mut Step) {
        let id: WorkerId = assigned.worker;
        self.set_assigned(
            slot,
            Assigned {
                fate: Fate::Killing,
                ..assigned
            },
        );
        let mut ordered = false;
        self.update_worker(id, |worker| {
            ordered = worker.leaving != Leaving::Killed;
            worker.leaving = Leaving::Killed;
        });
        if ordered {
            step.actions.push(Action::Kill {
                worker: id,
                task: self.graph[slot].id,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::scheduler::one_task::{TASK, inputs};
    use crate::{Attempt, Input, Retries, Scheduler, Time};

    /// Whether a task may go on that runs, once it is cancelled.
    fn may_go_on_after(kill: bool) -> bool {
        let mut scheduler = Scheduler::new();
        let mut handle = |input| {
            scheduler.handle(Time(0), input, &mut Vec::new());
            scheduler.may_go_on(TASK)
        };
        let known = inputs(Retries::default()).map(&mut handle);
        assert_eq!(
            known,
            [false, false, false, true],
            "it is handed over at once"
        );
        let (task, attempt) = (TASK, Attempt(1));
        assert!(handle(Input::Started { task, attempt }));
        handle(Input::Cancel { task, kill })
    }

    #[test]
    fn what_runs_goes_on_unless_it_is_killed() {
        assert!(may_go_on_after(false));
        assert!(!may_go_on_after(true));
    }
}
