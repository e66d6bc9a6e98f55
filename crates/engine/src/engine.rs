//! The engine as its users hold it.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lineshaft_core::{GroupId, GroupSummary, PoolId, Since, TaskId, Time};
use lineshaft_store::{Store, StoreOptions};

use crate::clock;
use crate::error::EngineError;
use crate::limits;
use crate::options::{EngineOptions, PoolOptions, TaskRequest};
use crate::output::Printed;
use crate::payload::{Code, Payload};
use crate::pools::Pool;
use crate::process::{Peaks, Snapshot};
use crate::promise::Promise;
use crate::reader::Reader;
use crate::shared::Shared;
use crate::state::State;
use crate::tasks::Task;
use crate::wait::{Check, Waited};

/// One engine: a pool of threads and worker processes, a budget of cores and of shared memory.
///
/// It may be used from any thread, and is shut down when it is dropped.
pub struct Engine {
    shared: Arc<Shared>,
    loop_thread: Mutex<Option<JoinHandle<()>>>,
}

/// What an engine is doing, in numbers.
#[derive(Clone, Debug, Default)]
pub struct EngineStats {
    /// Unfinished tasks, without internal ones.
    pub unfinished: usize,
    /// Whether there is no task at all.
    pub is_idle: bool,
    /// Worker processes: identity and process.
    pub workers: Vec<(u32, u32)>,
    /// Shared memory in use, in bytes.
    pub memory_bytes: u64,
    /// The most of it so far.
    pub memory_peak_bytes: u64,
    /// Bytes on disk.
    pub spilled_bytes: u64,
    /// Worker processes that died under a task or without being asked to end.
    pub deaths: u64,
    /// How much memory those had at most that are gone.
    pub peaks: Peaks,
    /// Counters per group, by name.
    pub groups: Vec<(String, GroupSummary)>,
}

impl Engine {
    /// Starts an engine.
    pub fn new(options: EngineOptions) -> Result<Engine, EngineError> {
        crate::descriptors::raise_limit();
        let store = Store::new(StoreOptions {
            budget_bytes: options.memory_bytes,
            spill_dir: options.spill_dir.clone(),
            spill_max_bytes: None,
        })?;
        let shared = Shared::new(options, Arc::new(store))?;
        let in_loop = Arc::clone(&shared);
        let loop_thread = thread::Builder::new()
            .name("lineshaft-loop".into())
            .spawn(move || in_loop.run_loop())
            .map_err(|source| EngineError::System {
                what: "starting the loop thread",
                source,
            })?;
        Ok(Engine {
            shared,
            loop_thread: Mutex::new(Some(loop_thread)),
        })
    }

    /// Opens a pool.
    pub fn open_pool(&self, options: PoolOptions) -> Result<PoolId, EngineError> {
        self.open(options, None)
    }

    /// Opens a pool for internal tasks, which is shown nowhere.
    pub fn open_internal_pool(&self, options: PoolOptions) -> Result<PoolId, EngineError> {
        self.check_workers(&options)?;
        let pool = self.shared.next_pool().internal();
        self.shared.open_pool(pool, Pool::new(options), None);
        Ok(pool)
    }

    /// Opens a pool of processes that are forked from a snapshot, instead of from the process that
    /// the engine starts for that purpose.
    pub fn open_pool_of(
        &self,
        snapshot: Snapshot,
        options: PoolOptions,
    ) -> Result<PoolId, EngineError> {
        self.open(options, Some(snapshot))
    }

    fn open(
        &self,
        options: PoolOptions,
        snapshot: Option<Snapshot>,
    ) -> Result<PoolId, EngineError> {
        self.check_workers(&options)?;
        let pool = self.shared.next_pool();
        self.shared.open_pool(pool, Pool::new(options), snapshot);
        Ok(pool)
    }

    fn check_workers(&self, options: &PoolOptions) -> Result<(), EngineError> {
        self.shared.check_open()?;
        match options.workers {
            0 => Err(EngineError::NoWorkers),
            _ => Ok(()),
        }
    }

    /// Worker processes that start from now on are set up by `setup`, in the front end's encoding.
    pub fn set_up(&self, setup: Vec<u8>) -> Result<(), EngineError> {
        self.shared.check_open()?;
        self.shared
            .with_state(|state| state.processes.set_up(setup))
            .unwrap_or(Err(EngineError::Closed))
    }

    /// Closes a pool: it takes no more tasks, and goes when it has none left.
    pub fn close_pool(&self, pool: PoolId) {
        self.shared.close_pool(pool);
    }

    /// The group of what has this name in this module; there may be none that it is from.
    pub fn group(&self, module: &str, name: &str) -> GroupId {
        self.shared.group(module, name)
    }

    /// Takes in a definition for worker processes; calls of it are counted under this group.
    pub fn code(&self, group: GroupId, body: Payload, needs: Vec<Arc<Code>>) -> Arc<Code> {
        self.shared.define(group, body, needs)
    }

    /// Whether so much was submitted that has not been taken in yet that whoever submits more waits until
    /// it has. That is so only while many threads submit without a pause.
    pub fn is_behind(&self) -> bool {
        self.shared.is_behind()
    }

    /// Waits while the engine is behind, as submitting does.
    pub fn catch_up(&self) {
        self.shared.catch_up();
    }

    /// Submits a task; fails if its pool was closed. An input that is a task of another engine and has
    /// not ended is a programmer error and panics.
    pub fn submit(&self, request: TaskRequest) -> Result<Arc<Promise>, EngineError> {
        self.shared.check_open()?;
        self.shared.catch_up();
        self.shared.submit_to_open(request)
    }

    /// Submits a graph: tasks, each with the indices of those of the same graph whose results are its
    /// first inputs. Their ids are consecutive. A cycle, or an unfinished task of
    /// another engine, is a programmer error and panics.
    pub fn submit_graph(
        &self,
        graph: Vec<(TaskRequest, Vec<usize>)>,
    ) -> Result<Vec<Arc<Promise>>, EngineError> {
        self.shared.check_open()?;
        self.shared.catch_up();
        Ok(self.shared.submit_graph(graph))
    }

    /// Cancels a task; with `kill` also if it already runs. Its worker process is then ended; on a
    /// thread it goes on, and another thread takes its place. True if the task is cancelled already;
    /// false if it runs, though with `kill` it will have no result either, or has ended.
    pub fn cancel(&self, promise: &Promise, kill: bool) -> bool {
        self.shared
            .with_state(|state| state.cancel(&self.shared, promise, kill))
            .unwrap_or(false)
    }

    /// Waits until the task has ended. `check` is asked after signals and now and then whether to
    /// stop waiting; a thread that no signal reaches passes none.
    pub fn wait(
        &self,
        promise: &Promise,
        timeout: Option<Duration>,
        check: Option<Check<'_>>,
    ) -> Waited {
        self.wait_any(&[promise], timeout, check)
    }

    /// Waits until one of the tasks has ended; see `wait`.
    pub fn wait_any(
        &self,
        promises: &[&Promise],
        timeout: Option<Duration>,
        check: Option<Check<'_>>,
    ) -> Waited {
        let deadline = timeout.map(|timeout| clock::now() + timeout);
        self.shared.wait_any(promises, deadline, check)
    }

    /// The objects in shared memory.
    pub fn store(&self) -> &Arc<Store> {
        &self.shared.store
    }

    /// What the engine is doing.
    pub fn stats(&self) -> EngineStats {
        let store = self.shared.store.stats();
        let stats = self.shared.with_state(|state| EngineStats {
            unfinished: state.scheduler.counts().total.unfinished(),
            is_idle: state.tasks.len() == 0,
            workers: state
                .processes
                .pids(None)
                .into_iter()
                .map(|(worker, pid)| (worker.0, pid))
                .collect(),
            memory_bytes: store.used_bytes,
            memory_peak_bytes: store.peak_bytes,
            spilled_bytes: store.spilled_bytes,
            deaths: state.processes.deaths(),
            peaks: state.processes.peaks.clone(),
            groups: state
                .scheduler
                .groups()
                .into_iter()
                .map(|(group, summary)| (self.shared.groups.name(group).shown, summary))
                .collect(),
        });
        stats.unwrap_or_default()
    }

    /// Looks at the engine without keeping it from ending.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// What worker processes printed lately, oldest first.
    pub fn output(&self) -> Vec<Printed> {
        self.reader().printed()
    }

    /// What the task is doing, and if it is not running, why: one sentence for people.
    pub fn explain(&self, promise: &Promise) -> String {
        self.reader().explain(promise.task())
    }

    /// Events from number `sequence` on, at most `limit` of them. Readers neither wait nor make
    /// others wait longer than it takes to copy these.
    pub fn events(&self, sequence: u64, limit: usize) -> Since {
        let nothing = Since::Batch {
            events: Vec::new(),
            next: sequence,
        };
        self.reader().events(sequence, limit).unwrap_or(nothing)
    }

    /// Whether the task has begun to run on some worker.
    pub fn is_running(&self, promise: &Promise) -> bool {
        !promise.is_done()
            && self
                .shared
                .with_state(|state| state.is_running(promise.task()))
                .unwrap_or(false)
    }

    /// Whether the pool rejects its tasks because it can start no worker.
    pub fn is_broken(&self, pool: PoolId) -> bool {
        self.shared
            .with_state(|state| state.open(pool).is_some_and(|pool| pool.broken))
            .unwrap_or(false)
    }

    /// The worker processes that a pool has right now, and how many of its tasks are unfinished.
    pub fn pool_stats(&self, pool: PoolId) -> (Vec<u32>, usize) {
        self.shared
            .with_state(|state| {
                let workers = state.processes.pids(Some(pool));
                let pids = workers.into_iter().map(|(_, pid)| pid).collect();
                (pids, state.unfinished(Some(pool)))
            })
            .unwrap_or_default()
    }

    /// Sends SIGINT to the worker processes of one pool or of all; false if there are none.
    pub fn send_interrupt(&self, pool: Option<PoolId>) -> bool {
        self.shared
            .with_state(|state| state.processes.send_interrupt(pool))
            .unwrap_or(false)
    }

    /// Has the calls of all worker processes end, as Ctrl-C in a terminal would: sends SIGINT to those
    /// that run, and cancels those that have not begun. Calls on threads go on. False if there are no
    /// worker processes.
    pub fn interrupt_processes(&self) -> bool {
        self.shared.with_state(|state| {
            let mut tasks = state.tasks.ids(None);
            let is_remote = |task: &Task| !task.work.is_local();
            tasks.retain(|task| state.tasks.get(*task).is_some_and(is_remote));
            for task in tasks {
                state.push_cancel(task, false);
            }
        });
        // A worker that is interrupted finds nothing to go on with.
        self.send_interrupt(None)
    }

    /// Cancels what has not begun, in one pool or in all; with `kill`, what runs in worker processes
    /// as well.
    pub fn cancel_all(&self, pool: Option<PoolId>, kill: bool) {
        self.shared.with_state(|state| state.cancel_all(pool, kill));
    }

    /// Cancels those tasks with an id in this range, such as a graph's, that have not begun; with
    /// `kill`, those too that run in worker processes.
    pub fn cancel_within(&self, range: RangeInclusive<TaskId>, kill: bool) {
        self.shared
            .with_state(|state| state.cancel_within(range, kill));
    }

    /// From now on a graph, the tasks with an id in this range, goes on by itself: nobody holds its tasks but
    /// one holder for each time that they are in `wanted`, which may have tasks of other graphs.
    pub fn hold_only(&self, graph: RangeInclusive<TaskId>, wanted: &[TaskId]) {
        self.shared
            .with_state(|state| state.hold_only(graph, wanted));
    }

    /// One of the holders of a task is gone. What nobody holds and nothing needs is cancelled, unless it has
    /// begun.
    pub fn release(&self, task: TaskId) {
        self.shared.with_state(|state| state.release(task));
    }

    /// How many of the tasks with an id in this range have not ended.
    pub fn unfinished_within(&self, range: RangeInclusive<TaskId>) -> usize {
        let count = |state: &mut State| state.tasks.ids_within(range).count();
        self.shared.with_state(count).unwrap_or(0)
    }

    /// Waits until there is no unfinished task, in one pool or in all.
    pub fn wait_idle(
        &self,
        pool: Option<PoolId>,
        timeout: Option<Duration>,
        check: Option<Check<'_>>,
    ) -> Waited {
        self.shared
            .wait_idle(pool, timeout.map(|timeout| clock::now() + timeout), check)
    }

    /// Waits until there is no unfinished task in one pool or in all, but for daemons
    /// ([`Policy::daemon`](crate::Policy)).
    pub fn wait_for_exit(
        &self,
        pool: Option<PoolId>,
        timeout: Option<Duration>,
        check: Option<Check<'_>>,
    ) -> Waited {
        self.shared
            .wait_for_exit(pool, timeout.map(|timeout| clock::now() + timeout), check)
    }

    /// Waits until a pool that was closed has no unfinished task, and until its processes have ended
    /// and been reaped. They end in time or are killed, except those of a patient pool.
    pub fn wait_closed(
        &self,
        pool: PoolId,
        timeout: Option<Duration>,
        mut check: Option<Check<'_>>,
    ) -> Waited {
        let deadline = timeout.map(|timeout| clock::now() + timeout);
        let first = check.as_mut().map(|check| &mut **check as Check<'_>);
        match self.shared.wait_idle(Some(pool), deadline, first) {
            Waited::Done => self.shared.wait_for_processes_of(pool, deadline, check),
            other => other,
        }
    }

    /// Ends the patience with the workers of a pool: those that are to end, now or later, have no more
    /// than a moment for it.
    pub fn hurry(&self, pool: PoolId) {
        self.shared.with_state(|state| state.hurry(Some(pool)));
    }

    /// Fails if nothing can be submitted any more, as submitting would.
    pub fn check_open(&self) -> Result<(), EngineError> {
        self.shared.check_open()
    }

    /// Whether the engine has been shut down.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Ends the engine: accepts nothing more, cancels what is unfinished, ends the workers. Tasks
    /// on threads of this process that are running go on, but nobody hears of them.
    pub fn shut_down(&self) {
        if !self.shared.close() {
            return;
        }
        self.shared.with_state(|state| state.hurry(None));
        // One after the other: which tasks run, and so have to be killed, is known only after workers
        // have given back the others.
        self.shared.with_state(|state| state.cancel_all(None, true));
        self.shared.with_state(State::close_pools);
        // Workers end by themselves when told to; those that do not are killed.
        let deadline = clock::now() + limits::EXIT_GRACE;
        self.shared.wait_for_workers(deadline);
        self.shared.with_state(|state| state.processes.kill_all());
        self.shared
            .wait_for_workers(clock::now() + limits::EXIT_GRACE);
        self.shared.role.close(&self.shared.poller);
        let thread = self
            .loop_thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            // A panic of the loop thread has been reported by the panic hook.
            let _: thread::Result<()> = thread.join();
        }
        self.shared.with_state(|state| {
            let lost = state
                .processes
                .give_up(&self.shared, "the engine is shut down");
            state.inputs.extend(lost);
        });
        self.shared.log_watch.end();
    }

    /// Panics with the state lock held, as a defect of the engine would. For tests.
    #[doc(hidden)]
    pub fn panic_inside(&self, message: &str) {
        self.shared.with_state(|_| panic!("{message}"));
    }

    /// Now, on the engine's clock.
    pub fn now() -> Time {
        clock::now()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shut_down();
    }
}
