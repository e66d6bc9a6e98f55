//! What a worker has to send: held back for a moment, so that many small results leave together.
//!
//! A result that is held back is kept beside the control page as well, where the engine finds it if the
//! worker dies under the next task. One that cannot be kept there is sent at once.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use lineshaft_core::Time;
use lineshaft_store::SharedPage;
use lineshaft_wire::{ControlPage, FromWorker, Sender, WireError};

use crate::clock;
use crate::descriptors::Ours;
use crate::limits::{RESULT_BYTES, RESULT_DELAY};

/// What a worker has to send. Usable from any of its threads.
pub(super) struct Outbox {
    socket: Arc<Ours>,
    control: Arc<SharedPage<ControlPage>>,
    state: Mutex<State>,
    armed: Condvar,
}

#[derive(Default)]
struct State {
    sender: Sender,
    /// Since when the oldest message waits.
    since: Option<Time>,
    /// The second thread exists.
    watched: bool,
    /// It watches the clock; otherwise it sleeps until it is told.
    watching: bool,
}

impl Outbox {
    pub(super) fn new(socket: Arc<Ours>, control: Arc<SharedPage<ControlPage>>) -> Arc<Outbox> {
        Arc::new(Outbox {
            socket,
            control,
            state: Mutex::default(),
            armed: Condvar::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message that may wait for a moment.
    pub(super) fn push(
        self: &Arc<Self>,
        message: &FromWorker<'_>,
        descriptors: Vec<OwnedFd>,
        now: Time,
    ) -> Result<(), WireError> {
        let mut state = self.state();
        state.sender.push(message, descriptors)?;
        self.wait_or_flush(state, now)
    }

    /// Adds the result of a task. The task will not run again once this has returned.
    pub(super) fn push_result(
        self: &Arc<Self>,
        message: &FromWorker<'_>,
        descriptors: Vec<OwnedFd>,
        now: Time,
    ) -> Result<(), WireError> {
        let mut state = self.state();
        let before = state.sender.pending_bytes();
        // A page cannot keep descriptors.
        let is_plain = descriptors.is_empty();
        state.sender.push(message, descriptors)?;
        let frame = &state.sender.pending()[before..];
        if is_plain && self.control.held().keep(frame) {
            self.wait_or_flush(state, now)
        } else {
            self.flush_locked(&mut state)
        }
    }

    /// Sees to it that what was pushed leaves soon.
    fn wait_or_flush(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        now: Time,
    ) -> Result<(), WireError> {
        let since = *state.since.get_or_insert(now);
        if state.sender.pending_bytes() >= RESULT_BYTES || now - since >= RESULT_DELAY {
            return self.flush_locked(&mut state);
        }
        if state.watching {
            return Ok(());
        }
        if !state.watched {
            let outbox = Arc::clone(self);
            let watch = thread::Builder::new().spawn(move || outbox.watch());
            if watch.is_err() {
                // The process may have no more threads, so nothing can be held back.
                return self.flush_locked(&mut state);
            }
            state.watched = true;
        }
        state.watching = true;
        self.armed.notify_one();
        Ok(())
    }

    /// Adds a message that the worker itself sends on before it does anything else.
    pub(super) fn push_quietly(
        &self,
        message: &FromWorker<'_>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), WireError> {
        self.state().sender.push(message, descriptors)
    }

    /// Sends everything.
    pub(super) fn flush(&self) -> Result<(), WireError> {
        self.flush_locked(&mut self.state())
    }

    fn flush_locked(&self, state: &mut State) -> Result<(), WireError> {
        if !state.sender.is_empty() {
            state.sender.flush_blocking(self.socket.as_fd())?;
            self.control.held().forget();
        }
        state.since = None;
        Ok(())
    }

    /// The second thread: sends what has waited long enough.
    fn watch(&self) {
        crate::signals::block_all();
        let mut state = self.state();
        loop {
            if !state.watching {
                state = self
                    .armed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state = self
                .armed
                .wait_timeout(state, RESULT_DELAY)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            match state.since {
                None => state.watching = false,
                // If the engine is gone, the main thread finds out at its next turn: what waits has
                // waited long enough to be sent at once.
                Some(since) if clock::now() - since >= RESULT_DELAY => {
                    state.watching = self.flush_locked(&mut state).is_ok();
                }
                Some(_) => {}
            }
        }
    }
}
