//! What is left to be done once the state lock is released.
//!
//! Waking a waiter runs code of others, and so does dropping what a caller handed in: both could
//! call the engine, which would wait for the lock for ever.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use lineshaft_store::Pin;

use crate::options::Work;
use crate::outcome::Outcome;
use crate::promise::{Pledge, Promise, Wakes};
use crate::runner::Call;
use crate::shared::Shared;

/// What is left to be done once the state lock is released: it runs code of others.
#[derive(Default)]
pub(crate) struct Aftermath {
    wakes: Vec<Wakes>,
    pub(crate) discarded: Vec<Discarded>,
    /// A pool has come to have no tasks.
    pub(crate) became_idle: bool,
    /// Objects were taken over, so memory may be over its budget.
    pub(crate) adopted: bool,
}

/// What nobody needs any more. To drop it may take long, as when large memory is freed, and may run
/// code of the caller, which may call the engine.
#[expect(dead_code, reason = "kept only to be dropped in the right place")]
pub(crate) enum Discarded {
    Task(Work, Vec<Arc<Promise>>),
    Outcome(Outcome),
    Call(Call),
    Pins(Vec<Pin>),
}

impl Aftermath {
    pub(crate) fn discard(&mut self, what: Discarded) {
        self.discarded.push(what);
    }

    pub(crate) fn keep(&mut self, pledge: Pledge, outcome: Outcome) {
        let wakes = pledge.keep(outcome);
        if !wakes.is_empty() {
            self.wakes.push(wakes);
        }
    }

    /// Only without the state lock.
    pub(crate) fn run(self, shared: &Shared) {
        if self.adopted && shared.store.is_over_budget() {
            shared.relief.ask(&shared.store);
        }
        for wake in self.wakes {
            wake.run();
        }
        // Whose value panics when it is dropped has been told so by the panic hook.
        let _: std::thread::Result<()> = catch_unwind(AssertUnwindSafe(|| drop(self.discarded)));
    }
}
