//! What is reported of running attempts, and what follows when one goes wrong.

use std::num::NonZeroU64;
use std::time::Duration;

use super::timers::Timer;
use super::{Scheduler, Step};
use crate::action::{Action, Rejection};
use crate::events::{EventKind, Measured};
use crate::graph::{Assigned, Fate, Phase, Slot, State, Verdict};
use crate::ids::{Attempt, TaskId, WorkerId};
use crate::input::{Failure, ItemsRaised};
use crate::time::Time;

impl Scheduler {
    pub(super) fn on_started(&mut self, task: TaskId, attempt: Attempt, step: &mut Step) {
        let Some((slot, mut assigned)) = self.current(task, attempt) else {
            return;
        };
        self.heard_from(assigned.worker, step.now);
        let unlimited = assigned.deadline == Time::NEVER && assigned.fate != Fate::TimedOut;
        let timeout = self.graph[slot].timeout().filter(|_| unlimited);
        // That it runs may be known, if its worker did not give it back; since when is news all the same.
        let first_report = assigned.phase == Phase::HandedOver || timeout.is_some();
        if assigned.phase == Phase::HandedOver {
            assigned.phase = Phase::Running;
        }
        if let Some(timeout) = timeout {
            assigned.deadline = step.now + timeout;
        }
        self.set_assigned(slot, assigned);
        if first_report {
            let group = self.graph[slot].group;
            self.note_of(group, step, EventKind::Started { task, attempt });
        }
    }

    pub(super) fn on_finished(
        &mut self,
        task: TaskId,
        attempt: Attempt,
        measured: Measured,
        bytes: u64,
        items_raised: Option<ItemsRaised>,
        step: &mut Step,
    ) {
        let Some((slot, assigned)) = self.current(task, attempt) else {
            return;
        };
        self.ended_by(assigned.worker, step.now);
        let waited = self.waits.until(task, step.now);
        let id = self.graph[slot].group;
        let group = self.groups.get_mut(id);
        let Measured { ran_ns, phases } = measured;
        if items_raised == Some(ItemsRaised::ForGood) {
            group.note_failed(Some(measured), waited);
            group.summary.rejected += 1;
            let ran_ns = NonZeroU64::new(ran_ns);
            self.note_of(
                id,
                step,
                EventKind::Failed {
                    task,
                    attempt,
                    ran_ns,
                    phases,
                },
            );
            let why = Rejection::Failed;
            self.note_of(id, step, EventKind::Rejected { task, why });
        } else {
            group.note_finished(measured, waited, bytes);
            if items_raised == Some(ItemsRaised::RunAgain) {
                group.note_failed(None, Duration::ZERO);
                group.summary.retried += 1;
            }
            self.note_of(
                id,
                step,
                EventKind::Finished {
                    task,
                    attempt,
                    ran_ns,
                    phases,
                    bytes,
                },
            );
        }
        self.resolve(slot, step);
    }

    pub(super) fn on_failed(
        &mut self,
        task: TaskId,
        attempt: Attempt,
        how: Failure,
        measured: Option<Measured>,
        step: &mut Step,
    ) {
        let Some((slot, assigned)) = self.current(task, attempt) else {
            return;
        };
        self.ended_by(assigned.worker, step.now);
        let entry = &mut self.graph[slot];
        let (verdict, why) = match (assigned.fate, how) {
            (Fate::Cancelling { .. } | Fate::Killing, _) | (_, Failure::Cancelled) => {
                (Verdict::Final, Rejection::Cancelled)
            }
            // Running out of time is never an exception that can only repeat itself.
            (Fate::TimedOut, _) | (_, Failure::TimedOut) => {
                (entry.charge_failure(), Rejection::TimedOut)
            }
            (Fate::Wanted, Failure::Raised) => (entry.charge_failure(), Rejection::Failed),
            (Fate::Wanted, Failure::RaisedForGood) => (Verdict::Final, Rejection::Failed),
        };
        self.fail(slot, verdict, why, measured, step);
    }

    /// The task's worker died while it ran.
    pub(super) fn on_death(&mut self, slot: Slot, assigned: &Assigned, step: &mut Step) {
        let entry = &mut self.graph[slot];
        let (verdict, why) = match assigned.fate {
            Fate::Cancelling { .. } | Fate::Killing => (Verdict::Final, Rejection::Cancelled),
            Fate::TimedOut => (entry.charge_failure(), Rejection::TimedOut),
            Fate::Wanted => match entry.charge_death() {
                Verdict::Final if entry.items_run_again => {
                    (Verdict::Final, Rejection::ItemsRunAgain)
                }
                verdict => (verdict, Rejection::WorkerDied),
            },
        };
        self.fail(slot, verdict, why, None, step);
    }

    pub(super) fn on_blocked(
        &mut self,
        task: TaskId,
        attempt: Attempt,
        keeps_place: bool,
        step: &mut Step,
    ) {
        let Some((slot, mut assigned)) = self.current(task, attempt) else {
            return;
        };
        self.heard_from(assigned.worker, step.now);
        let was_waiting = assigned.is_waiting();
        let phase = if keeps_place {
            Phase::Lending
        } else {
            Phase::Blocked
        };
        if assigned.phase == phase {
            return;
        }
        assigned.phase = phase;
        self.set_assigned(slot, assigned);
        if !was_waiting {
            self.waits.begin(task, step.now);
            let group = self.graph[slot].group;
            self.note_of(group, step, EventKind::Blocked { task, attempt });
        }
        // What waits behind a blocked task may be what it waits for.
        let worker = &self.workers[&assigned.worker];
        if worker.is_stuck() && worker.unstarted() > 0 {
            self.retract(assigned.worker, step);
        }
    }

    pub(super) fn on_unblocked(&mut self, task: TaskId, attempt: Attempt, step: &mut Step) {
        let Some((slot, mut assigned)) = self.current(task, attempt) else {
            return;
        };
        self.heard_from(assigned.worker, step.now);
        if !assigned.is_waiting() {
            return;
        }
        assigned.phase = Phase::Running;
        self.set_assigned(slot, assigned);
        self.waits.end(task, step.now);
        let group = self.graph[slot].group;
        self.note_of(group, step, EventKind::Unblocked { task, attempt });
    }

    pub(super) fn on_tick(&mut self, step: &mut Step) {
        while let Some(timer) = self.timers.pop_due(step.now) {
            match timer {
                Timer::Retry(slot) => self.make_ready(slot, step),
                Timer::Timeout(slot) => self.time_out(slot, step),
                Timer::Spawn(pool) => {
                    if let Some(entry) = self.pools.get_mut(&pool) {
                        entry.spawn_timer = Time::NEVER;
                    }
                    self.mark_pool(pool);
                }
                Timer::Rebalance(pool) => {
                    if let Some(entry) = self.pools.get_mut(&pool) {
                        entry.rebalance_timer = Time::NEVER;
                    }
                    self.mark_pool(pool);
                }
                Timer::Surplus(pool) => {
                    if let Some(entry) = self.pools.get_mut(&pool) {
                        entry.surplus_timer = Time::NEVER;
                    }
                    self.retire_surplus(pool, step);
                    self.mark_pool(pool);
                }
            }
        }
    }

    /// Orders a worker to give back what it has not started, unless that was ordered already.
    pub(super) fn retract(&mut self, worker: WorkerId, step: &mut Step) {
        let mut ordered = false;
        self.update_worker(worker, |worker| {
            ordered = !std::mem::replace(&mut worker.retracting, true);
            if ordered {
                worker.retracting_since = step.now;
            }
        });
        if ordered {
            step.actions.push(Action::Retract { worker });
        }
    }

    pub(super) fn heard_from(&mut self, worker: WorkerId, now: Time) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.quiet_since = now;
        }
    }

    /// The worker has ended a task, well or badly, and so can run tasks.
    fn ended_by(&mut self, worker: WorkerId, now: Time) {
        let Some(entry) = self.workers.get_mut(&worker) else {
            return;
        };
        entry.quiet_since = now;
        if entry.proven {
            return;
        }
        let pool = entry.pool;
        self.update_worker(worker, |worker| worker.proven = true);
        if let Some(pool) = self.pools.get_mut(&pool) {
            pool.spawn_failures = 0;
            pool.spawns_refused = 0;
        }
    }

    fn time_out(&mut self, slot: Slot, step: &mut Step) {
        let State::Assigned(mut assigned) = self.graph[slot].state else {
            unreachable!("a time limit is cleared when the attempt ends");
        };
        assigned.deadline = Time::NEVER;
        let told_already = assigned.fate == Fate::Killing;
        if !told_already {
            assigned.fate = Fate::TimedOut;
        }
        self.set_assigned(slot, assigned);
        if !told_already {
            let (task, attempt) = (self.graph[slot].id, self.graph[slot].attempt);
            step.actions.push(Action::TimeOut {
                worker: assigned.worker,
                task,
                attempt,
            });
        }
    }

    /// Ends a failed attempt: the task waits for its next one, or is rejected.
    fn fail(
        &mut self,
        slot: Slot,
        verdict: Verdict,
        why: Rejection,
        measured: Option<Measured>,
        step: &mut Step,
    ) {
        let task = &self.graph[slot];
        let (id, attempt, of) = (task.id, task.attempt, task.group);
        let waited = self.waits.until(id, step.now);
        let group = self.groups.get_mut(of);
        if why == Rejection::Cancelled {
            group.note_given_up(measured, waited);
        } else {
            group.note_failed(measured, waited);
        }
        if matches!(verdict, Verdict::RetryAfter(_)) || why == Rejection::ItemsRunAgain {
            group.summary.retried += 1;
        }
        self.note_of(
            of,
            step,
            EventKind::Failed {
                task: id,
                attempt,
                ran_ns: measured.and_then(|measured| NonZeroU64::new(measured.ran_ns)),
                phases: measured.unwrap_or_default().phases,
            },
        );
        let Verdict::RetryAfter(wait) = verdict else {
            self.reject(slot, why, step);
            return;
        };
        let until = step.now + wait;
        self.note_of(
            of,
            step,
            EventKind::Retried {
                task: id,
                not_before: until,
            },
        );
        self.take_back(slot);
        if until <= step.now {
            self.make_ready(slot, step);
        } else {
            self.set_state(slot, State::Backoff { until });
            self.timers.set(until, Timer::Retry(slot));
        }
    }

    /// Takes an assigned task from its worker; the caller gives it its next state.
    pub(super) fn take_back(&mut self, slot: Slot) {
        let State::Assigned(assigned) = self.graph[slot].state else {
            unreachable!("only an assigned task is with a worker");
        };
        self.unassign(slot, &assigned);
    }
}
