//! What workers and the zygote say, turned into the scheduler's inputs.

use std::time::Duration;

use lineshaft_core::{Attempt, Input, PoolId, TaskId, WorkerId};
use lineshaft_wire::{Filled, FromWorker, FromZygote, WireError};

use crate::error::EngineError;
use crate::outcome::{Outcome, TaskError};
use crate::payload::Payload;
use crate::shared::Shared;
use crate::state::State;

use super::worker::Worker;
use super::{STILLBORN_MAX, crash};

impl State {
    /// Reads what a worker has sent. The worker is taken out of the table meanwhile, so that its
    /// messages can change everything else.
    pub(crate) fn on_worker(&mut self, shared: &Shared, id: WorkerId) {
        let Some(mut worker) = self.processes.workers.remove(&id) else {
            return;
        };
        if let Err(error) = self.read(shared, &mut worker) {
            // Garbage on the wire: nothing that it says from now on can be believed.
            self.processes.note_trouble(&error.to_string());
            shared
                .poller
                .remove(std::os::fd::AsFd::as_fd(&worker.socket));
            worker.kill();
        }
        if worker.proved && !self.processes.stillborn.is_empty() {
            self.processes.stillborn.remove(&worker.pool);
        }
        self.processes.workers.insert(id, worker);
        self.processes.dirty.push(id);
    }

    fn read(&mut self, shared: &Shared, worker: &mut Worker) -> Result<(), EngineError> {
        loop {
            let filled = worker.fill()?;
            self.read_frames(shared, worker)?;
            match filled {
                Filled::Data => {}
                Filled::WouldBlock => return Ok(()),
                Filled::Eof => {
                    // The zygote tells how it ended; until then there is nothing more to hear.
                    shared
                        .poller
                        .remove(std::os::fd::AsFd::as_fd(&worker.socket));
                    return Ok(());
                }
            }
        }
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
            let message = match postcard::from_bytes::<FromWorker<'_>>(frame) {
                Ok(message) => message,
                Err(error) => break Err(WireError::from(error).into()),
            };
            if let Err(error) = self.on_message(shared, worker, message, descriptors) {
                break Err(error);
            }
        };
        worker.receiver = receiver;
        outcome
    }

    fn on_message(
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
                value,
            } => {
                let (task, attempt) = (TaskId(task), Attempt(attempt));
                let value = Payload::from_wire(&value, descriptors, &shared.store);
                if !worker.reported(task, attempt) {
                    return Ok(());
                }
                match value {
                    Ok(value) => {
                        self.ended(task, Outcome::Value(value));
                        self.inputs.push_back(Input::Finished {
                            task,
                            attempt,
                            ran: Duration::from_nanos(ran_ns),
                        });
                    }
                    Err(EngineError::Store(error)) => {
                        self.ended(task, Outcome::Error(TaskError::Transfer(error.to_string())));
                        self.inputs.push_back(Input::Failed {
                            task,
                            attempt,
                            retry: true,
                        });
                    }
                    Err(error) => return Err(error),
                }
            }
            FromWorker::Failed {
                task,
                attempt,
                ran_ns: _,
                error,
            } => {
                let (task, attempt) = (TaskId(task), Attempt(attempt));
                let error = Payload::from_wire(&error, descriptors, &shared.store)?;
                if worker.reported(task, attempt) {
                    self.ended(task, Outcome::Error(TaskError::Raised(error)));
                    self.inputs.push_back(Input::Failed {
                        task,
                        attempt,
                        retry: true,
                    });
                }
            }
            FromWorker::Blocked => {
                if let Some(sent) = worker.running() {
                    self.inputs.push_back(Input::Blocked {
                        task: sent.task,
                        attempt: sent.attempt,
                    });
                }
            }
            FromWorker::Unblocked => {
                if let Some(sent) = worker.running() {
                    self.inputs.push_back(Input::Unblocked {
                        task: sent.task,
                        attempt: sent.attempt,
                    });
                }
            }
            FromWorker::Log { record } => {
                let task = worker.running().map(|sent| sent.task);
                shared.options.observer.log(worker.id, task, record);
            }
            FromWorker::InitializeFailed { error } => {
                let error = Payload::from_wire(&error, descriptors, &shared.store)?;
                self.processes.trouble = Some(Ok(error));
                self.depart(worker);
                self.inputs.push_back(Input::SpawnFailed {
                    pool: worker.pool,
                    broken: true,
                });
            }
            FromWorker::Recycle { .. } => self.depart(worker),
            nested => self.on_nested(shared, worker, nested, descriptors)?,
        }
        Ok(())
    }

    /// The worker ends by itself and has reported everything it began.
    fn depart(&mut self, worker: &mut Worker) {
        worker.departed = true;
        worker.retract();
        worker.in_flight.clear();
        self.inputs.push_back(Input::WorkerDown {
            worker: worker.id,
            running: Vec::new(),
        });
    }

    /// Reads what the zygote has sent.
    pub(crate) fn on_zygote(&mut self, shared: &Shared) {
        let Some(mut zygote) = self.processes.zygote.take() else {
            return;
        };
        let ended = loop {
            match zygote
                .receiver
                .fill(std::os::fd::AsFd::as_fd(&zygote.socket))
            {
                Ok(Filled::Data) => {}
                Ok(Filled::WouldBlock) => break false,
                Ok(Filled::Eof) | Err(_) => break true,
            }
        };
        let mut exited = Vec::new();
        let garbage = loop {
            match zygote.receiver.next_frame() {
                Ok(Some((frame, _))) => match postcard::from_bytes::<FromZygote>(frame) {
                    Ok(FromZygote::Spawned { worker, pid }) => {
                        zygote.proved = true;
                        crash::note_start();
                        if let Some(worker) = self.processes.workers.get_mut(&WorkerId(worker)) {
                            worker.spawned(pid);
                        }
                    }
                    Ok(FromZygote::SpawnFailed { worker, errno }) => {
                        let error = std::io::Error::from_raw_os_error(errno);
                        self.processes
                            .note_trouble(&format!("cannot fork a worker: {error}"));
                        exited.push((WorkerId(worker), None, 0));
                    }
                    Ok(FromZygote::Exited {
                        worker,
                        status,
                        peak_memory_bytes,
                    }) => {
                        exited.push((WorkerId(worker), Some(status), peak_memory_bytes));
                    }
                    Err(_) => break true,
                },
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        for (worker, status, peak) in exited {
            let pool = self
                .processes
                .workers
                .get(&worker)
                .map(|worker| worker.pool);
            self.on_exit(shared, worker, status, peak);
            if let (Some(pool), None) = (pool, status) {
                self.note_stillborn(pool, || "workers cannot be forked".into());
            }
        }
        if !ended && !garbage {
            self.processes.zygote = Some(zygote);
            return;
        }
        // Its workers end with it; a new one is started when the next worker is wanted.
        let proved = zygote.proved;
        zygote.close(shared);
        let workers = self.processes.workers.values();
        let mut orphans: Vec<(PoolId, WorkerId)> =
            workers.map(|worker| (worker.pool, worker.id)).collect();
        orphans.sort_unstable();
        for &(_, worker) in &orphans {
            self.on_exit(shared, worker, None, 0);
        }
        if !proved {
            orphans.dedup_by_key(|(pool, _)| *pool);
            for (pool, _) in orphans {
                self.note_stillborn(pool, || "the process that forks workers ended".into());
            }
        }
    }

    /// A worker of the pool, or what was to fork it, has ended before any had begun a task.
    fn note_stillborn(&mut self, pool: PoolId, why: impl FnOnce() -> String) {
        let count = self.processes.stillborn.entry(pool).or_default();
        *count += 1;
        if *count >= STILLBORN_MAX {
            if self.processes.trouble.is_none() {
                self.processes.note_trouble(&why());
            }
            self.inputs
                .push_back(Input::SpawnFailed { pool, broken: true });
        }
    }

    /// A worker process is gone.
    fn on_exit(
        &mut self,
        shared: &Shared,
        id: WorkerId,
        status: Option<i32>,
        peak_memory_bytes: u64,
    ) {
        // What it had printed and reported before it died counts.
        for stream in [crate::poller::Stream::Stdout, crate::poller::Stream::Stderr] {
            self.processes.read_output(shared, id, stream);
        }
        self.on_worker(shared, id);
        let Some(mut worker) = self.processes.workers.remove(&id) else {
            return;
        };
        worker.close(shared);
        self.forget_nested(&mut worker);
        if worker.departed {
            return;
        }
        worker.retract();
        let running = worker.running();
        self.processes.deaths += u64::from(!worker.retired);
        if let Some(sent) = running {
            let group = self
                .tasks
                .get(&sent.task)
                .map(|task| shared.groups.name(task.group));
            let report = crash::report(
                &worker,
                group.unwrap_or_default(),
                status,
                peak_memory_bytes,
            );
            self.ended(sent.task, Outcome::Error(TaskError::WorkerDied(report)));
        }
        let begun = running.is_some();
        let running = running.into_iter().map(|sent| sent.task).collect();
        self.inputs.push_back(Input::WorkerDown {
            worker: id,
            running,
        });
        if let (false, false, false, Some(status)) = (worker.proved, worker.retired, begun, status)
        {
            self.note_stillborn(worker.pool, || {
                format!(
                    "workers end before they begin a task; the last one: {}",
                    crash::words(status)
                )
            });
        }
    }
}
