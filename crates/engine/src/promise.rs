//! The shared state of one submitted task: the engine completes it, callers wait for it.
//!
//! # Protocol
//!
//! The outcome is written once, under the engine's state lock (see `state`), so that whoever holds
//! that lock can rely on what is and is not finished. It is read without any lock. Waiters and
//! callbacks are registered under the promise's own small lock; completion takes them from there
//! after the outcome is visible, so a registration either sees the outcome or is seen by the
//! completion, never neither.
//!
//! The engine's side holds a [`Pledge`], once per promise, from the inbox to the end of the task. A
//! pledge that is dropped before it was kept, as by a panic that unwinds through its owner, ends the
//! promise with an error: whatever goes wrong, nobody waits for ever.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use lineshaft_core::TaskId;
use rustix::thread::Pid;

use crate::outcome::{Outcome, TaskError};
use crate::untold::{EndedAt, Untold};
use crate::wait::Waiter;

/// One engine of this process. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct EngineId(u64);

impl EngineId {
    /// The default: the engine of promises that were never a task.
    const NONE: EngineId = EngineId(0);

    pub(crate) fn new() -> EngineId {
        static LAST: AtomicU64 = AtomicU64::new(0);
        EngineId(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// The shared state of one submitted task.
#[derive(Debug, Default)]
pub struct Promise {
    /// Whose task it is; ids of tasks mean nothing to other engines.
    engine: EngineId,
    /// Zero until the task has been put into the inbox.
    task: AtomicU64,
    /// The task is a call of this process.
    local: bool,
    /// Zero until a thread has begun it.
    thread: AtomicI32,
    ended: OnceLock<EndedAt>,
    outcome: OnceLock<Outcome>,
    watch: Mutex<Watch>,
}

type Callback = Box<dyn FnOnce() + Send>;

/// Who wants to know of the outcome.
#[derive(Default)]
struct Watch {
    waiters: Vec<Arc<Waiter>>,
    callbacks: Vec<Callback>,
    /// Notes that it has ended.
    untold: Option<Arc<Untold>>,
    /// A task in a worker process needs the result, so it must exist in a portable form too.
    for_workers: bool,
    /// It is being made in the form that was asked for until now.
    requests_closed: bool,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{} waiters, {} callbacks",
            self.waiters.len(),
            self.callbacks.len()
        )
    }
}

/// Waiters and callbacks of a promise that has just been completed, to be told outside all locks.
#[must_use]
#[derive(Default)]
pub(crate) struct Wakes(Watch);

impl Wakes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.waiters.is_empty() && self.0.callbacks.is_empty()
    }

    pub(crate) fn run(self) {
        for waiter in self.0.waiters {
            waiter.wake();
        }
        for callback in self.0.callbacks {
            // Whose callback panics has been told so by the panic hook; others still get their calls.
            let _: std::thread::Result<()> =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(callback));
        }
    }
}

/// The engine's obligation to complete a promise.
pub(crate) struct Pledge(Arc<Promise>);

impl Pledge {
    /// Only for a promise that has none yet.
    pub(crate) fn new(promise: &Arc<Promise>) -> Pledge {
        Pledge(Arc::clone(promise))
    }

    pub(crate) fn promise(&self) -> &Arc<Promise> {
        &self.0
    }

    /// Completes the promise.
    pub(crate) fn keep(self, outcome: Outcome) -> Wakes {
        self.0.complete(outcome)
    }
}

impl Drop for Pledge {
    fn drop(&mut self) {
        if !self.0.is_done() {
            let error = TaskError::Poisoned("the engine lost the task".into());
            self.0.complete(Outcome::Error(error)).run();
        }
    }
}

impl Promise {
    pub(crate) fn new(engine: EngineId, local: bool) -> Arc<Promise> {
        Arc::new(Promise {
            engine,
            local,
            ..Promise::default()
        })
    }

    /// Whether the task is a call of this process.
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// The number of the thread of a pool that has begun it last; zero if there is none.
    pub fn thread(&self) -> i32 {
        self.thread.load(Ordering::Relaxed)
    }

    pub(crate) fn begin_on(&self, thread: Pid) {
        self.thread
            .store(thread.as_raw_nonzero().get(), Ordering::Relaxed);
    }

    /// A promise that was never a task: its outcome is known from the start.
    pub fn ended(outcome: Outcome) -> Arc<Promise> {
        let promise = Promise::new(EngineId::NONE, false);
        let nobody = promise.complete(outcome);
        debug_assert!(nobody.is_empty(), "nobody else knows the promise yet");
        promise
    }

    /// The engine that it is a task of.
    pub(crate) fn engine(&self) -> EngineId {
        self.engine
    }

    /// Whether it is a task of this engine.
    pub(crate) fn is_of(&self, engine: EngineId) -> bool {
        self.engine == engine
    }

    /// Whether the tasks of this engine may depend on it.
    pub(crate) fn is_known_to(&self, engine: EngineId) -> bool {
        self.engine == engine || self.is_done()
    }

    /// Whether both are tasks of one engine: of others, ids mean nothing.
    pub(crate) fn is_beside(&self, other: &Promise) -> bool {
        self.engine == other.engine && self.engine != EngineId::NONE
    }

    /// The task's identity.
    pub fn task(&self) -> TaskId {
        TaskId(self.task.load(Ordering::Relaxed))
    }

    pub(crate) fn set_task(&self, task: TaskId) {
        self.task.store(task.0, Ordering::Relaxed);
    }

    /// How the task ended, once it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.get()
    }

    /// Whether the task has ended.
    pub fn is_done(&self) -> bool {
        self.outcome.get().is_some()
    }

    /// When the task ended, once it has.
    pub fn ended_at(&self) -> Option<EndedAt> {
        self.ended.get().copied()
    }

    /// Has its end noted there; false if it has ended. That it is told, and the note removed, is the caller's affair.
    pub fn note_end(&self, untold: &Arc<Untold>) -> bool {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let is_in_time = !self.is_done();
        if is_in_time {
            watch.untold = Some(Arc::clone(untold));
        }
        is_in_time
    }

    /// Calls back once the task has ended: at once if it has already, otherwise on the thread that
    /// completes it, which may be the engine's loop. The callback must neither block nor take the
    /// interpreter's lock.
    pub fn on_done(&self, callback: impl FnOnce() + Send + 'static) {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_done() {
            drop(watch);
            callback();
        } else {
            watch.callbacks.push(Box::new(callback));
        }
    }

    /// Registers a waiter; false if there is nothing to wait for.
    pub(crate) fn add_waiter(&self, waiter: &Arc<Waiter>) -> bool {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_done() {
            return false;
        }
        watch.waiters.push(Arc::clone(waiter));
        true
    }

    pub(crate) fn remove_waiter(&self, waiter: &Arc<Waiter>) {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.waiters.retain(|other| !Arc::ptr_eq(other, waiter));
    }

    /// Asks for the result in a form that worker processes take, too. False if it comes too late,
    /// because the task has ended or is about to: then the caller must make one from the result.
    pub fn request_for_workers(&self) -> bool {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_done() || (watch.requests_closed && !watch.for_workers) {
            return false;
        }
        watch.for_workers = true;
        true
    }

    /// Takes no more such requests; whether there was one.
    pub(crate) fn close_requests(&self) -> bool {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.requests_closed = true;
        watch.for_workers
    }

    /// Sets the outcome. A second outcome is a defect of the engine.
    fn complete(&self, outcome: Outcome) -> Wakes {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = *self.ended.get_or_init(EndedAt::now);
        if let Some(untold) = watch.untold.take() {
            untold.add(ended);
        }
        let first = self.outcome.set(outcome).is_ok();
        assert!(first, "task {:?} was completed twice", self.task());
        Wakes(std::mem::take(&mut *watch))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier};
    use std::thread;

    use super::{EngineId, Pledge, Promise};
    use crate::outcome::{Outcome, TaskError};
    use crate::wait::Waiter;

    /// Who registers while the promise is completed either sees the outcome or is told.
    #[test]
    fn nobody_registers_in_vain() {
        const ROUNDS: usize = 3_000;
        let called = Arc::new(AtomicUsize::new(0));
        for _ in 0..ROUNDS {
            let promise = Promise::new(EngineId::new(), true);
            let pledge = Pledge::new(&promise);
            let together = Arc::new(Barrier::new(2));
            let watcher = {
                let (promise, together) = (Arc::clone(&promise), Arc::clone(&together));
                let called = Arc::clone(&called);
                thread::spawn(move || {
                    let waiter = Waiter::new(None);
                    together.wait();
                    promise.on_done(move || {
                        called.fetch_add(1, Ordering::Relaxed);
                    });
                    if promise.add_waiter(&waiter) {
                        while !promise.is_done() {
                            thread::park(); // hangs if the wake-up is lost
                        }
                    }
                })
            };
            together.wait();
            pledge.keep(Outcome::Error(TaskError::Cancelled)).run();
            watcher.join().expect("no panic");
        }
        assert_eq!(called.load(Ordering::Relaxed), ROUNDS, "each callback once");
    }

    #[test]
    fn a_pledge_that_is_lost_ends_its_promise() {
        let promise = Promise::new(EngineId::new(), true);
        let pledge = Pledge::new(&promise);
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _pledge = pledge;
            panic!("in a test, on purpose");
        }));
        assert!(unwound.is_err());
        assert!(matches!(
            promise.outcome(),
            Some(Outcome::Error(TaskError::Poisoned(_)))
        ));
    }
}
