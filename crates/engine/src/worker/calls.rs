//! Nested calls: what a task submits from inside a worker runs on the engine the worker belongs
//! to. While a task waits for its calls, the engine counts its core as free.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lineshaft_core::Time;
use lineshaft_wire::{Answer, CallOptions, Descriptors, FromWorker};

use crate::clock;
use crate::error::EngineError;
use crate::limits::{SIGNAL_CHECK, STANDBY};
use crate::outcome::DeathReport;
use crate::wait::{Check, Waited};

use super::session::{Session, receive};
use super::{Received, Sent};

/// The nested calls of a worker.
#[derive(Default)]
pub(super) struct Calls {
    last: AtomicU64,
    state: Mutex<State>,
    answered: Condvar,
}

#[derive(Default)]
struct State {
    open: HashMap<u64, Arc<NestedCall>>,
    cancels: HashMap<u64, Option<bool>>,
    /// A thread reads the socket for calls that have callbacks.
    read: bool,
}

/// One nested call.
#[derive(Default)]
pub struct NestedCall {
    id: u64,
    answer: std::sync::OnceLock<Result<Received, Unanswered>>,
    callbacks: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

/// Why a nested call has no result.
#[derive(Debug)]
pub enum Unanswered {
    /// It raised: the pickled exception.
    Raised(Received),
    /// Its worker died under it.
    Died(Box<DeathReport>),
    /// It did not run to an end; `kind` is one of `lost`.
    Lost {
        /// One of the kinds in `lost`.
        kind: u8,
        /// The engine's words.
        message: String,
    },
}

impl NestedCall {
    /// Its number in this worker.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its answer, once it is there.
    pub fn answer(&self) -> Option<&Result<Received, Unanswered>> {
        self.answer.get()
    }

    fn complete(&self, answer: Result<Received, Unanswered>) {
        let callbacks = {
            let mut callbacks = self
                .callbacks
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let first = self.answer.set(answer).is_ok();
            debug_assert!(first, "a nested call is answered once");
            std::mem::take(&mut *callbacks)
        };
        for callback in callbacks {
            callback();
        }
    }

    fn add_callback(&self, callback: impl FnOnce() + Send + 'static) {
        let mut callbacks = self
            .callbacks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.answer.get().is_none() {
            callbacks.push(Box::new(callback));
        } else {
            drop(callbacks);
            callback();
        }
    }
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
        let call = self.state().open.remove(&call);
        if let Some(call) = call {
            call.complete(answer);
        }
        Ok(())
    }

    pub(super) fn cancel_answered(&self, call: u64, cancelled: bool) {
        if let Some(slot) = self.state().cancels.get_mut(&call) {
            *slot = Some(cancelled);
        }
        self.answered.notify_all();
    }
}

impl Session {
    /// Sends a definition that nested calls need.
    pub fn define(
        &self,
        id: u64,
        needs: Vec<u64>,
        name: &str,
        mut body: Sent,
    ) -> Result<(), EngineError> {
        let (body, descriptors) = body.split();
        Ok(self.outbox.push_quietly(
            &FromWorker::Code {
                id,
                needs,
                name,
                body,
            },
            descriptors,
        )?)
    }

    /// Makes a nested call.
    pub fn call(
        &self,
        pool: Option<u64>,
        code: u64,
        definitions: Vec<u64>,
        inputs: Vec<u64>,
        options: CallOptions,
        mut args: Sent,
    ) -> Result<Arc<NestedCall>, EngineError> {
        let id = self.calls.last.fetch_add(1, Ordering::Relaxed) + 1;
        let call = Arc::new(NestedCall {
            id,
            ..NestedCall::default()
        });
        self.calls.state().open.insert(id, Arc::clone(&call));
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
        self.outbox.push(&message, descriptors, clock::now())?;
        Ok(call)
    }

    /// Waits for the answer to a nested call. `is_task` says whether this is the thread that runs
    /// the worker's task, whose core is then free meanwhile.
    pub fn wait_for(
        self: &Arc<Self>,
        call: &NestedCall,
        timeout: Option<Duration>,
        is_task: bool,
        check: Option<Check<'_>>,
    ) -> Result<Waited, EngineError> {
        self.wait_for_any(&[call], timeout, is_task, check)
    }

    /// Waits for the answer to one of several nested calls; see `wait_for`. Without any time to
    /// wait, it reads what has come, and the task keeps its core.
    pub fn wait_for_any(
        self: &Arc<Self>,
        calls: &[&NestedCall],
        timeout: Option<Duration>,
        is_task: bool,
        mut check: Option<Check<'_>>,
    ) -> Result<Waited, EngineError> {
        let is_answered = || calls.iter().any(|call| call.answer.get().is_some());
        let deadline = timeout.map(|timeout| clock::now() + timeout);
        if is_answered() {
            return Ok(Waited::Done);
        }
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            self.take_in()?;
            return Ok(if is_answered() {
                Waited::Done
            } else {
                Waited::TimedOut
            });
        }
        if is_task {
            self.outbox.push_quietly(&FromWorker::Blocked, Vec::new())?;
        }
        self.outbox.flush()?;
        let waited = self.wait_until(deadline, &mut check, is_answered);
        if is_task {
            self.outbox
                .push_quietly(&FromWorker::Unblocked, Vec::new())?;
            self.outbox.flush()?;
        }
        waited
    }

    /// Reads the socket until `done`. Threads take turns: one reads, the others look now and then.
    fn wait_until(
        &self,
        deadline: Option<Time>,
        check: &mut Option<Check<'_>>,
        done: impl Fn() -> bool,
    ) -> Result<Waited, EngineError> {
        loop {
            if done() {
                return Ok(Waited::Done);
            }
            let now = clock::now();
            if deadline.is_some_and(|at| at <= now) {
                return Ok(Waited::TimedOut);
            }
            let nap = deadline.map_or(SIGNAL_CHECK, |at| SIGNAL_CHECK.min(at - now));
            match self.reading.try_lock() {
                // The main thread reads too, between tasks, and need not wait for this one.
                Ok(_turn) => {
                    if !self.take_in()? && !done() {
                        self.sleep(Some(nap))?;
                    }
                }
                Err(_) => std::thread::park_timeout(STANDBY),
            }
            if let Some(check) = check
                && check()
            {
                return Ok(Waited::Interrupted);
            }
            if self.has_ended() && !done() {
                return Err(EngineError::Closed);
            }
        }
    }

    /// Cancels a nested call; whether it will not run.
    pub fn cancel(&self, call: &NestedCall) -> Result<bool, EngineError> {
        if call.answer.get().is_some() {
            return Ok(false);
        }
        self.calls.state().cancels.insert(call.id, None);
        self.outbox
            .push_quietly(&FromWorker::Cancel { call: call.id }, Vec::new())?;
        self.outbox.flush()?;
        let answered = || {
            self.calls
                .state()
                .cancels
                .get(&call.id)
                .is_none_or(Option::is_some)
        };
        self.wait_until(None, &mut None, answered)?;
        Ok(self
            .calls
            .state()
            .cancels
            .remove(&call.id)
            .flatten()
            .unwrap_or(false))
    }

    /// Calls back once the call is answered, on the thread that reads the answer.
    pub fn on_answer(
        self: &Arc<Self>,
        call: &NestedCall,
        callback: impl FnOnce() + Send + 'static,
    ) {
        call.add_callback(callback);
        let mut state = self.calls.state();
        if !state.read && call.answer.get().is_none() {
            state.read = true;
            let session = Arc::clone(self);
            std::thread::spawn(move || session.read_answers());
        }
    }

    /// A thread of its own for calls with callbacks: it reads while the worker's task does
    /// something else than wait.
    fn read_answers(&self) {
        crate::signals::block_all();
        // If the engine is gone, the main thread finds out at its next turn.
        let _: Result<(), lineshaft_wire::WireError> = self.outbox.flush();
        loop {
            {
                let mut state = self.calls.state();
                if state.open.is_empty() {
                    state.read = false;
                    return;
                }
            }
            let none_open = || self.calls.state().open.is_empty();
            if self
                .wait_until(Some(clock::now() + SIGNAL_CHECK), &mut None, none_open)
                .is_err()
            {
                return;
            }
        }
    }

    /// Lets the engine drop the result of a nested call.
    pub fn forget(&self, call: u64) -> Result<(), EngineError> {
        Ok(self
            .outbox
            .push_quietly(&FromWorker::Forget { call }, Vec::new())?)
    }

    /// Opens a pool for nested calls.
    pub fn open_pool(
        &self,
        workers: u32,
        tasks_per_worker_max: Option<u32>,
        initializer: Option<(u64, Sent)>,
    ) -> Result<u64, EngineError> {
        let pool = self.calls.last.fetch_add(1, Ordering::Relaxed) + 1;
        let mut initializer = initializer;
        let (initializer, descriptors) = match &mut initializer {
            None => (None, Vec::new()),
            Some((code, args)) => {
                let (args, descriptors) = args.split();
                (Some((*code, args)), descriptors)
            }
        };
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
        Ok(self
            .outbox
            .push_quietly(&FromWorker::ClosePool { pool }, Vec::new())?)
    }
}
