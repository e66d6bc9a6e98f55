//! Calls that a task in a worker process makes itself. They go to the same engine as everything
//! else; the worker keeps a number for each, and is told how it ended.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use lineshaft_core::{PoolId, Retries, WorkerId};
use lineshaft_wire::{Answer, CallOptions, Descriptors, FromWorker, Initializer, ToWorker};

use crate::aftermath::Discarded;
use crate::command::{Asker, Command};
use crate::error::EngineError;
use crate::options::{Policy, PoolKind, PoolOptions, TaskRequest, Work};
use crate::outcome::{Outcome, TaskError};
use crate::payload::{Code, Payload};
use crate::pools::Pool;
use crate::promise::Promise;
use crate::shared::Shared;
use crate::state::State;

use super::Processes;
use super::worker::Worker;

/// The kinds of `Answer::Lost`.
pub mod lost {
    /// The call was cancelled.
    pub const CANCELLED: u8 = 1;
    /// It exceeded its time limit.
    pub const TIMED_OUT: u8 = 2;
    /// Its pool is broken.
    pub const POOL_BROKEN: u8 = 3;
    /// Its result could not be transferred.
    pub const TRANSFER: u8 = 4;
    /// No worker could be started for it.
    pub const NO_WORKER: u8 = 5;
}

impl State {
    pub(super) fn on_nested(
        &mut self,
        shared: &Shared,
        worker: &mut Worker,
        message: FromWorker<'_>,
        descriptors: &mut Descriptors,
    ) -> Result<(), EngineError> {
        match message {
            FromWorker::Code {
                id,
                needs,
                module,
                name,
                body,
            } => {
                let body = self.adopt(shared, worker.id, &body, descriptors)?;
                let needs = worker.definitions(&needs)?;
                let code = shared.define(shared.group(module, name), body, needs);
                let before = worker.codes.insert(id, code);
                self.aftermath.discard(Discarded::other(before));
            }
            FromWorker::ForgetCode { id } => {
                let forgotten = worker.codes.remove(&id);
                self.aftermath.discard(Discarded::other(forgotten));
            }
            FromWorker::Call {
                call,
                pool,
                code,
                definitions,
                inputs,
                options,
                args,
            } => {
                let args = self.adopt(shared, worker.id, &args, descriptors)?;
                let code = worker.definition(code)?;
                let of_calls = inputs.iter().map(|input| worker.calls.get(input).cloned());
                let inputs: Option<Vec<Arc<Promise>>> = of_calls.collect();
                let request = TaskRequest {
                    pool: match pool {
                        None => worker.pool,
                        Some(pool) => *worker
                            .pools
                            .get(&pool)
                            .ok_or(EngineError::Protocol("an unknown pool"))?,
                    },
                    group: code.group,
                    work: Work::Remote {
                        code,
                        definitions: worker.definitions(&definitions)?,
                        args,
                        each: options.each,
                    },
                    inputs: inputs.ok_or(EngineError::Protocol("an unknown call as an input"))?,
                    policy: policy(&options),
                };
                let promise = shared.submit_within(worker.asker(), request);
                worker.calls.insert(call, Arc::clone(&promise));
                let (engine, worker) = (self.engine(), worker.id);
                promise.on_done(move || {
                    if let Some(engine) = engine.upgrade() {
                        engine.post(Command::Answer { worker, call });
                    }
                });
            }
            FromWorker::Cancel { call, kill } => {
                // Behind the call itself, which is in the inbox, and when the worker is back in the
                // table: what the scheduler then wants of it must reach it.
                shared.post(Command::CancelCall {
                    worker: worker.id,
                    call,
                    kill,
                });
            }
            FromWorker::Forget { call } => {
                let forgotten = worker.calls.remove(&call);
                self.aftermath.discard(Discarded::other(forgotten));
                let read = worker.answered.remove(&call).unwrap_or_default();
                self.aftermath.discard(Discarded::Pins(read));
            }
            FromWorker::OpenPool {
                pool,
                workers,
                tasks_per_worker_max,
                initializer,
            } => {
                let workers = (workers, tasks_per_worker_max);
                let id = self.nested_pool(shared, worker, workers, initializer, descriptors)?;
                worker.pools.insert(pool, id);
            }
            FromWorker::ClosePool { pool } => {
                if let Some(pool) = worker.pools.remove(&pool) {
                    // Behind its calls, which are in the inbox.
                    shared.post(Command::ClosePool { pool });
                }
            }
            other => unreachable!("not a nested message: {other:?}"),
        }
        Ok(())
    }

    /// Opens a pool of so many workers, each for so many tasks, that a worker wants.
    fn nested_pool(
        &mut self,
        shared: &Shared,
        worker: &Worker,
        (workers, tasks_per_worker_max): (u32, Option<u32>),
        initializer: Option<Initializer<'_>>,
        descriptors: &mut Descriptors,
    ) -> Result<PoolId, EngineError> {
        let (initializer, definitions) = match initializer {
            None => (None, Vec::new()),
            Some(first) => {
                let args = self.adopt(shared, worker.id, &first.args, descriptors)?;
                let definitions = worker.definitions(&first.definitions)?;
                (Some((worker.definition(first.code)?, args)), definitions)
            }
        };
        if workers == 0 {
            return Err(EngineError::NoWorkers);
        }
        let id = shared.next_pool();
        let spec = Pool::new(PoolOptions {
            name: "nested".into(),
            workers,
            kind: PoolKind::Processes {
                initializer,
                definitions,
                tasks_per_worker_max,
                growth_bytes_max: None,
                patient: false,
            },
        });
        self.open_pool(id, spec);
        Ok(id)
    }

    /// Cancels a nested call and tells the worker whether that worked.
    pub(crate) fn cancel_call(&mut self, shared: &Shared, id: WorkerId, call: u64, kill: bool) {
        let Some(worker) = self.processes.workers.get(&id) else {
            return;
        };
        let promise = worker.calls.get(&call).map(Arc::clone);
        let cancelled = promise.is_some_and(|promise| self.cancel(shared, &promise, kill));
        if let Some(worker) = self.processes.workers.get_mut(&id) {
            worker.send(&ToWorker::CancelAnswer { call, cancelled }, Vec::new());
            self.processes.dirty.push(id);
        }
    }
}

impl Worker {
    /// The worker is gone, and with it everyone who could want its calls. If it died in the middle of
    /// a task, they end even if they run.
    pub(super) fn forget_calls(&mut self, shared: &Shared) {
        let kill = !self.departed && self.running().is_some();
        // In the inbox, behind calls that were read a moment ago.
        for promise in self.calls.values() {
            shared.post(Command::Cancel {
                task: promise.task(),
                kill,
            });
        }
        for pool in std::mem::take(&mut self.pools).into_values() {
            shared.post(Command::ClosePool { pool });
        }
    }

    /// Who makes its nested calls right now.
    fn asker(&self) -> Asker {
        match self.running() {
            Some(sent) => Asker::Task(sent.task),
            None if self.proved => Asker::Worker,
            None => Asker::Initializer(self.pool),
        }
    }

    fn definition(&self, id: u64) -> Result<Arc<Code>, EngineError> {
        self.codes
            .get(&id)
            .cloned()
            .ok_or(EngineError::Protocol("a definition that was never sent"))
    }

    fn definitions(&self, ids: &[u64]) -> Result<Vec<Arc<Code>>, EngineError> {
        ids.iter().map(|&id| self.definition(id)).collect()
    }
}

impl Processes {
    /// Tells a worker how one of its nested calls ended.
    pub(crate) fn answer(&mut self, worker: WorkerId, call: u64) {
        let Some(worker) = self.workers.get_mut(&worker) else {
            return;
        };
        let Some(promise) = worker.calls.get(&call).cloned() else {
            return;
        };
        let Some(outcome) = promise.outcome() else {
            return;
        };
        let mut descriptors: Vec<OwnedFd> = Vec::new();
        let payload = match final_error(outcome) {
            None => outcome.for_worker().ok().map(|(payload, _)| payload),
            Some(TaskError::Raised(payload) | TaskError::PoolBroken(Ok(payload))) => Some(payload),
            Some(_) => None,
        };
        let pins = payload.map(Payload::pins).unwrap_or_default();
        if !pins.is_empty() {
            worker.answered.insert(call, pins);
        }
        if payload.is_some_and(|payload| payload.descriptors(&mut descriptors).is_err()) {
            descriptors.clear();
            let message = "no descriptor left to pass the result on";
            worker.send(
                &ToWorker::Answer {
                    call,
                    answer: Answer::Lost {
                        kind: lost::TRANSFER,
                        message,
                    },
                },
                descriptors,
            );
        } else {
            let text = final_error(outcome).map(words).unwrap_or_default();
            let answer = match (final_error(outcome), payload) {
                (None, Some(payload)) => Answer::Value(payload.to_wire()),
                (Some(_), Some(payload)) => Answer::Raised(payload.to_wire()),
                (Some(TaskError::WorkerDied(report)), None) => Answer::Died(report.to_wire()),
                (Some(error), None) => Answer::Lost {
                    kind: kind(error),
                    message: &text,
                },
                (None, None) => Answer::Lost {
                    kind: lost::TRANSFER,
                    message: "the result has no value for worker processes",
                },
            };
            let message = ToWorker::Answer { call, answer };
            if let Err(error) = worker.sender.push(&message, descriptors) {
                // Too large for a frame; the call must be answered all the same.
                let message = &error.to_string();
                let answer = Answer::Lost {
                    kind: lost::TRANSFER,
                    message,
                };
                worker.send(&ToWorker::Answer { call, answer }, Vec::new());
            }
        }
        self.dirty.push(worker.id);
    }
}

/// The error at the root of a chain of dependencies.
fn final_error(outcome: &Outcome) -> Option<&TaskError> {
    match outcome {
        Outcome::Error(TaskError::Dependency(cause)) => cause.outcome().and_then(final_error),
        Outcome::Error(error) => Some(error),
        _ => None,
    }
}

/// What is to be said about an error beside its kind.
fn words(error: &TaskError) -> String {
    match error {
        TaskError::TimedOut { stack } => stack.clone().unwrap_or_default(),
        TaskError::PoolBroken(Err(text))
        | TaskError::NoWorker(text)
        | TaskError::Transfer(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

fn kind(error: &TaskError) -> u8 {
    match error {
        TaskError::Cancelled => lost::CANCELLED,
        TaskError::TimedOut { .. } => lost::TIMED_OUT,
        TaskError::PoolBroken(_) => lost::POOL_BROKEN,
        TaskError::NoWorker(_) => lost::NO_WORKER,
        _ => lost::TRANSFER,
    }
}

fn policy(options: &CallOptions) -> Policy {
    Policy {
        priority: options.priority,
        retries: Retries {
            failures_max: options.failures_max,
            deaths_max: options.deaths_max,
            backoff: Duration::from_nanos(options.backoff_ns),
            items_run_again: options.items_run_again,
        },
        timeout: options.timeout_ns.map(Duration::from_nanos),
        daemon: false,
        internal: options.internal,
    }
}
