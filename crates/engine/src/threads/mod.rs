//! The threads of a thread pool.
//!
//! The scheduler decides which calls are handed over; the lanes only see to it that there are
//! threads for them. A few more calls than threads are handed over at a time, so that a thread
//! finds its next call without going through the scheduler. Threads start when there is a call and
//! none of them is free, and stay until the pool closes or, if it says so, until they have been idle for long.
//!
//! A thread whose call waits for tasks that may need its place, or outlives its time limit, does not count: another
//! may run beside it.

mod dispatch;
mod waits;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lineshaft_core::{Attempt, TaskId, Time, WorkerId};
use rustc_hash::FxHashMap;
use rustix::process::{Resource, getrlimit};
use rustix::thread::{Pid, gettid};

use crate::limits::UNLIMITED_STACK_BYTES;
use crate::runner::{Call, Calls, Runner};
use crate::signals::Mask;

pub(crate) use waits::{Awaited, Waits};

/// The threads of one pool and the calls that wait for one of them.
pub(crate) struct Lanes {
    queue: Mutex<Queue>,
    changed: Condvar,
    runner: Arc<dyn Runner>,
    name: String,
    are_held: bool,
    stack_bytes: usize,
    idle_max: Option<Duration>,
    signal_mask: Mask,
}

/// What threads a pool has.
pub(crate) struct Threads {
    pub(crate) max: usize,
    /// A call holds its thread until it ends. Others are handed on at once: those that wait take no thread.
    pub(crate) are_held: bool,
    pub(crate) stack_bytes: Option<usize>,
    pub(crate) idle_max: Option<Duration>,
}

struct Queue {
    calls: VecDeque<Call>,
    idle: usize,
    threads: usize,
    /// Threads there have ever been: each has its number in its name.
    started: usize,
    /// Threads there may be: those of the pool, and one for each that does not count.
    threads_max: usize,
    /// What each thread runs that is not idle.
    running: FxHashMap<Pid, (TaskId, Attempt)>,
    closed: bool,
}

/// What the C library gives to new threads. Address space that is not touched costs nothing.
fn default_stack_bytes() -> usize {
    let limit = getrlimit(Resource::Stack).current;
    let bytes = limit.and_then(|bytes| usize::try_from(bytes).ok());
    bytes.unwrap_or(UNLIMITED_STACK_BYTES)
}

impl Lanes {
    /// Whether calls are handed on at once, to be run elsewhere: on an event loop.
    pub(crate) fn hand_on(&self) -> bool {
        !self.are_held
    }

    /// The calls whose turn it is on event loops; see [`Runner::turns`].
    pub(crate) fn turns(&self) -> Vec<(TaskId, Time)> {
        self.runner.turns()
    }

    /// Threads with the signal mask of the caller.
    pub(crate) fn new(name: String, options: &Threads, runner: Arc<dyn Runner>) -> Arc<Lanes> {
        let &Threads {
            max: threads_max,
            are_held,
            stack_bytes,
            idle_max,
        } = options;
        assert!(threads_max > 0, "a pool without threads runs nothing");
        let queue = Queue {
            calls: VecDeque::new(),
            idle: 0,
            threads: 0,
            started: 0,
            threads_max,
            running: FxHashMap::default(),
            closed: false,
        };
        Arc::new(Lanes {
            queue: Mutex::new(queue),
            changed: Condvar::new(),
            runner,
            name,
            are_held,
            stack_bytes: stack_bytes.unwrap_or_else(default_stack_bytes),
            idle_max,
            signal_mask: Mask::of_this_thread(),
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a call over. If not even one thread can be started, the call stays in the queue, to
    /// be drained.
    pub(crate) fn push(self: &Arc<Self>, call: Call) -> std::io::Result<()> {
        let mut queue = self.queue();
        queue.calls.push_back(call);
        self.provide(&mut queue)
    }

    /// A thread no longer counts, because its call waits for others or is given up.
    pub(crate) fn discount_one(self: &Arc<Self>) -> std::io::Result<()> {
        if self.hand_on() {
            return Ok(());
        }
        let mut queue = self.queue();
        queue.threads_max += 1;
        if queue.calls.is_empty() {
            Ok(())
        } else {
            self.provide(&mut queue)
        }
    }

    /// It counts again. There may be one thread too many from now on; it is the scheduler that
    /// limits how many calls run.
    pub(crate) fn count_one(&self) {
        if self.are_held {
            self.queue().threads_max -= 1;
        }
    }

    /// Sees to it that there is a thread for what is in the queue.
    fn provide(self: &Arc<Self>, queue: &mut Queue) -> std::io::Result<()> {
        if queue.idle > 0 {
            self.changed.notify_one();
        }
        if queue.calls.len() <= queue.idle || queue.threads >= queue.threads_max {
            return Ok(());
        }
        let lanes = Arc::clone(self);
        let name = format!("{}_{}", self.name, queue.started);
        match thread::Builder::new()
            .name(name)
            .stack_size(self.stack_bytes)
            .spawn(move || lanes.serve())
        {
            Ok(_detached) => {
                queue.threads += 1;
                queue.started += 1;
            }
            Err(_) if queue.threads > 0 => {} // the threads that exist will come to it
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The next call for a thread, which has ended the one before.
    pub(crate) fn try_next(&self, thread: Pid) -> Option<Call> {
        let mut queue = self.queue();
        let call = queue.calls.pop_front();
        match &call {
            Some(call) => {
                if self.are_held {
                    call.promise.begin_on(thread);
                }
                queue.running.insert(thread, (call.task, call.attempt))
            }
            None => queue.running.remove(&thread),
        };
        call
    }

    /// The threads that run calls, and which.
    pub(crate) fn running(&self) -> Vec<(Pid, (TaskId, Attempt))> {
        let queue = self.queue();
        queue
            .running
            .iter()
            .map(|(&thread, &call)| (thread, call))
            .collect()
    }

    /// Whether the call waits for a thread.
    pub(crate) fn holds(&self, task: TaskId) -> bool {
        self.queue().calls.iter().any(|call| call.task == task)
    }

    /// Takes back the calls that the scheduler handed to this worker and that no thread has begun. The
    /// threads are shared: while calls wait for others, several workers stand for them.
    pub(crate) fn take_back(&self, worker: WorkerId) -> Vec<Call> {
        let mut queue = self.queue();
        let (back, kept): (VecDeque<_>, _) = queue
            .calls
            .drain(..)
            .partition(|call| call.worker == worker);
        queue.calls = kept;
        Vec::from(back)
    }

    /// Takes back all calls that no thread has begun.
    pub(crate) fn drain(&self) -> Vec<Call> {
        self.queue().calls.drain(..).collect()
    }

    pub(crate) fn close(&self) {
        self.queue().closed = true;
        self.changed.notify_all();
    }

    fn wait<'a>(
        &self,
        queue: MutexGuard<'a, Queue>,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, Queue> {
        let woken = match timeout {
            None => self.changed.wait(queue),
            Some(timeout) => self
                .changed
                .wait_timeout(queue, timeout)
                .map(|(queue, _)| queue)
                .map_err(|poisoned| PoisonError::new(poisoned.into_inner().0)),
        };
        woken.unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        self.signal_mask.apply();
        self.runner.around(&mut || self.run_calls());
    }

    fn run_calls(&self) {
        let thread = gettid();
        loop {
            // A panic in a runner loses the calls it held, which fail by being dropped; the thread
            // goes on for the others.
            let _: thread::Result<()> =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    self.runner.run(&mut Calls {
                        lanes: self,
                        thread,
                    });
                }));
            let mut queue = self.queue();
            queue.running.remove(&thread);
            let idle_until = self.idle_max.map(|idle_max| Instant::now() + idle_max);
            while queue.calls.is_empty() {
                let idle_left =
                    idle_until.map(|until| until.saturating_duration_since(Instant::now()));
                if queue.closed || idle_left == Some(Duration::ZERO) {
                    queue.threads -= 1;
                    return;
                }
                queue.idle += 1;
                queue = self.wait(queue, idle_left);
                queue.idle -= 1;
            }
        }
    }
}
