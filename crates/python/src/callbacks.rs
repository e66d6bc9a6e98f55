//! Futures that somebody watches, on their way to those who do.
//!
//! Waiters are told first, whatever the pool, and at once: they do nothing but wake a thread. A callback
//! is code of the program, which may block. So each pool has a line, in which callbacks are called one
//! at a time and in the order in which their futures ended; what blocks in one line blocks no other.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::thread::ThreadId;

use lineshaft_core::PoolId;
use pyo3::prelude::*;

use crate::future::FutureBase;

/// Futures of one pool.
#[derive(Default)]
struct Line {
    /// Those that are watched and not published, whether they are done or not.
    watched: usize,
    /// Those whose callbacks are to be called.
    waiting: VecDeque<Py<FutureBase>>,
    /// The thread that calls callbacks right now.
    busy: Option<ThreadId>,
}

impl Line {
    fn is_free(&self) -> bool {
        self.busy.is_none() && !self.waiting.is_empty()
    }
}

/// The lines of pools of which futures are watched.
#[derive(Default)]
pub struct Callbacks(HashMap<PoolId, Line>);

impl Callbacks {
    /// A future of this pool is watched from now on.
    pub fn watch(&mut self, pool: PoolId) {
        self.0.entry(pool).or_default().watched += 1;
    }

    /// The waiters of a future have been told, and it has callbacks.
    pub fn push(&mut self, pool: PoolId, future: Py<FutureBase>) {
        self.0.entry(pool).or_default().waiting.push_back(future);
    }

    /// Takes the next future of a line that no thread is in, of the given one or of any.
    pub fn begin(
        &mut self,
        only: Option<PoolId>,
        thread: ThreadId,
    ) -> Option<(PoolId, Py<FutureBase>)> {
        let mut lines = self.0.iter_mut();
        let (pool, line) =
            lines.find(|(pool, line)| line.is_free() && only.is_none_or(|only| only == **pool))?;
        let future = line.waiting.pop_front()?;
        line.busy = Some(thread);
        Some((*pool, future))
    }

    /// The thread that is in the line has called all callbacks of a future.
    pub fn end(&mut self, pool: PoolId) {
        if let Some(line) = self.0.get_mut(&pool) {
            line.busy = None;
        }
        self.published(pool);
    }

    /// All who watch a future of this pool have been told.
    pub fn published(&mut self, pool: PoolId) {
        if let Entry::Occupied(mut line) = self.0.entry(pool) {
            // In an interpreter that ends, lines are emptied under those who are in them.
            line.get_mut().watched = line.get().watched.saturating_sub(1);
            if line.get().watched == 0 && line.get().busy.is_none() {
                line.remove();
            }
        }
    }

    /// Whether there is a callback in a line that no thread is in.
    pub fn has_free(&self) -> bool {
        self.0.values().any(Line::is_free)
    }

    /// Whether the thread is in a callback.
    pub fn is_in_callback(&self, thread: ThreadId) -> bool {
        self.0.values().any(|line| line.busy == Some(thread))
    }

    /// Whether all watched futures of the pool have been published, but for what the thread itself is about.
    pub fn is_published(&self, pool: PoolId, thread: ThreadId) -> bool {
        let line = self.0.get(&pool);
        line.is_none_or(|line| line.busy == Some(thread))
    }

    /// Whether there is no callback left to be called, but for the line that the thread itself is in.
    pub fn are_quiet(&self, thread: ThreadId) -> bool {
        let is_quiet = |line: &Line| line.waiting.is_empty() && line.busy.is_none();
        let mut lines = self.0.values();
        lines.all(|line| is_quiet(line) || line.busy == Some(thread))
    }
}
