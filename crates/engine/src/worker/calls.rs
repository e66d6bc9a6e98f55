//! Nested calls: what a task submits from inside a worker runs on the engine the worker belongs
//! to. While a task waits for its calls, the engine counts its core as free.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use lineshaft_core::Time;
use lineshaft_wire::{Answer, CallOptions, Descriptors, FromWorker, Initializer, WireError};

use crate::clock;
use crate::error::EngineError;
use crate::limits::SIGNAL_CHECK;
use crate::outcome::DeathReport;
use crate::wait::{Check, Waited};

use super::Sent;
use super::call::{NestedCall, Unanswered};
use super::jobs::receive;
use super::reader::{Place, Slept};
use super::session::Session;

/// The nested calls of a worker.
#[derive(Default)]
pub(super) struct Calls {
    last: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Calls that are not answered and not forgotten.
    open: HashMap<u64, Arc<NestedCall>>,
    /// Pools that tasks have opened and not closed.
    pools: HashSet<u64>,
    /// Those of them that have callbacks.
    watched: HashSet<u64>,
    /// A thread sees to it that answers to them are read.
    read: bool,
    /// Calls that the engine was asked to cancel and has not said whether it could.
    cancels: HashMap<u64, Arc<NestedCall>>,
}

impl Calls {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn answered(
        &self,
        call: u64,
        answer: &Answer<'_>,
        descriptors: &mut Descriptors,
    ) -> Result<(), EngineError> {
        let answer = match answer {
            Answer::Value(value) => Ok(receive(value, descriptors)?),
            Answer::Raised(error) => Err(Unanswered::Raised(receive(error, descriptors)?)),
            Answer::Died(death) => Err(Unanswered::Died(Box::new(DeathReport::from_wire(death)))),
            Answer::Lost { kind, message } => Err(Unanswered::Lost {
                kind: *kind,
                message: (*message).to_owned(),
            }),
        };
        let call = {
            let mut state = self.state();
            state.watched.remove(&call);
            state.open.remove(&call)
        };
        if let Some(call) = call {
            call.complete(answer);
        }
        Ok(())
    }

    pub(super) fn cancel_answered(&self, call: u64, cancelled: bool) {
        let mut state = self.state();
        // Whoever else asked meanwhile takes this for its answer.
        if let Some(call) = state.cancels.remove(&call) {
            call.cancel_answered(cancelled);
        }
    }
}

impl Session {
    /// Sends a definition that nested calls need, with the module and the name of its group if it is callable.
    pub fn define(
        &self,
        id: u64,
        needs: Vec<u64>,
        (module, name): (&str, &str),
        mut body: Sent,
    ) -> Result<(), EngineError> {
        let (body, descriptors) = body.split();
        Ok(self.outbox.push_quietly(
            &FromWorker::Code {
                id,
                needs,
                module,
                name,
                body,
            },
            descriptors,
        )?)
    }

    /// Lets the engine drop a definition, behind the calls that were made with it.
    pub fn forget_definition(&self, id: u64) -> Result<(), EngineError> {
        Ok(self
            .outbox
            .push_quietly(&FromWorker::ForgetCode { id }, Vec::new())?)
    }

    /// Makes a nested call, without `pool` in the pool of this worker. Fails if the pool was closed; nobody
    /// may close it at the same time.
    pub fn call(
        &self,
        pool: Option<u64>,
        code: u64,
        definitions: Vec<u64>,
        inputs: Vec<u64>,
        options: CallOptions,
        mut args: Sent,
    ) -> Result<Arc<NestedCall>, EngineError> {
        let pool = match pool {
            None => self
                .activity
                .pool(|| self.push_open_pool(1, None, None, Vec::new()))?,
            Some(pool) if !self.calls.state().pools.contains(&pool) => {
                return Err(EngineError::PoolClosed);
            }
            pool => pool,
        };
        let id = self.calls.last.fetch_add(1, Ordering::Relaxed) + 1;
        let in_own_pool = pool.is_none() || {
            let state = self.calls.state();
            let mut needed = inputs.iter().filter_map(|input| state.open.get(input));
            needed.any(|needed| needed.in_own_pool())
        };
        let call = NestedCall::new(id, in_own_pool);
        let (args, descriptors) = args.split();
        let message = FromWorker::Call {
            call: id,
            pool,
            code,
            definitions,
            inputs,
            options,
            args,
        };
        // Before it is sent, and so before it is answered.
        self.calls.state().open.insert(id, Arc::clone(&call));
        let pushed = self.outbox.push(&message, descriptors, clock::now());
        if let Err(error) = pushed {
            self.calls.state().open.remove(&id);
            return Err(error.into());
        }
        Ok(call)
    }

    /// Reads what has come, as answers to nested calls, without waiting: what was submitted leaves by itself.
    pub fn read(&self) {
        self.reader.read();
    }

    /// Waits for the answer to a nested call. The core of the task that runs is free meanwhile.
    pub fn wait_for(
        self: &Arc<Self>,
        call: &NestedCall,
        timeout: Option<Duration>,
        check: Option<Check<'_>>,
    ) -> Result<Waited, EngineError> {
        self.wait_for_any(&[call], timeout, check)
    }

    /// Waits for the answer to one of several nested calls; see `wait_for`. Without any time to
    /// wait, it reads what has come, and the task keeps its core.
    pub fn wait_for_any(
        self: &Arc<Self>,
        calls: &[&NestedCall],
        timeout: Option<Duration>,
        mut check: Option<Check<'_>>,
    ) -> Result<Waited, EngineError> {
        let is_answered = || calls.iter().any(|call| call.answer().is_some());
        let deadline = timeout.map(|timeout| clock::now() + timeout);
        if is_answered() {
            return Ok(Waited::Done);
        }
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            self.reader.read();
            return Ok(if is_answered() {
                Waited::Done
            } else {
                Waited::TimedOut
            });
        }
        let in_own_pool = calls.iter().any(|call| call.in_own_pool());
        let _waiting = self.activity.wait(in_own_pool, &self.outbox)?;
        self.outbox.flush()?;
        self.wait_until(deadline, &mut check, calls, is_answered)
    }

    /// Waits until `done`, which what becomes known of `calls` brings about. One thread reads the
    /// socket, the others are parked.
    fn wait_until(
        &self,
        deadline: Option<Time>,
        check: &mut Option<Check<'_>>,
        calls: &[&NestedCall],
        done: impl Fn() -> bool,
    ) -> Result<Waited, EngineError> {
        let mut place = Place::new(&self.reader);
        let mut waiter = Waiter::new(calls);
        let mut check_at = clock::now() + SIGNAL_CHECK;
        loop {
            let now = clock::now();
            let next_check = check.is_some().then_some(check_at);
            let until = [deadline, next_check].into_iter().flatten().min();
            let nap = until.map(|at| if at > now { at - now } else { Duration::ZERO });
            let mut interrupted = false;
            if let Some(reading) = place.enter() {
                // What is read here needs no wake-up, and nobody else reads.
                if !reading.fill() && !done() && !self.reader.is_cut_off() {
                    interrupted = reading.sleep(nap)? == Slept::Interrupted;
                    reading.fill();
                }
            } else {
                waiter.enter();
                if !done() && !self.reader.is_cut_off() {
                    park(nap);
                }
            }
            if done() {
                return Ok(Waited::Done);
            }
            if self.reader.is_cut_off() {
                return Err(EngineError::Closed);
            }
            let now = clock::now();
            if deadline.is_some_and(|at| at <= now) {
                return Ok(Waited::TimedOut);
            }
            if let Some(check) = check
                && (interrupted || check_at <= now)
            {
                // The check may take its time: it wants the interpreter.
                place.leave();
                if check() {
                    return Ok(Waited::Interrupted);
                }
                check_at = clock::now() + SIGNAL_CHECK;
            }
        }
    }

    /// Cancels a nested call, with `kill` also one that runs; whether it is cancelled. If so, it has its
    /// answer by then, which the engine sends behind that to the request.
    pub fn cancel(&self, call: &Arc<NestedCall>, kill: bool) -> Result<bool, EngineError> {
        if call.answer().is_some() {
            return Ok(call.is_cancelled());
        }
        {
            let mut state = self.calls.state();
            state.cancels.insert(call.id(), Arc::clone(call));
            call.forget_cancelled();
        }
        let message = FromWorker::Cancel {
            call: call.id(),
            kill,
        };
        let pushed = self.outbox.push_quietly(&message, Vec::new());
        if let Err(error) = pushed.and_then(|()| self.outbox.flush()) {
            self.calls.state().cancels.remove(&call.id());
            return Err(error.into());
        }
        let known = || {
            let said = call.cancelled();
            said.is_some_and(|cancelled| !cancelled || call.answer().is_some())
        };
        self.wait_until(None, &mut None, &[call], known)?;
        Ok(call.is_cancelled())
    }

    /// Calls back once the call is answered, on the thread that reads the answer. The task that runs
    /// may wait for what the callback does, so that its core is free until then.
    pub fn on_answer(
        self: &Arc<Self>,
        call: &NestedCall,
        callback: impl FnOnce() + Send + 'static,
    ) {
        let awaited = Awaited::of(self, call.in_own_pool());
        self.notify(call, move || {
            callback();
            drop(awaited);
        });
    }

    /// The same for a callback that no task waits for, or one that says so itself while it does.
    pub fn notify(self: &Arc<Self>, call: &NestedCall, callback: impl FnOnce() + Send + 'static) {
        call.add_callback(callback);
        let mut state = self.calls.state();
        if !state.open.contains_key(&call.id()) {
            return;
        }
        state.watched.insert(call.id());
        if !std::mem::replace(&mut state.read, true) {
            let session = Arc::clone(self);
            let reader = thread::Builder::new().spawn(move || session.read_answers());
            // The process may have no more threads. The answer is read when a task waits next, or
            // when the worker waits for one.
            state.read = reader.is_ok();
        }
    }

    /// A thread of its own for calls with callbacks: it reads while the worker's task does
    /// something else than wait.
    fn read_answers(&self) {
        crate::signals::block_all();
        // If the engine is gone, the main thread finds out at its next turn.
        let _: Result<(), WireError> = self.outbox.flush();
        loop {
            {
                let mut state = self.calls.state();
                if state.watched.is_empty() {
                    state.read = false;
                    return;
                }
            }
            // While another thread reads, this one may sleep: it is woken to take over.
            let none_left = || self.calls.state().watched.is_empty();
            if self.wait_until(None, &mut None, &[], none_left).is_err() {
                return;
            }
        }
    }

    /// Lets the engine drop the result of a nested call. If it has none yet, none will come.
    pub fn forget(&self, call: u64) -> Result<(), EngineError> {
        self.calls.state().open.remove(&call);
        Ok(self
            .outbox
            .push_quietly(&FromWorker::Forget { call }, Vec::new())?)
    }

    /// Opens a pool for nested calls, with an initializer, the definitions that its arguments need,
    /// and these.
    pub fn open_pool(
        &self,
        workers: u32,
        tasks_per_worker_max: Option<u32>,
        mut initializer: Option<(u64, Vec<u64>, Sent)>,
    ) -> Result<u64, EngineError> {
        if workers == 0 {
            return Err(EngineError::NoWorkers);
        }
        let (initializer, descriptors) = match &mut initializer {
            None => (None, Vec::new()),
            Some((code, definitions, args)) => {
                let (args, descriptors) = args.split();
                let initializer = Initializer {
                    code: *code,
                    definitions: std::mem::take(definitions),
                    args,
                };
                (Some(initializer), descriptors)
            }
        };
        let pool = self.push_open_pool(workers, tasks_per_worker_max, initializer, descriptors)?;
        self.calls.state().pools.insert(pool);
        Ok(pool)
    }

    fn push_open_pool(
        &self,
        workers: u32,
        tasks_per_worker_max: Option<u32>,
        initializer: Option<Initializer<'_>>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<u64, WireError> {
        let pool = self.calls.last.fetch_add(1, Ordering::Relaxed) + 1;
        let message = FromWorker::OpenPool {
            pool,
            workers,
            tasks_per_worker_max,
            initializer,
        };
        self.outbox.push_quietly(&message, descriptors)?;
        Ok(pool)
    }

    /// Closes it.
    pub fn close_pool(&self, pool: u64) -> Result<(), EngineError> {
        self.calls.state().pools.remove(&pool);
        Ok(self
            .outbox
            .push_quietly(&FromWorker::ClosePool { pool }, Vec::new())?)
    }
}

/// The current thread, entered in the calls that it waits for.
struct Waiter<'a> {
    calls: &'a [&'a NestedCall],
    entered: bool,
}

impl<'a> Waiter<'a> {
    fn new(calls: &'a [&'a NestedCall]) -> Waiter<'a> {
        Waiter {
            calls,
            entered: false,
        }
    }

    /// Look at the calls after this, and park only then: an answer that came before the entry was
    /// seen is found by looking, a later one unparks.
    fn enter(&mut self) {
        if !std::mem::replace(&mut self.entered, true) {
            self.calls.iter().for_each(|call| call.add_waiter());
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.entered {
            self.calls.iter().for_each(|call| call.remove_waiter());
        }
    }
}

fn park(nap: Option<Duration>) {
    match nap {
        None => thread::park(),
        Some(nap) => thread::park_timeout(nap),
    }
}

/// A task may wait, for a callback or in ways of its own, until this is dropped.
pub struct Awaited {
    session: Arc<Session>,
    in_own_pool: bool,
}

impl Awaited {
    /// It counts as blocked from now on, for calls of any pool.
    pub fn new(session: &Arc<Session>) -> Awaited {
        Awaited::of(session, true)
    }

    /// The same for certain calls; `in_own_pool` if one of them is.
    pub fn of(session: &Arc<Session>, in_own_pool: bool) -> Awaited {
        // If the engine is gone, the main thread finds out at its next turn.
        let told = session.activity.enter(in_own_pool, &session.outbox);
        let _: Result<(), WireError> = told.and_then(|()| session.outbox.flush());
        Awaited {
            session: Arc::clone(session),
            in_own_pool,
        }
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.session
            .activity
            .leave(self.in_own_pool, &self.session.outbox);
    }
}

#[cfg(test)]
mod tests;
