//! What workers and zygotes say, turned into the scheduler's inputs.

use std::io;
use std::time::Duration;

use lineshaft_core::{Attempt, Input, PoolId, TaskId, WorkerId};
use lineshaft_wire::{Filled, FromWorker, FromZygote, WireError};

use crate::aftermath::Discarded;
use crate::error::EngineError;
use crate::limits::{EXIT_GRACE, FILLS_MAX, STILLBORN_MAX};
use crate::outcome::{DeathReport, Outcome, TaskError};
use crate::poller::Stream;
use crate::shared::Shared;
use crate::state::State;

use super::crash;
use super::deadlines::Stage;
use super::inspect::Death;
use super::tracebacks::Traceback;
use super::worker::{Sent, Worker};
use super::zygote::Zygote;

/// How a worker process came to be gone.
enum End {
    /// The zygote has reaped it.
    Exited { status: i32, peak_memory_bytes: u64 },
    /// It ends, or has ended, with its zygote, and nobody says how.
    WithZygote,
    /// It could not be started, for this reason.
    NeverStarted(String),
}

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
                    // The zygote tells how it ended; until then there is nothing more to hear. If it
                    // has not ended but only closed its socket, nobody will ever hear of it again.
                    shared
                        .poller
                        .remove(std::os::fd::AsFd::as_fd(&worker.socket));
                    let at = crate::clock::now() + EXIT_GRACE;
                    self.processes.deadlines.add(at, worker.id, Stage::Kill);
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
                let value = self.adopt(shared, &value, descriptors);
                if !worker.reported(task, attempt) {
                    // It is no longer the current attempt.
                    self.aftermath
                        .discarded
                        .extend(value.ok().map(Discarded::value));
                    return Ok(());
                }
                match value {
                    Ok(value) => {
                        let bytes = value.bytes();
                        self.ended(task, Outcome::Value(value));
                        self.inputs.push_back(Input::Finished {
                            task,
                            attempt,
                            ran: Duration::from_nanos(ran_ns),
                            bytes,
                        });
                    }
                    Err(error) => return self.not_taken_over(task, attempt, error),
                }
            }
            FromWorker::Failed {
                task,
                attempt,
                ran_ns: _,
                error,
                traceback,
            } => {
                let (task, attempt) = (TaskId(task), Attempt(attempt));
                let error = self.adopt(shared, &error, descriptors);
                if !worker.reported(task, attempt) {
                    // It is no longer the current attempt.
                    self.aftermath
                        .discarded
                        .extend(error.ok().map(Discarded::value));
                    return Ok(());
                }
                match error {
                    Ok(error) => {
                        self.processes.tracebacks.note(Traceback {
                            task,
                            attempt,
                            text: traceback.to_owned(),
                        });
                        self.ended(task, Outcome::Error(TaskError::Raised(error)));
                        self.inputs.push_back(Input::Failed {
                            task,
                            attempt,
                            retry: true,
                        });
                    }
                    Err(error) => return self.not_taken_over(task, attempt, error),
                }
            }
            FromWorker::Blocked { task, attempt } => {
                let (task, attempt) = (TaskId(task), Attempt(attempt));
                if worker.has(task, attempt) {
                    worker.blocked = true;
                    self.inputs.push_back(Input::Blocked { task, attempt });
                }
            }
            FromWorker::Unblocked { task, attempt } => {
                let (task, attempt) = (TaskId(task), Attempt(attempt));
                if worker.has(task, attempt) {
                    worker.blocked = false;
                    self.inputs.push_back(Input::Unblocked { task, attempt });
                }
            }
            FromWorker::Log { record } => {
                let task = worker.running().map(|sent| sent.task);
                shared.options.observer.log(worker.id, task, record);
            }
            FromWorker::InitializeFailed { error } => {
                let error = self.adopt(shared, &error, descriptors)?;
                self.processes.note_failure(worker.pool, Ok(error));
                self.depart(worker);
                self.inputs.push_back(Input::SpawnFailed {
                    pool: worker.pool,
                    broken: true,
                });
            }
            FromWorker::Recycle => self.depart(worker),
            nested => self.on_nested(shared, worker, nested, descriptors)?,
        }
        Ok(())
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
            retry: true,
        });
        match error {
            EngineError::Store(_) => Ok(()),
            garbage => Err(garbage),
        }
    }

    /// The worker ends by itself and has reported everything it began.
    pub(super) fn depart(&mut self, worker: &mut Worker) {
        worker.departed = true;
        worker.retract();
        worker.release_all();
        let at = crate::clock::now() + EXIT_GRACE;
        self.processes.deadlines.add(at, worker.id, Stage::Kill);
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
                        if let Some(worker) = self.processes.workers.get_mut(&WorkerId(worker)) {
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
                    }) => {
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

    /// The zygote that the loop thread was to start could not be. If that may pass, its workers are
    /// tried again later, with another one; else their pools are broken.
    pub(crate) fn zygote_not_started(&mut self, shared: &Shared, number: u32, error: &io::Error) {
        let Some(zygote) = self.processes.zygotes.take(number) else {
            return;
        };
        self.processes.zygotes.ended(number);
        self.aftermath.discard(zygote.close(shared));
        for (pool, worker) in self.processes.workers_of(number) {
            self.on_end(shared, worker, End::NeverStarted(error.to_string()));
            if !may_pass(error) {
                self.inputs
                    .push_back(Input::SpawnFailed { pool, broken: true });
            }
        }
    }

    /// A zygote has ended, and its workers with it. If it was the engine's own, a new one is started
    /// when the next worker is wanted. What a snapshot had exists nowhere else: its pool is broken.
    fn lost_zygote(&mut self, shared: &Shared, zygote: Zygote) {
        let (number, snapshot_of, proved) = (zygote.number, zygote.pool, zygote.proved);
        self.aftermath.discard(zygote.close(shared));
        if let Some(pool) = snapshot_of.filter(|pool| self.pools.contains_key(pool)) {
            let why = EngineError::SnapshotGone.to_string();
            self.processes.note_trouble(pool, &why);
        }
        let mut orphans = self.processes.workers_of(number);
        for &(_, worker) in &orphans {
            if let Some(worker) = self.processes.workers.get_mut(&worker) {
                worker.kill(); // if it did not ask to die with the zygote
            }
            self.on_end(shared, worker, End::WithZygote);
        }
        if let Some(pool) = snapshot_of {
            if self.pools.contains_key(&pool) {
                self.inputs
                    .push_back(Input::SpawnFailed { pool, broken: true });
            }
        } else if !proved {
            orphans.dedup_by_key(|(pool, _)| *pool);
            for (pool, worker) in orphans {
                let why = || "the process that forks workers ended".into();
                self.note_stillborn(pool, worker, why);
            }
        }
    }

    /// A worker of the pool, or what was to fork it, has ended before any had begun a task. As long as
    /// another one runs a task, that and what can run there after it is not given up.
    fn note_stillborn(&mut self, pool: PoolId, worker: WorkerId, why: impl FnOnce() -> String) {
        let last = self.last_worker();
        let count = self.processes.health.note_stillborn(pool, worker, last);
        if count >= STILLBORN_MAX && !self.processes.makes_progress(pool) {
            if self.processes.health.trouble(pool).is_none() {
                self.processes.note_trouble(pool, &why());
            }
            self.inputs
                .push_back(Input::SpawnFailed { pool, broken: true });
        }
    }

    /// Takes the results that a worker had not sent when it ended. False if they made no sense.
    fn read_held(&mut self, shared: &Shared, worker: &mut Worker) -> bool {
        let mut held = worker.control.held().read();
        let mut none = lineshaft_wire::Descriptors::default();
        loop {
            let message = match held.next_message() {
                Ok(None) => return true,
                Ok(Some(message)) => message,
                Err(_) => return false,
            };
            let is_result = matches!(
                message,
                FromWorker::Finished { .. } | FromWorker::Failed { .. }
            );
            if !is_result || self.on_message(shared, worker, message, &mut none).is_err() {
                return false;
            }
        }
    }

    /// A worker process is gone.
    fn on_end(&mut self, shared: &Shared, id: WorkerId, end: End) {
        // What it had printed and reported before it died counts.
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.processes.read_output(shared, id, stream);
        }
        self.on_worker(shared, id);
        let Some(mut worker) = self.processes.workers.remove(&id) else {
            return;
        };
        worker.close(shared);
        worker.forget_calls(shared);
        match end {
            _ if worker.departed => {}
            End::NeverStarted(why) => {
                self.processes.note_trouble(worker.pool, &why);
                self.inputs.push_back(Input::NeverStarted { worker: id });
            }
            End::Exited {
                status,
                peak_memory_bytes,
            } => self.was_lost(shared, &mut worker, Some(status), peak_memory_bytes),
            End::WithZygote => self.was_lost(shared, &mut worker, None, 0),
        }
        self.aftermath.became_quiet = true;
        self.aftermath.discard(Discarded::Other(worker));
    }

    /// A worker has ended that the scheduler still counts on.
    fn was_lost(
        &mut self,
        shared: &Shared,
        worker: &mut Worker,
        status: Option<i32>,
        peak_memory_bytes: u64,
    ) {
        let had_work = !worker.in_flight.is_empty();
        // The order matters for one that still runs, because only its zygote is known to have ended:
        // from now on it begins nothing, and what it ends is kept.
        worker.retract();
        let shown = worker.running();
        let is_clear = self.read_held(shared, worker) && worker.garbage.is_none();
        // What is in flight now was claimed and not reported. After a death only the task that the page
        // shows can have begun. But if the worker lives, the next one may begin yet, and after garbage
        // nobody knows what had been reported behind it: all these may have run.
        let mut running = worker.in_flight();
        if status.is_some() && is_clear {
            running.retain(|sent| shown == Some(*sent));
        }
        let report = crash::report(worker, status, peak_memory_bytes);
        let report_of = |sent: &Sent| DeathReport {
            task: self.group_name(shared, sent.task),
            ..report.clone()
        };
        let reports: Vec<(TaskId, DeathReport)> = running
            .iter()
            .map(|sent| (sent.task, report_of(sent)))
            .collect();
        if !worker.retired {
            let first = reports.first().cloned();
            self.processes.deaths.note(Death {
                at: crate::clock::now(),
                worker: worker.id,
                pool: worker.pool,
                task: first.as_ref().map(|(task, _)| *task),
                report: first.map_or(report, |(_, report)| report),
            });
        }
        let begun = !reports.is_empty();
        let garbage = worker.garbage.take();
        for (task, report) in reports {
            let error = match &garbage {
                None => TaskError::WorkerDied(report),
                Some(garbage) => TaskError::Transfer(garbage.clone()),
            };
            self.ended(task, Outcome::Error(error));
        }
        if begun || worker.proved {
            self.processes.health.note_life(worker.pool);
        }
        let running = running.into_iter().map(|sent| sent.task).collect();
        self.inputs.push_back(Input::WorkerDown {
            worker: worker.id,
            running,
        });
        // One that had nothing to do is not started again for nothing, and may have been killed while it
        // waited.
        let stillborn = had_work && !begun && !worker.proved && !worker.retired;
        if let (true, Some(status)) = (stillborn, status) {
            self.note_stillborn(worker.pool, worker.id, || {
                format!(
                    "workers end before they begin a task; the last one: {}",
                    crash::words(status)
                )
            });
        }
    }

    /// The name of a task's group, empty if the task has ended.
    fn group_name(&self, shared: &Shared, task: TaskId) -> String {
        let task = self.tasks.get(task);
        task.map(|task| shared.groups.name(task.group))
            .unwrap_or_default()
    }
}

/// Whether what kept a process from being started may be otherwise a little later: the system is short of
/// something.
fn may_pass(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let short = [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE];
    error
        .raw_os_error()
        .is_some_and(|code| short.iter().any(|errno| errno.raw_os_error() == code))
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
