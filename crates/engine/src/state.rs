//! Everything that changes: the scheduler and what belongs to its ids. Guarded by the state lock
//! of `shared`, and changed in one manner only: something that happened becomes an `Input`, the
//! scheduler answers with `Action`s, the actions are carried out, and what they cause becomes
//! inputs again, until nothing is left to do.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::{Arc, Weak};

use lineshaft_core::{
    Action, Attempt, Failure, Input, Measured, Phases, PoolId, Scheduler, TaskId, Time, WorkerId,
};
use lineshaft_store::Owner;
use lineshaft_wire::{Descriptors, Value};
use rustc_hash::FxHashMap;

use crate::aftermath::{Aftermath, Discarded};
use crate::command::Command;
use crate::error::EngineError;
use crate::limits::{MEMORY_EASY_PERCENT, MEMORY_SHORT_PERCENT};
use crate::outcome::{Outcome, TaskError};
use crate::payload::Payload;
use crate::poller::Source;
use crate::pools::{Executor, Pool, WorkerNumbers};
use crate::process::{Processes, Stalls};
use crate::promise::Promise;
use crate::shared::Shared;
use crate::tasks::{Task, Tasks};
use crate::texts::Texts;
use crate::threads::{Lanes, Waits};

/// Everything that changes in an engine.
pub(crate) struct State {
    engine: Weak<Shared>,
    /// Cores that running tasks may take together, unless a pool was asked to be larger.
    pub(crate) cores: u32,
    pub(crate) scheduler: Scheduler,
    pub(crate) tasks: Tasks,
    pub(crate) pools: FxHashMap<PoolId, Pool>,
    pub(crate) threads: FxHashMap<WorkerId, PoolId>,
    /// Calls of this process that wait for tasks.
    pub(crate) waits: Waits,
    /// Attempts that ran out of time on a thread that goes on with them.
    pub(crate) given_up: FxHashMap<(TaskId, Attempt), Arc<Lanes>>,
    pub(crate) processes: Processes,
    pub(crate) stalls: Stalls,
    /// What attempts raised, and what they were called with.
    pub(crate) texts: Texts,
    /// What the scheduler is still to be told.
    pub(crate) inputs: VecDeque<Input>,
    actions: Vec<Action>,
    pub(crate) aftermath: Aftermath,
    pub(crate) workers: WorkerNumbers,
    memory_short: bool,
    /// The engine is shut down: no pool opens any more.
    pub(crate) closed: bool,
}

impl State {
    pub(crate) fn new(engine: Weak<Shared>, cores: u32) -> State {
        State {
            engine,
            cores,
            scheduler: Scheduler::new(),
            tasks: Tasks::default(),
            pools: FxHashMap::default(),
            threads: FxHashMap::default(),
            waits: Waits::default(),
            given_up: FxHashMap::default(),
            processes: Processes::default(),
            stalls: Stalls::default(),
            texts: Texts::default(),
            inputs: VecDeque::from([Input::SetCores(cores)]),
            actions: Vec::new(),
            aftermath: Aftermath::default(),
            workers: WorkerNumbers::default(),
            memory_short: false,
            closed: false,
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        [
            self.scheduler.next_deadline(),
            self.processes.next_deadline(),
            self.stalls.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(crate) fn take_aftermath(&mut self) -> Aftermath {
        let mut aftermath = std::mem::take(&mut self.aftermath);
        aftermath.discarded.append(&mut self.processes.discarded);
        aftermath
    }

    /// Gives everything up after a panic: nothing that this state says can be relied on. Every
    /// promise ends with an error, threads and processes are let go, and what remains is the empty
    /// state of an engine that is shut down.
    pub(crate) fn poison(&mut self, shared: &Shared, message: &str) {
        let fresh = State {
            closed: true,
            ..State::new(self.engine.clone(), self.cores)
        };
        let mut broken = std::mem::replace(self, fresh);
        self.aftermath = broken.take_aftermath();
        self.aftermath.became_quiet = true;
        for task in broken.tasks.into_values() {
            let error = TaskError::Poisoned(message.to_owned());
            self.aftermath.keep(task.pledge, Outcome::Error(error));
            self.aftermath
                .discard(Discarded::Task(task.work, task.inputs));
        }
        for pool in broken.pools.into_values() {
            if let Executor::Threads { lanes, .. } = &pool.executor {
                self.close_lanes(lanes);
            }
            self.aftermath.discard(Discarded::other(pool));
        }
        self.processes.discarded = broken.processes.abandon(shared);
    }

    pub(crate) fn open(&self, pool: PoolId) -> Option<&Pool> {
        self.pools.get(&pool)
    }

    pub(crate) fn engine(&self) -> Weak<Shared> {
        self.engine.clone()
    }

    /// Cancels a task. True if it will not run (any more).
    pub(crate) fn cancel(&mut self, shared: &Shared, promise: &Promise, kill: bool) -> bool {
        let task = promise.task();
        match self.attempt_on_thread(task).filter(|_| kill) {
            Some(attempt) => {
                self.give_up_call(task, attempt, TaskError::Cancelled, Failure::Cancelled);
            }
            None => self.push_cancel(task, kill),
        }
        self.settle(shared, crate::clock::now());
        matches!(
            promise.outcome(),
            Some(Outcome::Error(TaskError::Cancelled))
        )
    }

    /// Whether the task has begun to run.
    pub(crate) fn is_running(&self, task: TaskId) -> bool {
        self.processes.has_begun(task)
            || self.scheduler.has_started(task)
            || self.attempt_on_thread(task).is_some()
    }

    /// Cancels what has not begun, in one pool or in all; with `kill`, what runs in a worker process
    /// as well.
    pub(crate) fn cancel_all(&mut self, pool: Option<PoolId>, kill: bool) {
        for task in self.tasks.ids(pool) {
            self.push_cancel(task, kill);
        }
    }

    /// Cancels those of these tasks that have not begun; with `kill`, those too that run in a worker
    /// process.
    pub(crate) fn cancel_within(&mut self, range: RangeInclusive<TaskId>, kill: bool) {
        let tasks: Vec<TaskId> = self.tasks.ids_within(range).collect();
        for task in tasks {
            self.push_cancel(task, kill);
        }
    }

    /// The scheduler waits for the end of a worker that it has killed. A thread cannot be: its call
    /// goes on.
    pub(crate) fn push_cancel(&mut self, task: TaskId, kill: bool) {
        let is_remote = |task: &Task| !task.work.is_local();
        let kill = kill && self.tasks.get(task).is_some_and(is_remote);
        self.inputs.push_back(Input::Cancel { task, kill });
    }

    pub(crate) fn on_command(&mut self, shared: &Shared, now: Time, command: Command) {
        match command {
            Command::Submit {
                pledge,
                request,
                asker,
            } => {
                if let Some(spec) = self.admit(pledge, request, asker) {
                    self.inputs.push_back(Input::Submit(spec));
                }
            }
            Command::SubmitGraph {
                tasks,
                asker,
                order,
            } => self.admit_graph(tasks, asker, order),
            Command::Started { task, attempt } => {
                self.inputs.push_back(Input::Started { task, attempt });
            }
            Command::Finished {
                task,
                attempt,
                ran,
                outcome,
            } => {
                if self.was_given_up(task, attempt) {
                    self.aftermath.discard(Discarded::Outcome(outcome));
                } else {
                    self.ended(task, outcome);
                    self.inputs.push_back(Input::Finished {
                        task,
                        attempt,
                        ran,
                        // It takes arguments as they are.
                        phases: Phases::default(),
                        bytes: 0,
                        items_raised: None,
                    });
                }
            }
            Command::Arguments {
                task,
                attempt,
                text,
            } => self.texts.arguments.note(task, attempt, &text),
            Command::Failed {
                task,
                attempt,
                how,
                ran,
                error,
                traceback,
            } => {
                if self.was_given_up(task, attempt) {
                    let outcome = Outcome::Error(error);
                    self.aftermath.discard(Discarded::Outcome(outcome));
                } else {
                    self.texts.tracebacks.note(task, attempt, &traceback);
                    self.ended(task, Outcome::Error(error));
                    self.inputs.push_back(Input::Failed {
                        task,
                        attempt,
                        how,
                        measured: ran.map(|ran| Measured::new(ran, Phases::default())),
                    });
                }
            }
            Command::Blocked {
                task,
                attempt,
                awaited,
            } => self.on_blocked_call(task, attempt, awaited),
            Command::Unblocked { task, attempt } => self.on_unblocked_call(task, attempt),
            Command::OpenPool {
                pool,
                spec,
                snapshot,
            } => {
                let is_processes = matches!(spec.executor, Executor::Processes(_));
                self.open_pool(pool, spec);
                if !self.closed && is_processes {
                    self.processes.warm_up(shared, pool, snapshot);
                } else {
                    self.aftermath
                        .discarded
                        .extend(snapshot.map(Discarded::other));
                }
            }
            Command::ClosePool { pool } => self.close_pool(pool),
            Command::Reaped { pool } => {
                self.processes.reaped(pool);
                self.aftermath.became_quiet = true;
            }
            Command::Cancel { task, kill } => {
                self.push_cancel(task, kill);
            }
            Command::CancelCall { worker, call, kill } => {
                self.cancel_call(shared, worker, call, kill);
            }
            Command::Answer { worker, call } => self.processes.answer(worker, call),
        }
        self.settle(shared, now);
    }

    /// Notes how an attempt ended, in place of what was noted for one before it.
    pub(crate) fn ended(&mut self, task: TaskId, outcome: Outcome) {
        let unused = match self.tasks.get_mut(task) {
            Some(task) => task.ended.replace(outcome),
            None => Some(outcome),
        };
        self.aftermath
            .discarded
            .extend(unused.map(Discarded::Outcome));
    }

    /// Takes over a value that a worker sent. Memory that this takes beyond the budget is relieved
    /// after the state lock is released.
    pub(crate) fn adopt(
        &mut self,
        shared: &Shared,
        worker: WorkerId,
        value: &Value<'_>,
        descriptors: &mut Descriptors,
    ) -> Result<Payload, EngineError> {
        self.aftermath.adopted |= !value.segments.is_empty();
        Payload::from_wire(value, descriptors, &shared.store, Owner::Worker(worker.0))
    }

    pub(crate) fn on_ready(&mut self, shared: &Shared, source: Source) {
        let now = crate::clock::now();
        match source {
            Source::Wake => {}
            Source::Output(worker, stream) => self.processes.read_output(shared, worker, stream),
            Source::Worker(worker) => self.on_worker(shared, worker),
            Source::Zygote(number) => self.on_zygote(shared, number),
        }
        self.settle(shared, now);
    }

    /// Tells the scheduler what happened and carries out what it wants, until nothing is left.
    pub(crate) fn settle(&mut self, shared: &Shared, now: Time) {
        self.on_process_deadlines(now);
        self.start_withheld(shared);
        self.look_for_stalls(now);
        self.look_at_memory(shared);
        if self.scheduler.next_deadline().is_some_and(|at| at <= now) {
            self.inputs.push_back(Input::Tick);
        }
        while let Some(input) = self.inputs.pop_front() {
            let mut actions = std::mem::take(&mut self.actions);
            self.scheduler.handle(now, input, &mut actions);
            for action in actions.drain(..) {
                self.carry_out(shared, now, &action);
            }
            self.actions = actions;
        }
        self.flush(shared);
    }

    /// Tells the scheduler when memory becomes short, and when it no longer is.
    fn look_at_memory(&mut self, shared: &Shared) {
        let page = shared.store.budget_page();
        let used = page.used_bytes().saturating_mul(100) / page.limit_bytes().max(1);
        let short = used
            >= if self.memory_short {
                MEMORY_EASY_PERCENT
            } else {
                MEMORY_SHORT_PERCENT
            };
        if short != self.memory_short {
            self.memory_short = short;
            self.inputs.push_back(Input::MemoryPressure(short));
        }
    }

    fn carry_out(&mut self, shared: &Shared, now: Time, action: &Action) {
        match *action {
            Action::Run {
                worker,
                task,
                attempt,
            } => self.run(worker, task, attempt),
            Action::Retract { worker } => {
                let tasks = match self.threads.get(&worker) {
                    Some(pool) => self.retract_calls(*pool, worker),
                    None => self.processes.retract(worker),
                };
                self.inputs.push_back(Input::Retracted { worker, tasks });
            }
            Action::TimeOut {
                worker,
                task,
                attempt,
            } => self.time_out(worker, task, attempt, now),
            Action::Kill { worker, .. } => self.processes.kill_unwanted(worker, now),
            Action::Resolve { task } => self.resolve(task),
            Action::Reject { task, why } => self.reject(shared, task, why),
            Action::Spawn { pool, count } => self.spawn(shared, pool, count),
            Action::Retire { worker } => self.retire(worker, now),
        }
    }

    fn run(&mut self, worker: WorkerId, id: TaskId, attempt: Attempt) {
        if let Some(&pool) = self.threads.get(&worker) {
            return self.run_here(pool, worker, id, attempt);
        }
        for (id, attempt) in self.processes.renew_epoch(worker) {
            self.send(worker, id, attempt);
        }
        self.send(worker, id, attempt);
    }

    pub(crate) fn send(&mut self, worker: WorkerId, id: TaskId, attempt: Attempt) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        if let Err(error) = self.processes.send_task(worker, id, attempt, task) {
            self.ended(id, Outcome::Error(TaskError::Transfer(error.to_string())));
            self.inputs.push_back(Input::Failed {
                task: id,
                attempt,
                how: Failure::RaisedForGood,
                measured: None,
            });
        }
    }

    fn flush(&mut self, shared: &Shared) {
        self.processes.flush(shared);
    }
}
