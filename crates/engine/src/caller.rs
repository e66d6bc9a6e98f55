//! What a caller does while it waits: it polls for everybody, or follows whoever does.

use std::sync::Arc;

use lineshaft_core::{PoolId, Time};

use crate::clock;
use crate::limits::{EXIT_GRACE, MISSED_SIGNAL_CHECK, SIGNAL_CHECK, UNCHECKED_NAP};
use crate::promise::Promise;
use crate::runner::BlockedCall;
use crate::shared::Shared;
use crate::state::State;
use crate::threads::Awaited;
use crate::wait::{Check, Waited, Waiter, Waiters};

impl Shared {
    /// Waits until one of the tasks has ended, polling for everybody if nobody else does. `check` is
    /// asked after each signal and now and then; a caller that no signal reaches passes none.
    pub(crate) fn wait_any(
        &self,
        promises: &[&Promise],
        deadline: Option<Time>,
        mut check: Option<Check<'_>>,
    ) -> Waited {
        let is_done = || promises.iter().any(|promise| promise.is_done());
        self.drive();
        if is_done() {
            return Waited::Done;
        }
        let waiter = Waiter::new(Some(Arc::clone(self.poller.wake_descriptor())));
        let mut watching = Vec::with_capacity(promises.len());
        for &promise in promises {
            if !promise.add_waiter(&waiter) {
                return Waited::Done;
            }
            watching.push(Watching(promise, &waiter));
        }
        let _blocked = BlockedCall::on(|engine| engine.awaited(promises));
        // A call of this process wakes its waiter itself: there is nothing to poll for.
        let here = promises.iter().all(|promise| promise.is_local());
        let part = (!here).then(|| Part::take(self, &waiter));
        if here && self.spinner_here.spin(is_done) {
            return Waited::Done;
        }
        let mut spun = false;
        let mut checked = clock::now();
        loop {
            if is_done() {
                return Waited::Done;
            }
            let now = clock::now();
            if deadline.is_some_and(|at| at <= now) {
                // Who asks again and again with no time to wait keeps the loop thread standing by, so
                // that nobody else would look.
                if waiter.is_polling() && !spun {
                    self.poll(Some(Time(0)));
                }
                return if is_done() {
                    Waited::Done
                } else {
                    Waited::TimedOut
                };
            }
            let mut signalled = false;
            if !waiter.is_polling() {
                nap(check.is_some(), deadline, now);
                signalled = true;
            } else if spun {
                // A signal that arrives while this thread is awake interrupts no sleep.
                let next_check = check.is_some().then_some(checked + MISSED_SIGNAL_CHECK);
                signalled = self.poll(deadline.into_iter().chain(next_check).min());
                signalled |= next_check.is_some_and(|at| at <= clock::now());
            } else {
                spun = true;
                self.spinner.spin(|| {
                    self.poll(Some(Time(0)));
                    is_done()
                });
            }
            if signalled && let Some(check) = &mut check {
                let interrupted = match &part {
                    Some(part) => part.aside(check),
                    None => check(),
                };
                if interrupted {
                    return Waited::Interrupted;
                }
                checked = clock::now();
            }
        }
    }

    /// Waits until there is no unfinished task, in one pool or in all.
    pub(crate) fn wait_idle(
        &self,
        pool: Option<PoolId>,
        deadline: Option<Time>,
        check: Option<Check<'_>>,
    ) -> Waited {
        self.wait_for_none(pool, deadline, check, State::unfinished)
    }

    /// Waits until there is no unfinished task that the end of the program waits for, in one pool or in all.
    pub(crate) fn wait_for_exit(
        &self,
        pool: Option<PoolId>,
        deadline: Option<Time>,
        check: Option<Check<'_>>,
    ) -> Waited {
        self.wait_for_none(pool, deadline, check, State::awaited_at_exit)
    }

    fn wait_for_none(
        &self,
        pool: Option<PoolId>,
        deadline: Option<Time>,
        check: Option<Check<'_>>,
        count: impl Fn(&State, Option<PoolId>) -> usize,
    ) -> Waited {
        let _blocked = BlockedCall::on(|engine| self.all_of(pool, engine));
        self.wait_until(deadline, check, |state| count(state, pool) == 0)
    }

    /// What a task of `engine` waits for that waits for all tasks of a pool of this one.
    fn all_of(&self, pool: Option<PoolId>, engine: &Shared) -> Awaited {
        let pool = pool.filter(|_| std::ptr::eq(engine, self));
        pool.map_or(Awaited::Anything, |pool| Awaited::Pools(vec![pool]))
    }

    /// What a task of this engine waits for that waits for one of these.
    fn awaited(&self, promises: &[&Promise]) -> Awaited {
        if promises.iter().all(|promise| promise.is_of(self.id)) {
            Awaited::Tasks(promises.iter().map(|promise| promise.task()).collect())
        } else {
            Awaited::Anything
        }
    }

    /// Waits until no process of a pool that was closed is left: without a limit of its own for workers that
    /// may take their time to end, and for others no longer than it can take to kill them.
    pub(crate) fn wait_for_processes_of(
        &self,
        pool: PoolId,
        deadline: Option<Time>,
        mut check: Option<Check<'_>>,
    ) -> Waited {
        let _blocked = BlockedCall::on(|engine| self.all_of(Some(pool), engine));
        let first = check.as_mut().map(|check| &mut **check as Check<'_>);
        let none_lingers = |state: &State| !state.processes.may_linger(pool);
        match self.wait_until(deadline, first, none_lingers) {
            Waited::Done => {
                let last = clock::now() + 2 * EXIT_GRACE;
                let deadline = deadline.map_or(last, |deadline| deadline.min(last));
                let none_is_left = |state: &State| !state.processes.has_process_of(pool);
                self.wait_until(Some(deadline), check, none_is_left)
            }
            other => other,
        }
    }

    /// Waits until no worker process is left.
    pub(crate) fn wait_for_workers(&self, deadline: Time) -> Waited {
        self.wait_until(Some(deadline), None, |state| state.processes.is_empty())
    }

    /// Waits until `done`, which comes to be so only when the state becomes quieter: polls, or follows
    /// whoever does.
    fn wait_until(
        &self,
        deadline: Option<Time>,
        mut check: Option<Check<'_>>,
        done: impl Fn(&State) -> bool,
    ) -> Waited {
        let waiter = Waiter::new(Some(Arc::clone(self.poller.wake_descriptor())));
        let _quiet = AwaitsQuiet::begin(&self.quiet_waiters, &waiter);
        let part = Part::take(self, &waiter);
        loop {
            // Asked before the look at the state: a wake-up that comes after it is ours to see. A
            // leader before us may have swallowed an earlier one.
            let leads = waiter.is_polling();
            // A poisoned engine has nothing left to wait for.
            if self.with_state(|state| done(state)).unwrap_or(true) {
                return Waited::Done;
            }
            let now = clock::now();
            if deadline.is_some_and(|at| at <= now) {
                return Waited::TimedOut;
            }
            if leads {
                let next_check = check.is_some().then(|| now + MISSED_SIGNAL_CHECK);
                self.poll(deadline.into_iter().chain(next_check).min());
            } else {
                nap(check.is_some(), deadline, now);
            }
            if let Some(check) = &mut check
                && part.aside(check)
            {
                return Waited::Interrupted;
            }
        }
    }
}

/// Sleeps until woken, until the deadline, or until it is time to look for signals.
fn nap(checks: bool, deadline: Option<Time>, now: Time) {
    let nap = if checks { SIGNAL_CHECK } else { UNCHECKED_NAP };
    std::thread::park_timeout(deadline.map_or(nap, |at| nap.min(at - now)));
}

/// A waiter is woken whenever the state becomes quieter, until this is dropped.
struct AwaitsQuiet<'a>(&'a Waiters, &'a Arc<Waiter>);

impl<'a> AwaitsQuiet<'a> {
    fn begin(waiters: &'a Waiters, waiter: &'a Arc<Waiter>) -> AwaitsQuiet<'a> {
        waiters.add(waiter);
        AwaitsQuiet(waiters, waiter)
    }
}

impl Drop for AwaitsQuiet<'_> {
    fn drop(&mut self) {
        self.0.remove(self.1);
    }
}

/// A caller's part in polling: it leads or follows until this is dropped, also by a panic of its
/// check, for a leader that does not leave would leave its followers without one.
struct Part<'a> {
    shared: &'a Shared,
    waiter: &'a Arc<Waiter>,
}

impl<'a> Part<'a> {
    fn take(shared: &'a Shared, waiter: &'a Arc<Waiter>) -> Part<'a> {
        shared.role.join(waiter, &shared.poller);
        Part { shared, waiter }
    }

    /// Asks the caller's check. It may have to wait for the interpreter, so somebody else polls
    /// meanwhile.
    fn aside(&self, check: &mut (dyn FnMut() -> bool + Send)) -> bool {
        self.shared.role.leave(self.waiter);
        let interrupted = check();
        self.shared.role.join(self.waiter, &self.shared.poller);
        interrupted
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        self.shared.role.leave(self.waiter);
    }
}

/// A waiter is registered with a promise until this is dropped.
struct Watching<'a>(&'a Promise, &'a Arc<Waiter>);

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        if !self.0.is_done() {
            self.0.remove_waiter(self.1);
        }
    }
}
