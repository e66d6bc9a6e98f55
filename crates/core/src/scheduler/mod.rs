//! The scheduler: which task runs where, and when.
//!
//! [`Scheduler::handle`] is the only way in. It changes state, runs every consequence to a fixed
//! point and appends orders to a list. One owner drives it; there is nothing to synchronise.
//!
//! ```text
//! submit ──> Waiting ──> Ready ──> Assigned ──> ended, forgotten
//!                          ^  ^        │
//!                          │  └────────┤ taken back, worker gone
//!                          └─ Backoff <┘ failed, retries left
//! ```
//!
//! How it is divided: an input is handled in `submit`, `attempts`, `cancel`, `workers` or `pools`,
//! which move tasks between states by the few functions in `lifecycle`, and mark pools whose
//! situation changed. Then `settle` hands out tasks in those pools, asks for workers or lets them
//! go, and `rebalance` moves waiting tasks to idle workers.
//!
//! Invariants:
//! * Nothing is kept about a task that has ended, except counters and events.
//! * A task ends exactly once, by `Action::Resolve` or `Action::Reject`.
//! * No decision depends on the order of a hash map. Equal inputs give equal actions.
//! * What a worker stands for in the sums of its pool is its [`worker::Standing`], and only
//!   `update_worker` changes these sums.
//! * Internal tasks are scheduled like all others, and told of to nobody: counts, summaries and events are without them.
//! * A timer exists exactly while its owner waits for it, so an idle scheduler has no deadline.

mod attempts;
mod cancel;
mod counts;
mod explain;
mod invariants;
mod lifecycle;
#[cfg(test)]
mod one_task;
mod pool;
mod pools;
mod rebalance;
mod settle;
mod submit;
mod timers;
mod waits;
mod worker;
mod workers;

use std::collections::{BTreeMap, VecDeque};

use rustc_hash::FxHashMap;

use crate::action::Action;
use crate::events::{EventKind, EventLog, Measured};
use crate::graph::{Graph, Slot};
use crate::groups::{GroupSummary, Groups};
use crate::ids::{GroupId, PoolId, TaskId, WorkerId};
use crate::input::Input;
use crate::time::Time;
use pool::Pool;
use timers::Timers;
use waits::Waits;
use worker::Worker;

pub use counts::{Counts, PoolCounts};
pub use explain::{Explanation, QueuedBecause};

/// The state machine. See the module's documentation.
#[derive(Debug)]
pub struct Scheduler {
    graph: Graph,
    /// Few; the order is that of their ids, so that loops over all of them are deterministic.
    pools: BTreeMap<PoolId, Pool>,
    /// Never iterated for decisions.
    workers: FxHashMap<WorkerId, Worker>,
    groups: Groups,
    timers: Timers,
    waits: Waits,
    events: EventLog,
    /// Cores that running tasks may take together; `None` before anybody said.
    cores: Option<u32>,
    /// Cores that workers take now; above `cores` after tasks were unblocked.
    cores_used: u64,
    memory_short: bool,
    /// Pools to look at before this input is done. Each at most once.
    dirty: VecDeque<PoolId>,
    /// Pools that could start a task if a core were free, in the order in which they are served.
    hungry: VecDeque<PoolId>,
    /// Rank of the next task.
    rank_next: u64,
    /// Greatest id submitted so far.
    task_last: Option<TaskId>,
    /// Kept between inputs to save the allocation.
    scratch: Vec<Slot>,
}

/// What every handler needs beside the state: the time and the place for orders.
struct Step<'a> {
    now: Time,
    actions: &'a mut Vec<Action>,
}

impl Default for Scheduler {
    fn default() -> Scheduler {
        Scheduler::new()
    }
}

impl Scheduler {
    /// A scheduler without pools, tasks or a limit of cores.
    pub fn new() -> Scheduler {
        Scheduler {
            graph: Graph::new(),
            pools: BTreeMap::new(),
            workers: FxHashMap::default(),
            groups: Groups::default(),
            timers: Timers::default(),
            waits: Waits::default(),
            events: EventLog::default(),
            cores: None,
            cores_used: 0,
            memory_short: false,
            dirty: VecDeque::new(),
            hungry: VecDeque::new(),
            rank_next: 0,
            task_last: None,
            scratch: Vec::new(),
        }
    }

    /// Takes one input and appends the orders that follow from it.
    ///
    /// Total: what names an unknown or finished task, an old attempt or a dead worker changes
    /// nothing.
    ///
    /// # Panics
    ///
    /// If the caller breaks its side: a task id that is not greater than all before, a pool id used
    /// twice, a graph with a cycle. Nothing has changed then.
    pub fn handle(&mut self, now: Time, input: Input, actions: &mut Vec<Action>) {
        let step = &mut Step { now, actions };
        match input {
            Input::AddPool(spec) => self.on_add_pool(spec, step),
            Input::RemovePool { pool } => self.on_remove_pool(pool, step),
            Input::Submit(spec) => self.on_submit(&spec, step),
            Input::SubmitGraph(specs) => self.on_submit_graph(&specs, step),
            Input::Cancel { task, kill } => self.on_cancel(task, kill, step),
            Input::WorkerUp {
                worker,
                pool,
                slots,
            } => self.on_worker_up(worker, pool, slots, step),
            Input::SpawnFailed { pool, broken } => self.on_spawn_failed(pool, broken, step),
            Input::NeverStarted { worker } => self.on_never_started(worker, step),
            Input::WorkerDown { worker, running } => self.on_worker_down(worker, running, step),
            Input::Started { task, attempt } => self.on_started(task, attempt, step),
            Input::Finished {
                task,
                attempt,
                ran,
                phases,
                bytes,
                items_raised,
            } => {
                let measured = Measured::new(ran, phases);
                self.on_finished(task, attempt, measured, bytes, items_raised, step);
            }
            Input::Failed {
                task,
                attempt,
                how,
                measured,
            } => self.on_failed(task, attempt, how, measured, step),
            Input::Retracted { worker, tasks } => self.on_retracted(worker, tasks, step),
            Input::Blocked {
                task,
                attempt,
                keeps_place,
            } => self.on_blocked(task, attempt, keeps_place, step),
            Input::Unblocked { task, attempt } => self.on_unblocked(task, attempt, step),
            Input::SetCores(cores) => self.on_set_cores(cores),
            Input::MemoryPressure(short) => self.on_memory_pressure(short),
            Input::Tick => self.on_tick(step),
        }
        self.settle(step);
    }

    /// When `Input::Tick` is due next; `None` if nothing waits for time to pass.
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// What happened, for readers.
    pub fn events(&self) -> &EventLog {
        &self.events
    }

    /// Counters per function, ordered by group, without internal tasks.
    pub fn groups(&self) -> Vec<(GroupId, GroupSummary)> {
        self.groups.summaries()
    }

    /// Bytes allocated for tasks, edges and queues: what grows with the number of tasks.
    pub fn allocated_bytes(&self) -> usize {
        let queues: usize = self
            .pools
            .values()
            .map(|pool| pool.ready.allocated_bytes())
            .sum();
        self.graph.allocated_bytes() + queues
    }

    fn on_set_cores(&mut self, cores: u32) {
        self.cores = Some(cores);
        self.mark_all_pools();
    }

    fn on_memory_pressure(&mut self, short: bool) {
        self.memory_short = short;
        self.mark_all_pools();
    }

    /// Has `settle` look at the pool before this input is done.
    fn mark_pool(&mut self, pool: PoolId) {
        let Some(entry) = self.pools.get_mut(&pool) else {
            return;
        };
        if !std::mem::replace(&mut entry.dirty, true) {
            self.dirty.push_back(pool);
        }
    }

    fn mark_all_pools(&mut self) {
        for (id, pool) in &mut self.pools {
            if !std::mem::replace(&mut pool.dirty, true) {
                self.dirty.push_back(*id);
            }
        }
    }

    fn note(&mut self, step: &Step, kind: EventKind) {
        self.events.push(step.now, kind);
    }

    /// The same of a worker: readers are told nothing of internal ones.
    fn note_of_worker(&mut self, worker: WorkerId, step: &Step, kind: EventKind) {
        if !worker.is_internal() {
            self.note(step, kind);
        }
    }

    /// The same of a task of this group: readers are told nothing of internal ones.
    fn note_of(&mut self, group: GroupId, step: &Step, kind: EventKind) {
        if !group.is_internal() {
            self.note(step, kind);
        }
    }
}
