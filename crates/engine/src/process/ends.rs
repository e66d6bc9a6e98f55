//! Worker processes and zygotes that are gone, or never came to be.

use std::io;

use lineshaft_core::{Input, PoolId, TaskId, WorkerId};
use lineshaft_wire::FromWorker;

use crate::aftermath::Discarded;
use crate::error::EngineError;
use crate::limits::STILLBORN_MAX;
use crate::outcome::{DeathReport, Outcome, TaskError};
use crate::poller::Stream;
use crate::shared::Shared;
use crate::state::State;

use super::crash;
use super::in_flight::Sent;
use super::inspect::Death;
use super::places::Left;
use super::worker::Worker;
use super::zygote::Zygote;

/// How a worker process came to be gone.
pub(super) enum End {
    /// The zygote has reaped it.
    Exited { status: i32, peak_memory_bytes: u64 },
    /// It ends, or has ended, with its zygote, and nobody says how.
    WithZygote,
    /// It could not be started, for this reason.
    NeverStarted(String),
}

impl State {
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
                self.break_pool(pool);
            }
        }
    }

    /// A zygote has ended, and its workers with it. If it was the engine's own, a new one is started
    /// when the next worker is wanted. What a snapshot had exists nowhere else: its pool is broken.
    pub(super) fn lost_zygote(&mut self, shared: &Shared, zygote: Zygote) {
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
                self.break_pool(pool);
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
        let last = self.workers.last();
        let count = self.processes.health.note_stillborn(pool, worker, last);
        if count >= STILLBORN_MAX && !self.processes.makes_progress(pool) {
            if self.processes.health.trouble(pool).is_none() {
                self.processes.note_trouble(pool, &why());
            }
            self.break_pool(pool);
        }
    }

    /// No worker of the pool can be started, ever: its tasks are rejected, and the workers that it has end.
    pub(super) fn break_pool(&mut self, pool: PoolId) {
        self.hurry(Some(pool));
        if let Some(open) = self.pools.get_mut(&pool) {
            open.withheld = 0;
        }
        self.inputs
            .push_back(Input::SpawnFailed { pool, broken: true });
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
    pub(super) fn on_end(&mut self, shared: &Shared, id: WorkerId, end: End) {
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
        if let End::Exited {
            peak_memory_bytes, ..
        } = end
        {
            self.processes.peaks.note_end(peak_memory_bytes);
            self.processes.places.note_end(id, peak_memory_bytes);
        }
        match end {
            _ if worker.departed => self.processes.departed.push(worker.pool),
            End::NeverStarted(why) => {
                self.processes.note_trouble(worker.pool, &why);
                let places = &mut self.processes.places;
                places.leave(worker.pool, id, Left::NeverStarted);
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
        let mut running: Vec<Sent> = worker.in_flight.sent().collect();
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
        let left = match (worker.retired, worker.unwanted) {
            (false, false) => Left::Died,
            (_, true) => Left::Ended,
            (true, false) => Left::NotNeeded,
        };
        (self.processes.places).leave(worker.pool, worker.id, left);
        if left == Left::Died {
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
        task.map(|task| shared.groups.name(task.group).shown)
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
