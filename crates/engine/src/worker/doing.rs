//! What the main thread does, and how many threads wait for nested calls meanwhile.
//!
//! A task may wait for its nested calls itself, or for a thread that does: one of its own, one that an
//! earlier task has left behind, or for what a callback does. Which of them it waits for, nobody can know.
//! So as long as any thread of the worker waits for a nested call, or a callback for its answer, the
//! task that runs counts as blocked: its core is free, and what was sent ahead to the worker runs
//! elsewhere. A task that computes meanwhile takes more than its share; the alternative is a deadlock.
//! Who knows that nobody waits for a callback says so, as do those who tell when they wait for what it does.
//!
//! Its place in the pool is free for another task only if one of those calls may need it, because it runs in
//! the pool of this worker. In a pool that a task has opened for itself, nothing waits for tasks of its own pool:
//! there, no more tasks than the pool has workers have begun at any time, as the user wants it.
//!
//! The lock is taken before the outbox's, so that the messages are in the order of what they tell.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lineshaft_wire::{FromWorker, WireError};

use super::outbox::Outbox;

/// What the main thread does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Doing {
    /// It waits for a job, or is between two.
    #[default]
    Nothing,
    /// It runs the initializer. Its calls cannot run in the worker's own pool, each worker of which
    /// runs the initializer first; `pool` is opened for them with the first.
    Initializer { pool: Option<u64> },
    /// It runs a task.
    Task { task: u64, attempt: u32 },
}

/// Shared by the threads of a worker.
#[derive(Default)]
pub(super) struct Activity {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    doing: Doing,
    /// Threads that wait for nested calls.
    waiting: u32,
    /// Of these, for some that may run in the worker's own pool.
    in_own_pool: u32,
}

impl Activity {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what the main thread does now; returns what it did before.
    pub(super) fn set(&self, doing: Doing, outbox: &Outbox) -> Result<Doing, WireError> {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.doing, doing);
        if state.waiting > 0 && matches!(doing, Doing::Task { .. }) {
            state.tell(outbox)?;
            drop(state);
            outbox.flush()?;
        }
        Ok(before)
    }

    /// The pool for a call that names none: the worker's own, or that of the initializer, which
    /// `open` opens.
    pub(super) fn pool(
        &self,
        open: impl FnOnce() -> Result<u64, WireError>,
    ) -> Result<Option<u64>, WireError> {
        let mut state = self.state();
        let Doing::Initializer { pool } = &mut state.doing else {
            return Ok(None);
        };
        if pool.is_none() {
            *pool = Some(open()?);
        }
        Ok(*pool)
    }

    /// One more thread waits, until the guard is dropped.
    pub(super) fn wait<'a>(
        &'a self,
        in_own_pool: bool,
        outbox: &'a Outbox,
    ) -> Result<Waiting<'a>, WireError> {
        let waiting = Waiting {
            activity: self,
            in_own_pool,
            outbox,
        };
        self.enter(in_own_pool, outbox)?;
        Ok(waiting)
    }

    /// One more waits, until as many have left; `in_own_pool` for calls that may run there.
    pub(super) fn enter(&self, in_own_pool: bool, outbox: &Outbox) -> Result<(), WireError> {
        let mut state = self.state();
        state.waiting += 1;
        state.in_own_pool += u32::from(in_own_pool);
        if state.waiting == 1 || in_own_pool && state.in_own_pool == 1 {
            state.tell(outbox)?;
        }
        Ok(())
    }

    /// One of those that entered so no longer waits.
    pub(super) fn leave(&self, in_own_pool: bool, outbox: &Outbox) {
        let mut state = self.state();
        state.waiting -= 1;
        state.in_own_pool -= u32::from(in_own_pool);
        if state.waiting > 0 && !(in_own_pool && state.in_own_pool == 0) {
            return;
        }
        // If the engine is gone, the main thread finds out at its next turn.
        let told = state.tell(outbox);
        drop(state);
        let _: Result<(), WireError> = told.and_then(|()| outbox.flush());
    }
}

impl State {
    /// Tells the engine whether the task that runs counts as blocked.
    fn tell(&self, outbox: &Outbox) -> Result<(), WireError> {
        let Doing::Task { task, attempt } = self.doing else {
            return Ok(());
        };
        let message = if self.waiting > 0 {
            FromWorker::Blocked {
                task,
                attempt,
                keeps_place: self.in_own_pool == 0,
            }
        } else {
            FromWorker::Unblocked { task, attempt }
        };
        outbox.push_quietly(&message, Vec::new())
    }
}

/// A thread that waits for nested calls.
pub(super) struct Waiting<'a> {
    activity: &'a Activity,
    in_own_pool: bool,
    outbox: &'a Outbox,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.activity.leave(self.in_own_pool, self.outbox);
    }
}
