//! What is called before anybody sees that a future has ended; see `callbacks`.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Instant;

use lineshaft_core::PoolId;
use lineshaft_engine::{BlockedCall, Untold};
use pyo3::prelude::*;

use crate::event_loop::Blocked;
use crate::future::FutureBase;

use super::{Queue, Resolver, SIGNAL_CHECK};

impl Resolver {
    /// Where futures of this pool are noted that have ended while their callbacks are to be called, if any is watched.
    pub fn untold(&self, pool: PoolId) -> Option<Arc<Untold>> {
        self.queue().callbacks.untold(pool)
    }

    /// Whether this thread calls a callback.
    pub fn is_in_callback(&self) -> bool {
        let this = thread::current().id();
        self.watched.load(Ordering::SeqCst) > 0 && self.queue().callbacks.is_in_callback(this)
    }

    /// Whether callbacks of futures of this pool that ended before this one are still to be called.
    pub fn are_left_before(&self, pool: PoolId, future: &FutureBase) -> bool {
        let is_left = |queue: &Queue| {
            let callbacks = &queue.callbacks;
            callbacks.are_left_before(pool, future, Instant::now())
        };
        self.watched.load(Ordering::SeqCst) > 0 && is_left(&self.queue())
    }

    /// Waits until the callbacks of futures of this pool have been called that ended before this one, as they have in
    /// `concurrent.futures` by then, or until the deadline; in a callback there is nothing to wait for. Raises what a
    /// signal handler raises meanwhile.
    pub fn wait_for_callbacks_before(
        &self,
        py: Python<'_>,
        pool: PoolId,
        future: &FutureBase,
        deadline: Option<Instant>,
    ) -> PyResult<()> {
        if !self.are_left_before(pool, future) {
            return Ok(());
        }
        let (this, began) = (thread::current().id(), Instant::now());
        let is_over = |queue: &Queue| {
            queue.closed
                || queue.callbacks.is_in_callback(this)
                || !queue.callbacks.are_left_before(pool, future, began)
                || deadline.is_some_and(|deadline| deadline <= Instant::now())
        };
        if is_over(&self.queue()) {
            return Ok(());
        }
        // Others have what this thread does not use: its core, and the calls of its event loop.
        let _lent = BlockedCall::new();
        let _blocked = Blocked::begin(py)?;
        while !is_over(&self.queue()) {
            py.detach(|| {
                let queue = self.queue();
                if !is_over(&queue) {
                    let left = deadline.map(|it| it.saturating_duration_since(Instant::now()));
                    let nap = left.map_or(SIGNAL_CHECK, |left| left.min(SIGNAL_CHECK));
                    let waited = self.dealt.wait_timeout(queue, nap);
                    drop(waited.unwrap_or_else(PoisonError::into_inner));
                }
            });
            py.check_signals()?;
        }
        Ok(())
    }

    /// Whether the callbacks of all futures that have ended have been called, of one pool or of all, but for those
    /// that this thread calls.
    pub fn has_called_back(&self, pool: Option<PoolId>) -> bool {
        let this = thread::current().id();
        self.watched.load(Ordering::SeqCst) == 0 || !self.queue().callbacks.are_left(pool, this)
    }

    /// Waits until they have been, and calls those that no other thread calls. Unlike `finish`, it waits for no
    /// future that has not ended. Raises what a signal handler raises meanwhile.
    pub fn finish_callbacks(
        self: &Arc<Self>,
        py: Python<'_>,
        pool: Option<PoolId>,
    ) -> PyResult<()> {
        let this = thread::current().id();
        while !self.has_called_back(pool) {
            self.drain(py, pool)?;
            self.wait_unless(py, |queue| !queue.callbacks.are_left(pool, this))?;
        }
        Ok(())
    }
}
