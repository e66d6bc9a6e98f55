//! Memory beyond its budget goes to disk, on a thread of its own.
//!
//! Whoever takes a worker's result over holds the state lock or polls for everybody, and must not
//! wait for the disk. Workers look at the budget themselves and write to disk what does not fit, so
//! memory cannot run far ahead of this thread.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use lineshaft_store::{Store, StoreError};

/// Starts the thread when there is something to do; it ends when there is not.
#[derive(Default)]
pub(crate) struct Relief {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    running: bool,
    /// Asked for since the thread last began to look.
    asked: bool,
}

impl Relief {
    /// Has segments spilled until memory is within its budget, soon.
    pub(crate) fn ask(&self, store: &Arc<Store>) {
        let mut state = lock(&self.state);
        state.asked = true;
        if state.running {
            return;
        }
        let (shared, store) = (Arc::clone(&self.state), Arc::clone(store));
        let started = thread::Builder::new()
            .name("lineshaft-spill".into())
            .spawn(move || relieve(&shared, &store));
        // If there can be no thread, memory stays over its budget until the next object comes.
        state.running = started.is_ok();
    }
}

fn relieve(shared: &Mutex<State>, store: &Store) {
    crate::signals::block_all();
    while begin(shared) {
        // A full disk is counted by the store, and told to whoever needs room next.
        let _over_budget: Result<(), StoreError> = store.relieve();
    }
}

/// Whether there is something to do; if not, the thread ends.
fn begin(shared: &Mutex<State>) -> bool {
    let mut state = lock(shared);
    state.running = std::mem::take(&mut state.asked);
    state.running
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
