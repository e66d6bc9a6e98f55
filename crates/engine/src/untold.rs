//! `Untold`: which promises have ended and are still to be told of, in the order in which they ended.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// When a promise ended, beside others of its process: greater is later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct EndedAt(u64);

impl EndedAt {
    /// Now.
    pub(crate) fn now() -> EndedAt {
        static LAST: AtomicU64 = AtomicU64::new(0);
        EndedAt(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Promises that have ended and of which somebody has still to hear. Each is noted before anybody can see that it has
/// ended, so that who sees the end of one finds here all that ended before it.
#[derive(Default, Debug)]
pub struct Untold(Mutex<BTreeSet<EndedAt>>);

impl Untold {
    fn ends(&self) -> MutexGuard<'_, BTreeSet<EndedAt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody has still to hear of it.
    pub fn add(&self, ended: EndedAt) {
        self.ends().insert(ended);
    }

    /// All have heard of it.
    pub fn remove(&self, ended: EndedAt) {
        self.ends().remove(&ended);
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.ends().is_empty()
    }

    /// Whether one is left that ended earlier.
    pub fn has_before(&self, ended: EndedAt) -> bool {
        self.ends().first().is_some_and(|first| *first < ended)
    }
}
