//! What workers and zygotes say, turned into the scheduler's inputs.

use std::time::Duration;

use lineshaft_core::{Attempt, Failure, Input, ItemsRaised, Measured, Phases, TaskId, WorkerId};
use lineshaft_wire::{Filled, FromWorker, FromZygote, Remark, WireError};

use crate::aftermath::Discarded;
use crate::error::EngineError;
use crate::limits::FILLS_MAX;
use crate::outcome::{Outcome, TaskError};
use crate::payload::Payload;
use crate::poller::Stream;
use crate::shared::Shared;
use crate::state::State;

use super::crash;
use super::ends::End;
use super::places::Left;
use super::worker::Worker;

impl State {
    /// Reads what a worker has sent. The worker is taken out of the table meanwhile, so that its
    /// messages can change everything else.
    pub(crate) fn on_worker(&mut self, shared: &Shared, id: WorkerId) {
        let Some(mut worker) = self.processes.workers.remove(&id) else {
            return;
        };
        if worker.garbage.is_none()
            && let Err(error) = self.read(shared, &mut worker)
        {
            // Nothing that it says from now on can be believed.
            let why = why_disbelieved(&error);
            self.processes.note_trouble(worker.pool, &why);
            worker.garbage = Some(why);
            shared
                .poller
                .remove(std::os::fd::AsFd::as_fd(&worker.socket));
            worker.kill();
        }
        if !worker.released.is_empty() {
            let released = std::mem::take(&mut worker.released);
            self.aftermath.discard(Discarded::Pins(released));
        }
        if worker.proved {
            self.processes.health.note_life(worker.pool);
        }
        self.processes.workers.insert(id, worker);
        self.processes.dirty.push(id);
    }

    fn read(&mut self, shared: &Shared, worker: &mut Worker) -> Result<(), EngineError> {
        for _ in 0..FILLS_MAX {
            let filled = worker.fill()?;
            if worker.prints {
                // It may have printed since the poller looked.
                for stream in [Stream::Stdout, Stream::Stderr] {
                    worker.read_output(shared, stream, &mut self.processes.output);
                }
            }
            self.read_frames(shared, worker)?;
            match filled {
                Filled::Data => {}
                Filled::WouldBlock => return Ok(()),
                Filled::Eof => {
                    shared
                        .poller
                        .remove(std::os::fd::AsFd::as_fd(&worker.socket));
                    let now = crate::clock::now();
                    self.processes.deadlines.hung_up(worker, now);
                    return Ok(());
                }
            }
        }
        Ok(()) // the socket is still readable, so its turn comes again
    }

    fn read_frames(&mut self, shared: &Shared, worker: &mut Worker) -> Result<(), EngineError> {
        // The receiver is taken out so that the message, which borrows from it, and the worker can
        // be used side by side.
        let mut receiver = std::mem::take(&mut worker.receiver);
        let outcome = loop {
            let (frame, descriptors) = match receiver.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            };
            let message = match lineshaft_wire::decode::<FromWorker<'_>>(frame) {
                Ok(message) => message,
                Err(error) => break Err(error.into()),
            };
            if let Err(error) = self.on_message(shared, worker, message, descriptors) {
                break Err(error);
            }
        };
        worker.receiver = receiver;
        outcome
    }

    /// A task waits for its nested calls, keeping its place in the pool or not, or no longer does.
    fn on_waiting(
        &mut self,
        worker: &mut Worker,
        task: TaskId,
        attempt: Attempt,
        keeps_place: Option<bool>,
    ) {
        if !worker.has(task, attempt) {
            return;
        }
        worker.blocked = keeps_place.is_some();
        self.inputs.push_back(match keeps_place {
            Some(keeps_place) => Input::Blocked {
                task,
                attempt,
                keeps_place,
            },
            None => Input::Unblocked { task, attempt },
        });
    }

    pub(super) fn on_message(
        &mut self,
        shared: &Shared,
        worker: &mut Worker,
        message: FromWorker<'_>,
        descriptors: &mut lineshaft_wire::Descriptors,
    ) -> Result<(), EngineError> {
        match message {
            FromWorker::Started { task, attempt } => {
                worker.proved = true;
                self.inputs.push_back(Input::Started {
                    task: TaskId(task),
                    attempt: Attempt(attempt),
                });
            }
            FromWorker::Finished {
                task,
                attempt,
                ran_ns,
                load_us,
                store_us,
                value,
                remark,
            } => {
                let (task, attempt) = (TaskId(task), Attempt(attempt));
                let value = self.adopt(shared, worker.id, &value, descriptors);
                if !worker.reported(task, attempt) {
                    // It is no longer the current attempt.
                    self.aftermath
                        .discarded
                        .extend(value.ok().map(Discarded::value));
                    return Ok(());
                }
                match value {
                    Ok(value) => {
                        let measured = measured(ran_ns, load_us, store_us, &value);
                        let run_again =
                            remark.and_then(|remark| self.note_remark(task, attempt, remark));
                        self.returned(task, attempt, measured, value, run_again);
                    }
                    Err(error) => return self.not_taken_over(task, attempt, error),
                }
            }
            FromWorker::Failed {
                task,
                attempt,
                ran_ns,
                load_us,
                store_us,
                error,
                traceback,
                arguments,
            } => {
                let (task, attempt) = (TaskId(task), Attempt(attempt));
                let error = self.adopt(shared, worker.id, &error, descriptors);
                if !worker.reported(task, attempt) {
                    // It is no longer the current attempt.
                    self.aftermath
                        .discarded
                        .extend(error.ok().map(Discarded::value));
                    return Ok(());
                }
                match error {
                    Ok(error) => {
                        self.texts.tracebacks.note(task, attempt, traceback);
                        self.texts.arguments.note(task, attempt, arguments);
                        let measured = measured(ran_ns, load_us, store_us, &error);
                        self.ended(task, Outcome::Error(TaskError::Raised(error)));
                        self.inputs.push_back(Input::Failed {
                            task,
                            attempt,
                            how: Failure::Raised,
                            measured: Some(measured),
                        });
                    }
                    Err(error) => return self.not_taken_over(task, attempt, error),
                }
            }
            FromWorker::Blocked {
                task,
                attempt,
                keeps_place,
            } => {
                let (task, attempt) = (TaskId(task), Attempt(attempt));
                self.on_waiting(worker, task, attempt, Some(keeps_place));
            }
            FromWorker::Unblocked { task, attempt } => {
                self.on_waiting(worker, TaskId(task), Attempt(attempt), None);
            }
            FromWorker::Log { record } => {
                let task = worker.running().map(|sent| sent.task);
                shared.options.observer.log(worker.id, task, record);
            }
            FromWorker::InitializeFailed { error } => {
                let error = self.adopt(shared, worker.id, &error, descriptors)?;
                self.processes.note_failure(worker.pool, Ok(error));
                worker.patient = false;
                self.depart(worker);
                self.break_pool(worker.pool);
            }
            FromWorker::Recycle => self.depart(worker),
            nested => self.on_nested(shared, worker, nested, descriptors)?,
        }
        Ok(())
    }

    /// Keeps what is said of a task that returned; whether items of it raised and are run again.
    fn note_remark(&mut self, task: TaskId, attempt: Attempt, remark: Remark<'_>) -> Option<bool> {
        self.texts.arguments.note(task, attempt, remark.arguments);
        if remark.items_raised.is_empty() {
            return None;
        }
        self.texts
            .tracebacks
            .note(task, attempt, remark.items_raised);
        Some(remark.run_again)
    }

    /// A task returned, and what it returned has been taken over. If it is a batch in which items raised, it is
    /// said whether these are run again.
    fn returned(
        &mut self,
        task: TaskId,
        attempt: Attempt,
        measured: Measured,
        value: Payload,
        items_run_again: Option<bool>,
    ) {
        let bytes = value.bytes();
        self.ended(task, Outcome::Value(value));
        self.inputs.push_back(Input::Finished {
            task,
            attempt,
            ran: measured.ran(),
            phases: measured.phases,
            bytes,
            items_raised: items_run_again.map(|again| {
                if again {
                    ItemsRaised::RunAgain
                } else {
                    ItemsRaised::ForGood
                }
            }),
        });
    }

    /// A task ended in a worker, but with what cannot be had: it has failed. Were it taken for one that
    /// had not ended, it would run again and again.
    fn not_taken_over(
        &mut self,
        task: TaskId,
        attempt: Attempt,
        error: EngineError,
    ) -> Result<(), EngineError> {
        self.ended(task, Outcome::Error(TaskError::Transfer(error.to_string())));
        self.inputs.push_back(Input::Failed {
            task,
            attempt,
            how: Failure::Raised,
            measured: None,
        });
        match error {
            EngineError::Store(_) => Ok(()),
            garbage => Err(garbage),
        }
    }

    /// The worker ends by itself and has reported everything it began.
    pub(super) fn depart(&mut self, worker: &mut Worker) {
        worker.departed = true;
        let places = &mut self.processes.places;
        places.leave(worker.pool, worker.id, Left::Retired);
        worker.retract();
        worker.release_all();
        let now = crate::clock::now();
        self.processes.deadlines.let_leave(worker, now);
        self.inputs.push_back(Input::WorkerDown {
            worker: worker.id,
            running: Vec::new(),
        });
    }

    /// Reads what a zygote has sent.
    pub(crate) fn on_zygote(&mut self, shared: &Shared, number: u32) {
        let Some(mut zygote) = self.processes.zygotes.take(number) else {
            return;
        };
        let has_ended = loop {
            match zygote
                .receiver
                .fill(std::os::fd::AsFd::as_fd(&zygote.socket))
            {
                Ok(Filled::Data) => {}
                Ok(Filled::WouldBlock) => break false,
                Ok(Filled::Eof) | Err(_) => break true,
            }
        };
        let mut ended = Vec::new();
        let garbage = loop {
            match zygote.receiver.next_frame() {
                Ok(Some((frame, _))) => match lineshaft_wire::decode::<FromZygote>(frame) {
                    Ok(FromZygote::Spawned { worker, pid }) => {
                        zygote.proved = true;
                        crash::note_start();
                        let id = WorkerId(worker);
                        let worker = self.processes.workers.get_mut(&id);
                        let place = worker.as_ref().and_then(|worker| worker.place);
                        // It may be gone before anybody looks.
                        self.processes.places.note_started(id, pid, place);
                        if let Some(worker) = worker {
                            worker.spawned(pid);
                        }
                    }
                    Ok(FromZygote::SpawnFailed { worker, errno }) => {
                        let error = std::io::Error::from_raw_os_error(errno);
                        let why = format!("cannot fork a worker: {error}");
                        ended.push((WorkerId(worker), End::NeverStarted(why)));
                    }
                    Ok(FromZygote::Exited {
                        worker,
                        status,
                        peak_memory_bytes,
                        cpu_ns,
                    }) => {
                        let ended_cpu_ns = &mut self.processes.ended_cpu_ns;
                        *ended_cpu_ns = ended_cpu_ns.saturating_add(cpu_ns);
                        let end = End::Exited {
                            status,
                            peak_memory_bytes,
                        };
                        ended.push((WorkerId(worker), end));
                    }
                    Err(_) => break true,
                },
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        for (worker, end) in ended {
            self.on_end(shared, worker, end);
        }
        if !has_ended && !garbage {
            let pool = zygote.pool;
            self.processes.zygotes.put_back(zygote);
            if let Some(pool) = pool.filter(|pool| !self.pools.contains_key(pool)) {
                self.processes.release(pool);
            }
            return;
        }
        self.processes.zygotes.ended(number);
        self.lost_zygote(shared, zygote);
    }
}

/// What the worker says of the time that an attempt took, which left this behind.
fn measured(ran_ns: u64, load_us: u32, store_us: u32, left: &Payload) -> Measured {
    let phases = Phases {
        load_us,
        store_us,
        spilled: left.is_spilled(),
    };
    Measured::new(Duration::from_nanos(ran_ns), phases)
}

/// Why a worker had to be killed after this. It is not its fault if this process could not take what
/// it sent: then nobody knows any more which descriptor belongs to which message.
fn why_disbelieved(error: &EngineError) -> String {
    match error {
        EngineError::Wire(WireError::DescriptorsDropped) => {
            "its result could not be received: this process has too many open files, see `ulimit -n`"
                .into()
        }
        error => format!("its worker sent what makes no sense and was killed: {error}"),
    }
}
