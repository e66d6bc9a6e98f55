//! Futures that somebody watches, on their way to those who do.
//!
//! Waiters are told first, whatever the pool, and at once: they do nothing but wake a thread. A callback
//! is code of the program, which may block. So each pool has a line, in which callbacks are called one
//! at a time and in the order in which their futures ended; what blocks in one line blocks no other. The line of
//! a pool of threads has a row for each thread, as in `concurrent.futures` it is that of the call which calls them:
//! one of another thread may wait for them. So they do not wait until the waiters of their future may be told (below).
//!
//! In `concurrent.futures` the thread that ends a future calls its callbacks before it ends the next. So who has the
//! result of a future, or waited for it, can rely on what the callbacks of earlier ones have collected. Here futures
//! end without Python: whoever wants to see that one has ended waits for the callbacks of those before it, and waiters
//! are told of it only then. They wait for so long only: a callback may wait in its turn for what they do next. There
//! each thread of a pool of threads calls those of the futures that it ends, so that one which blocks holds up no other.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque, hash_map};
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use lineshaft_core::PoolId;
use lineshaft_engine::{EndedAt, Untold};
use pyo3::prelude::*;

use crate::future::FutureBase;

/// How long callbacks of futures of threads hold up those who want to know of another such future.
const PATIENCE_THREADS: Duration = Duration::from_secs(1);

/// How long a callback of a future of processes does.
const PATIENCE_PROCESSES: Duration = Duration::from_secs(10);

/// How often it is looked whether they have been held up for long enough.
pub const PATIENCE_CHECK: Duration = Duration::from_millis(250);

/// Futures of one pool that a thread of it ran, or that no thread of this process did. There is one while it has some.
#[derive(Default)]
struct Row {
    waiting: VecDeque<Py<FutureBase>>,
    /// The thread that calls callbacks right now, and since when those of one future.
    busy: Option<(ThreadId, Instant)>,
}

impl Row {
    fn is_free(&self) -> bool {
        self.busy.is_none() && !self.waiting.is_empty()
    }
}

/// Where a thread is that calls callbacks: in which row of which pool's line.
#[derive(Clone, Copy)]
pub struct Place {
    pub pool: PoolId,
    row: i32,
}

/// Futures of one pool.
#[derive(Default)]
struct Line {
    /// Those that are watched and not published, whether they are done or not.
    watched: usize,
    /// Those whose callbacks are to be called, by the threads that ran their calls.
    rows: BTreeMap<i32, Row>,
    /// Those that have callbacks of the program and have ended, until these have been called.
    untold: Arc<Untold>,
    /// Those whose waiters are to be told once the callbacks of all before them have been called, and since when.
    held: BTreeMap<EndedAt, (Py<FutureBase>, Instant)>,
}

impl Line {
    /// The threads that call callbacks, and since when.
    fn busy(&self) -> impl Iterator<Item = (ThreadId, Instant)> {
        self.rows.values().filter_map(|row| row.busy)
    }

    fn is_free(&self) -> bool {
        self.rows.values().any(Row::is_free)
    }

    fn is_held_up_by(&self, thread: ThreadId) -> bool {
        self.busy().any(|(busy, _)| busy == thread)
    }

    /// The row that nobody is in and of which the first future has ended before those of the others.
    fn next(&mut self) -> Option<(i32, &mut Row)> {
        let first = |row: &Row| row.waiting.front().and_then(|it| it.get().ended_at());
        let free = self.rows.iter_mut().filter(|(_, row)| row.is_free());
        let (thread, row) = free.min_by_key(|(_, row)| first(row))?;
        Some((*thread, row))
    }

    /// Whether callbacks that come before are still to be called, and worth waiting for by who waits `since` then.
    fn is_left_before(&self, future: &FutureBase, since: Instant) -> bool {
        let ended = future.ended_at();
        let is_left = ended.is_some_and(|ended| self.untold.has_before(ended));
        is_left && !future.is_told_at_once() && self.is_worth_waiting(future, since)
    }

    fn is_worth_waiting(&self, future: &FutureBase, since: Instant) -> bool {
        if future.is_local() {
            return since.elapsed() < PATIENCE_THREADS;
        }
        // However long all of them take together.
        let busy_since = self.busy().map(|(_, busy_since)| busy_since).min();
        busy_since.unwrap_or(since).max(since).elapsed() < PATIENCE_PROCESSES
    }
}

/// The lines of pools of which futures are watched.
#[derive(Default)]
pub struct Callbacks(HashMap<PoolId, Line>);

impl Callbacks {
    /// A future of this pool is watched from now on; returns where it is noted while its callbacks are to be called.
    pub fn watch(&mut self, pool: PoolId) -> Arc<Untold> {
        let line = self.0.entry(pool).or_default();
        line.watched += 1;
        Arc::clone(&line.untold)
    }

    /// Whether callbacks of futures of this pool that ended before are still to be called, for who waits `since` then.
    pub fn are_left_before(&self, pool: PoolId, future: &FutureBase, since: Instant) -> bool {
        let line = self.0.get(&pool);
        line.is_some_and(|line| line.is_left_before(future, since))
    }

    /// Whether futures have ended, of one pool or of all, of which callbacks are still to be called, but for the line
    /// that the thread itself is in.
    pub fn are_left(&self, pool: Option<PoolId>, thread: ThreadId) -> bool {
        let mut lines = self.0.iter();
        lines.any(|(id, line)| {
            let is_asked_for = pool.is_none_or(|pool| pool == *id);
            is_asked_for && !line.untold.is_empty() && !line.is_held_up_by(thread)
        })
    }

    /// Where futures of this pool are noted that have ended while their callbacks are to be called.
    pub fn untold(&self, pool: PoolId) -> Option<Arc<Untold>> {
        self.0.get(&pool).map(|line| Arc::clone(&line.untold))
    }

    /// Whether futures are held: they are told of in a while in any case.
    pub fn has_held(&self) -> bool {
        self.0.values().any(|line| !line.held.is_empty())
    }

    /// The pools of futures that are held.
    pub fn with_held(&self) -> Vec<PoolId> {
        let lines = self.0.iter().filter(|(_, line)| !line.held.is_empty());
        lines.map(|(pool, _)| *pool).collect()
    }

    /// Its waiters are told once the callbacks of those before it have been called.
    pub fn hold(&mut self, pool: PoolId, ended: EndedAt, future: Py<FutureBase>) {
        let line = self.0.entry(pool).or_default();
        line.held.insert(ended, (future, Instant::now()));
    }

    /// Takes those that were held and need not be any more; one more future has been told of.
    pub fn release(&mut self, pool: PoolId, told: Option<EndedAt>) -> Vec<Py<FutureBase>> {
        let Some(line) = self.0.get_mut(&pool) else {
            return Vec::new();
        };
        if let Some(told) = told {
            line.untold.remove(told);
        }
        let mut free = Vec::new();
        // If one is held, so are those that ended after it.
        while let Some((&ended, (future, since))) = line.held.first_key_value()
            && !line.is_left_before(future.get(), *since)
        {
            let (future, _) = line.held.remove(&ended).expect("it is the first");
            // Also if it was only not to wait any longer.
            future.get().tell_at_once();
            free.push(future);
        }
        free
    }

    /// The waiters of a future have been told, and it has callbacks.
    pub fn push(&mut self, pool: PoolId, future: Py<FutureBase>) {
        let rows = &mut self.0.entry(pool).or_default().rows;
        let row = rows.entry(future.get().thread()).or_default();
        row.waiting.push_back(future);
    }

    /// Takes the next future of a row that no thread is in, of the given line or of any. A thread that is in a line
    /// already does not enter it once more: what it calls there may hold a lock.
    pub fn begin(
        &mut self,
        only: Option<PoolId>,
        thread: ThreadId,
    ) -> Option<(Place, Py<FutureBase>)> {
        let mut lines = self.0.iter_mut();
        let (pool, line) = lines.find(|(pool, line)| {
            line.is_free() && only.is_none_or(|only| only == **pool) && !line.is_held_up_by(thread)
        })?;
        let (ran_on, row) = line.next()?;
        let future = row.waiting.pop_front()?;
        row.busy = Some((thread, Instant::now()));
        let place = Place {
            pool: *pool,
            row: ran_on,
        };
        Some((place, future))
    }

    /// The thread that is there has called all callbacks of a future.
    pub fn end(&mut self, place: Place) {
        let rows = self.0.get_mut(&place.pool).map(|line| &mut line.rows);
        if let Some(Entry::Occupied(mut row)) = rows.map(|rows| rows.entry(place.row)) {
            row.get_mut().busy = None;
            if row.get().waiting.is_empty() {
                row.remove();
            }
        }
    }

    /// All who watch a future of this pool have been told.
    pub fn published(&mut self, pool: PoolId) {
        if let hash_map::Entry::Occupied(mut line) = self.0.entry(pool) {
            // In an interpreter that ends, lines are emptied under those who are in them.
            line.get_mut().watched = line.get().watched.saturating_sub(1);
            if line.get().watched == 0 && line.get().busy().next().is_none() {
                line.remove();
            }
        }
    }

    /// Whether there is a callback in a row that no thread is in.
    pub fn has_free(&self) -> bool {
        self.0.values().any(Line::is_free)
    }

    /// Whether the thread is in a callback.
    pub fn is_in_callback(&self, thread: ThreadId) -> bool {
        self.0.values().any(|line| line.is_held_up_by(thread))
    }

    /// Whether all watched futures of the pool have been published, but for what the thread itself is about.
    pub fn is_published(&self, pool: PoolId, thread: ThreadId) -> bool {
        let line = self.0.get(&pool);
        line.is_none_or(|line| line.is_held_up_by(thread))
    }

    /// Whether there is no callback left to be called, but for the line that the thread itself is in.
    pub fn are_quiet(&self, thread: ThreadId) -> bool {
        let is_quiet = |line: &Line| line.rows.is_empty() && line.held.is_empty();
        let mut lines = self.0.values();
        lines.all(|line| is_quiet(line) || line.is_held_up_by(thread))
    }
}
