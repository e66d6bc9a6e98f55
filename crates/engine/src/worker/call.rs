//! One nested call, and who waits for it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};

use crate::outcome::DeathReport;
use crate::process::lost;

use super::jobs::Received;

/// One nested call.
#[derive(Default)]
pub struct NestedCall {
    id: u64,
    in_own_pool: bool,
    answer: OnceLock<Result<Received, Unanswered>>,
    watch: Mutex<Watch>,
}

/// Who wants to know of a call.
#[derive(Default)]
struct Watch {
    callbacks: Vec<Box<dyn FnOnce() + Send>>,
    /// Threads that wait, but for the one that reads the socket.
    waiters: Vec<Thread>,
    /// What the engine last said to a request to cancel it.
    cancelled: Option<bool>,
}

/// Why a nested call has no result.
#[derive(Debug)]
pub enum Unanswered {
    /// It raised: the pickled exception.
    Raised(Received),
    /// Its worker died under it.
    Died(Box<DeathReport>),
    /// It did not run to an end; `kind` is one of `lost`.
    Lost {
        /// One of the kinds in `lost`.
        kind: u8,
        /// The engine's words.
        message: String,
    },
}

impl NestedCall {
    pub(super) fn new(id: u64, in_own_pool: bool) -> Arc<NestedCall> {
        Arc::new(NestedCall {
            id,
            in_own_pool,
            ..NestedCall::default()
        })
    }

    /// Its number in this worker.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether it, or one that it needs, may run in the pool of the worker that made it.
    pub fn in_own_pool(&self) -> bool {
        self.in_own_pool
    }

    /// Its answer, once it is there.
    pub fn answer(&self) -> Option<&Result<Received, Unanswered>> {
        self.answer.get()
    }

    /// Whether it has its answer, and that is that it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.answer(), Some(Err(Unanswered::Lost { kind, .. })) if *kind == lost::CANCELLED)
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn complete(&self, answer: Result<Received, Unanswered>) {
        let callbacks = {
            let mut watch = self.watch();
            let first = self.answer.set(answer).is_ok();
            debug_assert!(first, "a nested call is answered once");
            watch.waiters.iter().for_each(Thread::unpark);
            std::mem::take(&mut watch.callbacks)
        };
        for callback in callbacks {
            callback();
        }
    }

    pub(super) fn add_callback(&self, callback: impl FnOnce() + Send + 'static) {
        let mut watch = self.watch();
        if self.answer.get().is_none() {
            watch.callbacks.push(Box::new(callback));
        } else {
            drop(watch);
            callback();
        }
    }

    /// What the engine said to the last request to cancel the call, if it has answered.
    pub(super) fn cancelled(&self) -> Option<bool> {
        self.watch().cancelled
    }

    /// A new request to cancel it is about to be made.
    pub(super) fn forget_cancelled(&self) {
        self.watch().cancelled = None;
    }

    pub(super) fn cancel_answered(&self, cancelled: bool) {
        let mut watch = self.watch();
        watch.cancelled = Some(cancelled);
        watch.waiters.iter().for_each(Thread::unpark);
    }

    /// From now on the current thread is unparked when something becomes known of the call.
    pub(super) fn add_waiter(&self) {
        self.watch().waiters.push(thread::current());
    }

    pub(super) fn remove_waiter(&self) {
        let me = thread::current().id();
        self.watch().waiters.retain(|thread| thread.id() != me);
    }
}
