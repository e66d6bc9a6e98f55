//! A thread that waits for a promise.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// The task has ended.
    Done,
    /// Time ran out first.
    TimedOut,
    /// The caller's check asked to stop waiting, usually because of a signal.
    Interrupted,
}

/// Asked now and then, and after each signal, whether to stop waiting.
pub type Check<'a> = &'a mut (dyn FnMut() -> bool + Send);

/// One waiting thread. It either sleeps until it is unparked, or polls for everybody (see
/// `poll_role`) and is woken through the poller's descriptor.
pub(crate) struct Waiter {
    thread: Thread,
    /// Set while the thread polls. Stored before the thread looks at its promise for the last time
    /// and read after the promise was completed, both sequentially consistent: one sees the other.
    polling: AtomicBool,
    poller: Option<Arc<OwnedFd>>,
}

impl Waiter {
    /// A waiter for the current thread. `poller` is what wakes the thread while it polls.
    pub(crate) fn new(poller: Option<Arc<OwnedFd>>) -> Arc<Waiter> {
        Arc::new(Waiter {
            thread: thread::current(),
            polling: AtomicBool::new(false),
            poller,
        })
    }

    pub(crate) fn set_polling(&self) {
        self.polling.store(true, Ordering::SeqCst);
        // The look at the promise that follows must not be taken before the store; see `wake`.
        fence(Ordering::SeqCst);
    }

    pub(crate) fn stop_polling(&self) {
        self.polling.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_polling(&self) -> bool {
        self.polling.load(Ordering::SeqCst)
    }

    /// Hands a parked thread the poll role.
    pub(crate) fn promote(&self) {
        self.set_polling();
        self.thread.unpark();
    }

    /// Called after what the thread waits for has become visible.
    pub(crate) fn wake(&self) {
        if self.thread.id() != thread::current().id() {
            self.wake_whoever();
        } // else it completed its own promise while polling, and looks next
    }

    /// Also if it is this thread, which then does not fall asleep.
    fn wake_whoever(&self) {
        fence(Ordering::SeqCst);
        self.thread.unpark();
        if self.is_polling()
            && let Some(poller) = &self.poller
        {
            crate::poller::signal(poller);
        }
    }
}

/// Waiters that nothing in particular completes: each looks by itself whether what it waits for is so.
#[derive(Default)]
pub(crate) struct Waiters {
    waiters: Mutex<Vec<Arc<Waiter>>>,
    /// How many they are, to be looked at without the lock.
    count: AtomicUsize,
}

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Waiter>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, waiter: &Arc<Waiter>) {
        self.lock().push(Arc::clone(waiter));
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn remove(&self, waiter: &Arc<Waiter>) {
        self.count.fetch_sub(1, Ordering::SeqCst);
        self.lock().retain(|other| !Arc::ptr_eq(other, waiter));
    }

    /// Has all of them look again. This thread too: what it saw may be from before the change that it made.
    pub(crate) fn wake(&self) {
        if self.count.load(Ordering::SeqCst) > 0 {
            self.lock().iter().for_each(|waiter| waiter.wake_whoever());
        }
    }
}
