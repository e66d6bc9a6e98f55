//! What those who look at workers ask: the Python stack of what runs, how workers died, and that one
//! should end.
//!
//! A stack is written by the worker's main thread when it gets a signal, between two instructions of Python: a
//! task that computes in C for long has one when it comes back, and one that sleeps in the kernel is woken for
//! it, once (`look`). So asking and reading are two calls: [`Processes::sample`] reads what was asked for by the last one and
//! asks again.

use std::collections::VecDeque;
use std::time::Duration;

use lineshaft_core::{PoolId, TaskId, Time, WorkerId};

use super::Processes;
use super::crash::StackFor;
use super::look::{Found, Look};
use super::places::{Pools, Started};
use super::worker::Worker;
use crate::limits::DEATHS_MAX;
use crate::outcome::DeathReport;
use crate::state::State;
use crate::worker::LOOK_SIGNAL;

/// The Python stack of a task that a worker process runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stack {
    /// The worker.
    pub worker: WorkerId,
    /// What it ran when it was asked. It answers at once, so next to always that is what the stack is of.
    pub task: TaskId,
    /// Its frames, in the words of `faulthandler`.
    pub text: String,
    /// Time that the worker ran tasks for and that this stack stands for: that since the one before it.
    pub stands_for: Duration,
    /// Processor time that the one before it took the worker.
    pub took: Duration,
}

/// What a worker counts in front of a stack that it was asked for, and the stack.
pub(super) fn counted(text: &str) -> (Option<u64>, &str) {
    let counted = text.strip_prefix("Looked for ");
    let Some((count, stack)) = counted.and_then(|text| text.split_once(" ns\n")) else {
        return (None, text);
    };
    (count.parse().ok(), stack)
}

/// A worker process that ended without having been asked to.
#[derive(Clone, Debug)]
pub struct Death {
    /// When that was noticed.
    pub at: Time,
    /// The worker.
    pub worker: WorkerId,
    /// Its pool.
    pub pool: PoolId,
    /// What it ran, if it ran anything.
    pub task: Option<TaskId>,
    /// How it ended.
    pub report: DeathReport,
}

/// The last deaths, oldest first.
#[derive(Default)]
pub(super) struct Deaths {
    /// How many there were in all.
    pub(super) count: u64,
    recent: VecDeque<Death>,
}

impl Deaths {
    pub(super) fn note(&mut self, death: Death) {
        self.count += 1;
        if self.recent.len() == DEATHS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(death);
    }
}

/// How much memory workers that are gone had at most.
#[derive(Clone, Default, Debug)]
pub struct Peaks {
    /// The most workers that there were at a time.
    pub workers_max: usize,
    /// Of as many workers that have ended, in bytes, the largest first.
    pub ended: Vec<u64>,
}

impl Peaks {
    pub(super) fn note_workers(&mut self, count: usize) {
        self.workers_max = self.workers_max.max(count);
    }

    pub(super) fn note_end(&mut self, peak_bytes: u64) {
        let place = self.ended.partition_point(|&other| other >= peak_bytes);
        self.ended.insert(place, peak_bytes);
        self.ended.truncate(self.workers_max);
    }
}

impl Processes {
    /// The last deaths, oldest first.
    pub(crate) fn recent_deaths(&self) -> Vec<Death> {
        self.deaths.recent.iter().cloned().collect()
    }

    /// The last workers that were started, oldest first.
    pub(crate) fn started(&self) -> Vec<Started> {
        self.places.started()
    }

    /// All pools, and how often workers were replaced in them.
    pub(crate) fn pools(&self) -> Pools {
        self.places.pools()
    }

    /// The stacks that workers wrote since this was last called, so long ago; asks those that run a task for the
    /// next ones, unless it would take them too much of their time.
    pub(crate) fn sample(&mut self, found: &[(WorkerId, Found)], elapsed: Duration) -> Vec<Stack> {
        let workers = self.workers.values_mut();
        let sample = |worker: &mut Box<Worker>| {
            let found = found.iter().find(|(id, _)| *id == worker.id);
            worker.sample(found.map(|&(_, found)| found), elapsed)
        };
        let mut stacks: Vec<Stack> = workers.filter_map(sample).collect();
        stacks.sort_unstable_by_key(|stack| stack.worker);
        stacks
    }

    /// The processes of workers that run a task.
    pub(crate) fn running(&self) -> Vec<(WorkerId, u32)> {
        let workers = self.workers.values();
        let running = workers.filter(|worker| worker.control.task() != 0);
        running
            .filter_map(|worker| Some((worker.id, worker.pid()?)))
            .collect()
    }
}

impl Worker {
    fn sample(&mut self, found: Option<Found>, elapsed: Duration) -> Option<Stack> {
        let written = self.written()?;
        let running = TaskId(self.control.task());
        if running.0 != 0 {
            self.pace.run(elapsed);
        }
        if let Some(look) = &mut self.look
            && look.holds(running, found)
        {
            look.stack = written.or_else(|| look.stack.take());
            let held = look.stack.as_mut()?;
            let mut stack = held.clone();
            stack.stands_for += self.pace.take();
            (held.stands_for, held.took) = (Duration::ZERO, Duration::ZERO);
            return Some(stack);
        }
        if written.is_none()
            && let Some(look) = self.look.as_ref().filter(|look| look.task == running)
            && look.stack.is_none()
        {
            // It computes without coming back to Python: the stack that it will write then stands for that time too.
            self.pace.run(look.stands_for);
        }
        // A task may have taken the handler away.
        let can_answer = running.0 != 0 && found.is_none_or(|found| found.catches(LOOK_SIGNAL));
        if can_answer && self.pace.is_due() {
            self.show_stack();
            self.crash.stack_for = StackFor::Reader(running);
            self.look = Some(Look::new(running, found, self.pace.take()));
        } else {
            self.crash.stack_for = StackFor::Nobody;
            self.look = None;
        }
        written
    }

    /// What it wrote since it was asked; None inside if it wrote nothing, and outside if it is not to be asked.
    #[expect(clippy::option_option, reason = "the outer one ends the caller")]
    fn written(&mut self) -> Option<Option<Stack>> {
        let task = match self.crash.stack_for {
            StackFor::Report => return None,
            StackFor::Reader(task) => task,
            StackFor::Nobody => return Some(None),
        };
        let text = self.crash.text();
        self.crash.empty();
        let written = text.map(|text| {
            let (all_ns, text) = counted(&text);
            let took = all_ns.map_or(Duration::ZERO, |all_ns| self.pace.count(all_ns));
            let look = self.look.as_ref();
            Stack {
                worker: self.id,
                task,
                text: text.to_owned(),
                stands_for: look.map_or(Duration::ZERO, |look| look.stands_for),
                took,
            }
        });
        Some(written)
    }

    /// What it wrote before it slept on, if it is at the same task.
    pub(super) fn held_stack(&self) -> Option<String> {
        let look = self.look.as_ref()?;
        let stack = look.stack.as_ref()?;
        (look.task.0 == self.control.task()).then(|| stack.text.clone())
    }
}

impl State {
    /// Kills a worker process. What it runs fails or is run again, as after a death. False if
    /// there is no such process.
    pub(crate) fn restart_worker(&mut self, worker: WorkerId, now: Time) -> bool {
        let is_there = self.processes.workers.contains_key(&worker);
        self.processes.kill_unwanted(worker, now);
        is_there
    }

    /// Has a worker process end once it has done what it runs; another one takes its place when there
    /// is something to do. False if there is no such process.
    pub(crate) fn retire_worker(&mut self, id: WorkerId) -> bool {
        let Some(mut worker) = self.processes.workers.remove(&id) else {
            return false;
        };
        worker.control.set_leave();
        let is_idle = worker.in_flight.is_empty() && !worker.departed && !worker.retired;
        if is_idle {
            worker.send_exit();
            self.depart(&mut worker);
            self.processes.dirty.push(id);
        }
        self.processes.workers.insert(id, worker);
        true
    }
}
