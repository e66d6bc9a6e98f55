//! Who in Python is to be told that a future is done.

use std::sync::Arc;

use lineshaft_engine::EndedAt;
use pyo3::prelude::*;

use super::publish::call_back;
use super::{FutureBase, Source};

/// Who wants to know in Python.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a step of its own, and they come in any order"
)]
pub(super) struct Watch {
    pub(super) callbacks: Vec<Py<PyAny>>,
    /// The resolver will publish this future.
    pub(super) registered: bool,
    /// A task may wait for what its callbacks do, and does not say so: as far as anybody knows it waits until the
    /// nested call has ended.
    pub(super) lends: bool,
    /// Those who look at the condition may see that it is done.
    pub(super) published: bool,
    /// Nobody waits for callbacks of others before they are told of this one.
    pub(super) is_told_at_once: bool,
    /// Its callbacks need not wait until those who wait for it are told.
    pub(super) is_called_early: bool,
}

impl FutureBase {
    /// Has the resolver publish this future once it is done. Not to be called with the lock held:
    /// the engine may call back at once. `awaited`: a task may wait for what happens then, and does not say so.
    pub(super) fn register(slf: &Bound<'_, Self>, awaited: bool) -> PyResult<()> {
        let (is_new, lends) = slf.get().watch.with(|watch| {
            let lends = awaited && !std::mem::replace(&mut watch.lends, true);
            let is_new = !std::mem::replace(&mut watch.registered, true);
            (is_new, lends)
        });
        let future = slf.clone().unbind();
        match slf.get().source()? {
            Source::Task { .. } if !is_new => {}
            Source::Task {
                core,
                pool,
                promise,
            } => {
                let (resolver, pool) = (Arc::clone(&core.resolver), *pool);
                let untold = resolver.watch(pool);
                if awaited
                    && slf.get().has_callbacks()
                    && !promise.note_end(&untold)
                    && let Some(ended) = promise.ended_at()
                {
                    // It ended while it was registered: nobody else has noted it.
                    untold.add(ended);
                }
                promise.on_done(move || resolver.done(pool, future));
            }
            Source::Nested { .. } if !is_new && !lends => {}
            Source::Nested { client, pool, call } => {
                // In a forked child nobody tells anybody; there is no need to if it had ended by then.
                let session = match client.own_session() {
                    None if slf.get().is_ended() => return Ok(()),
                    _ => client.session()?,
                };
                let (resolver, pool) = (Arc::clone(&client.resolver), *pool);
                if !is_new {
                    session.on_answer(call, || {});
                    return Ok(());
                }
                resolver.watch(pool);
                let tell = move || resolver.done(pool, future);
                if lends {
                    session.on_answer(call, tell);
                } else {
                    session.notify(call, tell);
                }
            }
        }
        Ok(())
    }

    /// Calls `function` once this is done; see `register`.
    pub(super) fn add_callback(
        slf: &Bound<'_, Self>,
        function: &Bound<'_, PyAny>,
        awaited: bool,
    ) -> PyResult<()> {
        let this = slf.get();
        let kept = function.clone().unbind();
        let is_late = this.watch.with(|watch| {
            if this.is_ended() && !this.is_hidden(watch) {
                return Some(kept);
            }
            watch.callbacks.push(kept);
            None
        });
        if is_late.is_none() {
            this.note_end();
            return Self::register(slf, awaited);
        }
        call_back(slf, function)
    }

    /// Has it noted when it ends if it is registered already, as by whoever waits for it.
    fn note_end(&self) {
        if let Some(Source::Task {
            core,
            pool,
            promise,
        }) = self.source.get()
            && self.watch.with(|watch| watch.registered)
            && let Some(untold) = core.resolver.untold(*pool)
        {
            promise.note_end(&untold);
        }
    }

    /// Whether nobody who wants to know of it waits for callbacks of others.
    pub fn is_told_at_once(&self) -> bool {
        self.is_cancelled() || self.watch.with(|watch| watch.is_told_at_once)
    }

    /// Nobody who wants to know of it waits for callbacks of others any more.
    pub fn tell_at_once(&self) {
        self.watch.with(|watch| watch.is_told_at_once = true);
    }

    /// Its callbacks are called before those who wait for it are told; false if it has none, or is no call of a thread.
    pub fn call_early(&self) -> bool {
        let has_callbacks = |watch: &mut Watch| {
            watch.is_called_early |= !watch.callbacks.is_empty();
            watch.is_called_early
        };
        self.thread() != 0 && self.watch.with(has_callbacks)
    }

    /// Whether its callbacks are called before those who wait for it are told.
    pub fn is_called_early(&self) -> bool {
        self.watch.with(|watch| watch.is_called_early)
    }

    /// Whether there are callbacks that have not been called.
    pub fn has_callbacks(&self) -> bool {
        self.watch.with(|watch| !watch.callbacks.is_empty())
    }

    /// When it ended, if it is a task of this process that has.
    pub fn ended_at(&self) -> Option<EndedAt> {
        match self.source.get() {
            Some(Source::Task { promise, .. }) => promise.ended_at(),
            _ => None,
        }
    }

    /// Whether it is a task of this process that runs on a thread of it.
    pub fn is_local(&self) -> bool {
        matches!(self.source.get(), Some(Source::Task { promise, .. }) if promise.is_local())
    }

    /// The number of the thread of a pool that ran it; zero if none did.
    pub fn thread(&self) -> i32 {
        match self.source.get() {
            Some(Source::Task { promise, .. }) => promise.thread(),
            _ => 0,
        }
    }

    /// Whether callbacks of futures of its pool that ended before it are still to be called.
    pub(super) fn has_callbacks_before(&self) -> bool {
        match self.source.get() {
            // A forked child has copies of what is left, and nobody who would call it.
            Some(Source::Task { core, pool, .. }) if core.is_of_this_process() => {
                core.resolver.are_left_before(*pool, self)
            }
            _ => false,
        }
    }

    pub(super) fn is_visibly_done(&self) -> bool {
        self.is_ended() && self.watch.with(|watch| !self.is_hidden(watch))
    }

    /// Whether those who look at the condition have yet to be told that it is done.
    fn is_hidden(&self, watch: &Watch) -> bool {
        self.condition.get().is_some() && !watch.published
    }
}
