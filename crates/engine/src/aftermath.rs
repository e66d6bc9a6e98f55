//! What is left to be done once the state lock is released.
//!
//! Waking a waiter runs code of others, and so does dropping what a caller handed in: both could
//! call the engine, which would wait for the lock for ever.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use lineshaft_core::PoolId;
use lineshaft_store::Pin;

use crate::command::Command;
use crate::options::Work;
use crate::outcome::Outcome;
use crate::payload::Payload;
use crate::promise::{Pledge, Promise, Wakes};
use crate::runner::Call;
use crate::shared::Shared;

/// What is left to be done once the state lock is released: it runs code of others.
#[derive(Default)]
pub(crate) struct Aftermath {
    wakes: Vec<Wakes>,
    pub(crate) discarded: Vec<Discarded>,
    /// A pool has come to have no tasks, or a process has ended.
    pub(crate) became_quiet: bool,
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
    /// A zygote that only this pool had. It is reaped when it is dropped, and whoever waits for the pool's
    /// processes waits for that.
    Snapshot(PoolId, Box<dyn Send>),
    /// What is rare: a pool, a worker, or a process that was killed and is to be waited for.
    Other(Box<dyn Send>),
}

impl Discarded {
    pub(crate) fn value(unneeded: Payload) -> Discarded {
        Discarded::Outcome(Outcome::Value(unneeded))
    }

    /// Whatever has no kind of its own.
    pub(crate) fn other(unneeded: impl Send + 'static) -> Discarded {
        Discarded::Other(Box::new(unneeded))
    }

    fn snapshot_of(&self) -> Option<PoolId> {
        match self {
            Discarded::Snapshot(pool, _) => Some(*pool),
            _ => None,
        }
    }
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
        let snapshots: Vec<PoolId> = self
            .discarded
            .iter()
            .filter_map(Discarded::snapshot_of)
            .collect();
        // Whose value panics when it is dropped has been told so by the panic hook.
        let _: std::thread::Result<()> = catch_unwind(AssertUnwindSafe(|| drop(self.discarded)));
        for pool in snapshots {
            shared.post(Command::Reaped { pool });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::sync::{Arc, Weak};
    use std::thread;
    use std::time::Duration;

    use lineshaft_core::{GroupId, PoolId};

    use crate::command::{Asker, Command};
    use crate::options::{Policy, PoolKind, PoolOptions, TaskRequest, Work};
    use crate::pools::Pool;
    use crate::runner::{Calls, Runner};
    use crate::shared::Shared;

    /// What a caller handed in: when it is dropped it asks the engine something, and tells.
    struct Asks(Weak<Shared>, Sender<()>);

    impl Drop for Asks {
        fn drop(&mut self) {
            if let Some(engine) = self.0.upgrade() {
                engine.with_state(|_| ());
            }
            let _: Result<(), _> = self.1.send(());
        }
    }

    impl Runner for Asks {
        fn run(&self, _: &mut Calls<'_>) {}
    }

    /// Runs `work` on a thread of its own, which is stuck if something is dropped under the lock.
    fn is_dropped_without_the_lock(work: impl FnOnce(&Arc<Shared>, Asks) + Send + 'static) {
        let engine = Shared::without_loop();
        let (told, dropped) = channel();
        let asks = Asks(Arc::downgrade(&engine), told);
        thread::spawn(move || work(&engine, asks));
        let waited = dropped.recv_timeout(Duration::from_secs(20));
        assert!(waited.is_ok(), "dropped while the state was locked");
    }

    #[test]
    fn what_a_poisoned_engine_refuses() {
        is_dropped_without_the_lock(|engine, asks| {
            let request = TaskRequest {
                pool: PoolId(1),
                group: GroupId(0),
                work: Work::Local(Arc::new(asks)),
                inputs: Vec::new(),
                policy: Policy::default(),
            };
            engine.with_state(|_| {
                // Left in the inbox, because the state is locked.
                engine.submit_within(Asker::Program, request);
                panic!("in a test, on purpose");
            });
        });
    }

    #[test]
    fn a_pool_that_closes() {
        is_dropped_without_the_lock(|engine, asks| {
            let pool = PoolId(1);
            let spec = Pool::new(PoolOptions {
                name: "unused".into(),
                workers: 1,
                kind: PoolKind::Threads {
                    runner: Arc::new(asks),
                    threads_max: None,
                    takes_core: true,
                    stack_bytes: None,
                    idle_max: None,
                },
            });
            engine.post(Command::OpenPool {
                pool,
                spec,
                snapshot: None,
            });
            engine.post(Command::ClosePool { pool });
        });
    }
}
