//! What an engine is doing, for those who only look.
//!
//! A reader keeps nothing running: the engine ends when its last handle is dropped, and what it did
//! can still be read afterwards. Nothing waits for readers, and while there is none, all that is
//! done for them is one comparison each time the state lock is released ([`LogWatch`]).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lineshaft_core::{Counts, GroupId, GroupSummary, PoolId, Since, TaskId, Time, WorkerId};
use lineshaft_store::{Owners, StoreStats};

use crate::clock;
use crate::groups::GroupName;
use crate::output::{OutputDropped, Printed, TaskOutput};
use crate::pools::Executor;
use crate::process::{Death, Found, Pinned, Place, Pools, Stack, Started};
use crate::shared::Shared;
use crate::state::State;
use crate::texts::AttemptText;

/// Looks at one engine. Any thread may.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

/// How much there is of everything, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// The number of the first event that is not counted here.
    pub next_event: u64,
    /// Tasks that have not ended, and workers, by state.
    pub counts: Counts,
    /// Counters per group, ordered by group.
    pub groups: Vec<(GroupId, GroupSummary)>,
    /// Workers that are up or about to be, ordered by id.
    pub workers: Vec<WorkerTotals>,
    /// Calls of event loops whose turn it is at this moment, and since when without a break. Others wait.
    pub turns: Vec<(TaskId, Time)>,
    /// The last worker processes that were started, also those that are gone, oldest first.
    pub started: Vec<Started>,
    /// Pools of worker processes.
    pub pools: Pools,
    /// Worker processes that died under a task or without being asked to end.
    pub deaths: u64,
    /// Processor time of worker processes that have ended, in nanoseconds, as the kernel has reckoned it. None
    /// of these is among `workers`.
    pub ended_cpu_ns: u64,
    /// Objects in shared memory.
    pub store: StoreStats,
    /// Who wrote them, and how much of it went to disk.
    pub owners: Owners,
    /// Bytes that objects may take in memory.
    pub memory_bytes_max: u64,
}

/// One worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkerTotals {
    /// Which.
    pub worker: WorkerId,
    /// Its pool.
    pub pool: PoolId,
    /// Tasks that it runs at a time.
    pub slots: u32,
    /// What runs them.
    pub kind: WorkerKind,
    /// Its process, once that has been started.
    pub pid: Option<u32>,
    /// Its place among the worker processes of its pool.
    pub place: Option<Place>,
    /// What it may read; nothing for threads, which have objects of Python.
    pub pinned: Pinned,
}

/// What a worker is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WorkerKind {
    /// A process.
    #[default]
    Process,
    /// The threads of a pool.
    Threads,
    /// An event loop of this process: its calls are handed on, and take no thread while they wait.
    EventLoop,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Reader {
        Reader { shared }
    }

    /// Events from number `sequence` on, at most `limit` of them. None if the engine is poisoned.
    /// Others wait no longer than it takes to copy these.
    pub fn events(&self, sequence: u64, limit: usize) -> Option<Since> {
        self.shared
            .with_state(|state| state.scheduler.events().since(sequence, limit))
    }

    /// How much there is of everything. None if the engine is poisoned.
    pub fn totals(&self) -> Option<Totals> {
        let (store, owners) = (self.shared.store.stats(), self.shared.store.owners());
        let memory_bytes_max = self.shared.store.budget_page().limit_bytes();
        self.shared.with_state(|state| Totals {
            next_event: state.scheduler.events().next(),
            counts: Counts {
                // Without the cores of tasks that sleep, which others have meanwhile.
                cores_max: Some(state.cores_max()),
                ..state.scheduler.counts()
            },
            groups: state.scheduler.groups(),
            workers: state.worker_totals(),
            turns: state.turns(),
            started: state.processes.started(),
            pools: state.processes.pools(),
            deaths: state.processes.deaths(),
            ended_cpu_ns: state.processes.ended_cpu_ns,
            store,
            owners,
            memory_bytes_max,
        })
    }

    /// Which of these tasks have not ended.
    pub fn are_unfinished(&self, tasks: &[TaskId]) -> Vec<bool> {
        let look = |state: &mut State| {
            let known = tasks.iter().map(|task| state.tasks.get(*task).is_some());
            known.collect()
        };
        let none = || vec![false; tasks.len()];
        self.shared.with_state(look).unwrap_or_else(none)
    }

    /// What the task is doing, and if it is not running, why: one sentence for people.
    pub fn explain(&self, task: TaskId) -> String {
        let sentence = self
            .shared
            .with_state(|state| state.explain(&self.shared, task));
        sentence.unwrap_or_else(|| "the engine is shut down".into())
    }

    /// What the task printed, if it ran in a worker process and that is not too long ago.
    pub fn output(&self, task: TaskId) -> TaskOutput {
        let look = |state: &mut State| state.processes.output.of(task);
        self.shared.with_state(look).unwrap_or_default()
    }

    /// What tasks in worker processes printed lately, oldest first.
    pub fn printed(&self) -> Vec<Printed> {
        let look = |state: &mut State| state.processes.output.all();
        self.shared.with_state(look).unwrap_or_default()
    }

    /// How much of what tasks printed is not kept any more.
    pub fn output_dropped(&self) -> Option<OutputDropped> {
        let look = |state: &mut State| state.processes.output.dropped();
        self.shared.with_state(look).flatten()
    }

    /// Where the attempts of a task raised, or of all tasks if none is named, oldest first: as far as it is not too
    /// long ago.
    pub fn tracebacks(&self, task: Option<TaskId>) -> Vec<AttemptText> {
        let look = |state: &mut State| state.texts.tracebacks.of(task);
        self.shared.with_state(look).unwrap_or_default()
    }

    /// What the arguments were of attempts of a task that took long or raised, or of all tasks if none is named,
    /// oldest first: as far as it is not too long ago.
    pub fn arguments(&self, task: Option<TaskId>) -> Vec<AttemptText> {
        let look = |state: &mut State| state.texts.arguments.of(task);
        self.shared.with_state(look).unwrap_or_default()
    }

    /// The worker processes that died last, oldest first.
    pub fn deaths(&self) -> Vec<Death> {
        let look = |state: &mut State| state.processes.recent_deaths();
        self.shared.with_state(look).unwrap_or_default()
    }

    /// The Python stacks of tasks in worker processes, as they were when this was last called, so long ago; has
    /// them write the next ones. Workers whose stacks take long are left out now and then, so that writing
    /// them takes no more than half a percent of their time; the next stack stands for that time too. For one
    /// reader at a time, like `wait_for_events`.
    pub fn stacks(&self, elapsed: Duration) -> Vec<Stack> {
        let running = |state: &mut State| state.processes.running();
        // Read without the lock: it takes some time.
        let found = Found::of_all(self.shared.with_state(running).unwrap_or_default());
        let sample = |state: &mut State| state.processes.sample(&found, elapsed);
        self.shared.with_state(sample).unwrap_or_default()
    }

    /// Kills a worker process; another one takes its place. What it runs fails or is run again, as
    /// after any death. False if there is no such process.
    pub fn restart_worker(&self, worker: WorkerId) -> bool {
        let restart = |state: &mut State| state.restart_worker(worker, clock::now());
        self.shared.with_state(restart).unwrap_or(false)
    }

    /// Has a worker process end once it has done what it runs; another one takes its place when there
    /// is something to do. False if there is no such process.
    pub fn retire_worker(&self, worker: WorkerId) -> bool {
        let retire = |state: &mut State| state.retire_worker(worker);
        self.shared.with_state(retire).unwrap_or(false)
    }

    /// The name of a group.
    pub fn group_name(&self, group: GroupId) -> GroupName {
        self.shared.groups.name(group)
    }

    /// Whether the engine has been shut down, and nothing will happen any more.
    pub fn has_ended(&self) -> bool {
        self.shared.log_watch.has_ended()
    }

    /// Sleeps until the next event will have number `next` or a later one, the engine has ended,
    /// `wake` was called or the time is over. For one reader at a time: a second one would have the
    /// first wait too long.
    pub fn wait_for_events(&self, next: u64, timeout: Option<Duration>) {
        let watch = &self.shared.log_watch;
        watch.wanted.store(next, Ordering::SeqCst);
        // Whoever holds the state lock after this knows what is wanted; what was there before is seen here.
        let next_now = self
            .shared
            .with_state(|state| state.scheduler.events().next());
        if next_now.is_none_or(|next_now| next_now >= next) {
            watch.wanted.store(NOBODY, Ordering::SeqCst);
            return;
        }
        watch.sleep(timeout);
    }

    /// Ends the sleep of whoever waits for an event.
    pub fn wake(&self) {
        self.shared.log_watch.wake();
    }
}

impl State {
    fn turns(&self) -> Vec<(TaskId, Time)> {
        let pools = self.threads.values().filter_map(|&pool| self.open(pool));
        let mut turns = Vec::new();
        for pool in pools {
            if let Executor::Threads { lanes, .. } = &pool.executor {
                turns.extend(lanes.turns());
            }
        }
        // Several pools may have the same event loops.
        turns.sort_unstable();
        turns.dedup();
        turns
    }

    fn worker_totals(&self) -> Vec<WorkerTotals> {
        let threads = self
            .threads
            .iter()
            .filter(|(worker, _)| !worker.is_internal());
        let threads = threads.filter_map(|(&worker, &pool)| {
            let open = self.open(pool)?;
            Some(WorkerTotals {
                worker,
                pool,
                slots: open.workers,
                kind: match &open.executor {
                    Executor::Threads { lanes, .. } if lanes.hand_on() => WorkerKind::EventLoop,
                    _ => WorkerKind::Threads,
                },
                pid: None,
                place: None,
                pinned: Pinned::default(),
            })
        });
        let processes = self.processes.totals();
        let mut all: Vec<WorkerTotals> = threads.chain(processes).collect();
        all.sort_unstable_by_key(|worker| worker.worker);
        all
    }
}

/// Nobody waits: no event has this number.
const NOBODY: u64 = u64::MAX;

/// Wakes who waits for the log to have come to a certain event.
///
/// What is wanted is stored before the waiter takes the state lock to see whether it is there, and
/// compared by each holder of that lock before it is released. So either the waiter sees the event,
/// or who writes it sees the waiter.
pub(crate) struct LogWatch {
    /// The number of events at which to wake; `NOBODY` once that has been done.
    wanted: AtomicU64,
    ended: AtomicBool,
    /// Whether the waiter, or the next one, is to wake at once.
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Default for LogWatch {
    fn default() -> LogWatch {
        LogWatch {
            wanted: AtomicU64::new(NOBODY),
            ended: AtomicBool::new(false),
            woken: Mutex::new(false),
            changed: Condvar::new(),
        }
    }
}

impl LogWatch {
    /// Whether somebody waits for what is there now that the log has come to event `next`.
    pub(crate) fn is_awaited(&self, next: u64) -> bool {
        next >= self.wanted.load(Ordering::Relaxed)
    }

    pub(crate) fn wake(&self) {
        self.wanted.store(NOBODY, Ordering::SeqCst);
        *self.lock() = true;
        self.changed.notify_all();
    }

    /// Nothing happens any more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    fn sleep(&self, timeout: Option<Duration>) {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut woken = self.lock();
        while !*woken && !self.has_ended() {
            let Some(deadline) = deadline else {
                let wait = self.changed.wait(woken);
                woken = wait.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let wait = self.changed.wait_timeout(woken, left);
            woken = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
        *woken = false;
        self.wanted.store(NOBODY, Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
