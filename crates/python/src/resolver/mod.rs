//! The threads that tell Python what happened: callbacks of futures, output and log records of
//! workers.
//!
//! The engine's loop never takes the interpreter's lock; it puts what happened here. Whoever is
//! attached anyway may deal with it too (`drain`); each is dealt with once, by one thread at a time and
//! in the order in which they came, callbacks in that of their pool. There is one thread more than
//! those that are in callbacks: what a callback waits for is seen to by the next.

mod before;
mod showing;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use lineshaft_core::PoolId;
use lineshaft_engine::{EndedAt, Untold};
use pyo3::prelude::*;

use crate::callbacks::{Callbacks, PATIENCE_CHECK, Place};
use crate::future::{FutureBase, call_callbacks, tell_waiters};
use crate::interpreter::hanging_if_unwound;
use crate::notices::{Notice, Notices};
use crate::own_thread::become_own;

pub use showing::Forward;

/// How often whoever waits for another thread looks for signals.
const SIGNAL_CHECK: Duration = Duration::from_millis(50);

/// How long a close in a hurry waits for the threads that deal with what is left.
const HURRY: Duration = Duration::from_secs(1);

/// The threads that tell Python what happened, at first none.
pub struct Resolver {
    /// Not a `Locked`, because threads wait for it; nothing of Python happens under it either.
    queue: Mutex<Queue>,
    /// Wakes threads of the resolver's own.
    wake: Condvar,
    /// Wakes those who wait until something has been dealt with.
    dealt: Condvar,
    /// Futures that are done and have not been published.
    pending: AtomicUsize,
    /// Futures that are watched, whether they are done or not.
    watched: AtomicUsize,
    /// Notices that have not been shown.
    unshown: AtomicUsize,
    console: Option<Py<PyAny>>,
}

#[derive(Default)]
struct Queue {
    /// Futures that somebody watches and that are done.
    done: VecDeque<(PoolId, Py<FutureBase>)>,
    /// The thread that tells waiters of these right now.
    telling: Option<ThreadId>,
    /// What becomes of them then.
    callbacks: Callbacks,
    notices: Notices,
    /// The thread that shows what workers printed right now.
    showing: Option<ThreadId>,
    /// The resolver's own.
    threads: Vec<ThreadId>,
    closed: bool,
}

impl Resolver {
    /// `console` has methods `output(worker, is_stderr, data)` and `log(record)`.
    pub fn new(console: Option<Py<PyAny>>) -> Arc<Resolver> {
        Arc::new(Resolver {
            queue: Mutex::default(),
            wake: Condvar::new(),
            dealt: Condvar::new(),
            pending: AtomicUsize::new(0),
            watched: AtomicUsize::new(0),
            unshown: AtomicUsize::new(0),
            console,
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody watches a future of this pool, which is to be handed in by `done`. Returns where its end is to be
    /// noted if it has callbacks of the program.
    pub fn watch(&self, pool: PoolId) -> Arc<Untold> {
        self.watched.fetch_add(1, Ordering::SeqCst);
        self.queue().callbacks.watch(pool)
    }

    /// A future that somebody watches is done.
    pub fn done(self: &Arc<Self>, pool: PoolId, future: Py<FutureBase>) {
        let mut queue = self.queue();
        queue.done.push_back((pool, future));
        self.pending.fetch_add(1, Ordering::SeqCst);
        self.wake_up(queue);
    }

    fn push(self: &Arc<Self>, notice: Notice) {
        let mut queue = self.queue();
        if queue.notices.push(notice) {
            self.unshown.fetch_add(1, Ordering::SeqCst);
            self.wake_up(queue);
        }
    }

    /// Sees to it that a thread deals with what is in the queue.
    fn wake_up(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>) {
        let is_free = |thread: &ThreadId| !queue.callbacks.is_in_callback(*thread);
        if !queue.closed && !queue.threads.iter().any(is_free) {
            let resolver = Arc::clone(self);
            let spawned = thread::Builder::new()
                .name("lineshaft-resolver".into())
                .spawn(move || {
                    become_own();
                    // One state of the thread for all callbacks: what they leave in `threading.local`
                    // is there for the next.
                    let serve = || resolver.serve();
                    if Python::try_attach(|py| py.detach(serve)).is_none() {
                        resolver.serve();
                    }
                });
            // Without a thread, whoever is attached next deals with it.
            queue
                .threads
                .extend(spawned.map(|spawned| spawned.thread().id()));
        }
        self.wake.notify_one();
    }

    /// Deals with what is there, on this thread, unless another one does so already: shows what was
    /// printed, tells waiters, and calls the callbacks of one pool or, without one, of all. Raises what a
    /// signal handler raises meanwhile; the rest is left to others.
    pub fn drain(self: &Arc<Self>, py: Python<'_>, pool: Option<PoolId>) -> PyResult<()> {
        if self.unshown.load(Ordering::SeqCst) == 0 && self.pending.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        let _rest = Rest(self);
        loop {
            self.show_all(py)?;
            self.tell_all(py)?;
            let Some(step) = self.enter_line(pool) else {
                return Ok(());
            };
            let future = step.future.bind(py);
            let this = future.get();
            let told = if this.is_called_early() && !this.is_told_at_once() {
                Ok(()) // it is held
            } else {
                // Somebody may have begun to wait since others were told.
                tell_waiters(future, || self.queue().closed)
            };
            told.and(call_callbacks(future))?;
        }
    }

    /// Tells all who wait for futures that are done.
    fn tell_all(&self, py: Python<'_>) -> PyResult<()> {
        if self.queue().done.is_empty() {
            return Ok(()); // as between the callbacks of one future and those of the next
        }
        let Some(_turn) = Turn::take(self, |queue| &mut queue.telling) else {
            return Ok(());
        };
        loop {
            let Some((pool, future)) = self.next_to_tell(py) else {
                return Ok(());
            };
            // What was printed comes before the future that is done, which is in hand by now: whatever is
            // raised, it goes on.
            let shown = self.show_all(py);
            let told = tell_waiters(future.bind(py), || self.queue().closed);
            self.told(pool, future);
            shown.and(told)?;
        }
    }

    /// Takes the next future that is done, of those that need not wait for callbacks of others. Of the others, only who
    /// waits for them has to: their own callbacks are for the row of their thread.
    fn next_to_tell(&self, py: Python<'_>) -> Option<(PoolId, Py<FutureBase>)> {
        let mut queue = self.queue();
        loop {
            let (pool, future) = queue.done.pop_front()?;
            let this = future.get();
            let is_left = queue.callbacks.are_left_before(pool, this, Instant::now());
            let ended = this.ended_at().filter(|_| is_left);
            let Some(ended) = ended else {
                return Some((pool, future));
            };
            if this.call_early() {
                // It is published twice: to those who wait for it, and to its callbacks.
                queue.callbacks.watch(pool);
                self.watched.fetch_add(1, Ordering::SeqCst);
                self.pending.fetch_add(1, Ordering::SeqCst);
                queue.callbacks.push(pool, future.clone_ref(py));
            }
            queue.callbacks.hold(pool, ended, future);
            // Whoever waits for work looks after those that are held.
            self.wake.notify_one();
        }
    }

    /// The waiters of a future have been told: next are its callbacks.
    fn told(&self, pool: PoolId, future: Py<FutureBase>) {
        let has_callbacks = future.get().has_callbacks();
        let mut queue = self.queue();
        if has_callbacks {
            queue.callbacks.push(pool, future);
            return;
        }
        // Who calls callbacks early says when all have been.
        let this = future.get();
        let called = this.ended_at().filter(|_| !this.is_called_early());
        self.published(queue, pool, called);
        drop(future);
    }

    /// All who watch a future have been told.
    fn published(&self, mut queue: MutexGuard<'_, Queue>, pool: PoolId, ended: Option<EndedAt>) {
        queue.release(pool, ended);
        queue.callbacks.published(pool);
        drop(queue);
        self.pending.fetch_sub(1, Ordering::SeqCst);
        self.watched.fetch_sub(1, Ordering::SeqCst);
        self.dealt.notify_all();
    }

    /// Takes the next future that has callbacks, of a row that nobody is in.
    fn enter_line(self: &Arc<Self>, pool: Option<PoolId>) -> Option<Step<'_>> {
        let mut queue = self.queue();
        let (place, future) = queue.callbacks.begin(pool, thread::current().id())?;
        // Nothing else waits for the callback.
        if queue.has_work() || queue.callbacks.has_held() {
            self.wake_up(queue);
        } else {
            drop(queue);
        }
        Some(Step {
            resolver: self,
            place,
            future,
        })
    }

    fn serve(self: &Arc<Self>) {
        let this = thread::current().id();
        loop {
            {
                let mut queue = self.queue();
                while !queue.has_work() {
                    if queue.closed {
                        queue.threads.retain(|thread| *thread != this);
                        return;
                    }
                    queue = self.wait_for_work(queue);
                }
            }
            if Python::try_attach(|py| hanging_if_unwound(|| self.drain_or_report(py, None)))
                .is_none()
            {
                // The interpreter is shutting down: there is nobody left to tell.
                let mut queue = self.queue();
                let left = (
                    std::mem::take(&mut queue.notices),
                    std::mem::take(&mut queue.done),
                    std::mem::take(&mut queue.callbacks),
                );
                queue.closed = true;
                self.unshown.store(0, Ordering::SeqCst);
                self.pending.store(0, Ordering::SeqCst);
                self.watched.store(0, Ordering::SeqCst);
                drop(queue);
                drop(left);
            }
        }
    }

    /// Waits until there may be something to do.
    fn wait_for_work<'a>(&'a self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        if !queue.callbacks.has_held() {
            let woken = self.wake.wait(queue);
            return woken.unwrap_or_else(PoisonError::into_inner);
        }
        let woken = self.wake.wait_timeout(queue, PATIENCE_CHECK);
        let (mut queue, _) = woken.unwrap_or_else(PoisonError::into_inner);
        for pool in queue.callbacks.with_held() {
            queue.release(pool, None);
        }
        queue
    }

    /// For threads that have nobody to raise to.
    pub fn drain_or_report(self: &Arc<Self>, py: Python<'_>, pool: Option<PoolId>) {
        if let Err(error) = self.drain(py, pool) {
            error.write_unraisable(py, None);
        }
    }

    /// Sees to it that what is there has been dealt with, by this thread or another: of one pool, of
    /// which all tasks have ended, or of all. Raises what a signal handler raises meanwhile.
    pub fn finish(self: &Arc<Self>, py: Python<'_>, pool: Option<PoolId>) -> PyResult<()> {
        loop {
            self.drain(py, pool)?;
            if self.queue().is_finished(pool) {
                return Ok(());
            }
            self.wait(py, pool)?;
        }
    }

    /// Waits for a moment while another thread deals with what is left.
    fn wait(&self, py: Python<'_>, pool: Option<PoolId>) -> PyResult<()> {
        self.wait_unless(py, |queue| queue.is_finished(pool))
    }

    /// Waits for a moment while another thread deals with what is left. Raises what a signal handler raises meanwhile.
    fn wait_unless(&self, py: Python<'_>, is_over: impl Fn(&Queue) -> bool + Sync) -> PyResult<()> {
        py.detach(|| {
            let queue = self.queue();
            if !is_over(&queue) {
                let waited = self.dealt.wait_timeout(queue, SIGNAL_CHECK);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
        });
        py.check_signals()
    }

    /// Deals with what is left and ends the threads. In a hurry these are left alone with it, and
    /// waited for only briefly: who was interrupted within the standard library's pure Python locks
    /// holds one for ever, and whoever tells a waiter of a future may need it.
    pub fn close(self: &Arc<Self>, py: Python<'_>, in_hurry: bool) -> PyResult<()> {
        let has_threads = {
            let mut queue = self.queue();
            queue.closed = true;
            !queue.threads.is_empty()
        };
        self.wake.notify_all();
        if !in_hurry || !has_threads {
            return self.finish(py, None);
        }
        let deadline = Instant::now() + HURRY;
        while !self.queue().is_finished(None) && Instant::now() < deadline {
            self.wait(py, None)?;
        }
        Ok(())
    }
}

impl Queue {
    /// Has those told of that were held and need not be any more; one more future has been told of.
    fn release(&mut self, pool: PoolId, told: Option<EndedAt>) {
        let free = self.callbacks.release(pool, told).into_iter();
        self.done.extend(free.map(|future| (pool, future)));
    }

    /// Whether there is something that no thread deals with.
    fn has_work(&self) -> bool {
        (!self.notices.is_empty() && self.showing.is_none())
            || (!self.done.is_empty() && self.telling.is_none())
            || self.callbacks.has_free()
    }

    /// Whether nothing of a pool, or of all, is left to be dealt with, except by whoever asks. What this
    /// thread is about itself, it cannot wait for. What was printed is waited for only by who asks for
    /// all: it may need a lock of the caller's.
    fn is_finished(&self, pool: Option<PoolId>) -> bool {
        let this = thread::current().id();
        if let Some(pool) = pool {
            return self.telling == Some(this) || self.callbacks.is_published(pool, this);
        }
        (self.done.is_empty() && self.telling.is_none() || self.telling == Some(this))
            && (self.notices.is_empty() && self.showing.is_none() || self.showing == Some(this))
            && self.callbacks.are_quiet(this)
    }
}

/// A future in hand of which the callbacks are called, until it is dropped.
struct Step<'a> {
    resolver: &'a Resolver,
    place: Place,
    future: Py<FutureBase>,
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        let mut queue = self.resolver.queue();
        queue.callbacks.end(self.place);
        let ended = self.future.get().ended_at();
        self.resolver.published(queue, self.place.pool, ended);
    }
}

/// What whoever drains leaves to others, once this is dropped.
struct Rest<'a>(&'a Arc<Resolver>);

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        let queue = self.0.queue();
        if queue.has_work() {
            self.0.wake_up(queue);
        }
    }
}

/// The right to tell waiters, or to show what was printed, until it is dropped.
struct Turn<'a> {
    resolver: &'a Resolver,
    holder: fn(&mut Queue) -> &mut Option<ThreadId>,
}

impl<'a> Turn<'a> {
    fn take(
        resolver: &'a Resolver,
        holder: fn(&mut Queue) -> &mut Option<ThreadId>,
    ) -> Option<Turn<'a>> {
        let mut queue = resolver.queue();
        let held = holder(&mut queue);
        if held.is_some() {
            return None;
        }
        *held = Some(thread::current().id());
        Some(Turn { resolver, holder })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *(self.holder)(&mut self.resolver.queue()) = None;
        self.resolver.dealt.notify_all();
    }
}
