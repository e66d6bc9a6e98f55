//! What an engine does and did, as far as it fits: events go in, everything the pages show comes out.
//!
//! Two sources, and each is believed for what it is good at. Events say what happened to single
//! tasks; a reader that is late misses some, and learns how many. The engine's totals are exact at
//! any moment. So numbers of tasks come from the totals, and times, bars and quartiles from events;
//! what was missed, and what was dropped because it did not fit, is counted and shown.

use std::time::Duration;

use lineshaft_core::{Event, EventKind, GroupId, Measured, PoolCounts, TaskId, Time, WorkerId};
use lineshaft_engine::{GroupName, Stack, Totals};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::graph::{Edge, Graph};
use crate::groups::Groups;
use crate::history::{History, Sample};
use crate::lanes::{End, Lanes, Worker};
use crate::most_memory;
use crate::profile::Profile;
use crate::tasks::{TaskState, Tasks};
use crate::usage::Usage;
use crate::waits::{Waited, Waits};

/// The picture. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Picture {
    /// What is shown as the beginning.
    pub(crate) origin: Time,
    pub(crate) tasks: Tasks,
    /// Tasks that workers have and that found no place in the table: who has them, and their function.
    unlisted: FxHashMap<TaskId, (WorkerId, GroupId)>,
    pub(crate) groups: Groups,
    pub(crate) graph: Graph,
    pub(crate) lanes: Lanes,
    pub(crate) history: History,
    pub(crate) profile: Profile,
    /// The engine when it was last looked at.
    pub(crate) latest: Sample,
    /// As of then.
    pub(crate) totals: Totals,
    /// As of then.
    pub(crate) usage: Usage,
    /// Tasks that wait for calls of their own, or did so in this attempt.
    pub(crate) waits: FxHashMap<TaskId, Waits>,
    /// When attempts waited that have ended.
    pub(crate) waited: Waited,
    /// The most memory of this process and its workers, what they share counted once, in bytes.
    pub(crate) whole_bytes_most: u64,
    /// Events that were missed.
    pub(crate) missed: u64,
}

impl Picture {
    pub(crate) fn new(origin: Time) -> Picture {
        Picture {
            origin,
            tasks: Tasks::default(),
            unlisted: FxHashMap::default(),
            groups: Groups::default(),
            graph: Graph::default(),
            lanes: Lanes::default(),
            history: History::default(),
            profile: Profile::default(),
            latest: Sample {
                at: origin,
                ..Sample::default()
            },
            totals: Totals::default(),
            usage: Usage::default(),
            waits: FxHashMap::default(),
            waited: Waited::default(),
            whole_bytes_most: 0,
            missed: 0,
        }
    }

    pub(crate) fn apply(&mut self, event: &Event) {
        let at = event.at;
        match event.kind {
            EventKind::PoolAdded { .. }
            | EventKind::PoolRemoved { .. }
            | EventKind::Retracted { .. } => {}
            EventKind::WorkerUp {
                worker,
                pool,
                slots,
            } => self.lanes.worker_up(worker, pool, slots, at),
            EventKind::WorkerDown { worker } => self.lanes.worker_down(worker, at),
            EventKind::Submitted { task, group, .. } => {
                self.groups.see(group);
                if let Some(task) = self.tasks.enter(task, group, TaskState::Waiting) {
                    task.submitted = at;
                }
            }
            EventKind::Supplied { task, by } => {
                self.graph.add(Edge { by, task }, &mut self.tasks);
            }
            EventKind::Ready { task } => self.on_ready(task, at),
            EventKind::Assigned {
                task,
                attempt,
                worker,
                group,
            } => {
                self.groups.see(group);
                self.lanes.hand_over(worker, task, group, at);
                let Some(task) = self.tasks.enter(task, group, TaskState::Assigned) else {
                    self.unlisted.insert(task, (worker, group));
                    return;
                };
                // Since when it is ready for this attempt was missed.
                if task.state != TaskState::Ready {
                    task.ready = Time::NEVER;
                }
                task.state = TaskState::Assigned;
                task.worker = Some(worker);
                task.attempt = attempt.0;
                task.assigned = at;
                task.ran = None;
            }
            EventKind::Started { task, .. } => {
                let listed = self.tasks.get(task).and_then(|task| task.worker);
                let unlisted = || self.unlisted.get(&task).map(|(worker, _)| *worker);
                if let Some(worker) = listed.or_else(unlisted) {
                    self.lanes.start(worker, task, at);
                }
            }
            EventKind::Blocked { task, .. } => {
                self.set(task, TaskState::Blocked);
                self.waits.entry(task).or_default().begin(at);
            }
            EventKind::Unblocked { task, .. } => {
                self.set(task, TaskState::Assigned);
                if let Some(waits) = self.waits.get_mut(&task) {
                    waits.end(at);
                }
            }
            EventKind::Finished {
                task,
                ran_ns,
                phases,
                bytes,
                ..
            } => {
                let measured = Measured { ran_ns, phases };
                self.end_attempt(task, at, Some(measured), End::Finished);
                self.note_bytes(task, bytes);
                self.end(task, TaskState::Finished, at);
            }
            EventKind::Failed {
                task,
                ran_ns,
                phases,
                ..
            } => {
                let measured = ran_ns.map(|ran_ns| Measured {
                    ran_ns: ran_ns.get(),
                    phases,
                });
                let end = if measured.is_some() {
                    End::Failed
                } else {
                    End::Lost
                };
                self.end_attempt(task, at, measured, end);
            }
            EventKind::Retried { task, .. } => self.set(task, TaskState::Backoff),
            EventKind::Rejected { task, why } => {
                self.end(task, TaskState::of_rejection(why), at);
            }
        }
    }

    /// So many events are missing before the next one.
    pub(crate) fn miss(&mut self, count: u64) {
        self.missed += count;
    }

    /// After events were missed: forgets what is no longer so. The engine says which of some tasks
    /// have not ended.
    pub(crate) fn catch_up(&mut self, are_unfinished: impl Fn(&[TaskId]) -> Vec<bool>) {
        let mut asked = self.tasks.unfinished();
        asked.extend(self.unlisted.keys());
        let answers = are_unfinished(&asked);
        let mut unfinished = FxHashSet::default();
        for (id, is_unfinished) in asked.into_iter().zip(answers) {
            if is_unfinished {
                unfinished.insert(id);
            } else {
                self.set(id, TaskState::Unknown);
            }
        }
        self.lanes.keep_in_flight(|task| unfinished.contains(&task));
        self.waits.retain(|task, _| unfinished.contains(task));
        self.unlisted.retain(|task, _| unfinished.contains(task));
    }

    /// Takes over the engine's totals, and what its processes use.
    pub(crate) fn look(&mut self, at: Time, totals: Totals, usage: Usage) {
        self.lanes.learn(&totals.workers, at);
        let ended = self.lanes.learn_started(&totals.started);
        let there = |id| totals.workers.iter().any(|worker| worker.worker == id);
        self.profile.keep(there);
        let now = &totals.counts.total;
        let sum = |of: fn(&lineshaft_core::GroupSummary) -> u64| -> u64 {
            totals.groups.iter().map(|(_, summary)| of(summary)).sum()
        };
        let count = |number: usize| number as u64;
        let unfinished = count(now.unfinished());
        let running = self.running(now);
        let took = ended_took(&totals) + self.running_took(at);
        self.latest = Sample {
            at,
            finished: sum(|group| group.finished),
            failed: sum(|group| group.failed - group.retried),
            ended: sum(|group| group.submitted).saturating_sub(unfinished),
            waiting: count(now.waiting),
            ready: count(now.ready),
            backoff: count(now.backoff),
            blocked: count(now.blocked),
            ahead: count(now.in_flight() - now.blocked - running),
            running: count(running),
            memory_bytes: totals.store.used_bytes,
            spilled_bytes: totals.store.spilled_bytes,
            whole_bytes: usage.own_bytes() + totals.store.used_bytes,
            cpu_ns: usage.cpu_ns,
            program_cpu_ns: usage.program_cpu_ns(),
            runnable: usage.runnable,
            computing: usage.computing,
            idle_ns: usage.idle_ns,
            on_threads: count(self.on_threads()),
            cores: totals.counts.cores_used,
            took,
        };
        let most = most_memory::since_last_look(&self.lanes, &self.usage, &usage, &ended)
            + most_memory::of_objects(&totals, &self.totals);
        self.whole_bytes_most = self.whole_bytes_most.max(most);
        let peaks = usage.processes.iter();
        self.lanes
            .learn_peaks(peaks.map(|process| (process.pid, process.memory.peak_bytes)));
        // Also those whose events were all missed.
        for (group, _) in &totals.groups {
            self.groups.see(*group);
        }
        self.totals = totals;
        self.usage = usage;
    }

    /// How many of the tasks that workers have are running. Their number is exact; that of each worker
    /// is known from events.
    fn running(&self, now: &PoolCounts) -> usize {
        let lanes = self.lanes.workers().iter();
        let seen: usize = lanes.map(|worker| worker.running().count()).sum();
        let unblocked = now.in_flight() - now.blocked;
        seen.saturating_sub(now.blocked)
            .clamp(now.running.min(unblocked), unblocked)
    }

    /// How long those that run have run so far, without their waits.
    fn running_took(&self, at: Time) -> Duration {
        let running = self.lanes.workers().iter().flat_map(Worker::running);
        let took = running.map(|bar| {
            let waits = self.waits.get(&bar.task);
            let waited = waits.map_or(Duration::ZERO, |waits| waits.until(at));
            (at - bar.start).saturating_sub(waited)
        });
        took.sum()
    }

    /// How many tasks run on threads of this program.
    fn on_threads(&self) -> usize {
        let workers = self.lanes.workers().iter();
        let threads = workers.filter(|worker| !worker.is_process());
        threads.map(|worker| worker.running().count()).sum()
    }

    /// Takes in stacks of tasks that run.
    pub(crate) fn add_stacks(&mut self, at: Time, stacks: Vec<Stack>) {
        for stack in stacks {
            if let Some(task) = self.tasks.get(stack.task) {
                let group = task.group;
                self.profile.add(at, group, stack);
            }
        }
    }

    /// Gives names to groups, if there are new ones.
    pub(crate) fn name_groups(&mut self, name: impl Fn(GroupId) -> GroupName) {
        self.groups.name_all(name);
    }

    /// How long a task that runs has waited for calls of its own.
    pub(crate) fn waited(&self, task: TaskId) -> Duration {
        let waits = self.waits.get(&task);
        waits.map_or(Duration::ZERO, |waits| waits.until(self.now()))
    }

    fn on_ready(&mut self, id: TaskId, at: Time) {
        self.waits.remove(&id);
        let Some(task) = self.tasks.get_mut(id) else {
            self.take_back_unlisted(id, at);
            return;
        };
        let was_with = match task.state {
            TaskState::Assigned | TaskState::Blocked => task.worker,
            _ => None,
        };
        task.state = TaskState::Ready;
        // One that was taken back has been queued for the same attempt all the time.
        if was_with.is_none() || task.ready == Time::NEVER {
            task.ready = at;
        }
        task.assigned = Time::NEVER;
        if let Some(worker) = was_with {
            self.lanes.take_back(worker, id, at);
        }
    }

    fn end_attempt(&mut self, id: TaskId, at: Time, measured: Option<Measured>, end: End) {
        let waits = self.waits.remove(&id);
        let waited = waits.map_or(Duration::ZERO, |waits| {
            self.waited.note(id, waits.all_until(at));
            waits.until(at)
        });
        let Some(task) = self.tasks.get_mut(id) else {
            self.end_unlisted(id, at, measured, waited, end);
            return;
        };
        let group = task.group;
        // Now it is certain that it was not taken back.
        if task.ready != Time::NEVER && task.assigned != Time::NEVER {
            self.groups.note_queued(group, task.assigned - task.ready);
        }
        task.phases = measured.unwrap_or_default().phases;
        let call = measured.map(|measured| task.phases.call(measured.ran()));
        task.ran = call.map(|call| call.saturating_sub(waited));
        match task.worker {
            Some(worker) => self.lanes.end(worker, id, at, measured, waited, end),
            None => self.lanes.unplaced += 1,
        }
        if let Some(measured) = measured {
            if end == End::Finished {
                task.chain += task.ran.unwrap_or_default();
                self.graph.end_chain(task);
            }
            let worker = task.worker;
            let is_first = worker.is_some_and(|worker| self.lanes.is_first(worker, group, at));
            self.groups.note_run(group, measured, waited, is_first);
        }
    }

    /// The same of a task that is not in the table.
    fn end_unlisted(
        &mut self,
        id: TaskId,
        at: Time,
        measured: Option<Measured>,
        waited: Duration,
        end: End,
    ) {
        let Some((worker, group)) = self.unlisted.remove(&id) else {
            self.lanes.unplaced += 1;
            return;
        };
        self.lanes.end(worker, id, at, measured, waited, end);
        if let Some(measured) = measured {
            let is_first = self.lanes.is_first(worker, group, at);
            self.groups.note_run(group, measured, waited, is_first);
        }
    }

    fn take_back_unlisted(&mut self, id: TaskId, at: Time) {
        if let Some((worker, _)) = self.unlisted.remove(&id) {
            self.lanes.take_back(worker, id, at);
        }
    }

    /// What the result of a task takes, unless it stays in this process.
    fn note_bytes(&mut self, id: TaskId, bytes: u64) {
        if let Some(task) = self.tasks.get_mut(id).filter(|_| bytes > 0) {
            task.bytes = bytes;
            self.groups.note_bytes(task.group, bytes);
        }
    }

    fn set(&mut self, id: TaskId, state: TaskState) {
        if let Some(task) = self.tasks.get_mut(id) {
            task.state = state;
        }
    }

    fn end(&mut self, id: TaskId, state: TaskState, at: Time) {
        self.waits.remove(&id);
        let Some(task) = self.tasks.get_mut(id) else {
            self.take_back_unlisted(id, at);
            return;
        };
        // It was rejected, perhaps without a report from its worker. One that has finished is on a lane already:
        // it would be looked for among all that its worker has.
        let is_with = task.state == TaskState::Assigned && state != TaskState::Finished;
        let with = if is_with { task.worker } else { None };
        task.state = state;
        task.ended = at;
        if let Some(worker) = with {
            self.lanes.take_back(worker, id, at);
        }
    }
}

/// How long attempts took that have ended and were measured, without their waits.
fn ended_took(totals: &Totals) -> Duration {
    let groups = totals.groups.iter();
    groups
        .map(|(_, group)| group.ran_total + group.load_total + group.store_total)
        .sum()
}

#[cfg(test)]
mod tests;
