//! The moves of a task between states. Everything that happens to a task goes through here, so that
//! queues, sums, timers and edges change together.

use super::timers::Timer;
use super::worker::Worker;
use super::{Scheduler, Step};
use crate::action::{Action, Rejection};
use crate::events::EventKind;
use crate::graph::{Assigned, Fate, Phase, Slot, State, Task};
use crate::ids::{Attempt, TaskId, WorkerId};
use crate::ready::{LaneKind, Turn};
use crate::time::Time;

impl Scheduler {
    /// Replaces the state and keeps the pool's tally. The pool is looked at again, because what may
    /// run depends on the tally, too.
    pub(super) fn set_state(&mut self, slot: Slot, state: State) -> State {
        let task = &mut self.graph[slot];
        let old = std::mem::replace(&mut task.state, state);
        let (id, group) = (task.pool, task.group);
        let pool = self.pools.get_mut(&id).expect("a pool outlives its tasks");
        pool.uncount(group, &old);
        pool.count(group, &state);
        self.mark_pool(id);
        old
    }

    /// Queues the task: it has all it needs and is with nobody.
    pub(super) fn make_ready(&mut self, slot: Slot, step: &Step) {
        let task = &self.graph[slot];
        let (id, pool, group) = (task.id, task.pool, task.group);
        let queue = &mut self
            .pools
            .get_mut(&pool)
            .expect("a pool outlives its tasks")
            .ready;
        let lane = queue.push(&self.graph, slot);
        self.set_state(slot, State::Ready { lane });
        self.note_of(group, step, EventKind::Ready { task: id });
    }

    /// Hands the best ready task of the worker's pool, which is this one, to the worker.
    pub(super) fn assign(&mut self, slot: Slot, lane: LaneKind, to: WorkerId, step: &mut Step) {
        let task = &mut self.graph[slot];
        task.attempt = Attempt(task.attempt.0 + 1);
        let (id, pool, group, attempt) = (task.id, task.pool, task.group, task.attempt);
        let pool = self
            .pools
            .get_mut(&pool)
            .expect("a pool outlives its tasks");
        if pool.turn(step.now) != Turn::Deepest {
            pool.in_turn_at = step.now;
        }
        pool.ready.take(&self.graph, slot, lane);
        self.set_state(
            slot,
            State::Assigned(Assigned {
                deadline: Time::NEVER,
                worker: to,
                phase: Phase::HandedOver,
                fate: Fate::Wanted,
            }),
        );
        self.update_worker(to, |worker| {
            if worker.in_flight.is_empty() {
                worker.quiet_since = step.now;
            }
            worker.in_flight.push_back(slot);
        });
        step.actions.push(Action::Run {
            worker: to,
            task: id,
            attempt,
        });
        self.note_of(
            group,
            step,
            EventKind::Assigned {
                task: id,
                attempt,
                worker: to,
                group,
            },
        );
    }

    /// The assigned task that a message is about, unless the message is out of date.
    pub(super) fn current(&self, task: TaskId, attempt: Attempt) -> Option<(Slot, Assigned)> {
        let slot = self.graph.find(task)?;
        match self.graph[slot].state {
            State::Assigned(assigned) if self.graph[slot].attempt == attempt => {
                Some((slot, assigned))
            }
            _ => None,
        }
    }

    /// Changes what is known of an assigned task and, with it, of its worker.
    pub(super) fn set_assigned(&mut self, slot: Slot, new: Assigned) {
        let State::Assigned(old) = self.set_state(slot, State::Assigned(new)) else {
            unreachable!("only an assigned task changes its assignment");
        };
        if old.deadline != new.deadline {
            self.timers.clear(old.deadline, Timer::Timeout(slot));
            self.timers.set(new.deadline, Timer::Timeout(slot));
        }
        if old.phase != new.phase {
            self.update_worker(new.worker, |worker| {
                worker.forget_phase(&old);
                worker.count_phase(&new);
            });
        }
    }

    /// Takes an assigned task from its worker. The caller gives it its next state at once.
    pub(super) fn unassign(&mut self, slot: Slot, assigned: &Assigned) {
        self.timers.clear(assigned.deadline, Timer::Timeout(slot));
        self.waits.forget(self.graph[slot].id);
        self.update_worker(assigned.worker, |worker| {
            let position = worker.in_flight.iter().position(|other| *other == slot);
            let position = position.expect("a worker lists what is assigned to it");
            worker.in_flight.remove(position);
            worker.forget_phase(assigned);
        });
    }

    /// Changes a worker and then the sums that depend on it. Does nothing if it is gone.
    pub(super) fn update_worker(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker)) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        change(worker);
        let pool = self
            .pools
            .get_mut(&worker.pool)
            .expect("a pool outlives its workers");
        let new = worker.compute_standing(pool.spec.cores_per_task);
        let old = std::mem::replace(&mut worker.standing, new);
        if old == new {
            return;
        }
        if old.key != new.key {
            if let Some(key) = &old.key {
                pool.takers.remove(key);
            }
            pool.takers.extend(new.key);
        }
        pool.sums.replace(&old, &new);
        self.cores_used = self.cores_used - old.cores + new.cores;
        let pool = worker.pool;
        self.mark_pool(pool);
    }

    /// The task has its result: dependents may become ready.
    pub(super) fn resolve(&mut self, slot: Slot, step: &mut Step) {
        let mut dependents = std::mem::take(&mut self.scratch);
        self.graph.take_dependents(slot, &mut dependents);
        let id = self.forget(slot);
        step.actions.push(Action::Resolve { task: id });
        for dependent in dependents.drain(..) {
            let task = &mut self.graph[dependent];
            let State::Waiting { missing } = &mut task.state else {
                unreachable!("a task with an unfinished dependency waits");
            };
            *missing -= 1;
            let is_free = *missing == 0;
            let (supplied, group) = (task.id, task.group);
            self.note_of(
                group,
                step,
                EventKind::Supplied {
                    task: supplied,
                    by: id,
                },
            );
            if is_free {
                self.graph.drop_dependencies(dependent);
                self.make_ready(dependent, step);
            }
        }
        self.scratch = dependents;
    }

    /// The task will have no result, and so nothing that needs it will. Dependents are rejected
    /// depth first, in the order in which they were submitted.
    pub(super) fn reject(&mut self, slot: Slot, why: Rejection, step: &mut Step) {
        let failed = match why {
            Rejection::Dependency { failed } => failed,
            _ => self.graph[slot].id,
        };
        let mut stack = std::mem::take(&mut self.scratch);
        self.reject_one(slot, why, &mut stack, step);
        while let Some(dependent) = stack.pop() {
            // One that needs two rejected tasks is listed twice.
            if self.graph.get(dependent).is_some_and(Task::is_waiting) {
                self.reject_one(
                    dependent,
                    Rejection::Dependency { failed },
                    &mut stack,
                    step,
                );
            }
        }
        self.scratch = stack;
    }

    /// Ends one task and appends what needs it, last first.
    pub(super) fn reject_one(
        &mut self,
        slot: Slot,
        why: Rejection,
        dependents: &mut Vec<Slot>,
        step: &mut Step,
    ) {
        let start = dependents.len();
        self.graph.take_dependents(slot, dependents);
        dependents[start..].reverse();
        let group = self.graph[slot].group;
        let summary = &mut self.groups.get_mut(group).summary;
        match why {
            Rejection::ItemsRunAgain => summary.finished += 1,
            _ => summary.rejected += 1,
        }
        let id = self.forget(slot);
        step.actions.push(Action::Reject { task: id, why });
        self.note_of(group, step, EventKind::Rejected { task: id, why });
    }

    /// Removes a task whose dependents have been taken, from whatever state it is in.
    fn forget(&mut self, slot: Slot) -> TaskId {
        let task = &self.graph[slot];
        let pool = self
            .pools
            .get_mut(&task.pool)
            .expect("a pool outlives its tasks");
        let (pool_id, state) = (task.pool, task.state);
        pool.uncount(task.group, &state);
        match state {
            State::Waiting { .. } => self.graph.drop_dependencies(slot),
            State::Ready { lane } => pool.ready.forget(&self.graph, lane),
            State::Backoff { until } => self.timers.clear(until, Timer::Retry(slot)),
            State::Assigned(assigned) => self.unassign(slot, &assigned),
        }
        self.mark_pool(pool_id);
        self.graph.remove(slot).id
    }
}

impl Worker {
    fn count_phase(&mut self, assigned: &Assigned) {
        self.running += u32::from(assigned.is_running());
        self.blocked += u32::from(assigned.phase == Phase::Blocked);
        self.lending += u32::from(assigned.phase == Phase::Lending);
    }

    fn forget_phase(&mut self, assigned: &Assigned) {
        self.running -= u32::from(assigned.is_running());
        self.blocked -= u32::from(assigned.phase == Phase::Blocked);
        self.lending -= u32::from(assigned.phase == Phase::Lending);
    }
}
